"""The rank of a score against the accuracy, one panel for each proxy."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from zcbench.analysis.report import Report
from zcbench.analysis.study import Study
from zcbench.analysis.words import number
from zcbench.report.figures.drawing import Cloud, Drawing, Frame, Line, Role, short
from zcbench.report.figures.figure import Entry, Figure, by_study
from zcbench.report.figures.scale import Scale
from zcbench.stats.ranks import Ranks

MOST = 1000
"""Points in a panel; of more architectures, so many are drawn at random."""
LOWEST = 0.05
"""Share of the architectures whose accuracy may lie below the axis."""
_WIDTH, _HEIGHT = 194.0, 152.0
_SMALL = 9.0


def scatter(report: Report) -> list[Figure]:
    """One for each dataset, its best proxy first; without those that have no score."""
    figures = []
    for where, study, entries in by_study(report):
        shown = [entry for entry in entries if entry.n]
        if not shown:
            continue
        low, high = np.nanquantile(study.accuracy, [LOWEST, 1]).tolist()
        room = 0.05 * (high - low) or 0.5
        up = Scale(low, high + room, _HEIGHT - 26, 24)
        drawn = _drawn(len(study.archs))
        panels = [_panel(study, entry, up, drawn) for entry in shown]
        figures.append(Figure(where, panels, columns=4))
    return figures


def _drawn(n: int) -> NDArray[np.intp]:
    """Which architectures are drawn: all, or `MOST` at random."""
    if n <= MOST:
        return np.arange(n)
    return np.sort(np.random.default_rng(0).choice(n, MOST, replace=False))


def _panel(study: Study, entry: Entry, up: Scale, drawn: NDArray[np.intp]) -> Drawing:
    value = entry.note if math.isnan(entry.value) else number(entry.value)
    title = f"{entry.label}: ρ {value}"
    drawing = Drawing(f"{title}, {entry.n:,} architectures", _WIDTH, _HEIGHT)
    across = Scale(0, 1, 34, _WIDTH - 8)
    role: Role = "baseline" if entry.baseline else "ink"
    drawing.text(
        across.start, 16, short(entry.label, 16), role, bold=True, italic=entry.baseline
    )
    drawing.text(across.end, 16, value, role, anchor="end")
    for tick in up.ticks(5):
        y = up(tick)
        drawing.add(Line(across.start, y, across.end, y, "faint"))
        drawing.text(across.start - 4, y + 3, f"{tick:g}", "muted", _SMALL, "end")
    used = np.isfinite(study.scores[entry.proxy]) & np.isfinite(study.accuracy)
    drawing.add(_cloud(study, entry, (across, up), used, drawn))
    drawing.add(
        Frame(across.start, up.end, across.end - across.start, up.start - up.end)
    )
    y = up.start + 13
    drawing.text(across.start, y, "worst", "muted", _SMALL)
    drawing.text(
        (across.start + across.end) / 2,
        y,
        "rank of the score",
        "muted",
        _SMALL,
        "middle",
    )
    drawing.text(across.end, y, "best", "muted", _SMALL, "end")
    return drawing


def _cloud(
    study: Study,
    entry: Entry,
    axes: tuple[Scale, Scale],
    used: NDArray[np.bool_],
    drawn: NDArray[np.intp],
) -> Cloud:
    """Points of those drawn that have a score; ranks are among all that have one."""
    rank = np.full(len(used), np.nan)
    rank[used] = Ranks.of(study.scores[entry.proxy][used]).centred + 0.5
    points = tuple(
        (axes[0](float(rank[i])), axes[1](float(study.accuracy[i])))
        for i in drawn[used[drawn]]
    )
    return Cloud(points, "baseline" if entry.baseline else "accent")
