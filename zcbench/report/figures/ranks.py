"""Mean ranks over the datasets, and who cannot be told apart."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

from zcbench.analysis.report import Report
from zcbench.analysis.words import interval, percent
from zcbench.report.figures.drawing import Drawing
from zcbench.report.figures.figure import Figure, block_of
from zcbench.report.figures.rows import Row, Style, draw_rows
from zcbench.report.figures.scale import spread


def critical_difference(report: Report) -> list[Figure]:
    """One for all datasets: mean ranks, those within the critical difference joined."""
    block = block_of(report, "tasks")
    if block is None:
        return []
    found = block.table[block.table["mean_rank"].notna()].to_dict("records")
    if not found:
        return [Figure("", [_nothing(block.conclusion)])]
    ends = [r[f"mean_rank{e}"] for r in found for e in ("", "_low", "_high")]
    known = [end for end in ends if not math.isnan(end)]
    apart = float(found[0]["critical_difference"])
    joined = [] if math.isnan(apart) else groups([r["mean_rank"] for r in found], apart)
    level = percent(report.options.confidence)
    style = Style(
        title=f"Mean rank of ρ, 1 the best · {_units(found[0])}",
        axis=f"mean rank, {level} intervals"
        + ("" if math.isnan(apart) else f"; critical difference {apart:.1f}"),
        tick=lambda tick: f"{tick:g}",
        joined=joined,
    )
    across = spread(min(known), max(known), 0, 1)
    return [Figure("", [draw_rows([_row(r) for r in found], across, style)])]


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
    found: list[tuple[int, int]] = []
    for first, rank in enumerate(ranks):
        last = max(i for i, other in enumerate(ranks) if other - rank < apart)
        if last > first and (not found or last > found[-1][1]):
            found.append((first, last))
    return found


def _row(record: dict[str, Any]) -> Row:
    low, high = record["mean_rank_low"], record["mean_rank_high"]
    words = f"{record['mean_rank']:.1f}"
    if interval(low, high):
        words += f" [{low:.1f}, {high:.1f}]"
    baseline = bool(record["baseline"])
    label = f"{record['proxy']} *" if baseline else str(record["proxy"])
    return Row(label, record["mean_rank"], low, high, words, baseline)


def _units(record: dict[str, Any]) -> str:
    datasets, spaces = int(record["datasets"]), int(record["spaces"])
    return (
        f"{datasets} dataset{'s' if datasets > 1 else ''}, "
        f"{spaces} space{'s' if spaces > 1 else ''}"
    )


def _nothing(why: str) -> Drawing:
    drawing = Drawing("Mean ranks", 420, 50)
    drawing.text(4, 30, why, "muted")
    return drawing
