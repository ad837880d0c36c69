"""ρ of every proxy with its interval, below the highest that is possible."""

from __future__ import annotations

import math
from collections.abc import Sequence

from zcbench.analysis.ceilings import LIMIT
from zcbench.analysis.report import Report
from zcbench.analysis.study import Study
from zcbench.analysis.words import number, percent
from zcbench.report.figures.figure import Entry, Figure, block_of, by_study
from zcbench.report.figures.rows import Guide, Row, Style, draw_rows
from zcbench.report.figures.scale import Scale, spread


def forest(report: Report) -> list[Figure]:
    """One for each dataset, all on the same axis."""
    found = list(by_study(report))
    across = _across([entry for _, _, entries in found for entry in entries])
    figures = []
    for where, study, entries in found:
        style = Style(
            title=where,
            axis=f"ρ with {study.target} accuracy, "
            f"{percent(report.options.confidence)} intervals",
            tick=lambda tick: number(tick, places=1),
            guides=_guides(report, study, entries),
        )
        figures.append(Figure(where, [draw_rows(_rows(entries), across, style)]))
    return figures


def _across(entries: Sequence[Entry]) -> Scale:
    """From a round number below all to 1."""
    ends = (x for e in entries for x in (e.value, e.low) if not math.isnan(x))
    low = spread(min(0.0, *ends, 0.0), 1, 0, 1).low
    return Scale(max(-1.0, low), 1.0, 0, 1)


def _rows(entries: Sequence[Entry]) -> list[Row]:
    return [
        Row(e.label, e.value, e.low, e.high, e.words, e.baseline, e.ahead)
        for e in entries
    ]


def _guides(report: Report, study: Study, entries: Sequence[Entry]) -> list[Guide]:
    """The ceiling, where it is known, and the best baseline."""
    guides = []
    block = block_of(report, "ceilings")
    if block is not None:
        rows = block.table
        here = (rows["run"] == study.run) & (rows["dataset"] == study.dataset)
        ceiling = float(
            rows.loc[here & (rows["proxy"] == LIMIT), "ceiling_all"].iloc[0]
        )
        if not math.isnan(ceiling):
            places = 3 if ceiling > 0.99 else 2
            words = f"highest possible {number(ceiling, places=places)}"
            guides.append(Guide(ceiling, words, "ink", dashed=False))
    best = next((e for e in entries if e.baseline and not math.isnan(e.value)), None)
    if best is not None:
        guides.append(Guide(best.value, f"best baseline, {best.proxy}", "baseline"))
    return guides
