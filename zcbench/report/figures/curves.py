"""Curves that are named where they end: of learning, and of regret.

On a phone numbers stand there, and names below.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

from zcbench.analysis.block import Block, number
from zcbench.analysis.predict.features import SHUFFLED
from zcbench.analysis.search.pool import SearchPool
from zcbench.report.figures import Figure
from zcbench.report.figures.axes import Scale, decades, draw_axes, spread
from zcbench.report.figures.drawing import (
    PHONE,
    SMALL,
    WIDTH,
    Drawing,
    Role,
    short,
    widest,
)

_TOP, _BOTTOM = 30.0, 300.0
_LEAST = 260.0  # width of the axis
_APART = 13.0
_LINE = 16.0  # height of one below the axis
_RATIO = 1000.0  # of the largest to the smallest number on a logarithmic axis
_POINTS = 8  # up to as many are marked, each with its interval
_CONTROLS = {"encoding", "params", "flops", "n_layers", "baselines"}
_MOST = 3  # aids of a kind in one panel


@dataclass(frozen=True, slots=True)
class Curve:
    """One curve.

    Attributes:
        label: names it.
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
    sheet: float = WIDTH,
) -> Drawing:
    """Curves over a logarithmic axis.

    Args:
        title: stands above.
        curves: at least one, each with a point.
        across: what the axis from left to right counts.
        upwards: what the other one shows.
        tick: a number on that one, in words.
        ratios: whether that one is logarithmic, too; what is 0 stands at its end.
        sheet: width of the whole; names stand below the curves where it is `PHONE`.
    """
    xs = [x for curve in curves for x, *_ in curve.points]
    vertical = _vertical(curves, ratios)
    left = 30 + widest(map(tick, vertical.ticks()), SMALL)
    if phone := sheet == PHONE:
        curves = sorted(curves, key=lambda curve: vertical(curve.points[-1][1]))
    names = [short(curve.label, 40) for curve in curves]
    marks = [str(i) for i in range(1, len(names) + 1)] if phone else names
    beside = 16 + widest(marks, SMALL)
    least = 0 if phone else left + _LEAST + beside
    drawing = Drawing(title, max(sheet, least), _BOTTOM + 44)
    drawing.text(4, 16, short(title, int(sheet / 10)), bold=True)
    right = drawing.width - beside
    horizontal = decades(min(xs), max(xs), left, right)
    draw_axes(drawing, horizontal, vertical, tick, (across, upwards))
    lasts = [curve.points[-1] for curve in curves]
    ends = [(horizontal(x), vertical(y)) for x, y, *_ in lasts]
    places = apart([y + 4 for _, y in ends], _APART, _TOP + 8, _BOTTOM + 8)
    for curve, mark, end, place in zip(curves, marks, ends, places, strict=True):
        drawing.line(*end, right + 8, place - 4, "faint")
        drawing.text(right + 10, place, mark, curve.role, SMALL)
    for curve in curves:
        _draw(drawing, curve, horizontal, vertical)
    for curve, mark, name in zip(curves, marks, names, strict=True) if phone else ():
        drawing.text(left, drawing.height + 8, f"{mark}  {name}", curve.role, SMALL)
        drawing.height += _LINE
    return drawing


def _vertical(curves: Sequence[Curve], ratios: bool) -> Scale:
    values = [v for c in curves for _, *p in c.points for v in p if not math.isnan(v)]
    most = max(values)
    if not ratios:
        return spread(min(values), most, _BOTTOM, _TOP)
    least = min(v for v in (*values, most) if v >= most / _RATIO)
    return decades(least, most, _BOTTOM, _TOP)


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
    moved = [0.0] * len(places)
    at = low - least
    for i in order:
        at = max(places[i], at + least)
        moved[i] = at
    at = high + least
    for i in reversed(order):
        at = min(moved[i], at - least)
        moved[i] = at
    return moved


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


def learning_curves(block: Block) -> list[Figure]:
    """ρ by the number of training architectures, a panel for each model.

    Args:
        block: of `zcbench.analysis.predict.predictions`.
    """
    drawn = []
    for model, rows in block.table.groupby("model", sort=False):
        curves: list[Curve] = []
        for features, part in rows.groupby("features", sort=False):
            points = part[["train", "spearman", "spearman_low", "spearman_high"]]
            role, dashed = _style(str(features), curves)
            order = points.sort_values("train").itertuples(index=False, name=None)
            curves.append(Curve(str(features), list(order), role, dashed))
        across = "training architectures"
        drawn.append(_figure(str(model), curves, across, "ρ", number))
    return drawn


def _figure(*what: Any, ratios: bool = False) -> Figure:
    wide, narrow = (
        draw_curves(*what, ratios=ratios, sheet=sheet) for sheet in (WIDTH, PHONE)
    )
    return Figure("", [wide], [narrow])


def _style(features: str, before: list[Curve]) -> tuple[Role, bool]:
    """The first in ink, controls in orange, what knows nothing dashed."""
    parts = set(features.split("+"))
    if not before:
        return "ink", False
    if SHUFFLED in parts:
        return "muted", True
    return ("baseline" if parts <= _CONTROLS else "accent"), False


def regret_curves(over_time: Block, summary: Block, pool: SearchPool) -> list[Figure]:
    """Mean regret against cost, a panel for each method.

    Alone, the three best aids by proxies and the three best by baselines.

    Args:
        over_time: of `zcbench.analysis.search.curves`.
        summary: of `zcbench.analysis.search.searches`.
        pool: what was searched.
    """
    drawn = []
    end = summary.table.sort_values("regret_time", kind="stable")
    for method in summary.table["method"].unique():
        here = end[end["method"] == method].to_dict("records")
        curves = []
        counts: dict[str, int] = {}
        for row in here:
            role = _role(row, pool.baselines)
            counts[role] = counts.get(role, 0) + 1
            if counts[role] <= _MOST:
                curves.append(_curve(over_time, row, role))
        of = ", training and proxies" if pool.unit == "GPU-hours" else ""
        across = f"{pool.unit}{of}"
        words = f"regret, {pool.measure}"
        title = str(method)
        drawn.append(_figure(title, curves, across, words, "{:g}".format, ratios=True))
    return drawn


def _curve(over_time: Block, row: dict[str, Any], role: Role) -> Curve:
    table = over_time.table
    for key in ("method", "aid", "proxy"):
        table = table[table[key] == row[key]]
    points = table[["hours", "regret", "regret_low", "regret_high"]]
    label = "alone" if row["aid"] == "none" else f"{row['aid']}: {row['proxy']}"
    return Curve(label, list(points.itertuples(index=False, name=None)), role)


def _role(row: dict[str, Any], baselines: tuple[str, ...]) -> Role:
    if row["aid"] == "none":
        return "ink"
    names = set(str(row["proxy"]).split(", "))
    return "baseline" if names <= set(baselines) else "accent"
