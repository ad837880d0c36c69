"""Correlations as a grid of coloured cells."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from zcbench.analysis.words import number
from zcbench.report.figures.drawing import (
    Anchor,
    Drawing,
    Frame,
    Rect,
    Role,
    short,
    text_width,
    widest,
)

_STRONG = 0.76  # |ρ| from which light text reads better on a cell than dark text
_SMALL = 10.0
_HIGH = 34  # characters of a name that stands upright


@dataclass(frozen=True, slots=True)
class Grid:
    """A grid of correlations.

    Attributes:
        title: above it.
        rows: what stands on the left.
        columns: what stands above.
        values: correlations by row and column; NaN where there is none.
        notes: what is written in a cell that has none.
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


def draw_grid(grid: Grid, width: float, height: float, *, level: bool) -> Drawing:
    """Draw a grid with a key below it.

    Args:
        grid: what it shows.
        width: of a cell; under 24 its number is left to the mouse.
        height: of a cell.
        level: whether the names above are level, or stand upright.
    """
    left = widest(short(name) for name in grid.rows) + 12
    above = 18 if level else widest(short(n, _HIGH) for n in grid.columns) + 10
    top = 24 + above
    right, bottom = left + width * len(grid.columns), top + height * len(grid.rows)
    wide = max(right + 6, left + 190, text_width(grid.title, bold=True) + 8)
    drawing = Drawing(f"{grid.title}: correlations", wide, bottom + 40)
    drawing.text(4, 16, short(grid.title, 60), bold=True)
    for i, name in enumerate(grid.rows):
        y = top + height * (i + 0.5) + 4
        _name(drawing, grid, name, left - 8, y, "end", upwards=False)
    for j, name in enumerate(grid.columns):
        x = left + width * (j + 0.5)
        side: Anchor = "middle" if level else "start"
        shift = 0 if level else 4
        _name(drawing, grid, name, x + shift, top - 6, side, upwards=not level)
    for i in range(len(grid.rows)):
        for j in range(len(grid.columns)):
            _cell(
                drawing, grid, i, j, (left + width * j, top + height * i), width, height
            )
    for first, last in grid.groups:
        count = last - first + 1
        corner = left + width * first, top + height * first
        drawing.add(Frame(*corner, width * count, height * count, "ink", 1.5))
    _key(drawing, left, bottom + 14)
    return drawing


def _name(
    drawing: Drawing,
    grid: Grid,
    name: str,
    x: float,
    y: float,
    side: Anchor,
    *,
    upwards: bool,
) -> None:
    baseline = name in grid.baselines
    role: Role = "baseline" if baseline else "ink"
    text = short(name, _HIGH) if upwards else short(name)
    drawing.text(x, y, text, role=role, anchor=side, italic=baseline, upwards=upwards)


def _cell(
    drawing: Drawing,
    grid: Grid,
    i: int,
    j: int,
    corner: tuple[float, float],
    width: float,
    height: float,
) -> None:
    x, y = corner
    value, note = grid.values[i][j], grid.notes[i][j]
    tip = f"{grid.rows[i]}, {grid.columns[j]}: {note}"
    if math.isnan(value):
        drawing.add(Rect(x + 0.5, y + 0.5, width - 1, height - 1, "faint", 0.3, tip))
        text, size = short(note, max(1, int(width / 5.6))), _SMALL - 1
        color: Role = "muted"
    else:
        role: Role = "plus" if value >= 0 else "minus"
        opacity = min(1.0, abs(value))
        drawing.add(Rect(x + 0.5, y + 0.5, width - 1, height - 1, role, opacity, tip))
        text, size = number(value), _SMALL + (1 if width > 40 else 0)
        color = "inverse" if opacity >= _STRONG else "ink"
    if width >= 24:
        middle, bold = x + width / 2, (i, j) in grid.bold
        base = y + height / 2 + 4
        drawing.text(middle, base, text, color, size, "middle", bold=bold)


def _key(drawing: Drawing, left: float, y: float) -> None:
    """What the colours are."""
    drawing.text(left - 8, y + 11, "ρ", "muted", anchor="end")
    drawing.add(Frame(left, y, 180, 12, "faint"))
    for k, value in enumerate((-1, -0.75, -0.5, -0.25, 0, 0.25, 0.5, 0.75, 1)):
        role: Role = "plus" if value >= 0 else "minus"
        drawing.add(Rect(left + 20 * k, y, 20, 12, role, abs(value)))
        if value in (-1, 0, 1):
            x = left + 20 * k + 10
            drawing.text(x, y + 23, f"{value:g}", "muted", _SMALL, "middle")
