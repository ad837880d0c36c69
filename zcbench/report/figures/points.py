"""Points: the rank of a score against the accuracy, and what it costs against ρ."""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from zcbench.analysis.block import milliseconds, number
from zcbench.analysis.report import Report
from zcbench.analysis.study import Study
from zcbench.report.figures import LOWEST, MOST, Figure
from zcbench.report.figures.axes import Scale, decades, draw_axes
from zcbench.report.figures.drawing import (
    PHONE,
    SMALL,
    WIDTH,
    Anchor,
    Drawing,
    Role,
    short,
    text_width,
)
from zcbench.report.figures.entries import Entry, by_study
from zcbench.stats.ranks import Floats, Ranks

_WIDTH, _HEIGHT = WIDTH / 3, 168.0
Box = tuple[float, float, float, float]
"""Left, top, right, bottom."""
_LEFT, _TOP, _BOTTOM, _PHONE_BOTTOM = 44.0, 28.0, 420.0, 640.0
_FASTEST = 1e-7  # seconds; what took no time that the clock can tell stands here
_DISTANCES = (8.0, 14.0, 24.0, 36.0, 50.0, 66.0, 84.0)
_LEVEL = ((1.0, 0.0), (-1.0, 0.0))
_SLANTING = ((0.7, -0.7), (0.7, 0.7), (-0.7, -0.7), (-0.7, 0.7))
_SIDES = (*_LEVEL, *_SLANTING, (0.0, -1.0), (0.0, 1.0))
_NEAR = 14.0  # a name farther than that has a line to its point
_AWAY = 11.0  # from other points, else a name could be theirs
_SAME, _MOST = 4.0, 3  # pixels between points that share a name, and how many do
_THIN, _THICK = 1.5, 4.0  # what covering a square pixel costs, in pixels of distance


def scatter(report: Report) -> list[Figure]:
    """One for each dataset, its best proxy first; without those that have no score."""
    figures = []
    for where, study, entries in by_study(report):
        shown = [entry for entry in entries if entry.rho.n]
        if not shown:
            continue
        low, high = np.nanquantile(study.accuracy, [LOWEST, 1]).tolist()
        room = 0.05 * (high - low) or 0.5
        up = Scale(low, high + room, _HEIGHT - 28, 24)
        drawn = _drawn(len(study.archs))
        panels = [_panel(study, entry, up, drawn) for entry in shown]
        figures.append(Figure(where, panels))
    return figures


def _drawn(n: int) -> NDArray[np.intp]:
    """Which architectures are drawn: all, or `MOST` at random."""
    if n <= MOST:
        return np.arange(n)
    return np.sort(np.random.default_rng(0).choice(n, MOST, replace=False))


def _panel(study: Study, entry: Entry, up: Scale, drawn: NDArray[np.intp]) -> Drawing:
    value = entry.note if math.isnan(entry.rho.value) else number(entry.rho.value)
    title = f"{entry.label}: ρ {value}, {entry.rho.n:,} architectures"
    drawing = Drawing(title, _WIDTH, _HEIGHT)
    left, right, below = 34.0, _WIDTH - 10, up.start + 15
    role: Role = "baseline" if entry.baseline else "ink"
    drawing.text(left, 16, short(entry.label, 16), role, bold=True)
    drawing.text(right, 16, short(value, 10), role, anchor="end")
    for tick in up.ticks(5):
        y = up(tick)
        drawing.line(left, y, right, y, "faint")
        drawing.text(left - 4, y + 4, f"{tick:g}", "muted", SMALL, "end")
    used = np.isfinite(study.scores[entry.proxy]) & np.isfinite(study.accuracy)
    rank = np.full(len(used), np.nan)  # among all that have a score
    rank[used] = Ranks.of(study.scores[entry.proxy][used]).centred + 0.5
    across = Scale(0, 1, left + 2, right - 2)
    points = (
        f"M{across(float(rank[i])):.1f} {up(float(study.accuracy[i])):.1f}h0"
        for i in drawn[used[drawn]]
    )
    drawing.add(
        "path",
        stroke="baseline" if entry.baseline else "accent",
        stroke_linecap="round",
        stroke_opacity=".6",
        stroke_width=2.2,
        d="".join(points),
    )
    drawing.frame(left, up.end, right - left, up.start - up.end)
    drawing.text(left, below, "worst", "muted", SMALL)
    drawing.text((left + right) / 2, below, "rank", "muted", SMALL, "middle")
    drawing.text(right, below, "best", "muted", SMALL, "end")
    return drawing


def cost(report: Report) -> list[Figure]:
    """One for each dataset: milliseconds for a network against ρ."""
    figures = []
    for where, _, entries in by_study(report):
        known = [e for e in entries if not math.isnan(e.rho.value + e.seconds)]
        narrow = _draw(where, known, (PHONE, _PHONE_BOTTOM))
        figures.append(Figure(where, [_draw(where, known)], [narrow]))
    return figures


def _draw(
    where: str,
    entries: Sequence[Entry],
    size: tuple[float, float] = (WIDTH, _BOTTOM),
) -> Drawing:
    """On a phone it is higher, for names to have as much room."""
    right, bottom = size[0] - 8, size[1]
    drawing = Drawing(f"{where}: cost against ρ", size[0], bottom + 40)
    drawing.text(4, 16, short(where, int(size[0] / 10)), bold=True)
    if not entries:
        drawing.text(4, 44, "No proxy has a correlation and a cost.", "muted")
        drawing.height = 60
        return drawing
    times = [_milliseconds(entry) for entry in entries]
    across = decades(min(times), max(times), _LEFT, right)
    ends = [end for entry in entries for end in entry.ends]
    room = 0.05 * max(max(ends) - min(ends), 0.1)
    up = Scale(min(ends) - room, max(ends) + room, bottom, _TOP)
    words = ("milliseconds for one network", "ρ")
    draw_axes(drawing, across, up, lambda tick: number(tick, places=1), words)
    bars = _frontier(drawing, entries, across, up)
    points = [(across(t), up(e.rho.value)) for e, t in zip(entries, times, strict=True)]
    for entry, (x, _) in zip(entries, points, strict=True):
        if not math.isnan(entry.rho.low):
            y1, y2 = up(entry.rho.high), up(entry.rho.low)
            role: Role = "baseline" if entry.baseline else "accent"
            drawing.line(x, y1, x, y2, role)
            bars.append((x - 1, y1, x + 1, y2))
    for entry, point in zip(entries, points, strict=True):
        tip = f"{entry.label}: {milliseconds(entry.seconds)} ms, ρ {entry.words}"
        drawing.mark(*point, tip, baseline=entry.baseline)
    inside = (_LEFT + 2, _TOP + 2, right - 2, bottom - 2)
    names = [short(entry.label) for entry in entries]
    label_points(drawing, *together(points, names), inside, bars)
    return drawing


def _milliseconds(entry: Entry) -> float:
    return 1000 * max(entry.seconds, _FASTEST)


def _frontier(
    drawing: Drawing, entries: Sequence[Entry], across: Scale, up: Scale
) -> list[Box]:
    """Steps of the highest ρ for at most that cost; where they are."""
    corners: list[tuple[float, float]] = []
    able = [entry for entry in entries if not entry.few] or entries
    for entry in sorted(able, key=lambda e: (_milliseconds(e), -e.rho.value)):
        x, y = across(_milliseconds(entry)), up(entry.rho.value)
        if not corners:
            corners = [(x, y)]
        elif y < corners[-1][1]:
            corners += [(x, corners[-1][1]), (x, y)]
    corners.append((across.end, corners[-1][1]))
    for start, end in pairwise(corners):
        drawing.line(*start, *end, "ink", dashed=True)
    return [
        (min(a, c) - 1, min(b, d) - 1, max(a, c) + 1, max(b, d) + 1)
        for (a, b), (c, d) in pairwise(corners)
    ]


def label_points(
    drawing: Drawing,
    points: Sequence[tuple[float, float]],
    names: Sequence[str],
    inside: Box,
    lines: Sequence[Box] = (),
) -> list[Box]:
    """Write a name beside each point, where least is covered, and near to it.

    Those with most neighbours come first.

    Args:
        drawing: where to write.
        points: places of the marks.
        names: as many.
        inside: where names have to stay.
        lines: thin boxes that a name may cover if it must.

    Returns:
        Where each name stands.
    """
    taken = [(box, _THIN) for box in lines]
    taken += [(_around(point, 5), _THICK) for point in points]
    crowded = [sum(math.dist(p, q) < 60 for q in points) for p in points]
    order = sorted(range(len(points)), key=lambda i: (-crowded[i], points[i], names[i]))
    boxes: dict[int, Box] = {}
    for i in order:
        others = [(_around(p, _AWAY), _THIN) for p in points if p != points[i]]
        boxes[i] = _place(points[i], names[i], inside, taken + others)
        taken.append((boxes[i], _THICK))
        taken += [(box, _THICK) for box in _leader(points[i], boxes[i])]
    for i, point in enumerate(points):
        _write(drawing, point, names[i], boxes[i])
    return [boxes[i] for i in range(len(points))]


def _around(point: tuple[float, float], far: float) -> Box:
    return point[0] - far, point[1] - far, point[0] + far, point[1] + far


def _write(drawing: Drawing, point: tuple[float, float], name: str, box: Box) -> None:
    """A name in its place, with a line to its point if that is far."""
    near = _nearest(point, box)
    if math.dist(point, near) > _NEAR:
        drawing.line(*point, *near, "muted", 0.7)
    left, _, right, bottom = box
    before = right < point[0]  # text may be narrower than its box
    side: Anchor = "end" if before else "start"
    drawing.text(
        right if before else left, bottom - 3, name, "ink", SMALL, side, halo=True
    )


def together(
    points: Sequence[tuple[float, float]], names: Sequence[str]
) -> tuple[list[tuple[float, float]], list[str]]:
    """One name for points that cover each other, such as "params, flops".

    >>> together([(0, 0), (90, 9), (1, 0)], ["params", "nwot", "flops"])
    ([(0, 0), (90, 9)], ['params, flops', 'nwot'])
    """
    places: list[tuple[float, float]] = []
    shared: list[list[str]] = []
    for (x, y), name in zip(points, names, strict=True):
        for place, those in zip(places, shared, strict=True):
            near = abs(place[0] - x) + abs(place[1] - y) < _SAME
            if near and len(those) < _MOST:
                those.append(name)
                break
        else:
            places.append((x, y))
            shared.append([name])
    return places, [", ".join(those) for those in shared]


def _place(
    point: tuple[float, float],
    name: str,
    inside: Box,
    taken: Sequence[tuple[Box, float]],
) -> Box:
    """The place that costs least: by what it covers, and by its distance."""
    width, height = text_width(name, SMALL), SMALL + 2
    boxes = np.array([box for box, _ in taken]).reshape(-1, 4)
    weights = np.array([weight for _, weight in taken])
    places = []
    for distance in _DISTANCES:
        for side, (across, down) in enumerate(_SIDES):
            x = point[0] + across * distance + (across - 1) / 2 * width
            y = point[1] + down * distance + (down - 1) / 2 * height
            x = min(max(x, inside[0]), inside[2] - width)
            y = min(max(y, inside[1]), inside[3] - height)
            box = (x, y, x + width, y + height)
            parts = np.array([box, *_leader(point, box)])
            cost = float((covered(parts, boxes) @ weights).sum())
            away = math.dist(point, _nearest(point, box)) + side / 4
            places.append((cost + away, box))
    return min(places)[1]


def _nearest(point: tuple[float, float], box: Box) -> tuple[float, float]:
    """Where a line from a point to a name ends."""
    x, y = point
    return min(max(x, box[0]), box[2]), min(max(y, box[1]), box[3])


def _leader(point: tuple[float, float], box: Box) -> list[Box]:
    """Small boxes along the line from a point to its name, if it has one."""
    (x, y), (a, b) = point, _nearest(point, box)
    length = math.dist((x, y), (a, b))
    if length <= _NEAR:
        return []
    steps = [k / length for k in range(6, int(length), 2)]
    return [
        (
            x + t * (a - x) - 1,
            y + t * (b - y) - 1,
            x + t * (a - x) + 1,
            y + t * (b - y) + 1,
        )
        for t in steps
    ]


def covered(some: Floats, others: Floats) -> Floats:
    """The areas that boxes share with others, [n, m].

    >>> covered(np.array([[0.0, 0, 4, 4]]), np.array([[2.0, 3, 9, 9], [5, 0, 9, 9]]))
    array([[2., 0.]])
    """
    sides = np.minimum(some[:, None, 2:], others[:, 2:])
    sides -= np.maximum(some[:, None, :2], others[:, :2])
    return np.asarray(sides.clip(0).prod(axis=2))
