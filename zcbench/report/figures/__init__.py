"""Figures of a report: drawn once, as SVG; PNG and the page are made of that."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from importlib import import_module
from typing import TYPE_CHECKING

from zcbench.analysis import TABLE
from zcbench.analysis.block import FEW, SCORED
from zcbench.errors import unknown
from zcbench.report.figures.drawing import Drawing, need_resvg, png, sheet, standalone

if TYPE_CHECKING:
    from zcbench.analysis.report import Report

MOST = 1000
"""Points in a panel of a scatter; of more architectures, so many, at random."""
LOWEST = 0.05
"""Share of the architectures whose accuracy may lie below its axis."""


@dataclass(frozen=True, slots=True, eq=False)
class Figure:
    """One drawing, or several of one size that belong together.

    Attributes:
        where: the dataset that it is about, as the tables name it; empty for all.
        panels: what is drawn; at least one.
        narrow: the only panel drawn anew for `PHONE`, in one part or several, where
            that makes it legible.
    """

    where: str
    panels: Sequence[Drawing]
    narrow: Sequence[Drawing] = ()


@dataclass(frozen=True, slots=True)
class Kind:
    """One kind of figure.

    Attributes:
        title: what stands above it in a page.
        about: how to read it.
        home: the file and the function there that draws it, imported when it does.
        needs: the section whose numbers it shows, besides the correlations.
    """

    title: str
    about: str
    home: tuple[str, str]
    needs: str = ""

    def draw(self, report: Report) -> list[Figure]:
        """Its figures of a report; none where the report lacks the section."""
        file, function = self.home
        module = import_module(f"zcbench.report.figures.{file}")
        figures: list[Figure] = getattr(module, function)(report)
        return figures


KINDS: Mapping[str, Kind] = {
    "forest": Kind(
        "Correlation with accuracy",
        "Spearman's ρ with its interval. Bold: ahead of the best baseline by the "
        f"verdict's corrected intervals. Orange: baselines. {FEW}.",
        ("rows", "forest"),
        "ceilings",
    ),
    "heatmap": Kind(
        "Every proxy on every dataset",
        "Spearman's ρ, the highest mean on top; no number counts as 0 (–: the tables "
        "say why), and so does one "
        f"of fewer than {SCORED:.0%} of the architectures (§ somewhere). Bold: ahead "
        "of the best baseline on that dataset.",
        ("grids", "heatmap"),
    ),
    "scatter": Kind(
        "Rank of the score against accuracy in percent",
        "Each point is an architecture: its place in the order of the scores, and its "
        "accuracy in percent. Accuracies below the axis, at most "
        f"{LOWEST:.0%} of them, stand on its lower edge. Of more than {MOST:,} "
        f"architectures, {MOST:,} are drawn, chosen at random, the same in all panels; "
        "ranks and ρ are over all. Orange: baselines.",
        ("points", "scatter"),
    ),
    "agreement": Kind(
        "Who says the same",
        "ρ between the scores of two proxies. Those alike stand together; outlined: "
        "the groups of the section on agreement.",
        ("grids", "agreement"),
        "agreement",
    ),
    "cost": Kind(
        "Cost against correlation",
        "Dashed: the highest ρ for at most that cost. Vertical: intervals. Orange "
        f"squares: baselines. {FEW}.",
        ("points", "cost"),
    ),
    "critical-difference": Kind(
        "Mean ranks",
        "Over all datasets. Bars on the right join proxies whose mean ranks are less "
        "than Nemenyi's critical difference apart, which needs several spaces. Orange: "
        "baselines.",
        ("rows", "critical_difference"),
        "tasks",
    ),
}
"""Kinds of figures, in reading order."""
FORMATS: Mapping[str, Callable[[Drawing], bytes]] = {
    "svg": lambda drawing: standalone(drawing).encode(),
    "png": png,
}


def check(format_name: str) -> None:
    """Make sure that a format can be written, before anything is computed.

    Raises:
        UsageError: it cannot.
    """
    if format_name == "png":
        need_resvg()


def sections_for(kinds: Sequence[str]) -> tuple[str, ...]:
    """Sections that a report must have for these kinds of figures.

    Raises:
        UsageError: there is no such kind.
    """
    for name in kinds:
        if name not in KINDS:
            raise unknown("kind of figure", name, KINDS)
    return (TABLE, *(KINDS[name].needs for name in kinds if KINDS[name].needs))


def drawings(report: Report, kinds: Sequence[str]) -> dict[str, Drawing]:
    """Figures of a report by the name of their file, without its ending.

    Args:
        report: with the sections of `sections_for`.
        kinds: some of `KINDS`.
    """
    by_name: dict[str, Drawing] = {}
    for kind in kinds:
        for figure in KINDS[kind].draw(report):
            name = "-".join(filter(None, (kind, _plain(figure.where))))
            same = sum(other.startswith(name) for other in by_name)
            name += f"-{same + 1}" if name in by_name else ""
            title = f"{KINDS[kind].title} · {figure.where}"
            single = len(figure.panels) == 1
            by_name[name] = figure.panels[0] if single else sheet(title, figure.panels)
    return by_name


def _plain(where: str) -> str:
    """A dataset, and run, as part of the name of a file."""
    plain = re.sub(r"[^\w.-]+", "-", where).strip("-.")
    # Of a long path, its beginning has the dataset and its end the run.
    return plain if len(plain) <= 80 else f"{plain[:30]}-{plain[-49:]}"
