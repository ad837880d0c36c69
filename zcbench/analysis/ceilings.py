"""How much of what can be reached a proxy reaches: training seeds disagree."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from zcbench.analysis.block import Block, Column, Options
from zcbench.analysis.rows import merit, numbers
from zcbench.analysis.study import PLACE, Study, place
from zcbench.analysis.words import interval, number, percent
from zcbench.stats.ceilings import (
    UNKNOWN,
    Ceilings,
    Share,
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
    """Correlations beside the highest that the training seeds allow.

    Args:
        studies: the datasets of the report.
        options: confidence, and the seed of the bootstrap.
    """
    import pandas as pd

    rows = [
        place(study, studies) | row
        for study in studies
        for row in _rows(study, options)
    ]
    return Block(
        name="ceilings",
        title="Ceilings: ρ beside the highest ρ that the training seeds allow",
        about=_about(options),
        table=pd.DataFrame(rows, columns=list(TABLE)),
        columns=(
            Column("where", "dataset", "text"),
            Column("proxy", "proxy", "text"),
            Column("rho_all", "ρ, all", "interval"),
            Column("share_all", "of ceiling", "share"),
            Column("repeatability", "repeats agree", "correlation"),
            Column("corrected_all", "ρ, noise out", "interval"),
            Column("rho_top10", "ρ, top 10%", "interval"),
            Column("share_top10", "of ceiling", "share"),
            Column("rho_top1", "ρ, top 1%", "interval"),
            Column("share_top1", "of ceiling", "share"),
        ),
        conclusion=_conclusion(rows),
    )


def _rows(study: Study, options: Options) -> list[dict[str, Any]]:
    """The ceilings of a dataset, then its proxies."""
    known = np.flatnonzero(np.isfinite(study.accuracy))
    found = ceilings_of(
        study.accuracy[known],
        study.seeds[known],
        tuple(SETS.values()),
        whole=study.whole,
        confidence=options.confidence,
        seed=options.seed,
    )
    rows = [_row(study, proxy, known, found, options) for proxy in study.scores]
    return [_limit(found), *sorted(rows, key=merit("rho_all"))]


def _limit(found: Ceilings) -> dict[str, Any]:
    """The row of the ceilings themselves."""
    row: dict[str, Any] = dict.fromkeys(TABLE[len(PLACE) :], math.nan)
    row |= {"proxy": LIMIT, "note": ""}
    for name, ceiling in zip(SETS, found.sets, strict=True):
        row |= _ceiling(name, found)
        row |= {
            **numbers(
                f"rho_{name}", ceiling.value, ceiling.low, ceiling.high, ceiling.note
            ),
            f"share_{name}_note": "",
            f"corrected_{name}_note": "",
        }
    return row


def _ceiling(name: str, found: Ceilings) -> dict[str, Any]:
    ceiling = found.sets[list(SETS).index(name)]
    return {
        f"n_{name}": ceiling.n,
        f"seeds_agree_{name}": ceiling.agreement,
        **numbers(f"ceiling_{name}", ceiling.value, ceiling.low, ceiling.high),
    }


def _row(
    study: Study,
    proxy: str,
    known: np.ndarray[Any, np.dtype[np.intp]],
    found: Ceilings,
    options: Options,
) -> dict[str, Any]:
    """One proxy in each of the sets of the architectures that have an accuracy."""
    repeats = study.by_repeat[proxy]
    count = repeats.shape[1]
    note = "one repeat" if count < 2 else "unknown"
    row: dict[str, Any] = {"proxy": proxy, "repeats": count, "note": note}
    row["repeatability"] = repeatability(repeats)
    scored = np.isfinite(study.scores[proxy])[known]
    for which, (name, ceiling) in enumerate(zip(SETS, found.sets, strict=True)):
        members = found.members[which]
        points = np.zeros(len(study.archs), dtype=np.bool_)
        points[known[members]] = True
        level = options.confidence
        rho = study.association(proxy, "spearman", points, confidence=level)
        agree = repeatability(repeats[points])
        reliability = of_mean(agree, count) if agree > 0 else math.nan
        inside = members[scored[members]]
        share, corrected = (
            found.share(which, rho, inside, reliability=r, confidence=level)
            for r in (1.0, reliability)
        )
        why = rho.note or (ceiling.note if math.isnan(ceiling.value) else "")
        if len(members) < FEWEST_FOR_A_SHARE:
            share, corrected, why = UNKNOWN, UNKNOWN, rho.note or "too few"
        row |= _ceiling(name, found) | {f"n_{name}": rho.n}
        row |= _numbers(f"rho_{name}", Share(rho.value, rho.low, rho.high), rho.note)
        row |= _numbers(f"share_{name}", share, why)
        row |= _numbers(f"corrected_{name}", corrected, why or note)
    return row


def _numbers(key: str, found: Share, note: str) -> dict[str, Any]:
    why = note if math.isnan(found.low) else ""
    return numbers(key, found.value, found.low, found.high, why)


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


def _conclusion(rows: Sequence[Mapping[str, Any]]) -> str:
    """The ceilings of each dataset and the proxy that comes nearest."""
    parts = []
    for limit in (row for row in rows if row["proxy"] == LIMIT):
        if math.isnan(limit["ceiling_all"]):
            parts.append(f"{limit['where']}: no ceiling ({limit['rho_all_note']}).")
            continue
        here = [
            row
            for row in rows
            if row["proxy"] != LIMIT
            and all(row[key] == limit[key] for key in ("run", "dataset"))
        ]
        texts = [_nearest(name, limit, here) for name in SETS]
        parts.append(f"{limit['where']}: {'; '.join(filter(None, texts))}.")
    return " ".join(parts)


def _nearest(
    name: str, limit: Mapping[str, Any], rows: Sequence[Mapping[str, Any]]
) -> str:
    ceiling = limit[f"ceiling_{name}"]
    known = [row for row in rows if not math.isnan(row[f"share_{name}"])]
    if math.isnan(ceiling):
        return ""
    ends = [limit[f"ceiling_{name}_{end}"] for end in ("low", "high")]
    places = 3 if ceiling > 0.99 else 2
    text = (
        f"{WORDS[name]} at most {number(ceiling, places=places)} "
        f"{interval(*ends, places=places)} "
        f"(by {limit[f'n_{name}']:,.0f} architectures)"
    )
    if not known:
        return text
    best = max(known, key=lambda row: float(row[f"rho_{name}"]))
    return (
        f"{text}, highest of {len(known)}: {best['proxy']} "
        f"{number(best[f'rho_{name}'])} "
        f"{interval(best[f'rho_{name}_low'], best[f'rho_{name}_high'])} "
        f"({best[f'share_{name}']:.0%} of it, n {best[f'n_{name}']:,.0f})"
    )
