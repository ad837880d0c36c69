"""How far two sets of scores of the same proxies rank the architectures alike."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pandas as pd

from zcbench.analysis.block import Block, Column
from zcbench.analysis.rows import Row, frame, numbers, with_ends
from zcbench.analysis.scores import mean_scores
from zcbench.errors import DataError
from zcbench.stats import KINDS, association

COLUMNS = (
    *("space", "dataset", "proxy", "n"),
    *with_ends("spearman", "kendall"),
    *("only_first", "only_second", "note"),
)
"""Columns of the table; only_first counts scores that the second lacks."""


_PRINTED = (
    Column("dataset", "dataset", "text"),
    Column("proxy", "proxy", "text"),
    Column("n", "n", "count"),
    Column("spearman", "ρ", "interval"),
    Column("kendall", "τ-b", "interval"),
    Column("only_first", "only here", "count"),
    Column("only_second", "only there", "count"),
)
_NOTES = {"constant": "constant here", "constant truth": "constant there"}
"""What `association` says of its two sides, for two sides that are scores."""


def agree(first: pd.DataFrame, second: pd.DataFrame) -> Block:
    """Compare the ranks that two runs give the architectures, proxy by proxy.

    Args:
        first: from `load_run` or `load_scores`.
        second: likewise.

    Returns:
        A row for each dataset and proxy that both have; repeats are averaged.

    Raises:
        DataError: they have no dataset, proxy or architecture in common.
    """
    rows = list(_rows(first, second))
    paths = f"{first.attrs['path']} and {second.attrs['path']}"
    if not rows:
        what = f"{paths} have no dataset and proxy in common."
        raise DataError(what, "Compare runs of the same space.")
    if not any(row["n"] for row in rows):
        what = f"{paths} have no architecture with scores in common."
        raise DataError(what, "Run those that the other has: --archs.")
    return Block(
        name="agree",
        title=f"Agreement of {paths}",
        about=(
            "Rank correlation of the two scores of the same proxy, over the "
            "architectures that have both, with 95% intervals. Only "
            "here, only there: architectures of both that have a score in one alone."
        ),
        table=frame(rows, COLUMNS),
        columns=_PRINTED,
        conclusion="",
    )


def _rows(first: pd.DataFrame, second: pd.DataFrame) -> Iterator[Row]:
    spaces = [str(run["space"].iloc[0]) for run in (first, second)]
    if spaces[0] != spaces[1]:
        return
    datasets = [d for d in first["dataset"].unique() if d in set(second["dataset"])]
    for dataset in datasets:
        here, there = (
            mean_scores(run[run["dataset"] == dataset], run.attrs["proxies"])[0]
            for run in (first, second)
        )
        for proxy in here:
            if proxy in there:
                about = {"space": spaces[0], "dataset": dataset, "proxy": proxy}
                yield about | _row(here[proxy], there[proxy])


def _row(first: pd.Series, second: pd.Series) -> Row:
    a, b = first.align(second, join="inner")
    has_a, has_b = np.isfinite(a.to_numpy()), np.isfinite(b.to_numpy())
    row: Row = {
        "n": int((has_a & has_b).sum()),
        "only_first": int((has_a & ~has_b).sum()),
        "only_second": int((has_b & ~has_a).sum()),
        "note": "",
    }
    for kind in KINDS:
        rho = association(a, b, kind)
        row |= numbers(kind, rho) | {"note": _NOTES.get(rho.note, rho.note)}
    return row
