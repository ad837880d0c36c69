"""Every proxy against each baseline: how far ahead, with what certainty."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

from zcbench.analysis.block import Block, Column, Options, percent
from zcbench.analysis.comparisons import Comparison, Comparisons, comparisons
from zcbench.analysis.rows import (
    PLACE,
    PROXY,
    Row,
    everywhere,
    frame,
    merit,
    mixture,
    numbers,
    place,
)
from zcbench.analysis.study import Study

TABLE = (
    *PLACE,
    *("proxy", "baseline", "n"),
    *(
        f"{kind}{end}"
        for kind in ("spearman", "kendall")
        for end in (
            *("", "_low", "_high", "_single_low", "_single_high"),
            *("_p_single", "_p", "_p_holm"),
        )
    ),
    "note",
)
"""Columns of the table: differences and their corrected and single intervals and p."""


def paired(studies: Sequence[Study], options: Options) -> Block:
    """Differences of ρ and τ between every proxy and every baseline."""
    by_rho = comparisons(studies, options, "spearman")
    by_tau = comparisons(studies, options, "kendall")
    rows = [
        _about(studies, rho) | _numbers(rho, "spearman") | _numbers(tau, "kendall")
        for rho, tau in zip(by_rho.entries, by_tau.entries, strict=True)
    ]
    best = merit("spearman")
    rows.sort(key=lambda r: (r.pop("study"), r.pop("place"), r["few"], best(r)))
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
        table=frame(rows, TABLE),
        columns=(
            Column("where", "dataset", "text"),
            Column("baseline", "baseline", "text"),
            PROXY,
            Column("n", "n", "count"),
            Column("spearman", "Δρ ↑", "difference"),
            Column("spearman_p", "p", "p"),
            Column("spearman_p_holm", "p (Holm)", "p"),
            Column("kendall", "Δτ-b ↑", "difference"),
            Column("kendall_p", "p", "p"),
        ),
        conclusion=_conclusion(studies, by_rho),
    )


def _about(studies: Sequence[Study], entry: Comparison) -> Row:
    study = studies[entry.study]
    return {
        "study": entry.study,
        "place": study.baselines.index(entry.baseline),
        **place(study, studies, entry.proxy),
        "proxy": entry.proxy,
        "baseline": entry.baseline,
        "n": entry.single.n,
        "note": entry.single.note,
    }


def _numbers(entry: Comparison, kind: str) -> Row:
    return numbers(kind, entry.together) | {
        f"{kind}_single_low": entry.single.low,
        f"{kind}_single_high": entry.single.high,
        f"{kind}_p_single": entry.single.p,
        f"{kind}_p": entry.p,
        f"{kind}_p_holm": entry.p_holm,
    }


def _conclusion(studies: Sequence[Study], compared: Comparisons) -> str:
    """Who is ahead of each baseline on every dataset where it stands."""
    if not compared.count:
        return ""
    parts = []
    for baseline in dict.fromkeys(b for study in studies for b in study.rivals):
        ahead = Counter(
            e.proxy
            for e in compared.entries
            if e.baseline == baseline
            and e.together.low > 0
            and not studies[e.study].is_thin(e.proxy)
        )
        named = [proxy for proxy, count in ahead.items() if count == len(studies)]
        parts.append(f"{baseline}: {', '.join(named) or 'none'}")
    return (
        f"Ahead {everywhere(studies)} (corrected interval of Δρ above 0) of "
        f"{'; '.join(parts)}."
    )
