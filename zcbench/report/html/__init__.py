"""A document as one HTML file that needs nothing else."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from functools import cache
from typing import TYPE_CHECKING, Any

from zcbench.analysis import TABLE
from zcbench.analysis.block import Block
from zcbench.errors import visible
from zcbench.report.document import Document, Gallery
from zcbench.report.figures.drawing import DARK, LIGHT, WIDTH, Drawing, inline
from zcbench.report.text import cells, right, styles

if TYPE_CHECKING:
    from jinja2 import Environment


def render_html(document: Document) -> str:
    """One page: verdict, tables to sort, figures, sections, provenance.

    It loads nothing, works without scripts (which only sort and choose), and follows
    the reader's choice of light or dark.

    Args:
        document: what to write.
    """
    paths = [path for path, _ in document.subjects]
    first = document.leads[0][1] if document.leads else document.blocks[0].conclusion
    shown = [(block, table_of(block)) for block in document.blocks]
    correlations = [(block, table) for block, table in shown if block.name == TABLE]
    sections = [(block, table) for block, table in shown if block.name != TABLE]
    galleries = document.galleries()
    return page(
        "page.html",
        document=document,
        subject=", ".join(paths) or document.heads[0],
        heads=[" · ".join(paths)] if paths else document.heads,
        headline=document.conclusion or first,
        contents=_contents(
            [block for block, _ in correlations],
            galleries,
            [block for block, _ in sections],
            known=bool(paths),
        ),
        correlations=correlations,
        galleries=galleries,
        safe=_safe,
        usual=WIDTH,
        sections=sections,
    )


def _contents(
    correlations: Sequence[Block],
    galleries: Sequence[Gallery],
    sections: Sequence[Block],
    *,
    known: bool,
) -> dict[str, list[tuple[str, str]]]:
    """Group → (text, id) of what a page holds, in its order; no group is empty."""
    tables = enumerate(correlations, 1)
    groups = {
        "Result": [("Verdict", "verdict")]
        + [(block.where or "Correlations", f"correlations-{i}") for i, block in tables],
        "Figures": [(g.title, f"figure-{g.name}") for g in galleries],
        "Sections": [
            (block.title.partition(":")[0], f"section-{block.name}")
            for block in sections
        ],
        "Made": [("Provenance", "provenance")] if known else [],
    }
    return {group: links for group, links in groups.items() if links}


def page(template: str, **content: Any) -> str:
    """A page from a template of this package, in the colours of figures."""
    known = _environment().get_template(template)
    return known.render(light=LIGHT, dark=DARK, **content)


@cache
def _environment() -> Environment:
    """Where templates are found; each is read and compiled once."""
    from jinja2 import ChoiceLoader, Environment, PackageLoader, StrictUndefined

    return Environment(
        loader=ChoiceLoader(
            [PackageLoader("zcbench.report", folder) for folder in ("html", "site")]
        ),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )


def _safe(drawing: Drawing) -> str:
    from markupsafe import Markup

    return Markup(inline(drawing))  # noqa: S704 - drawings escape what they write


def table_of(block: Block) -> dict[str, Any]:
    """What `table.html` shows of a block: cells know the number that they sort by.

    ρ stands beside the names of proxies, where a phone shows it.
    """
    if block.name == TABLE:
        name, *others = block.columns
        others.sort(key=lambda column: column.key != "spearman")
        block = replace(block, columns=(name, *others))
    numeric = [column.kind != "text" for column in block.columns]
    rows = []
    for texts, record in zip(cells(block), block.records(), strict=True):
        keys = [
            _key(record[column.key]) if sorts else ""
            for column, sorts in zip(block.columns, numeric, strict=True)
        ]
        rows.append(list(zip(texts, keys, strict=True)))
    headers = [visible(column.header) for column in block.columns]
    return {
        "heads": list(zip(headers, numeric, right(block), strict=True)),
        "rows": list(zip(styles(block), rows, strict=True)),
    }


def _key(value: object) -> str:
    """A number for the page's script; empty for what is none."""
    known = isinstance(value, int | float) and value == value
    return f"{value:.6g}" if known else ""
