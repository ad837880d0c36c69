"""Does a proxy know anything that size does not?"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

from zcbench.analysis.block import Block, Column, Options
from zcbench.analysis.study import PLACE, Study, place
from zcbench.analysis.words import interval, number, percent
from zcbench.stats.gain import Gain, gain
from zcbench.stats.partial import partial_association
from zcbench.stats.within_bins import Pooled, bins_of, within_bins

SIZES = ("params", "flops")
"""What is held fixed, as far as it was run."""
ADDS, ADDS_NOT, HARMS = "yes", "not shown", "less"
_KEYS = ("partial", "within", "before", "after", "gain")
TABLE = (
    *PLACE,
    "proxy",
    "given",
    "n",
    "rho",
    "partial",
    "partial_low",
    "partial_high",
    "partial_note",
    "within",
    "within_low",
    "within_high",
    "within_note",
    "binned_by",
    "bins",
    "n_in_bins",
    "smallest_bin",
    "before",
    "before_note",
    "after",
    "after_note",
    "gain",
    "gain_low",
    "gain_high",
    "gain_note",
    "word",
    "note",
)
"""Columns of the table."""


def size(studies: Sequence[Study], options: Options) -> Block:
    """What proxies tell beyond params and FLOPs.

    Args:
        studies: the datasets of the report.
        options: confidence, and the seed of the folds.
    """
    import pandas as pd

    rows: list[dict[str, Any]] = []
    for study in studies:
        names = [p for p in study.scores if p not in SIZES]
        about = place(study, studies)
        found = [about | _row(study, proxy, options) for proxy in names]
        rows += sorted(found, key=_merit)
    return Block(
        name="size",
        title="Beyond size: what a proxy knows that params and FLOPs do not",
        about=_about(options),
        table=pd.DataFrame(rows, columns=list(TABLE)),
        columns=(
            Column("where", "dataset", "text"),
            Column("proxy", "proxy", "text"),
            Column("n", "n", "count"),
            Column("rho", "ρ", "correlation"),
            Column("partial", "ρ given size", "interval"),
            Column("within", "ρ at equal FLOPs", "interval"),
            Column("before", "ρ, baselines", "correlation"),
            Column("after", "and proxy", "correlation"),
            Column("gain", "gain ↑", "difference"),
            Column("word", "adds to size", "text"),
        ),
        conclusion=_conclusion(rows, studies),
    )


def _row(study: Study, proxy: str, options: Options) -> dict[str, Any]:
    plain = study.association(proxy, "spearman", confidence=options.confidence)
    row: dict[str, Any] = dict.fromkeys(TABLE[len(PLACE) :], math.nan)
    row |= {"proxy": proxy, "n": plain.n, "rho": plain.value, "note": plain.note}
    sizes = [name for name in SIZES if name in study.scores]
    row |= {"given": ", ".join(sizes), "word": "", "binned_by": ""}
    if not sizes:
        none = "size was not run"
        return row | {f"{key}_note": none for key in _KEYS}
    score, accuracy = study.scores[proxy], study.accuracy
    partial = partial_association(
        score,
        accuracy,
        [study.scores[name] for name in sizes],
        confidence=options.confidence,
    )
    row |= _numbers("partial", partial.value, partial.low, partial.high, partial.note)
    pooled = within_bins(
        score,
        accuracy,
        bins_of(study.scores[sizes[-1]]),
        confidence=options.confidence,
    )
    row |= _within(pooled) | {"binned_by": sizes[-1]}
    others = [name for name in study.baselines if name != proxy]
    known = gain(
        score,
        accuracy,
        [study.scores[name] for name in others],
        confidence=options.confidence,
        seed=options.seed,
    )
    return row | _gained(known)


def _within(found: Pooled) -> dict[str, Any]:
    numbers = _numbers("within", found.value, found.low, found.high, found.note)
    return numbers | {
        "bins": found.bins,
        "n_in_bins": found.n,
        "smallest_bin": found.smallest,
    }


def _gained(known: Gain) -> dict[str, Any]:
    found = known.found
    word = ""
    if not math.isnan(found.low):
        word = ADDS if found.low > 0 else HARMS if found.high < 0 else ADDS_NOT
    numbers = _numbers("gain", found.delta, found.low, found.high, found.note)
    return numbers | {
        "before": known.before,
        "before_note": found.note,
        "after": known.after,
        "after_note": found.note,
        "word": word,
    }


def _numbers(
    key: str, value: float, low: float, high: float, note: str
) -> dict[str, Any]:
    return {key: value, f"{key}_low": low, f"{key}_high": high, f"{key}_note": note}


def _merit(row: dict[str, Any]) -> tuple[bool, float, str]:
    value = row["gain"]
    return math.isnan(value), -value, row["proxy"]


def _about(options: Options) -> str:
    return (
        "ρ given size: partial rank correlation given params and flops. ρ at equal "
        "FLOPs: within groups of architectures with the same FLOPs (or close ones, if "
        "there are many values), mean weighted by their sizes. ρ, baselines: of the "
        "accuracy with its prediction from all baselines by a cubic regression on "
        "ranks; and proxy: from these and the proxy; gain: the difference. Every "
        "architecture is predicted from the other nine tenths alone. "
        f"{percent(options.confidence)} intervals, each for one proxy alone."
    )


def _conclusion(rows: Sequence[dict[str, Any]], studies: Sequence[Study]) -> str:
    """How many proxies add to size on each dataset, and which adds most."""
    parts = []
    for study in studies:
        about = place(study, studies)
        here = [
            row
            for row in rows
            if (row["run"], row["dataset"]) == (about["run"], about["dataset"])
            and row["proxy"] in study.proxies
        ]
        tested = [row for row in here if row["word"]]
        if not tested:
            continue
        adding = [row for row in tested if row["word"] == ADDS]
        text = (
            f"{about['where']}: {len(adding)} of {len(tested)} proxies improve on the "
            "baselines together"
        )
        if adding:
            best = max(adding, key=lambda row: float(row["gain"]))
            text += (
                f", most {best['proxy']}, from {number(best['before'])} to "
                f"{number(best['after'])} ({number(best['gain'], signed=True)} "
                f"{interval(best['gain_low'], best['gain_high'])})"
            )
        parts.append(f"{text}.")
    return " ".join(parts)
