"""What remains where architectures that compute the same function count once.

A cell whose operations cut or join edges often computes what another cell computes.
Such architectures differ in nothing but their training seeds, and a score that ties
them, or orders them by chance, is judged many times on one network.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from zcbench.analysis.block import Block, Column, Options
from zcbench.analysis.study import PLACE, Study, mixture
from zcbench.analysis.verdict import verdict
from zcbench.errors import DataError

if TYPE_CHECKING:
    from zcbench.types import Architecture

TABLE = (
    *PLACE,
    *("proxy", "n", "n_functions", "value", "value_functions", "delta"),
    *("delta_functions", "word", "word_functions", "note"),
)


def functions(studies: Sequence[Study], options: Options) -> Block:
    """The verdict among all architectures and among one for each function.

    Args:
        studies: the datasets of the report.
        options: as of the verdict.
    """
    import pandas as pd

    kept = [_first_of_each(study) for study in studies]
    once = [_part(s, points) for s, points in zip(studies, kept, strict=True)]
    rows = _rows(verdict(studies, options).table, verdict(once, options).table)
    table = pd.DataFrame(rows, columns=list(TABLE))
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
            Column("where", "dataset", "text"),
            Column("proxy", "proxy", "text"),
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
    from zcbench.spaces import load_space
    from zcbench.spaces.base import Isomorphic

    space = load_space(study.space)
    if not isinstance(space, Isomorphic):
        return np.ones(len(study.archs), dtype=bool)
    parse, class_of = space.parse, space.function_class
    names = [_function(arch, parse, class_of) for arch in study.archs]
    first = np.zeros(len(names), dtype=bool)
    first[np.unique(names, return_index=True)[1]] = True
    return first


def _function(
    arch: str,
    parse: Callable[[str], Architecture],
    class_of: Callable[[Architecture], str],
) -> str:
    """Of an architecture; itself where the space does not know it, as in tables."""
    try:
        return class_of(parse(arch))
    except DataError:
        return arch


def _part(study: Study, points: NDArray[np.bool_]) -> Study:
    """A study of some of its architectures."""
    trained = study.train_seconds
    return replace(
        study,
        archs=[a for a, kept in zip(study.archs, points, strict=True) if kept],
        scores={name: values[points] for name, values in study.scores.items()},
        by_repeat={name: v[points] for name, v in study.by_repeat.items()},
        accuracy=study.accuracy[points],
        seeds=study.seeds[points],
        whole=None,
        train_seconds=None if trained is None else trained[points],
        early={},
    )


def _rows(every: Any, once: Any) -> list[dict[str, Any]]:
    key = ["where", "proxy"]
    columns = ["n", "value", "delta", "word"]
    joined = every.merge(once[key + columns], on=key, suffixes=("", "_functions"))
    rows: list[dict[str, Any]] = joined.to_dict("records")
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
