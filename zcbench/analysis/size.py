"""Does a proxy know anything that size does not?"""

from __future__ import annotations

import math
from collections.abc import Sequence

from zcbench.analysis.block import Block, Column, Options, estimate, number, percent
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
from zcbench.analysis.study import Study
from zcbench.stats.partial import (
    Gain,
    bins_of,
    gain,
    partial_association,
    within_bins,
)

SIZES = ("params", "flops")
"""What is held fixed, as far as it was run."""
ADDS, ADDS_NOT, HARMS = "yes", "not shown", "less"
_KEYS = ("partial", "within", "before", "after", "gain")
TABLE = (
    *PLACE,
    *("proxy", "given", "n", "rho"),
    *with_ends("partial", "within", note=True),
    *("binned_by", "bins", "n_in_bins", "smallest_bin"),
    *("before", "before_note", "after", "after_note"),
    *with_ends("gain", note=True),
    *("word", "note"),
)
"""Columns of the table."""


def size(studies: Sequence[Study], options: Options) -> Block:
    """What proxies tell beyond params and FLOPs."""
    rows = rows_of(studies, lambda study: _rows(study, options))
    return Block(
        name="size",
        title="Beyond size: what a proxy knows that params and FLOPs do not",
        about=_about(options),
        table=frame(rows, TABLE),
        columns=(
            *WHERE,
            Column("n", "n", "count"),
            Column("rho", "ρ", "correlation"),
            Column("partial", "ρ given size", "interval"),
            Column("within", "ρ at equal FLOPs", "interval"),
            Column("before", "ρ, baselines", "correlation"),
            Column("after", "and proxy", "correlation"),
            Column("gain", "gain ↑", "difference"),
            Column("word", "adds to size", "text"),
        ),
        conclusion=said(rows, studies, _most),
    )


def _rows(study: Study, options: Options) -> list[Row]:
    names = [proxy for proxy in study.scores if proxy not in SIZES]
    return sorted(
        (_row(study, p, options) for p in names), key=merit("gain", study.thin)
    )


def _row(study: Study, proxy: str, options: Options) -> Row:
    plain = study.association(proxy, "spearman", confidence=options.confidence)
    row = blank(TABLE) | {
        "proxy": proxy,
        "n": plain.n,
        "rho": plain.value,
        "note": plain.note,
    }
    sizes = [name for name in SIZES if name in study.scores]
    row |= {"given": ", ".join(sizes), "word": "", "binned_by": ""}
    if not sizes:
        none = "size was not run"
        return row | {f"{key}_note": none for key in _KEYS}
    row |= held_fixed(study, proxy, sizes, sizes[-1], options.confidence)
    others = [study.scores[name] for name in study.baselines if name != proxy]
    known = gain(
        study.scores[proxy],
        study.accuracy,
        others,
        confidence=options.confidence,
        seed=options.seed,
    )
    return row | {"binned_by": sizes[-1]} | _gained(known)


def held_fixed(
    study: Study, proxy: str, names: Sequence[str], binned_by: str, confidence: float
) -> Row:
    """ρ given some scores, and within groups of equal values of one of them."""
    score, accuracy = study.scores[proxy], study.accuracy
    given = [study.scores[name] for name in names]
    partial = partial_association(score, accuracy, given, confidence=confidence)
    bins = bins_of(study.scores[binned_by])
    pooled = within_bins(score, accuracy, bins, confidence=confidence)
    return {
        **numbers("partial", partial, partial.note),
        **numbers("within", pooled, pooled.note),
        "bins": pooled.bins,
        "n_in_bins": pooled.n,
        "smallest_bin": pooled.smallest,
    }


def _gained(known: Gain) -> Row:
    moved, word = known.difference, ""
    if not math.isnan(moved.low):
        word = ADDS if moved.low > 0 else HARMS if moved.high < 0 else ADDS_NOT
    return numbers("gain", moved, moved.note) | {
        "before": known.before,
        "before_note": moved.note,
        "after": known.after,
        "after_note": moved.note,
        "word": word,
    }


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


def _most(study: Study, rows: Sequence[Row]) -> str:
    """How many proxies add to size, and which adds most."""
    ranked = study.ranked
    tested = [row for row in rows if row["word"] and row["proxy"] in ranked]
    if not tested:
        return ""
    adding = [row for row in tested if row["word"] == ADDS]
    text = f"{len(adding)} of {len(tested)} proxies improve on the baselines together"
    if not adding:
        return text
    best = max(adding, key=lambda row: float(row["gain"]))
    return (
        f"{text}, most {best['proxy']}, from {number(best['before'])} to "
        f"{number(best['after'])} ({estimate(best, 'gain', signed=True)})"
    )
