"""The table for a terminal."""

from __future__ import annotations

import io
import textwrap

from zcbench.report.cells import cells, header, right
from zcbench.report.pages import (
    HEADER,
    RIGHT,
    Line,
    Page,
    footnote,
    heads,
    overall,
    pages,
)
from zcbench.report.report import Report
from zcbench.report.sections.block import Block

_WIDTH = 88


def render_text(report: Report, *, color: bool = False) -> str:
    """Plain text, with terminal colours if asked for.

    Args:
        report: from `make_report`.
        color: bold for proxies ahead of the baselines, dim for baselines.
    """
    parts = []
    if report.shows_table:
        parts += [_page(page, color) for page in pages(report)]
        parts += [f"{_wrap(text)}\n" for text in (overall(report), footnote(report))]
    else:
        parts.append("".join(f"{_wrap(line)}\n" for line in heads(report)))
    parts += [text_of(block, color=color) for block in report.blocks]
    return "\n".join(part for part in parts if part.strip())


def draw(
    head: tuple[str, ...],
    rows: list[tuple[tuple[str, ...], str]],
    to_right: tuple[bool, ...],
    *,
    color: bool,
) -> str:
    """A table as wide as its texts.

    Args:
        head: names of the columns.
        rows: texts of a row and the style of the row.
        to_right: which columns are aligned to the right.
        color: whether to use terminal codes.
    """
    from rich import box
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    table = Table(box=box.SIMPLE_HEAD, pad_edge=False, show_edge=False)
    for name, side in zip(head, to_right, strict=True):
        table.add_column(name, justify="right" if side else "left", no_wrap=True)
    for texts, style in rows:
        table.add_row(*map(Text, texts), style=style)
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


def _page(page: Page, color: bool) -> str:
    rows = [(line.cells, _style(line)) for line in page.lines]
    drawn = draw(HEADER, rows, RIGHT, color=color)
    return (
        f"{_wrap(page.title)}\n{_wrap(page.setting)}\n\n{drawn}\n"
        f"{_wrap(page.conclusion)}\n"
        + "".join(f"{_wrap(line)}\n" for line in page.remarks)
    )


def text_of(block: Block, *, color: bool = False) -> str:
    """One section: what it is, its table, its conclusion."""
    rows = [(line, "") for line in cells(block)]
    drawn = draw(header(block), rows, right(block), color=color)
    end = f"\n{_wrap(block.conclusion)}\n" if block.conclusion else ""
    return f"{_wrap(block.title)}\n{_wrap(block.about)}\n\n{drawn}{end}"


def _style(line: Line) -> str:
    if line.ahead:
        return "bold"
    return "dim" if line.baseline else ""


def _wrap(text: str) -> str:
    return textwrap.fill(text, _WIDTH, break_long_words=False, break_on_hyphens=False)
