"""What a score costs against how well it ranks."""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import pairwise

from zcbench.analysis.report import Report
from zcbench.analysis.words import milliseconds, number
from zcbench.report.figures.axes import draw_axes
from zcbench.report.figures.drawing import Drawing, Line, Mark, Role, short
from zcbench.report.figures.figure import Entry, Figure, by_study
from zcbench.report.figures.labels import Box, label_points, together
from zcbench.report.figures.scale import Scale, decades

_LEFT, _TOP, _RIGHT = 44.0, 30.0, 404.0
_FASTEST = 1e-7  # seconds; what took no time that the clock can tell stands here


def cost(report: Report) -> list[Figure]:
    """One for each dataset: milliseconds for a network against ρ."""
    return [
        Figure(where, [_draw(where, _placed(entries))])
        for where, _, entries in by_study(report)
    ]


def _placed(entries: Sequence[Entry]) -> list[Entry]:
    """Those with a correlation and a cost."""
    return [e for e in entries if not math.isnan(e.value) and not math.isnan(e.seconds)]


def _draw(where: str, entries: Sequence[Entry]) -> Drawing:
    drawing = Drawing(f"{where}: cost against ρ", _RIGHT + 8, 320 + 6 * len(entries))
    drawing.text(4, 16, short(where, 50), bold=True)
    if not entries:
        drawing.text(4, 44, "No proxy has a correlation and a cost.", "muted")
        drawing.height = 60
        return drawing
    bottom = drawing.height - 40
    times = [_milliseconds(entry) for entry in entries]
    across = decades(min(times), max(times), _LEFT, _RIGHT)
    ends = [x for e in entries for x in (e.value, e.low, e.high) if not math.isnan(x)]
    room = 0.08 * max(max(ends) - min(ends), 0.1)
    up = Scale(min(ends) - room, max(ends) + room, bottom, _TOP)
    words = ("milliseconds for one network", "ρ")
    draw_axes(drawing, across, up, lambda tick: number(tick, places=1), words)
    bars = _frontier(drawing, entries, across, up)
    for entry, time in zip(entries, times, strict=True):
        x, role = across(time), _role(entry)
        if not math.isnan(entry.low):
            y1, y2 = up(entry.high), up(entry.low)
            drawing.add(Line(x, y1, x, y2, role, 1))
            bars.append((x - 1, y1, x + 1, y2))
        tip = f"{entry.label}: {milliseconds(entry.seconds)} ms, ρ {entry.words}"
        drawing.add(Mark(x, up(entry.value), entry.baseline, tip))
    points = [(across(t), up(e.value)) for e, t in zip(entries, times, strict=True)]
    inside = (_LEFT + 2, _TOP + 2, _RIGHT - 2, bottom - 2)
    names = [short(entry.label) for entry in entries]
    label_points(drawing, *together(points, names), inside, bars)
    return drawing


def _milliseconds(entry: Entry) -> float:
    return 1000 * max(entry.seconds, _FASTEST)


def _role(entry: Entry) -> Role:
    return "baseline" if entry.baseline else "accent"


def _frontier(
    drawing: Drawing, entries: Sequence[Entry], across: Scale, up: Scale
) -> list[Box]:
    """Steps of the highest ρ for at most that cost; where they are."""
    corners: list[tuple[float, float]] = []
    for entry in sorted(entries, key=lambda e: (_milliseconds(e), -e.value)):
        x, y = across(_milliseconds(entry)), up(entry.value)
        if not corners:
            corners = [(x, y)]
        elif y < corners[-1][1]:
            corners += [(x, corners[-1][1]), (x, y)]
    corners.append((across.end, corners[-1][1]))
    for start, end in pairwise(corners):
        drawing.add(Line(*start, *end, "ink", 1, dashed=True))
    return [
        (min(a, c) - 1, min(b, d) - 1, max(a, c) + 1, max(b, d) + 1)
        for (a, b), (c, d) in pairwise(corners)
    ]
