"""What a search by a proxy feels: the best architectures, and what is found."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

import numpy as np

from zcbench.analysis.block import Block, Column, Options, percent
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
    with_ends,
)
from zcbench.analysis.study import PERCENT, Study
from zcbench.stats import Kind
from zcbench.stats.ceilings import top
from zcbench.stats.ranks import Floats
from zcbench.stats.search_metrics import best_of, ndcg, precision_at, weighted_tau

SETS: Mapping[str, float] = {"top10": 0.1, "top1": 0.01}
CANDIDATES = (10, 100, 1000)
"""Architectures drawn at random, of which the best by proxy is taken."""
RANDOM, TRAINED = "(at random)", "(all trained)"
"""Stand for the proxy where nothing and everything is known."""
_ENDS: Mapping[str, tuple[str, ...]] = {
    "found": ("",),
    "regret": ("", "_note"),
    "seconds": ("", "_note"),
}
_MANY = "found_100"
_NOTES = tuple(f"{key}_{k}_note" for key in ("regret", "seconds") for k in CANDIDATES)
TABLE = (
    *PLACE,
    "proxy",
    "n",
    *with_ends(*(f"{k}_{name}" for name in SETS for k in ("rho", "tau")), note=True),
    *(f"precision_{name}" for name in SETS),
    "weighted_tau",
    "ndcg",
    "ndcg_note",
    *(
        f"{key}_{k}{end}"
        for key, ends in _ENDS.items()
        for k in CANDIDATES
        for end in ends
    ),
    "note",
)
"""Columns of the table."""


def search(studies: Sequence[Study], options: Options) -> Block:
    """How well proxies serve to find good architectures, and at what cost."""
    rows = rows_of(studies, lambda study: _rows(study, options))
    return Block(
        name="search",
        title="What a search feels: the best architectures, and what is found",
        about=_about(options),
        table=frame(rows, TABLE),
        columns=(
            *WHERE,
            Column("rho_top10", "ρ, top 10%", "interval"),
            Column("tau_top10", "τ-b", "correlation"),
            Column("rho_top1", "ρ, top 1%", "interval"),
            Column("tau_top1", "τ-b", "correlation"),
            Column("precision_top10", "hits 10%", "share"),
            Column("precision_top1", "hits 1%", "share"),
            Column("weighted_tau", "weighted τ", "correlation"),
            Column("ndcg", "nDCG", "correlation"),
            Column("regret_10", "regret of 10 ↓", "number"),
            Column("regret_100", "of 100 ↓", "number"),
            Column("seconds_100", "s for 100", "number"),
        ),
        conclusion=said(rows, studies, _best),
    )


def _rows(study: Study, options: Options) -> list[Row]:
    rows = [_row(study, proxy, options) for proxy in study.scores]
    rows.sort(key=merit(f"regret_{CANDIDATES[0]}", study.thin, 1))
    return rows + [_bound(study, name) for name in (RANDOM, TRAINED)]


def _row(study: Study, proxy: str, options: Options) -> Row:
    plain = study.association(proxy, "spearman", confidence=options.confidence)
    row = blank(TABLE) | {"proxy": proxy, "n": plain.n}
    row["note"] = row["ndcg_note"] = plain.note if math.isnan(plain.value) else ""
    row |= _inside(study, proxy, options)
    if row["note"]:
        return row | dict.fromkeys(_NOTES, row["note"])
    score, accuracy = study.scores[proxy][study.known], study.accuracy[study.known]
    for name, fraction in SETS.items():
        k = math.ceil(round(fraction * len(accuracy), 9))
        row[f"precision_{name}"] = precision_at(score, accuracy, k)
    row["weighted_tau"] = weighted_tau(score, accuracy)
    row["ndcg"] = ndcg(score, accuracy)
    row["ndcg_note"] = "not in percent" if math.isnan(row["ndcg"]) else ""
    return row | _reached(score, accuracy, study.seconds[proxy])


def _inside(study: Study, proxy: str, options: Options) -> Row:
    """Correlations among the best by accuracy."""
    kinds: tuple[tuple[str, Kind], ...] = (("rho", "spearman"), ("tau", "kendall"))
    row: Row = {}
    for name, fraction in SETS.items():
        points = top(study.accuracy, fraction)
        for of, kind in kinds:
            level = options.confidence
            inside = study.association(proxy, kind, points, confidence=level)
            row |= numbers(f"{of}_{name}", inside, inside.note)
    return row


def _reached(score: Floats, accuracy: Floats, seconds: float) -> Row:
    """Expected accuracy, regret and cost of the best by score of k candidates."""
    ks = [k for k in CANDIDATES if k <= len(accuracy)]
    reached, best = best_of(score, accuracy, ks), best_of(accuracy, accuracy, ks)
    row: Row = {f"regret_{k}_note": "too few" for k in CANDIDATES}
    unknown = "unknown" if math.isnan(seconds) else ""
    row |= {f"seconds_{k}_note": unknown for k in CANDIDATES}
    row |= {f"seconds_{k}": k * seconds for k in CANDIDATES}
    for k, value, most in zip(ks, reached.tolist(), best.tolist(), strict=True):
        row |= {f"found_{k}": value, f"regret_{k}": max(0.0, most - value)}
    return row


def _bound(study: Study, name: str) -> Row:
    """The rows of a search that knows nothing, and of one that trains everything."""
    row = blank(TABLE) | {"proxy": name, "note": ""}
    row |= {f"{kind}_{of}_note": "" for kind in ("rho", "tau") for of in SETS}
    accuracy = study.accuracy[study.known]
    if not len(accuracy):
        return row | dict.fromkeys((*_NOTES, "ndcg_note"), "no accuracy")
    if name == RANDOM:
        blind = np.zeros(len(accuracy))
        row |= {"weighted_tau": 0.0, "ndcg": ndcg(blind, accuracy)}
        row |= {f"precision_{of}": share for of, share in SETS.items()}
        return row | _reached(blind, accuracy, 0.0)
    exact = dict.fromkeys(["weighted_tau", "ndcg"], 1.0)
    exact |= {f"precision_{of}": 1.0 for of in SETS}
    return row | exact | _reached(accuracy, accuracy, study.mean_train_seconds)


def _about(options: Options) -> str:
    return (
        "ρ and τ-b among the top 10% and 1% by accuracy. Hits: share of the best 10% "
        "(1%) by proxy that are among the best 10% (1%) by accuracy. Weighted τ: upper "
        "ranks count more (Vigna 2015). nDCG: gain 2^accuracy, as by VKDNW: only the "
        "very best count. Regret of k: draw k architectures at random, take the best "
        "by proxy; how much accuracy it lacks on the best of the k, on average: in "
        "percent, or in the unit of the target. Architectures without a score are "
        "never taken. s for 100: seconds to score, or train, 100 of them. "
        f"{percent(options.confidence)} intervals."
    )


def _best(study: Study, rows: Sequence[Row]) -> str:
    """Who finds most with 100 candidates, against chance and the best baseline."""
    by_proxy = {row["proxy"]: row for row in rows}
    known = {p: row[_MANY] for p, row in by_proxy.items() if not math.isnan(row[_MANY])}
    proxies = [name for name in study.ranked if name in known]
    if not proxies:
        return ""
    best = max(proxies, key=known.__getitem__)
    sign = "%" if study.unit == PERCENT else ""
    text = f"of 100 at random, {best} finds {known[best]:.2f}{sign}"
    seconds = by_proxy[best]["seconds_100"]
    text += f" in {seconds:,.3g} s" if seconds < 1000 else ""
    baselines = [n for n in study.baselines if n in known and not study.is_thin(n)]
    others = [
        f"{known[name]:.2f}{sign} by {name}"
        for name in sorted(baselines, key=known.__getitem__)[-1:]
    ]
    others.append(f"{known[RANDOM]:.2f}{sign} without looking")
    training = by_proxy[TRAINED]["seconds_100"]
    cost = "" if math.isnan(training) else f" in {training:,.0f} s"
    others.append(f"{known[TRAINED]:.2f}{sign} by training them all{cost}")
    return f"{text}, against {', '.join(others)}"
