"""Every proxy against each baseline: how far ahead, with what certainty."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

from zcbench.analysis.block import Block, Column, Options
from zcbench.analysis.comparisons import Comparison, Comparisons, comparisons
from zcbench.analysis.study import Study, mixture, place, tables
from zcbench.analysis.words import percent

TABLE = (
    "run",
    "space",
    "dataset",
    "target",
    "population",
    "where",
    "proxy",
    "baseline",
    "n",
    "spearman",
    "spearman_low",
    "spearman_high",
    "spearman_single_low",
    "spearman_single_high",
    "spearman_p_single",
    "spearman_p",
    "spearman_p_holm",
    "kendall",
    "kendall_low",
    "kendall_high",
    "kendall_single_low",
    "kendall_single_high",
    "kendall_p_single",
    "kendall_p",
    "kendall_p_holm",
    "note",
)
"""Columns of the table: differences and their corrected and single intervals and p."""


def paired(studies: Sequence[Study], options: Options) -> Block:
    """Differences of ρ and τ between every proxy and every baseline.

    Args:
        studies: the datasets of the report.
        options: confidence and bootstrap.
    """
    import pandas as pd

    by_rho = comparisons(studies, options, "spearman")
    by_tau = comparisons(studies, options, "kendall")
    rows = [
        _about(studies, rho) | _numbers(rho, "spearman") | _numbers(tau, "kendall")
        for rho, tau in zip(by_rho.entries, by_tau.entries, strict=True)
    ]
    rows.sort(key=lambda r: (r.pop("study"), r.pop("place"), _merit(r)))
    return Block(
        name="paired",
        title="Paired: every proxy against each baseline, on the same architectures",
        about=(
            "Δ: correlation of the proxy minus that of the baseline, over the "
            f"architectures where both have a score. {percent(options.confidence)} "
            f"intervals and p are corrected for all {by_rho.count:,} comparisons "
            f"(each at level {by_rho.level:.2g} for ρ, {by_tau.level:.2g} for τ)."
            f"{mixture(studies)}"
        ),
        table=pd.DataFrame(rows, columns=list(TABLE)),
        columns=(
            Column("where", "dataset", "text"),
            Column("baseline", "baseline", "text"),
            Column("proxy", "proxy", "text"),
            Column("n", "n", "count"),
            Column("spearman", "Δρ ↑", "difference"),
            Column("spearman_p", "p", "p"),
            Column("spearman_p_holm", "p (Holm)", "p"),
            Column("kendall", "Δτ-b ↑", "difference"),
            Column("kendall_p", "p", "p"),
        ),
        conclusion=_conclusion(studies, by_rho),
    )


def _about(studies: Sequence[Study], entry: Comparison) -> dict[str, Any]:
    study = studies[entry.study]
    return {
        "study": entry.study,
        "place": study.baselines.index(entry.baseline),
        **place(study, studies),
        "proxy": entry.proxy,
        "baseline": entry.baseline,
        "n": entry.found.n,
        "note": entry.found.note,
    }


def _numbers(entry: Comparison, kind: str) -> dict[str, Any]:
    found = entry.found
    return {
        kind: found.delta,
        f"{kind}_low": entry.low,
        f"{kind}_high": entry.high,
        f"{kind}_single_low": found.low,
        f"{kind}_single_high": found.high,
        f"{kind}_p_single": found.p,
        f"{kind}_p": entry.p,
        f"{kind}_p_holm": entry.p_holm,
    }


def _merit(row: dict[str, Any]) -> tuple[bool, float, str]:
    value = row["spearman"]
    return math.isnan(value), -value, row["proxy"]


def _conclusion(studies: Sequence[Study], found: Comparisons) -> str:
    """Who is ahead of each baseline on every dataset where it stands."""
    baselines = dict.fromkeys(b for study in studies for b in study.baselines)
    parts = []
    for baseline in baselines:
        entries = [e for e in found.entries if e.baseline == baseline]
        proxies = dict.fromkeys(e.proxy for e in entries)
        ahead = [
            proxy
            for proxy in proxies
            if sum(e.low > 0 for e in entries if e.proxy == proxy) == len(studies)
        ]
        parts.append(f"{baseline}: {', '.join(ahead) or 'none'}")
    if not found.count:
        return ""
    place = f"on all {tables(studies)}" if len(studies) > 1 else "here"
    return f"Ahead {place} (corrected interval of Δρ above 0) of {'; '.join(parts)}."
