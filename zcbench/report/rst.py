"""Documents as reStructuredText, for pages made with Sphinx."""

from __future__ import annotations

from zcbench.analysis.block import Block
from zcbench.report.cells import cells, header
from zcbench.report.document import Document


def render_rst(document: Document) -> str:
    """A ``list-table`` for each block, under its title."""
    parts = [f"- {_plain(head.strip())}\n" for head in document.heads]
    parts += [
        f"{_plain(part)}\n" if isinstance(part, str) else _block(part)
        for part in document.parts
    ]
    return "\n".join(filter(None, parts))


def _block(block: Block) -> str:
    """What it is, its table, its conclusion."""
    title = _plain(block.title)
    rows = [header(block), *cells(block)]
    listed = "".join(
        f"   {'*' if place == 0 else ' '} - {_plain(text)}\n"
        for row in rows
        for place, text in enumerate(row)
    )
    table = f".. list-table:: {title}\n   :header-rows: 1\n\n{listed}"
    words = [block.about, *block.conclusion.splitlines(), *block.remarks]
    return "\n".join([table, *(f"{_plain(text)}\n" for text in words if text)])


def _plain(text: str) -> str:
    """Text that reStructuredText shows as it is."""
    for character in "\\*`_|":
        text = text.replace(character, f"\\{character}")
    return text
