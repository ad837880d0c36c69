"""Figures of a report: drawn once, as SVG; PNG and the page are made of that."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence

from zcbench.analysis.correlations import TABLE
from zcbench.analysis.report import Report
from zcbench.errors import unknown
from zcbench.report.figures.cost import COST
from zcbench.report.figures.drawing import Drawing, sheet
from zcbench.report.figures.grids import AGREEMENT, HEATMAP
from zcbench.report.figures.kind import Figure, Kind
from zcbench.report.figures.rows import CRITICAL_DIFFERENCE, FOREST
from zcbench.report.figures.scatter import SCATTER
from zcbench.report.figures.svg import need_resvg, png, standalone

KINDS: Mapping[str, Kind] = {
    "forest": FOREST,
    "heatmap": HEATMAP,
    "scatter": SCATTER,
    "agreement": AGREEMENT,
    "cost": COST,
    "critical-difference": CRITICAL_DIFFERENCE,
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
    found: dict[str, Drawing] = {}
    for kind in kinds:
        for figure in KINDS[kind].draw(report):
            name = "-".join(filter(None, (kind, _plain(figure.where))))
            same = sum(other.startswith(name) for other in found)
            name += f"-{same + 1}" if name in found else ""
            title = f"{KINDS[kind].title} · {figure.where}"
            single = len(figure.panels) == 1
            found[name] = figure.panels[0] if single else sheet(title, figure.panels)
    return found


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
