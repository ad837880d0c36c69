"""A report as one HTML file that needs nothing else."""

from __future__ import annotations

from zcbench.report.html.tables import block_table, page_table
from zcbench.report.pages import footnote, overall, pages
from zcbench.report.place import place
from zcbench.report.plots import KINDS
from zcbench.report.plots.drawing import DARK, LIGHT
from zcbench.report.plots.svg import inline
from zcbench.report.provenance import facts, sources
from zcbench.report.report import Report


def render_html(report: Report) -> str:
    """One page: verdict, tables to sort, figures, sections, provenance.

    It loads nothing, works without scripts (which only sort and choose), and follows
    the reader's choice of light or dark.

    Args:
        report: from `make_report`; figures show what its sections hold.
    """
    from jinja2 import Environment, PackageLoader, StrictUndefined

    environment = Environment(
        loader=PackageLoader("zcbench.report", "html"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    template = environment.get_template("page.html")
    found = pages(report)
    wheres = [place(study, report.studies)["where"] for study in report.studies]
    return template.render(
        report=report,
        headline=overall(report) or (found[0].conclusion if found else ""),
        pages=[
            {"page": page, "table": page_table(report, i), "where": where}
            for i, (page, where) in enumerate(zip(found, wheres, strict=True))
        ],
        footnote=footnote(report),
        figures=_figures(report),
        sections=[(block, block_table(block, report)) for block in report.blocks],
        runs=_runs(report),
        light=LIGHT,
        dark=DARK,
    )


def _figures(report: Report) -> list[dict[str, object]]:
    """Every kind that the report has figures of, as SVG by dataset."""
    from markupsafe import Markup

    found = []
    for name, kind in KINDS.items():
        figures = [
            # Drawings escape what they write.
            (figure.where, [Markup(inline(panel)) for panel in figure.panels])  # noqa: S704
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
            + sources(
                [s.section for s in report.studies if s.section.run == run["path"]]
            ),
        }
        for run in report.table.attrs["runs"]
    ]
