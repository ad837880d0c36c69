"""Documents as Markdown, and tables of Markdown."""

from __future__ import annotations

from collections.abc import Sequence

from zcbench.analysis.block import Block
from zcbench.report.cells import cells, header, right, styles
from zcbench.report.document import Document


def render_md(document: Document) -> str:
    """A Markdown table for each block; who is ahead is bold."""
    parts = ["".join(f"- {escape_markdown(h.strip())}\n" for h in document.heads)]
    parts += [
        f"{escape_markdown(part)}\n" if isinstance(part, str) else _block(part)
        for part in document.parts
    ]
    return "\n".join(filter(None, parts))


def _block(block: Block) -> str:
    """What it is, its table, its conclusion."""
    title, about = escape_markdown(block.title), escape_markdown(block.about)
    lines = block.conclusion.splitlines()
    bullet = "- " if len(lines) > 1 else ""
    below = "".join(f"{bullet}{escape_markdown(line)}\n" for line in lines)
    remarks = "".join(f"- {escape_markdown(line)}\n" for line in block.remarks)
    above = [f"### {title}\n"] if title else []
    above += [f"{about}\n"] if about else []
    return "\n".join(filter(None, (*above, table_of(block), below, remarks)))


def table_of(block: Block) -> str:
    """The table of a block alone; in bold, proxies that are ahead."""
    keys = [column.key for column in block.columns]
    rows = []
    for texts, style in zip(cells(block), styles(block), strict=True):
        row = [escape_markdown(text) for text in texts]
        if style == "ahead" and "proxy" in keys:
            place = keys.index("proxy")
            row[place] = f"**{row[place]}**"
        rows.append(row)
    head = [escape_markdown(text) for text in header(block)]
    return markdown_table(head, rows, right(block))


def markdown_table(
    header: Sequence[str], rows: Sequence[Sequence[str]], right: Sequence[bool]
) -> str:
    """A table of escaped cells."""
    rule = ["---:" if to_right else "---" for to_right in right]
    lines = (f"| {' | '.join(cells)} |\n" for cells in (header, rule, *rows))
    return "".join(lines)


def escape_markdown(text: str) -> str:
    """Text that Markdown shows as it is."""
    for character in "\\|*_`<":
        text = text.replace(character, f"\\{character}")
    return text
