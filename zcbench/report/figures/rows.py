"""Names below each other, with a point and an interval for each."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from zcbench.report.figures.drawing import (
    Anchor,
    Drawing,
    Line,
    Mark,
    Rect,
    Role,
    short,
    text_width,
    widest,
)
from zcbench.report.figures.scale import Scale

_AXIS = 170.0
_ROW = 19.0
_LINE = 15.0
_SMALL = 11.0


@dataclass(frozen=True, slots=True)
class Row:
    """One point with its interval.

    Attributes:
        label: what stands on the left.
        value: where the point is; NaN for none.
        low: beginning of the interval; NaN for none.
        high: its end.
        words: what stands on the right.
        baseline: whether it is a baseline.
        bold: whether its name is to be seen first.
    """

    label: str
    value: float
    low: float
    high: float
    words: str
    baseline: bool
    bold: bool = False


@dataclass(frozen=True, slots=True)
class Guide:
    """A vertical line through all rows, with a line of text above them.

    Attributes:
        value: where it stands.
        words: what it is.
        role: its colour.
        dashed: whether it is dashed.
    """

    value: float
    words: str
    role: Role = "muted"
    dashed: bool = True


@dataclass(frozen=True, slots=True)
class Style:
    """What is written around the rows.

    Attributes:
        title: above them.
        axis: below the axis.
        tick: how a number on the axis reads.
        guides: vertical lines.
        joined: (first row, last row) that a bar on the right joins.
    """

    title: str
    axis: str
    tick: Callable[[float], str]
    guides: Sequence[Guide] = ()
    joined: Sequence[tuple[int, int]] = ()


def draw_rows(rows: Sequence[Row], scale: Scale, style: Style) -> Drawing:
    """Draw rows from top to bottom.

    Args:
        rows: at least one.
        scale: from 0 to 1 in place; only its ends matter.
        style: what is written around them.
    """
    left = 12 + max(text_width(short(r.label), bold=r.bold) for r in rows)
    words = left + _AXIS + 12
    bars = words + widest((row.words for row in rows), _SMALL) + 4
    top = 26 + _LINE * len(style.guides)
    bottom = top + _ROW * len(rows)
    across = Scale(scale.low, scale.high, left, left + _AXIS)
    wide = max(bars + 8 * len(style.joined) + 4, text_width(style.title, bold=True) + 8)
    drawing = Drawing(f"{style.title}: {style.axis}", wide, bottom + 40)
    drawing.text(4, 16, short(style.title, 60), bold=True)
    _axis(drawing, across, top, bottom, style)
    for i, guide in enumerate(style.guides):
        _guide(drawing, across, guide, 26 + _LINE * i, bottom)
    for i, row in enumerate(rows):
        _row(drawing, across, row, top + _ROW * (i + 0.5), words)
    for i, (first, last) in enumerate(style.joined):
        x = bars + 8 * i + 4
        y1, y2 = top + _ROW * first + 5, top + _ROW * (last + 1) - 5
        drawing.add(Line(x, y1, x, y2, "ink", 3))
    return drawing


def _axis(
    drawing: Drawing, across: Scale, top: float, bottom: float, style: Style
) -> None:
    for tick in across.ticks(4):
        x = across(tick)
        strong = tick == 0 and across.low < 0
        drawing.add(Line(x, top, x, bottom, "muted" if strong else "faint"))
        text = style.tick(tick)
        drawing.text(x, bottom + 14, text, "muted", _SMALL, "middle")
    drawing.add(Line(across.start, bottom, across.end, bottom))
    middle = (across.start + across.end) / 2
    half = text_width(style.axis, _SMALL) / 2
    middle = min(max(middle, half + 2), drawing.width - half - 2)
    drawing.text(middle, bottom + 32, style.axis, "muted", _SMALL, "middle")


def _guide(
    drawing: Drawing, across: Scale, guide: Guide, y: float, bottom: float
) -> None:
    """A line from its text down; the text on the side where there is room."""
    x = across(guide.value)
    drawing.add(Line(x, y + 3, x, bottom, guide.role, 1.5, guide.dashed))
    late = x > (across.start + across.end) / 2
    side: Anchor = "end" if late else "start"
    shift = -4 if late else 4
    drawing.text(x + shift, y + 11, guide.words, guide.role, _SMALL, side)


def _row(drawing: Drawing, across: Scale, row: Row, y: float, words: float) -> None:
    role: Role = "baseline" if row.baseline else "ink"
    drawing.text(
        across.start - 8,
        y + 4,
        short(row.label),
        role,
        anchor="end",
        bold=row.bold,
        italic=row.baseline,
    )
    drawing.text(words, y + 4, row.words, "ink", _SMALL)
    if math.isnan(row.value):
        return
    color: Role = "baseline" if row.baseline else "accent"
    if not math.isnan(row.low):
        start, wide = across(row.low), across(row.high) - across(row.low)
        drawing.add(Rect(start, y - 4.5, wide, 9, color, 0.3))
    drawing.add(Mark(across(row.value), y, row.baseline, f"{row.label}: {row.words}"))
