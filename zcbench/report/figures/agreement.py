"""ρ between the scores of all proxies, those alike together."""

from __future__ import annotations

import math

from zcbench.analysis.agreement import WITH
from zcbench.analysis.report import Report
from zcbench.analysis.words import number
from zcbench.report.figures.figure import Figure, block_of, by_study
from zcbench.report.figures.matrix import Grid, draw_grid

_WRITTEN = 16  # proxies up to which cells hold their number


def agreement(report: Report) -> list[Figure]:
    """One for each dataset, in the order of its groups, each outlined."""
    block = block_of(report, "agreement")
    if block is None:
        return []
    figures = []
    for where, study, _ in by_study(report):
        rows = block.table[block.table["where"] == where]
        names = rows["proxy"].tolist()
        if not names:
            continue
        values = rows[[WITH + name for name in names]].to_numpy().tolist()
        labels = [f"{n} *" if n in study.baselines else n for n in names]
        grid = Grid(
            title=where,
            rows=labels,
            columns=labels,
            values=values,
            notes=[
                ["–" if math.isnan(v) else number(v) for v in row] for row in values
            ],
            baselines=frozenset(f"{n} *" for n in study.baselines),
            groups=outlines(rows["group"].tolist()),
        )
        size = (27.0, 20.0) if len(names) <= _WRITTEN else (15.0, 15.0)
        figures.append(Figure(where, [draw_grid(grid, *size, level=False)]))
    return figures


def outlines(group: list[int]) -> list[tuple[int, int]]:
    """(first, last) of each run of at least two of the same group.

    >>> outlines([1, 2, 2, 3, 3, 3])
    [(1, 2), (3, 5)]
    """
    runs: list[tuple[int, int]] = []
    for i, number_ in enumerate(group):
        if i and number_ == group[i - 1]:
            first = runs.pop()[0]
            runs.append((first, i))
        else:
            runs.append((i, i))
    return [(first, last) for first, last in runs if last > first]
