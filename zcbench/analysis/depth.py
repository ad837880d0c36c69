"""Is a proxy depth in disguise?"""

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
    rows_of,
    said,
    with_ends,
)
from zcbench.analysis.size import held_fixed
from zcbench.analysis.study import Study

DEPTH, SIZE = "n_layers", "params"
"""What is held fixed: depth, then depth and size."""
REMAINS, REMAINS_NOT, TURNS = "yes", "not shown", "turns"
TABLE = (
    *PLACE,
    *("proxy", "n", "rho"),
    *with_ends("within", note=True),
    *("bins", "n_in_bins", "smallest_bin", "given"),
    *with_ends("partial", note=True),
    *("word", "note"),
)
"""Columns of the table."""


def depth(studies: Sequence[Study], options: Options) -> Block:
    """What is left of every proxy among networks of equal depth, and of equal size."""
    rows = rows_of(studies, lambda study: _rows(study, options))
    return Block(
        name="depth",
        title="Beyond depth: what is left of a proxy at equal n_layers",
        about=(
            "ρ at equal depth: within groups of architectures with the same n_layers "
            "(or close ones, if there are many values), mean weighted by their sizes. "
            "ρ given depth, size: partial rank correlation given n_layers and params. "
            "Something remains where that interval lies above 0; where it lies below, "
            f"the proxy turns. {percent(options.confidence)} intervals, each for one "
            "proxy alone."
        ),
        table=frame(rows, TABLE),
        columns=(
            *WHERE,
            Column("n", "n", "count"),
            Column("rho", "ρ", "correlation"),
            Column("within", "ρ at equal depth", "interval"),
            Column("partial", "ρ given depth, size", "interval"),
            Column("word", "remains", "text"),
        ),
        conclusion=said(rows, studies, _left),
    )


def _rows(study: Study, options: Options) -> list[Row]:
    names = [proxy for proxy in study.scores if proxy not in (DEPTH, SIZE)]
    return sorted(
        (_row(study, p, options) for p in names), key=merit("partial", study.thin)
    )


def _row(study: Study, proxy: str, options: Options) -> Row:
    plain = study.association(proxy, "spearman", confidence=options.confidence)
    row = blank(TABLE) | {"proxy": proxy, "n": plain.n, "rho": plain.value}
    held = [name for name in (DEPTH, SIZE) if name in study.scores]
    row |= {"note": plain.note, "given": ", ".join(held), "word": ""}
    if DEPTH not in held:
        none = f"{DEPTH} was not run"
        return row | {"within_note": none, "partial_note": none}
    row |= held_fixed(study, proxy, held, DEPTH, options.confidence)
    if not math.isnan(row["partial_low"]):
        turned = TURNS if row["partial_high"] < 0 else REMAINS_NOT
        row["word"] = REMAINS if row["partial_low"] > 0 else turned
    return row


def _left(study: Study, rows: Sequence[Row]) -> str:
    """Of how many proxies something remains, and of which most."""
    ranked = study.ranked
    tested = [row for row in rows if row["word"] and row["proxy"] in ranked]
    if not tested:
        return ""
    left = [row for row in tested if row["word"] == REMAINS]
    text = f"something remains of {len(left)} of {len(tested)} proxies"
    if not left:
        return text
    best = max(left, key=lambda row: float(row["partial"]))
    return (
        f"{text}, most of {best['proxy']}: ρ {number(best['rho'])}, given depth and "
        f"size {estimate(best, 'partial')}"
    )
