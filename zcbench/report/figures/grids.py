"""Correlations as grids of coloured cells: on every dataset, and among proxies."""

from __future__ import annotations

import math
from bisect import bisect
from collections.abc import Sequence
from dataclasses import dataclass, replace

from zcbench.analysis.agreement import WITH
from zcbench.analysis.block import number
from zcbench.analysis.report import Report
from zcbench.report.figures import Figure
from zcbench.report.figures.drawing import (
    PHONE,
    SMALL,
    WIDTH,
    Anchor,
    Drawing,
    Role,
    short,
    text_width,
    widest,
)
from zcbench.report.figures.entries import Entry, block_of, by_study

_STEPS = (0.2, 0.4, 0.6, 0.7, 0.8, 0.9)
"""|ρ| where another colour begins: finer where most proxies are."""
_STRONG = 4  # the step from which light text reads better than dark text
OUTLINE: tuple[tuple[Role, float], ...] = (("paper", 4.5), ("ink", 1.5))
"""Of groups: seen on dark cells, too."""
_LEAST = 4.0  # width of a cell on a phone, which shows a matrix whole
_HIGH = 34  # characters of a name that stands upright
_WRITTEN = 28.0  # width from which a cell holds its number
_LINE = 15.0  # height of a row; narrower columns have no room for names


@dataclass(frozen=True, slots=True)
class Grid:
    """A grid of correlations.

    Attributes:
        title: above it.
        rows: what stands on the left.
        columns: what stands above.
        values: correlations by row and column; NaN where there is none.
        notes: what the mouse finds in a cell; written where there is no value.
        baselines: labels of rows and columns that are baselines.
        bold: cells (row, column) to be seen first.
        groups: (first, last) rows, also columns, to be outlined.
    """

    title: str
    rows: Sequence[str]
    columns: Sequence[str]
    values: Sequence[Sequence[float]]
    notes: Sequence[Sequence[str]]
    baselines: frozenset[str] = frozenset()
    bold: frozenset[tuple[int, int]] = frozenset()
    groups: Sequence[tuple[int, int]] = ()


def draw_grid(grid: Grid, least: float, most: float, sheet: float = WIDTH) -> Drawing:
    """Draw a grid with a key below it.

    Args:
        grid: what it shows.
        least: width of a cell where there are many.
        most: the same where there are few.
        sheet: width of the whole, unless the cells need more.
    """
    left = _beside(grid)
    room = (sheet - left - 4) / len(grid.columns)
    width = min(max(room, least), most)
    height = 20.0 if width >= _WRITTEN else max(width, _LINE)
    level = widest(map(short, grid.columns)) + 8 <= width
    heads = grid.columns if width >= _LINE else ()
    flat = level or not heads
    above = 18 if flat else widest(short(n, _HIGH) for n in heads) + 10
    top = 24 + above
    bottom = top + height * len(grid.rows)
    wide = max(sheet, left + width * len(grid.columns) + 4)
    drawing = Drawing(f"{grid.title}: correlations", wide, bottom + 44)
    drawing.text(4, 16, short(grid.title, int(sheet / 10)), bold=True)
    for i, name in enumerate(grid.rows):
        y = top + height * (i + 0.5) + 4
        drawing.text(left - 8, y, short(name), _role(grid, name), anchor="end")
    side: Anchor = "middle" if level else "start"
    if not heads:
        drawing.text(left, top - 6, "columns in the order of rows", "muted", SMALL)
    for j, name in enumerate(heads):
        x = left + width * (j + 0.5) + (0 if level else 4)
        text, role = short(name, _HIGH), _role(grid, name)
        drawing.text(x, top - 6, text, role, anchor=side, upwards=not level)
    for i in range(len(grid.rows)):
        for j in range(len(grid.columns)):
            corner = left + width * j, top + height * i
            _cell(drawing, grid, (i, j), corner, (width, height))
    for first, last in grid.groups:
        x, y, count = left + width * first, top + height * first, last - first + 1
        for role, thickness in OUTLINE:
            drawing.frame(x, y, width * count, height * count, role, thickness)
    _key(drawing, left, bottom + 14, wide)
    return drawing


def _beside(grid: Grid) -> float:
    """Width of the names of rows."""
    return widest(map(short, grid.rows)) + 12


def _role(grid: Grid, name: str) -> Role:
    return "baseline" if name in grid.baselines else "ink"


def _cell(
    drawing: Drawing,
    grid: Grid,
    place: tuple[int, int],
    corner: tuple[float, float],
    size: tuple[float, float],
) -> None:
    (i, j), (x, y), (width, height) = place, corner, size
    value, note = grid.values[i][j], grid.notes[i][j]
    tip = f"{grid.rows[i]}, {grid.columns[j]}: {note}"
    fill, role = colours(value)
    drawing.rect(x + 0.5, y + 0.5, width - 1, height - 1, fill, tip)
    if width < _WRITTEN:
        return
    none = math.isnan(value)
    fits = text_width(note, 10) <= width
    text = number(value) if not none else note if fits else "–"
    x, y, bold = x + width / 2, y + height / 2 + 4, place in grid.bold
    drawing.text(x, y, text, role, 10 if none else SMALL, "middle", bold=bold)


def colours(value: float) -> tuple[str, Role]:
    """Roles of a cell and of the text in it, by the number that is written there."""
    if math.isnan(value):
        return "paper", "muted"
    step = bisect(_STEPS, abs(round(value, 2)))
    sign = "plus" if value >= 0 else "minus"
    return f"{sign}{step}", "inverse" if step >= _STRONG else "ink"


def _key(drawing: Drawing, left: float, y: float, wide: float) -> None:
    """What the colours are."""
    ends = [-1.0, *(-e for e in reversed(_STEPS)), 0.0, *_STEPS, 1.0]
    step = min(26.0, (wide - 40) / (len(ends) - 1))
    left = min(left, wide - step * len(ends))
    drawing.text(left - 8, y + 10, "ρ", "muted", anchor="end")
    for k, end in enumerate(ends):
        x = left + step * k
        drawing.text(x, y + 25, f"{end:g}".replace("0.", "."), "muted", 10, "middle")
        if k + 1 < len(ends):
            fill, _ = colours((end + ends[k + 1]) / 2)
            drawing.rect(x + 0.5, y, step - 1, 12, fill)


def heatmap(report: Report) -> list[Figure]:
    """One for all datasets; the proxies with the highest mean ρ on top, `_merit`."""
    columns: dict[str, dict[str, Entry]] = {}
    for where, _, entries in by_study(report):
        columns[where] = {entry.proxy: entry for entry in entries}
    proxies = dict.fromkeys(p for column in columns.values() for p in column)
    order = sorted(proxies, key=lambda proxy: _merit(proxy, columns))
    cells = [[column.get(proxy) for column in columns.values()] for proxy in order]
    baselines = {p for c in columns.values() for p, e in c.items() if e.baseline}
    few = {p for column in columns.values() for p, e in column.items() if e.few}
    labels = {p: f"{p} *" if p in baselines else p for p in order}
    labels = {p: f"{label} §" if p in few else label for p, label in labels.items()}
    grid = Grid(
        title="ρ with accuracy",
        rows=[labels[p] for p in order],
        columns=list(columns),
        values=[[e.rho.value if e else math.nan for e in row] for row in cells],
        notes=[[e.words if e else "not run" for e in row] for row in cells],
        baselines=frozenset(labels[p] for p in baselines),
        bold=frozenset(
            (i, j)
            for i, row in enumerate(cells)
            for j, entry in enumerate(row)
            if entry and entry.ahead
        ),
    )
    narrow = [draw_grid(part, 40, 150, PHONE) for part in _parts(grid, 40, PHONE)]
    return [Figure("", [draw_grid(grid, 40, 150)], narrow)]


def _parts(grid: Grid, least: float, sheet: float) -> list[Grid]:
    """The grid in as few parts, of whole columns, as a sheet has room for."""
    room = max(1, int((sheet - _beside(grid) - 4) / least))
    count = -(-len(grid.columns) // room)
    size = -(-len(grid.columns) // count)
    starts = range(0, len(grid.columns), size)
    return [
        replace(
            grid,
            columns=grid.columns[at : at + size],
            values=[row[at : at + size] for row in grid.values],
            notes=[row[at : at + size] for row in grid.notes],
            bold=frozenset((i, j - at) for i, j in grid.bold if at <= j < at + size),
        )
        for at in starts
    ]


def _merit(proxy: str, columns: dict[str, dict[str, Entry]]) -> tuple[bool, float, str]:
    """A column that a proxy does not order, or was not run on, counts as 0."""
    entries = [column.get(proxy) for column in columns.values()]
    orders = [
        entry.rho.value
        for entry in entries
        if entry and not (entry.few or math.isnan(entry.rho.value))
    ]
    return not orders, -sum(orders) / len(entries), proxy


def agreement(report: Report) -> list[Figure]:
    """ρ between scores: one for each dataset, in the order of its groups."""
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
            notes=[["–" if math.isnan(v) else number(v) for v in r] for r in values],
            baselines=frozenset(f"{n} *" for n in study.baselines),
            groups=outlines(rows["group"].tolist()),
        )
        narrow = draw_grid(grid, _LEAST, 40, PHONE)
        figures.append(Figure(where, [draw_grid(grid, 16, 40)], [narrow]))
    return figures


def outlines(group: list[int]) -> list[tuple[int, int]]:
    """(first, last) of each run of at least two of the same group.

    >>> outlines([1, 2, 2, 3, 3, 3])
    [(1, 2), (3, 5)]
    """
    starts = [i for i, g in enumerate(group) if not i or g != group[i - 1]]
    ends = [*starts[1:], len(group)]
    return [(a, b - 1) for a, b in zip(starts, ends, strict=False) if b - a > 1]
