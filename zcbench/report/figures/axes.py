"""The frame of a figure with two axes, and the lines at their round numbers."""

from __future__ import annotations

from collections.abc import Callable

from zcbench.report.figures.drawing import Drawing, Frame, Line
from zcbench.report.figures.scale import Scale

SMALL = 10.0
"""Height of the numbers."""


def draw_axes(
    drawing: Drawing,
    across: Scale,
    up: Scale,
    words: Callable[[float], str],
    labels: tuple[str, str],
) -> None:
    """Draw both axes.

    Args:
        drawing: where.
        across: from left to right.
        up: from the bottom to the top.
        words: how a number on that one reads.
        labels: what the two show.
    """
    for tick in across.ticks():
        x = across(tick)
        drawing.add(Line(x, up.start, x, up.end, "faint"))
        drawing.text(x, up.start + 14, f"{tick:g}", "muted", SMALL, "middle")
    for tick in up.ticks():
        y = up(tick)
        drawing.add(Line(across.start, y, across.end, y, "faint"))
        drawing.text(across.start - 6, y + 4, words(tick), "muted", SMALL, "end")
    drawing.add(
        Frame(across.start, up.end, across.end - across.start, up.start - up.end)
    )
    middle = (across.start + across.end) / 2
    drawing.text(middle, up.start + 31, labels[0], "muted", 11, "middle")
    middle = (up.start + up.end) / 2
    drawing.text(14, middle, labels[1], "muted", 11, "middle", upwards=True)
