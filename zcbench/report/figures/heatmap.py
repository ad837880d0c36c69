"""ρ of every proxy on every dataset."""

from __future__ import annotations

import math
from statistics import fmean

from zcbench.analysis.report import Report
from zcbench.report.figures.drawing import short, widest
from zcbench.report.figures.figure import Entry, Figure, by_study
from zcbench.report.figures.matrix import Grid, draw_grid

_LEVEL = 4  # datasets up to which their names are level


def heatmap(report: Report) -> list[Figure]:
    """One for all datasets; the proxies with the highest mean ρ on top."""
    columns: dict[str, dict[str, Entry]] = {}
    for where, _, entries in by_study(report):
        columns[where] = {entry.proxy: entry for entry in entries}
    proxies = dict.fromkeys(p for column in columns.values() for p in column)
    order = sorted(proxies, key=lambda proxy: _merit(proxy, columns))
    values, notes, bold = [], [], set()
    for i, proxy in enumerate(order):
        row = [column.get(proxy) for column in columns.values()]
        values.append([entry.value if entry else math.nan for entry in row])
        notes.append([entry.words if entry else "not run" for entry in row])
        bold |= {(i, j) for j, entry in enumerate(row) if entry and entry.ahead}
    baselines = {p for c in columns.values() for p, e in c.items() if e.baseline}
    labels = {p: f"{p} *" if p in baselines else p for p in order}
    grid = Grid(
        title="ρ with accuracy",
        rows=[labels[p] for p in order],
        columns=list(columns),
        values=values,
        notes=notes,
        baselines=frozenset(labels[p] for p in baselines),
        bold=frozenset(bold),
    )
    level = len(columns) <= _LEVEL
    width = max(60.0, widest(map(short, columns)) + 8) if level else 58.0
    return [Figure("", [draw_grid(grid, width, 20, level=level)])]


def _merit(proxy: str, columns: dict[str, dict[str, Entry]]) -> tuple[float, str]:
    found = (column[proxy].value for column in columns.values() if proxy in column)
    known = [value for value in found if not math.isnan(value)]
    return (-fmean(known) if known else math.inf), proxy
