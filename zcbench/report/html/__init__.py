"""A report, or some sections, as one HTML file that needs nothing else."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from zcbench.analysis.block import Block
from zcbench.analysis.study import place
from zcbench.report.figures import KINDS
from zcbench.report.figures.drawing import DARK, LIGHT, Drawing
from zcbench.report.figures.svg import inline
from zcbench.report.html.tables import block_table, page_table
from zcbench.report.pages import footnote, overall, pages
from zcbench.report.provenance import facts, sources
from zcbench.report.report import Report

if TYPE_CHECKING:
    from jinja2 import Template
    from markupsafe import Markup


def render_html(report: Report) -> str:
    """One page: verdict, tables to sort, figures, sections, provenance.

    It loads nothing, works without scripts (which only sort and choose), and follows
    the reader's choice of light or dark.

    Args:
        report: from `make_report`; figures show what its sections hold.
    """
    found = pages(report)
    baselines = {name for study in report.studies for name in study.baselines}
    wheres = [place(study, report.studies)["where"] for study in report.studies]
    return _template("page.html").render(
        report=report,
        headline=overall(report) or (found[0].conclusion if found else ""),
        pages=[
            {"page": page, "table": page_table(report, i), "where": where}
            for i, (page, where) in enumerate(zip(found, wheres, strict=True))
        ],
        footnote=footnote(report),
        figures=_figures(report),
        sections=[(block, block_table(block, baselines)) for block in report.blocks],
        runs=_runs(report),
        light=LIGHT,
        dark=DARK,
    )


def render_blocks(
    title: str,
    heads: Sequence[str],
    blocks: Sequence[Block],
    pictures: Sequence[Drawing],
) -> str:
    """One page of sections that stand alone, such as those of `zcbench search`.

    Args:
        title: of the page.
        heads: lines that say what the sections are about.
        blocks: the sections; the conclusion of the first stands on top.
        pictures: shown below it.
    """
    return _template("blocks.html").render(
        title=title,
        heads=heads,
        sections=[(block, block_table(block, ())) for block in blocks],
        pictures=[_safe(picture) for picture in pictures],
        light=LIGHT,
        dark=DARK,
    )


def _template(name: str) -> Template:
    from jinja2 import Environment, PackageLoader, StrictUndefined

    environment = Environment(
        loader=PackageLoader("zcbench.report", "html"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    return environment.get_template(name)


def _safe(drawing: Drawing) -> Markup:
    from markupsafe import Markup

    return Markup(inline(drawing))  # noqa: S704 - drawings escape what they write


def _figures(report: Report) -> list[dict[str, object]]:
    """Every kind that the report has figures of, as SVG by dataset."""
    found = []
    for name, kind in KINDS.items():
        figures = [
            (figure.where, [_safe(panel) for panel in figure.panels])
            for figure in kind.draw(report)
        ]
        if figures:
            found.append({"name": name, "kind": kind, "figures": figures})
    return found


def _runs(report: Report) -> list[dict[str, object]]:
    """Each run with what is known of how it was made."""
    return [
        {
            "path": run["path"],
            "facts": facts(run)
            + sources([s for s in report.studies if s.run == run["path"]]),
        }
        for run in report.table.attrs["runs"]
    ]
