"""What remains where architectures that compute the same function count once.

A cell whose operations cut or join edges often computes what another cell computes.
Such architectures differ in nothing but their training seeds, and a score that ties
them, or orders them by chance, is judged many times on one network.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from zcbench.analysis.block import Block, Column, Options
from zcbench.analysis.rows import PLACE, WHERE, Row, frame, mixture
from zcbench.analysis.study import Study
from zcbench.analysis.verdict import verdict

if TYPE_CHECKING:
    pass

TABLE = (
    *PLACE,
    *("proxy", "n", "n_functions", "value", "value_functions", "delta"),
    *("delta_functions", "word", "word_functions", "note"),
)


def functions(studies: Sequence[Study], options: Options) -> Block:
    """The verdict among all architectures and among one for each function."""
    kept = [_first_of_each(study) for study in studies]
    once = [s.among(points) for s, points in zip(studies, kept, strict=True)]
    rows = _rows(verdict(studies, options).table, verdict(once, options).table)
    table = frame(rows, TABLE)
    return Block(
        name="functions",
        title="One architecture for each function",
        about=(
            "ρ and verdict among all architectures, and where those that compute the "
            "same function count once (the first of the run stands for them). Spaces "
            f"that do not tell functions apart are as they were.{mixture(studies)}"
        ),
        table=table,
        columns=(
            *WHERE,
            Column("value", "ρ", "correlation"),
            Column("value_functions", "once", "correlation"),
            Column("delta", "Δρ", "signed"),
            Column("delta_functions", "once", "signed"),
            Column("word", "verdict", "text"),
            Column("word_functions", "once", "text"),
        ),
        conclusion=_conclusion(table, kept),
    )


def _first_of_each(study: Study) -> NDArray[np.bool_]:
    """Architectures that are the first of their function, [n]."""
    names = study.functions
    first = np.full(len(study.archs), names is None)
    if names is not None:
        first[np.unique(names, return_index=True)[1]] = True
    return first


def _rows(every: Any, once: Any) -> list[Row]:
    key = ["where", "proxy"]
    columns = ["n", "value", "delta", "word"]
    joined = every.merge(once[key + columns], on=key, suffixes=("", "_functions"))
    rows: list[Row] = joined.to_dict("records")
    return rows


def _conclusion(table: Any, kept: Sequence[NDArray[np.bool_]]) -> str:
    parts = sorted({f"{points.sum():,} of {len(points):,}" for points in kept})
    if all(points.all() for points in kept):
        return "No two architectures here are known to compute the same function."
    moved = table[table["word"] != table["word_functions"]]
    change = (table["value_functions"] - table["value"]).abs().max()
    named = "; ".join(
        f"{row.proxy} on {row.where}: {row.word or 'none'}, once "
        f"{row.word_functions or 'none'}"
        for row in moved.itertuples()
    )
    largest = 0.0 if math.isnan(change) else change
    return (
        f"Functions: {', '.join(parts)} architectures. ρ moves by at most "
        f"{largest:.2f}. Other words: {named or 'none'}."
    )
