"""What the kinds of figures have in common."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from zcbench.report.place import place
from zcbench.report.plots.drawing import Drawing
from zcbench.report.report import Report
from zcbench.report.sections.block import Block
from zcbench.report.study import Study

if TYPE_CHECKING:
    import pandas as pd


@dataclass(frozen=True, slots=True, eq=False)
class Figure:
    """One drawing, or several of one size that belong together.

    Attributes:
        where: the dataset that it is about, as the tables name it; empty for all.
        panels: what is drawn.
        columns: how many panels stand beside each other in a file.
    """

    where: str
    panels: Sequence[Drawing]
    columns: int = 1


def wheres(report: Report) -> list[str]:
    """How the tables name each dataset of a report."""
    return [place(study, report.studies)["where"] for study in report.studies]


def by_study(report: Report) -> Iterator[tuple[str, Study, pd.DataFrame]]:
    """Each dataset with its name and its rows of correlations, best first."""
    table = report.table
    for where, study in zip(wheres(report), report.studies, strict=True):
        section = study.section
        here = (table["run"] == section.run) & (table["dataset"] == section.dataset)
        yield where, study, table[here]


def block_of(report: Report, name: str) -> Block | None:
    """A section of a report, if it was asked for."""
    return next((block for block in report.blocks if block.name == name), None)


def oriented(row: pd.Series[float]) -> tuple[float, float, float]:
    """ρ of a row of correlations and its interval, higher is better."""
    value, low, high = (float(row[f"spearman{end}"]) for end in ("", "_low", "_high"))
    if str(row["direction"]) == "lower":
        return -value, -high, -low
    return value, low, high
