"""Figures of a report: drawn once, written as SVG or PNG, or set into a page."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from zcbench.analysis.correlations import TABLE
from zcbench.analysis.report import Report
from zcbench.errors import unknown
from zcbench.report.figures.agreement import agreement
from zcbench.report.figures.cost import cost
from zcbench.report.figures.drawing import Drawing, sheet
from zcbench.report.figures.figure import Figure
from zcbench.report.figures.forest import forest
from zcbench.report.figures.heatmap import heatmap
from zcbench.report.figures.png import need_matplotlib, png
from zcbench.report.figures.ranks import critical_difference
from zcbench.report.figures.scatter import LOWEST, MOST, scatter
from zcbench.report.figures.svg import standalone


@dataclass(frozen=True, slots=True)
class Kind:
    """One kind of figure.

    Attributes:
        title: what stands above it in a page.
        about: how to read it.
        draw: its figures of a report; none where the report lacks the section.
        needs: the section whose numbers it shows, besides the correlations.
    """

    title: str
    about: str
    draw: Callable[[Report], list[Figure]]
    needs: str = ""


_BASELINES = "Baselines: orange squares."
KINDS: Mapping[str, Kind] = {
    "forest": Kind(
        "Correlation with accuracy",
        "Spearman's ρ with its interval. Bold: ahead of the best baseline by the "
        f"verdict's corrected intervals. {_BASELINES}",
        forest,
        "ceilings",
    ),
    "heatmap": Kind(
        "Every proxy on every dataset",
        "Spearman's ρ, the highest mean on top. Bold: ahead of the best baseline on "
        "that dataset.",
        heatmap,
    ),
    "scatter": Kind(
        "Score against accuracy",
        "Each point is an architecture: its place in the order of the scores, and its "
        "accuracy in percent. Accuracies below the axis, at most "
        f"{LOWEST:.0%} of them, stand on its lower edge. Of more than {MOST:,} "
        f"architectures, {MOST:,} are drawn, chosen at random, the same in all panels; "
        "ranks and ρ are over all.",
        scatter,
    ),
    "agreement": Kind(
        "Who says the same",
        "ρ between the scores of two proxies. Those alike stand together; outlined: "
        "the groups of the section on agreement.",
        agreement,
        "agreement",
    ),
    "cost": Kind(
        "Cost against correlation",
        "Dashed: the highest ρ for at most that cost. Vertical: intervals. "
        f"{_BASELINES}",
        cost,
    ),
    "critical-difference": Kind(
        "Mean ranks",
        "Over all datasets. Bars on the right join proxies whose mean ranks are less "
        "than Nemenyi's critical difference apart, which needs several spaces. "
        f"{_BASELINES}",
        critical_difference,
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
        need_matplotlib()


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
    found: dict[str, Drawing] = {}
    for kind in kinds:
        for figure in KINDS[kind].draw(report):
            name = "-".join(filter(None, (kind, _plain(figure.where))))
            same = sum(other.startswith(name) for other in found)
            name += f"-{same + 1}" if name in found else ""
            found[name] = _whole(kind, figure)
    return found


def _whole(kind: str, figure: Figure) -> Drawing:
    if len(figure.panels) == 1:
        return figure.panels[0]
    title = f"{KINDS[kind].title} · {figure.where}"
    return sheet(title, figure.panels, figure.columns)


def _plain(where: str) -> str:
    """A dataset, and run, as part of the name of a file."""
    plain = re.sub(r"[^\w.-]+", "-", where).strip("-.")
    # Of a long path, its beginning has the dataset and its end the run.
    return plain if len(plain) <= 80 else f"{plain[:30]}-{plain[-49:]}"


__all__ = [
    "FORMATS",
    "KINDS",
    "Drawing",
    "Figure",
    "Kind",
    "check",
    "drawings",
    "sections_for",
]
