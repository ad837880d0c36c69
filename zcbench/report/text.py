"""Documents for a terminal."""

from __future__ import annotations

import io
import textwrap

from zcbench.analysis.block import Block
from zcbench.errors import visible
from zcbench.report.cells import cells, header, right, styles
from zcbench.report.document import Document

WIDTH = 88
"""Columns that sentences take at most; tables are as wide as their cells."""
_STYLES = {"ahead": "bold", "baseline": "dim", "better": "green", "worse": "bold red"}


def render_text(document: Document, *, color: bool = False) -> str:
    """Plain text, with terminal codes if asked for.

    Args:
        document: what to write.
        color: whether to mark rows by their style.
    """
    parts = ["".join(map(_wrap, document.heads))]
    parts += [
        _wrap(part) if isinstance(part, str) else _block(part, color)
        for part in document.parts
    ]
    return "\n".join(filter(str.strip, parts))


def _block(block: Block, color: bool) -> str:
    """What it is, its table, its conclusion."""
    above = f"{visible(block.title)}\n" if block.title else ""
    above += _wrap(block.about) if block.about else ""
    below = "".join(map(_wrap, (*block.conclusion.splitlines(), *block.remarks)))
    return "\n".join(filter(None, (above, _table(block, color), below)))


def _table(block: Block, color: bool) -> str:
    """Its table, as wide as its texts."""
    from rich import box
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    table = Table(
        box=box.SIMPLE_HEAD if block.ruled else None, pad_edge=False, show_edge=False
    )
    for name, side in zip(header(block), right(block), strict=True):
        table.add_column(name, justify="right" if side else "left", no_wrap=True)
    for texts, style in zip(cells(block), styles(block), strict=True):
        table.add_row(*map(Text, texts), style=_STYLES.get(style, ""))
    buffer = io.StringIO()
    console = Console(
        file=buffer,
        width=1000,
        force_terminal=color,
        color_system="standard" if color else None,
    )
    console.print(table)
    lines = buffer.getvalue().splitlines()
    return "".join(f"{line.rstrip()}\n" for line in lines)


def _wrap(text: str) -> str:
    text = visible(text, lines=True)
    lines = textwrap.fill(text, WIDTH, break_long_words=False, break_on_hyphens=False)
    return f"{lines}\n"
