"""How numbers, titles and conclusions read, in every format."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from zcbench.report.section import Section, sections_of
from zcbench.report.verdict import Comparison, Verdict

if TYPE_CHECKING:
    import pandas as pd

HEADER = ("proxy", "ver", "n", "failed", "ρ ↑", "τ-b ↑", "ms/arch")
RIGHT = (False, True, True, True, False, False, True)
"""Which columns are aligned to the right."""
FOOTNOTE = (
    "ρ Spearman, τ-b Kendall, with 95% intervals; * a baseline; "
    "ms/arch: cost of that proxy alone."
)
_TARGETS = {"val": "validation accuracy", "test": "test accuracy"}


@dataclass(frozen=True, slots=True)
class Line:
    """One row of a printed table.

    Attributes:
        cells: texts, one for each of `HEADER`.
        baseline: whether the proxy is a baseline.
        ahead: whether it is ahead of the best baseline.
    """

    cells: tuple[str, ...]
    baseline: bool
    ahead: bool


@dataclass(frozen=True, slots=True)
class Page:
    """One table with what stands around it.

    Attributes:
        title: what it shows.
        setting: how it was made.
        lines: its rows.
        conclusion: one sentence.
    """

    title: str
    setting: str
    lines: tuple[Line, ...]
    conclusion: str


def pages(table: pd.DataFrame) -> list[Page]:
    """Every section of a table of correlations in words."""
    several = len(table.attrs["runs"]) > 1
    return [
        Page(
            title=title(section) + (f" · {section.run}" if several else ""),
            setting=setting(section),
            lines=_lines(section, rows),
            conclusion=conclusion(section.verdict),
        )
        for section, rows in sections_of(table)
    ]


def number(value: float, *, places: int = 2, signed: bool = False) -> str:
    """A correlation without leading zero: .71, -.26, 1.00.

    >>> number(0.714), number(-0.26), number(-0.001), number(0.05, signed=True)
    ('.71', '-.26', '.00', '+.05')
    """
    rounded = round(value, places)
    text = f"{rounded:{'+' if signed and rounded else ''}.{places}f}"
    text = text.replace("0.", ".", 1) if -1 < rounded < 1 else text
    return text if rounded else text.removeprefix("-")


def interval(low: float, high: float) -> str:
    """[.69, .73], or nothing where there is none."""
    return "" if math.isnan(low) else f"[{number(low)}, {number(high)}]"


def title(section: Section) -> str:
    """What a table shows: space, dataset, target, truth."""
    few, many = section.training_seeds
    seeds = f"{few} to {many}" if few < many else str(many)
    plural = "" if seeds == "1" else "s"
    of = f"mean of {seeds} training seed{plural}" if many else "training seeds unknown"
    release = f", {section.release}" if section.release else ""
    target = _TARGETS.get(section.target, section.target)
    return f"{section.space} · {section.dataset} · {target} ({of}{release})"


def setting(section: Section) -> str:
    """How a table was made: architectures, minibatch, seed."""
    kind = {"all": "", "sample": "sample of ", "list": "list of "}[section.sampled]
    parts = [
        f"population {section.population}",
        f"{kind}{section.architectures:,} architectures",
        f"minibatch {section.minibatch or 'unknown'}",
        f"batch size {section.batch_size}",
        f"seed {section.seed}",
    ]
    if section.repeats > 1:
        parts.append(f"mean of {section.repeats} repeats")
    if section.partial:
        parts.append(f"PARTIAL: {section.networks:,} of {section.expected:,} networks")
    return " · ".join(parts)


def conclusion(verdict: Verdict) -> str:
    """Which proxies are ahead of the best baseline, in a sentence."""
    if not verdict.baseline:
        return "No baseline has a correlation here, so nothing can be ahead of one."
    best = f"the best baseline ({verdict.baseline} {number(verdict.value)})"
    if not verdict.comparisons:
        return f"No proxy has a correlation to set against {best}."
    if not verdict.ahead:
        return f"No proxy is ahead of {best}, by paired 95% intervals."
    leads = "; ".join(_lead(verdict, comparison) for comparison in verdict.ahead)
    return f"Ahead of {best}, by paired 95% intervals of the difference: {leads}."


def _lead(verdict: Verdict, comparison: Comparison) -> str:
    found = comparison.difference
    text = f"{comparison.proxy} {number(found.delta, signed=True)}"
    text += f" {interval(found.low, found.high)}"
    if comparison.subset or comparison.baseline != verdict.baseline:
        against = f"{comparison.baseline} {number(comparison.baseline_value)}"
        text += f" (on the {found.n:,} where it has a score, {against})"
    return text


def _lines(section: Section, rows: pd.DataFrame) -> tuple[Line, ...]:
    ahead = {comparison.proxy for comparison in section.verdict.ahead}
    return tuple(
        Line(_cells(row), bool(row["baseline"]), row["proxy"] in ahead)
        for row in rows.to_dict("records")
    )


def _cells(row: Mapping[str, Any]) -> tuple[str, ...]:
    name = row["proxy"]
    if row["direction"] == "lower":
        name += " (lower is better)"
    seconds = row["seconds_per_arch"]
    failures = ", ".join(f"{count:,} {word}" for word, count in row["status"].items())
    return (
        name + (" *" if row["baseline"] else ""),
        str(row["version"]),
        f"{row['n']:,}",
        failures or "0",
        _correlation(row, "spearman"),
        _correlation(row, "kendall"),
        "" if math.isnan(seconds) else milliseconds(seconds),
    )


def _correlation(row: Mapping[str, Any], kind: str) -> str:
    if math.isnan(row[kind]):
        return str(row["note"])
    ends = interval(row[f"{kind}_low"], row[f"{kind}_high"]) or f"({row['note']})"
    return f"{number(row[kind])} {ends}"


def milliseconds(seconds: float) -> str:
    """Two significant digits, as a plain number.

    >>> milliseconds(0.0183), milliseconds(1.234), milliseconds(0.00000123)
    ('18', '1234', '0.0012')
    """
    value = seconds * 1000
    if value == 0 or value >= 9.95:
        return f"{value:.0f}"
    return f"{value:.{1 - math.floor(math.log10(value))}f}"
