"""The tables of correlations in words: what every format of theirs shows."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from zcbench.report.remarks import grouped
from zcbench.report.report import Report
from zcbench.report.section import sections_of
from zcbench.report.sections.block import Options
from zcbench.report.sections.verdict import AHEAD, CLEARLY
from zcbench.report.words import interval, milliseconds, number, percent, setting, title

if TYPE_CHECKING:
    import pandas as pd

HEADER = ("proxy", "ver", "n", "failed", "ρ ↑", "τ-b ↑", "ms/arch")
RIGHT = (False, True, True, True, False, False, True)
"""Which columns are aligned to the right."""


@dataclass(frozen=True, slots=True)
class Line:
    """One row of a printed table.

    Attributes:
        proxy: what it is about.
        cells: texts, one for each of `HEADER`.
        baseline: whether the proxy is a baseline.
        ahead: whether it is ahead of the best baseline.
    """

    proxy: str
    cells: tuple[str, ...]
    baseline: bool
    ahead: bool


@dataclass(frozen=True, slots=True)
class Page:
    """One table with what stands around it.

    Attributes:
        dataset: what it is about.
        title: what it shows.
        setting: how it was made.
        lines: its rows.
        conclusion: one sentence, what the verdict says of this dataset.
        remarks: what scores note of their networks, a line for each kind.
    """

    dataset: str
    title: str
    setting: str
    lines: tuple[Line, ...]
    conclusion: str
    remarks: tuple[str, ...]


def pages(report: Report) -> list[Page]:
    """Every dataset of a report in words."""
    several = len(report.table.attrs["runs"]) > 1
    verdicts = report.verdict.table
    found = []
    for section, rows in sections_of(report.table):
        here = (verdicts["run"] == section.run) & (
            verdicts["dataset"] == section.dataset
        )
        found.append(
            Page(
                dataset=section.dataset,
                title=title(section) + (f" · {section.run}" if several else ""),
                setting=setting(section),
                lines=_lines(rows, verdicts[here]),
                conclusion=conclusion(rows, verdicts[here], report.options),
                remarks=grouped(dict(zip(rows["proxy"], rows["remarks"], strict=True))),
            )
        )
    return found


def heads(report: Report) -> list[str]:
    """What a report is about where it shows no table of correlations."""
    return [
        line
        for study in report.studies
        for line in (title(study.section), f"  {setting(study.section)}")
    ]


def footnote(report: Report) -> str:
    """What the columns are."""
    confidence = percent(report.options.confidence)
    cohort = ""
    if report.table["aggregate"].any():
        cohort = (
            "† combines ranks among the architectures of its table, and has another "
            "value among others; "
        )
    if report.table["epochs"].any():
        cohort += "‡ early stopping: trained for some epochs, no zero-cost proxy; "
    return (
        f"ρ Spearman, τ-b Kendall, with {confidence} intervals; * a baseline; "
        f"{cohort}ms/arch: cost of that proxy alone."
    )


def overall(report: Report) -> str:
    """The verdict over all datasets; empty where there is one."""
    return report.verdict.conclusion if len(report.studies) > 1 else ""


def conclusion(rows: pd.DataFrame, verdicts: pd.DataFrame, options: Options) -> str:
    """Which proxies are ahead of the best baseline on one dataset, in a sentence.

    Args:
        rows: its correlations, best first.
        verdicts: its rows of the section ``verdict``.
        options: those of the report.
    """
    baselines = rows[rows["baseline"] & rows["spearman"].notna()]
    if baselines.empty:
        return "No baseline has a correlation here, so nothing can be ahead of one."
    first = baselines.iloc[0]
    best = f"the best baseline ({first['proxy']} {number(first['spearman'])})"
    if verdicts["delta"].isna().all():
        return f"No proxy has a correlation to set against {best}."
    how = f"by paired {percent(options.confidence)} intervals corrected for all pairs"
    ahead = verdicts[verdicts["word"].isin([CLEARLY, AHEAD])]
    if ahead.empty:
        return f"No proxy is ahead of {best}, {how}."
    leads = "; ".join(_lead(row, first) for row in ahead.to_dict("records"))
    margin = number(options.clearly, signed=True)
    clearly = ahead.loc[ahead["word"] == CLEARLY, "proxy"]
    named = ", ".join(clearly) or "none"
    return f"Ahead of {best}, {how}: {leads}. Clearly (above {margin}): {named}."


def _lead(row: Mapping[str, Any], best: Mapping[str, Any]) -> str:
    text = f"{row['proxy']} {number(row['delta'], signed=True)}"
    text += f" {interval(row['delta_low'], row['delta_high'])}"
    if row["missing"] or row["baseline"] != best["proxy"]:
        against = f"{row['baseline']} {number(row['baseline_value'])}"
        text += f" (on the {row['n']:,.0f} where it has a score, {against})"
    return text


def _lines(rows: pd.DataFrame, verdicts: pd.DataFrame) -> tuple[Line, ...]:
    ahead = set(verdicts.loc[verdicts["word"].isin([CLEARLY, AHEAD]), "proxy"])
    return tuple(
        Line(row["proxy"], _cells(row), bool(row["baseline"]), row["proxy"] in ahead)
        for row in rows.to_dict("records")
    )


def _cells(row: Mapping[str, Any]) -> tuple[str, ...]:
    name = row["proxy"]
    if row["direction"] == "lower":
        name += " (lower is better)"
    seconds = row["seconds_per_arch"]
    failures = ", ".join(f"{count:,} {word}" for word, count in row["status"].items())
    return (
        name + _mark(row),
        "" if row["epochs"] else str(row["version"]),
        f"{row['n']:,}",
        failures or "0",
        _correlation(row, "spearman"),
        _correlation(row, "kendall"),
        "" if math.isnan(seconds) else milliseconds(seconds),
    )


def _mark(row: Mapping[str, Any]) -> str:
    marks = {"baseline": " *", "aggregate": " †", "epochs": " ‡"}
    return next((mark for key, mark in marks.items() if row[key]), "")


def _correlation(row: Mapping[str, Any], kind: str) -> str:
    if math.isnan(row[kind]):
        return str(row["note"])
    ends = interval(row[f"{kind}_low"], row[f"{kind}_high"]) or f"({row['note']})"
    return f"{number(row[kind])} {ends}"
