"""Names below each other, each with a point and its interval: ρ, and mean ranks."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

from zcbench.analysis.block import interval, number, percent
from zcbench.analysis.ceilings import LIMIT
from zcbench.analysis.report import Report
from zcbench.analysis.rows import rows_about
from zcbench.analysis.study import Study
from zcbench.report.figures import Figure
from zcbench.report.figures.axes import Scale
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
from zcbench.stats import Estimate

_ROW, _LINE = 19.0, 15.0
_LEAST = 200.0  # width of the axis; on a phone a half
_WORDS, _USUAL = 26, "-.00 [-.00, -.00]"  # characters on the right


@dataclass(frozen=True, slots=True)
class Row:
    """One point with its interval.

    Attributes:
        label: what stands on the left.
        at: where the point and its interval are.
        words: what stands on the right.
        baseline: whether it is a baseline.
        bold: whether its name is to be seen first.
    """

    label: str
    at: Estimate
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
    role: Role
    dashed: bool


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


def draw_rows(
    rows: Sequence[Row], scale: Scale, style: Style, room: float = WIDTH
) -> Drawing:
    """Draw rows from top to bottom.

    Args:
        rows: at least one.
        scale: only its ends matter, not its place.
        style: what is written around them.
        room: width, unless the texts need more; where it is little, intervals are
            drawn and not written.
    """
    usual, least = _USUAL, _LEAST
    if room < WIDTH:
        usual, least = "-.00", _LEAST / 2
        rows = [replace(row, words=row.words.partition(" [")[0]) for row in rows]
    left = 16 + max(text_width(short(r.label), bold=r.bold) for r in rows)
    right = 20 + widest([usual, *(short(r.words, _WORDS) for r in rows)], SMALL)
    width = max(room, left + least + right + 8 * len(style.joined))
    words = width - right - 8 * len(style.joined) + 14
    top = 26 + _LINE * len(style.guides)
    bottom = top + _ROW * len(rows)
    across = Scale(scale.low, scale.high, left, words - 14)
    drawing = Drawing(f"{style.title}: {style.axis}", width, bottom + 40)
    drawing.text(4, 16, short(style.title, 60), bold=True)
    for tick in across.ticks(int((across.end - across.start) / 36)):
        x = across(tick)
        drawing.line(x, top, x, bottom, "muted" if tick == 0 > across.low else "faint")
        drawing.text(x, bottom + 14, style.tick(tick), "muted", SMALL, "middle")
    drawing.line(across.start, bottom, across.end, bottom)
    middle = (across.start + across.end) / 2
    drawing.text(middle, bottom + 32, style.axis, "muted", SMALL, "middle")
    for i, guide in enumerate(style.guides):
        x, y, late = across(guide.value), 26 + _LINE * i, across(guide.value) > middle
        drawing.line(x, y + 3, x, bottom, guide.role, 1.5, dashed=guide.dashed)
        side: Anchor = "end" if late else "start"
        x += -4 if late else 4
        drawing.text(x, y + 11, guide.words, guide.role, SMALL, side)
    for i, row in enumerate(rows):
        _draw(drawing, across, row, top + _ROW * (i + 0.5), words)
    for i, (first, last) in enumerate(style.joined):
        x = width - 8 * (len(style.joined) - i) + 2
        drawing.line(
            x, top + _ROW * first + 4, x, top + _ROW * (last + 1) - 4, "ink", 3
        )
    return drawing


def _draw(drawing: Drawing, across: Scale, row: Row, y: float, words: float) -> None:
    """A name, a line at its value over the bar of its interval, and both as words."""
    name: Role = "baseline" if row.baseline else "ink"
    x, label = across.start - 8, short(row.label)
    drawing.text(x, y + 4, label, name, anchor="end", bold=row.bold)
    drawing.text(words, y + 4, short(row.words, _WORDS), size=SMALL)
    if math.isnan(row.at.value):
        return
    role = "baseline" if row.baseline else "accent"
    if not math.isnan(row.at.low):
        low, high = across(row.at.low), across(row.at.high)
        drawing.rect(low, y - 4.5, high - low, 9, role, opacity=".35")
    drawing.rect(across(row.at.value) - 1.2, y - 7, 2.4, 14, role)


def forest(report: Report) -> list[Figure]:
    """ρ below the highest that is possible: one for each dataset, all on one axis."""
    datasets = list(by_study(report))
    ends = (end for *_, entries in datasets for e in entries for end in e.ends)
    low = min(ends, default=0.0)
    across = Scale(max(-1.0, math.floor(5 * min(low, 0.0)) / 5), 1.0, 0, 1)
    confidence = percent(report.options.confidence)
    figures = []
    for where, study, entries in datasets:
        style = Style(
            title=where,
            axis=f"ρ with {study.target} accuracy, {confidence} intervals",
            tick=lambda tick: number(tick, places=1),
            guides=_guides(report, study, entries),
        )
        rows = [Row(e.label, e.rho, e.words, e.baseline, e.ahead) for e in entries]
        figures.append(_figure(where, rows, across, style))
    return figures


def _figure(where: str, rows: Sequence[Row], across: Scale, style: Style) -> Figure:
    wide, narrow = (draw_rows(rows, across, style, room) for room in (WIDTH, PHONE))
    return Figure(where, [wide], [narrow])


def _guides(report: Report, study: Study, entries: Sequence[Entry]) -> list[Guide]:
    """The ceiling, where it is known, and the best baseline."""
    guides = []
    block = block_of(report, "ceilings")
    if block is not None:
        rows = rows_about(study, block.table)
        limit = float(rows.loc[rows["proxy"] == LIMIT, "ceiling_all"].iloc[0])
        if not math.isnan(limit):
            words = number(limit, places=3 if limit > 0.99 else 2)
            guides.append(Guide(limit, f"highest possible {words}", "ink", False))
    best = next((e for e in entries if e.baseline and e.ends), None)
    if best is not None:
        words = f"best baseline, {best.proxy}"
        guides.append(Guide(best.rho.value, words, "baseline", True))
    return guides


def critical_difference(report: Report) -> list[Figure]:
    """One for all datasets: mean ranks, those within the critical difference joined."""
    block = block_of(report, "tasks")
    if block is None:
        return []
    ranked = block.table[block.table["mean_rank"].notna()].to_dict("records")
    if not ranked:
        nothing = Drawing("Mean ranks", WIDTH, 50)
        nothing.text(4, 30, block.conclusion, "muted")
        return [Figure("", [nothing])]
    ends = [r[f"mean_rank{e}"] for r in ranked for e in ("", "_low", "_high")]
    known = [end for end in ends if not math.isnan(end)]
    apart = float(ranked[0]["critical_difference"])
    joined = (
        [] if math.isnan(apart) else groups([r["mean_rank"] for r in ranked], apart)
    )
    units = (f"{int(ranked[0][name]):,} {name}" for name in ("datasets", "spaces"))
    style = Style(
        title="Mean rank of ρ, 1 the best · " + ", ".join(map(_singular, units)),
        axis=f"mean rank, {percent(report.options.confidence)} intervals"
        + ("" if math.isnan(apart) else f"; critical difference {apart:.1f}"),
        tick=lambda tick: f"{tick:g}",
        joined=joined,
    )
    first, last = math.floor(min(known)), math.ceil(max(known))
    across = Scale(first, max(last, first + 1), 0, 1)
    return [_figure("", [_rank(r) for r in ranked], across, style)]


def _singular(words: str) -> str:
    return words.removesuffix("s") if words.startswith("1 ") else words


def groups(ranks: Sequence[float], apart: float) -> list[tuple[int, int]]:
    """The largest runs of neighbours whose mean ranks are less than that apart.

    >>> groups([1.0, 2.0, 2.5, 6.0, 6.1], 2)
    [(0, 2), (3, 4)]

    Args:
        ranks: mean ranks, smallest first.
        apart: the critical difference.

    Returns:
        (first, last) of each run of at least two that no other contains.
    """
    runs: list[tuple[int, int]] = []
    for first, rank in enumerate(ranks):
        last = max(i for i, other in enumerate(ranks) if other - rank < apart)
        if last > first and (not runs or last > runs[-1][1]):
            runs.append((first, last))
    return runs


def _rank(record: dict[str, Any]) -> Row:
    at = Estimate(*(record[f"mean_rank{end}"] for end in ("", "_low", "_high")))
    words = f"{at.value:.1f}"
    if interval(at.low, at.high):
        words += f" [{at.low:.1f}, {at.high:.1f}]"
    baseline = bool(record["baseline"])
    label = f"{record['proxy']} *" if baseline else str(record["proxy"])
    return Row(label, at, words, baseline)
