"""The rank of a score against the accuracy, one panel for each proxy."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from zcbench.analysis.block import number
from zcbench.analysis.report import Report
from zcbench.analysis.study import Study
from zcbench.report.figures.axes import Scale
from zcbench.report.figures.drawing import SMALL, WIDTH, Drawing, Role, short
from zcbench.report.figures.kind import Entry, Figure, Kind, by_study
from zcbench.stats.ranks import Ranks

MOST = 1000
"""Points in a panel; of more architectures, so many are drawn at random."""
LOWEST = 0.05
"""Share of the architectures whose accuracy may lie below the axis."""
_WIDTH, _HEIGHT = WIDTH / 3, 168.0


def scatter(report: Report) -> list[Figure]:
    """One for each dataset, its best proxy first; without those that have no score."""
    figures = []
    for where, study, entries in by_study(report):
        shown = [entry for entry in entries if entry.n]
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
    value = entry.note if math.isnan(entry.value) else number(entry.value)
    title = f"{entry.label}: ρ {value}, {entry.n:,} architectures"
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


SCATTER = Kind(
    "Rank of the score against accuracy in percent",
    "Each point is an architecture: its place in the order of the scores, and its "
    "accuracy in percent. Accuracies below the axis, at most "
    f"{LOWEST:.0%} of them, stand on its lower edge. Of more than {MOST:,} "
    f"architectures, {MOST:,} are drawn, chosen at random, the same in all panels; "
    "ranks and ρ are over all. Orange: baselines.",
    scatter,
)
