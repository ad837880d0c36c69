"""What figures show of a report: every proxy on every dataset."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass

from zcbench.analysis.block import Block, interval, number
from zcbench.analysis.report import Report
from zcbench.analysis.rows import place, rows_about
from zcbench.analysis.study import Study
from zcbench.analysis.verdict import ahead_of
from zcbench.stats import Estimate


@dataclass(frozen=True, slots=True)
class Entry:
    """One proxy on one dataset, higher scores being better.

    Attributes:
        proxy: its name.
        baseline: whether it is a baseline.
        ahead: whether the verdict says that it is ahead of the best baseline.
        rho: with the accuracy.
        note: why something is missing.
        seconds: cost of scoring one network; NaN if unknown.
        few: whether it has too few scores to stand beside the others.
    """

    proxy: str
    baseline: bool
    ahead: bool
    rho: Estimate
    note: str
    seconds: float
    few: bool

    @property
    def label(self) -> str:
        """Its name, marked as in the tables."""
        name = f"{self.proxy} *" if self.baseline else self.proxy
        return f"{name} §" if self.few else name

    @property
    def ends(self) -> list[float]:
        """Its ρ and the ends of the interval, as far as they are known."""
        numbers = self.rho.value, self.rho.low, self.rho.high
        return [number for number in numbers if not math.isnan(number)]

    @property
    def words(self) -> str:
        """.71 [.67, .74], or why there is none."""
        if math.isnan(self.rho.value):
            return self.note
        ends = interval(self.rho.low, self.rho.high) or f"({self.note})"
        return f"{number(self.rho.value)} {ends}"


def by_study(report: Report) -> Iterator[tuple[str, Study, list[Entry]]]:
    """Each dataset, as the tables name it, with its proxies, best first."""
    for study in report.studies:
        where = place(study, report.studies)["where"]
        yield where, study, sorted(_entries(report, study), key=_merit)


def _entries(report: Report, study: Study) -> list[Entry]:
    table = rows_about(study, report.table)
    notes = dict(zip(table["proxy"], table["note"], strict=True))
    ahead = ahead_of(rows_about(study, report.verdict.table))["proxy"].tolist()
    level = report.options.confidence
    return [
        Entry(
            proxy=proxy,
            baseline=proxy in study.baselines,
            ahead=proxy in ahead,
            rho=study.association(proxy, "spearman", confidence=level),
            note=str(notes[proxy]),
            seconds=study.seconds[proxy],
            few=study.is_thin(proxy),
        )
        for proxy in study.scores
    ]


def _merit(entry: Entry) -> tuple[bool, bool, float, str]:
    value = entry.rho.value
    return math.isnan(value), entry.few, -value, entry.proxy


def block_of(report: Report, name: str) -> Block | None:
    """A section of a report, if it was asked for."""
    return next((block for block in report.blocks if block.name == name), None)
