"""Curves that are named where they end."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import pairwise

from zcbench.report.figures.axes import Scale, decades, draw_axes, spread
from zcbench.report.figures.drawing import SMALL, WIDTH, Drawing, Role, short, widest

_TOP, _BOTTOM = 30.0, 300.0
_LEAST = 260.0  # width of the axis
_APART = 13.0
_RATIO = 1000.0  # of the largest to the smallest number on a logarithmic axis
_POINTS = 8  # up to as many are marked, each with its interval


@dataclass(frozen=True, slots=True)
class Curve:
    """One curve.

    Attributes:
        label: stands at its end.
        points: (x, y, low, high), x ascending and above 0; NaN ends are not drawn.
        role: its colour.
        dashed: whether it is.
    """

    label: str
    points: Sequence[tuple[float, float, float, float]]
    role: Role = "accent"
    dashed: bool = False


def draw_curves(
    title: str,
    curves: Sequence[Curve],
    across: str,
    upwards: str,
    tick: Callable[[float], str],
    *,
    ratios: bool = False,
) -> Drawing:
    """Curves over a logarithmic axis.

    Args:
        title: stands above.
        curves: at least one, each with a point.
        across: what the axis from left to right counts.
        upwards: what the other one shows.
        tick: a number on that one, in words.
        ratios: whether that one is logarithmic, too; what is 0 stands at its end.
    """
    xs = [x for curve in curves for x, *_ in curve.points]
    values = [v for c in curves for _, *p in c.points for v in p if not math.isnan(v)]
    vertical = spread(min(values), max(values), _BOTTOM, _TOP)
    if ratios:
        most = max(values)
        least = min(v for v in (*values, most) if v >= most / _RATIO)
        vertical = decades(least, most, _BOTTOM, _TOP)
    left = 30 + widest(map(tick, vertical.ticks()), SMALL)
    names = [short(curve.label, 40) for curve in curves]
    beside = 16 + widest(names, SMALL)
    drawing = Drawing(title, max(WIDTH, left + _LEAST + beside), _BOTTOM + 44)
    drawing.text(4, 16, short(title, 60), bold=True)
    right = drawing.width - beside
    horizontal = decades(min(xs), max(xs), left, right)
    draw_axes(drawing, horizontal, vertical, tick, (across, upwards))
    lasts = [curve.points[-1] for curve in curves]
    ends = [(horizontal(x), vertical(y)) for x, y, *_ in lasts]
    places = apart([y + 4 for _, y in ends], _APART, _TOP + 8, _BOTTOM + 8)
    for curve, name, end, place in zip(curves, names, ends, places, strict=True):
        drawing.line(*end, right + 8, place - 4, "faint")
        drawing.text(right + 10, place, name, curve.role, SMALL)
    for curve in curves:
        _draw(drawing, curve, horizontal, vertical)
    return drawing


def apart(
    places: Sequence[float], least: float, low: float, high: float
) -> list[float]:
    """Places moved so that neighbours are some way apart, their order kept.

    >>> apart([50.0, 50.0, 90.0], 10, 0, 100)
    [50.0, 60.0, 90.0]

    Args:
        places: where things would like to be.
        least: how far apart they must be.
        low: where they may begin.
        high: where they should end; too many go beyond `low`.
    """
    order = sorted(range(len(places)), key=lambda i: places[i])
    found = [0.0] * len(places)
    at = low - least
    for i in order:
        at = max(places[i], at + least)
        found[i] = at
    at = high + least
    for i in reversed(order):
        at = min(found[i], at - least)
        found[i] = at
    return found


def _draw(drawing: Drawing, curve: Curve, across: Scale, up: Scale) -> None:
    places = [(across(x), up(y)) for x, y, *_ in curve.points]
    for start, end in pairwise(places):
        drawing.line(*start, *end, curve.role, 1.8, dashed=curve.dashed)
    step = -(-len(curve.points) // _POINTS)
    marked = list(zip(curve.points, places, strict=True))[:: max(1, step)]
    for (value, mean, low, high), (x, y) in marked:
        if not math.isnan(low):
            drawing.line(x, up(low), x, up(high), curve.role)
        if step == 1 and curve.role in ("accent", "baseline"):
            tip = f"{curve.label}, {value:,.4g}: {mean:.3g}"
            drawing.mark(x, y, tip, baseline=curve.role == "baseline")
