"""How much of what can be reached a proxy reaches: training seeds disagree."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from zcbench.analysis.block import Block, Column, Options, estimate, percent
from zcbench.analysis.rows import (
    PLACE,
    WHERE,
    Row,
    blank,
    frame,
    merit,
    numbers,
    rows_of,
    said,
)
from zcbench.analysis.study import Study
from zcbench.stats import Estimate
from zcbench.stats.ceilings import (
    Ceiling,
    Ceilings,
    of_mean,
    repeatability,
)
from zcbench.stats.ceilings import (
    ceilings as ceilings_of,
)

SETS: Mapping[str, float] = {"all": 1.0, "top10": 0.1, "top1": 0.01}
"""Name in the table → which share of the architectures, best first by accuracy."""
WORDS: Mapping[str, str] = {"all": "all", "top10": "top 10%", "top1": "top 1%"}
FEWEST_FOR_A_SHARE = 30
"""Architectures in a set below which no share of its ceiling is given."""
LIMIT = "(highest possible)"
"""Stands for the proxy in the rows of the ceilings themselves."""
_ENDS = ("", "_low", "_high")
_KEYS: Mapping[str, tuple[str, ...]] = {
    "n": ("",),
    "seeds_agree": ("",),
    "ceiling": _ENDS,
    "rho": (*_ENDS, "_note"),
    "share": (*_ENDS, "_note"),
    "corrected": (*_ENDS, "_note"),
}
TABLE = (
    *PLACE,
    "proxy",
    "repeats",
    "repeatability",
    *(
        f"{key}_{name}{end}"
        for name in SETS
        for key, ends in _KEYS.items()
        for end in ends
    ),
    "note",
)
"""Columns of the table."""


def ceilings(studies: Sequence[Study], options: Options) -> Block:
    """Correlations beside the highest that the training seeds allow."""
    rows = rows_of(studies, lambda study: _rows(study, options))
    return Block(
        name="ceilings",
        title="Ceilings: ρ beside the highest ρ that the training seeds allow",
        about=_about(options),
        table=frame(rows, TABLE),
        columns=(
            *WHERE,
            Column("rho_all", "ρ, all", "interval"),
            Column("share_all", "of ceiling", "share"),
            Column("repeatability", "repeats agree", "correlation"),
            Column("corrected_all", "ρ, noise out", "interval"),
            Column("rho_top10", "ρ, top 10%", "interval"),
            Column("share_top10", "of ceiling", "share"),
            Column("rho_top1", "ρ, top 1%", "interval"),
            Column("share_top1", "of ceiling", "share"),
        ),
        conclusion=said(rows, studies, _nearest_of_all),
    )


def _rows(study: Study, options: Options) -> list[Row]:
    """The ceilings of a dataset, then its proxies."""
    known = np.flatnonzero(study.known)
    made = ceilings_of(
        study.accuracy[known],
        study.seeds[known],
        tuple(SETS.values()),
        whole=study.whole,
        confidence=options.confidence,
        seed=options.seed,
    )
    rows = [_row(study, proxy, known, made, options) for proxy in study.scores]
    return [_limit(made), *sorted(rows, key=merit("rho_all", study.thin))]


def _limit(made: Ceilings) -> Row:
    """The row of the ceilings themselves."""
    row = blank(TABLE) | {"proxy": LIMIT, "note": ""}
    for name, ceiling in zip(SETS, made.sets, strict=True):
        row |= _ceiling(name, ceiling) | numbers(f"rho_{name}", ceiling, ceiling.note)
        row |= {f"share_{name}_note": "", f"corrected_{name}_note": ""}
    return row


def _ceiling(name: str, ceiling: Ceiling) -> Row:
    row = {f"n_{name}": ceiling.n, f"seeds_agree_{name}": ceiling.agreement}
    return row | numbers(f"ceiling_{name}", ceiling)


def _row(
    study: Study, proxy: str, known: NDArray[np.intp], made: Ceilings, options: Options
) -> Row:
    """One proxy in each of the sets of the architectures that have an accuracy."""
    repeats = study.by_repeat[proxy]
    count = repeats.shape[1]
    note = "one repeat" if count < 2 else "unknown"
    row: Row = {"proxy": proxy, "repeats": count, "note": note}
    row["repeatability"] = repeatability(repeats)
    scored = np.isfinite(study.scores[proxy])[known]
    level = options.confidence
    for which, (name, ceiling) in enumerate(zip(SETS, made.sets, strict=True)):
        members = made.members[which]
        points = np.zeros(len(study.archs), dtype=np.bool_)
        points[known[members]] = True
        rho = study.association(proxy, "spearman", points, confidence=level)
        agree = repeatability(repeats[points])
        reliability = of_mean(agree, count) if agree > 0 else math.nan
        inside = members[scored[members]]
        share, corrected = (
            made.share(which, rho, inside, reliability=r, confidence=level)
            for r in (1.0, reliability)
        )
        why = rho.note or (ceiling.note if math.isnan(ceiling.value) else "")
        if len(members) < FEWEST_FOR_A_SHARE:
            share, corrected, why = Estimate(), Estimate(), rho.note or "too few"
        row |= _ceiling(name, ceiling) | {f"n_{name}": rho.n}
        row |= _noted(f"rho_{name}", rho, rho.note)
        row |= _noted(f"share_{name}", share, why)
        row |= _noted(f"corrected_{name}", corrected, why or note)
    return row


def _noted(key: str, estimate: Estimate, note: str) -> Row:
    return numbers(key, estimate, note if math.isnan(estimate.low) else "")


def _about(options: Options) -> str:
    return (
        "Trainings of one architecture with different seeds end differently, so no "
        f"proxy can have ρ = 1 with their mean. {LIMIT}: ρ of what endlessly many "
        "seeds would give with that mean, estimated from how much the seeds differ, in "
        "the whole space where the truth knows it; "
        "of ceiling: ρ divided by it. Top 10% and 1%: by accuracy. Repeats agree: mean "
        "ρ of a proxy between initialisations and minibatches (run with --repeats). "
        "ρ, noise out: ρ / √(reliability of the accuracy × of the proxy), Spearman's "
        f"correction for attenuation. {percent(options.confidence)} intervals."
    )


def _nearest_of_all(_: Study, rows: Sequence[Row]) -> str:
    """The ceilings of a dataset and the proxy that comes nearest to each."""
    limit, *proxies = rows
    if math.isnan(limit["ceiling_all"]):
        return f"no ceiling ({limit['rho_all_note']})"
    return "; ".join(filter(None, (_nearest(s, limit, proxies) for s in SETS)))


def _nearest(
    name: str, limit: Mapping[str, Any], rows: Sequence[Mapping[str, Any]]
) -> str:
    ceiling = limit[f"ceiling_{name}"]
    known = [r for r in rows if not (r["few"] or math.isnan(r[f"share_{name}"]))]
    if math.isnan(ceiling):
        return ""
    places = 3 if ceiling > 0.99 else 2
    text = (
        f"{WORDS[name]} at most {estimate(limit, f'ceiling_{name}', places=places)} "
        f"(by {limit[f'n_{name}']:,.0f} architectures)"
    )
    if not known:
        return text
    best = max(known, key=lambda row: float(row[f"rho_{name}"]))
    return (
        f"{text}, highest of {len(known)}: {best['proxy']} "
        f"{estimate(best, f'rho_{name}')} "
        f"({best[f'share_{name}']:.0%} of it, n {best[f'n_{name}']:,.0f})"
    )
