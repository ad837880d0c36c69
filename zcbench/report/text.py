"""The table for a terminal."""

from __future__ import annotations

import io
import textwrap
from typing import TYPE_CHECKING

from zcbench.report.words import FOOTNOTE, HEADER, RIGHT, Line, Page, pages

if TYPE_CHECKING:
    import pandas as pd

_WIDTH = 88


def render_text(table: pd.DataFrame, *, color: bool = False) -> str:
    """Plain text, with terminal colours if asked for.

    Args:
        table: from `correlations`.
        color: bold for proxies ahead of the baselines, dim for baselines.
    """
    blocks = [_page(page, color) for page in pages(table)]
    return "\n".join([*blocks, _wrap(FOOTNOTE)]) + "\n"


def draw(
    header: tuple[str, ...],
    rows: list[tuple[tuple[str, ...], str]],
    right: tuple[bool, ...],
    *,
    color: bool,
) -> str:
    """A table as wide as its texts.

    Args:
        header: names of the columns.
        rows: texts of a row and the style of the row.
        right: which columns are aligned to the right.
        color: whether to use terminal codes.
    """
    from rich import box
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    table = Table(box=box.SIMPLE_HEAD, pad_edge=False, show_edge=False)
    for name, to_right in zip(header, right, strict=True):
        table.add_column(name, justify="right" if to_right else "left", no_wrap=True)
    for cells, style in rows:
        table.add_row(*map(Text, cells), style=style)
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
    )


def _style(line: Line) -> str:
    if line.ahead:
        return "bold"
    return "dim" if line.baseline else ""


def _wrap(text: str) -> str:
    return textwrap.fill(text, _WIDTH, break_long_words=False, break_on_hyphens=False)
