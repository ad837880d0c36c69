"""Documents as text: the cells of blocks, for a terminal, and in Markdown."""

from __future__ import annotations

import io
import re
import textwrap
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Literal

from zcbench.analysis.block import (
    Block,
    Column,
    ColumnKind,
    Style,
    difference,
    interval,
    number,
    p_value,
)
from zcbench.errors import visible
from zcbench.report.document import Document

RIGHT: frozenset[ColumnKind] = frozenset({"count", "share", "p", "number"})
"""Kinds of columns that are aligned to the right."""
_PLAIN: Mapping[ColumnKind, Callable[[Any], str]] = {
    "correlation": number,
    "signed": lambda value: number(value, signed=True),
    "count": lambda value: f"{int(value):,}",
    "share": lambda value: f"{100 * value:.0f}%",
    "p": p_value,
    "number": lambda value: f"{value:,.3g}" if abs(value) < 1000 else f"{value:,.0f}",
}
WIDTH = 88
"""Columns that sentences take at most."""
ANY = 10_000
"""Columns of what is no terminal: there tables are as wide as their cells."""
_GAPS = ((3, False), (2, True), (1, True))
"""Spaces between columns and whether heads are broken, from wide to narrow."""
_LEAST = 24  # columns into which a long text can be broken
_STYLES = {"ahead": "bold", "baseline": "dim", "better": "green", "worse": "bold red"}


def header(block: Block) -> tuple[str, ...]:
    """What stands above the columns."""
    return tuple(visible(column.header) for column in block.columns)


def right(block: Block) -> tuple[bool, ...]:
    """Which columns are aligned to the right."""
    return tuple(column.kind in RIGHT for column in block.columns)


def cells(block: Block) -> list[tuple[str, ...]]:
    """The printed columns of every row."""
    columns = block.columns
    return [tuple(visible(cell(row, c)) for c in columns) for row in block.records()]


def styles(block: Block) -> tuple[Style, ...]:
    """The style of every row."""
    plain: Style = ""
    return block.styles or (plain,) * len(block.table)


def cell(row: Mapping[str, Any], column: Column) -> str:
    """One cell; a note where it has no number: the column's own, or the row's.

    Args:
        row: of a section's table.
        column: one that it prints.
    """
    if column.words is not None:
        return column.words(row)
    value = row[column.key]
    note = row.get(f"{column.key}_note", row.get("note"))
    note = "" if _missing(note) else str(note)
    if column.kind == "text":
        return "" if _missing(value) else str(value)
    if _missing(value):
        return note
    if column.kind not in ("interval", "difference"):
        return _PLAIN[column.kind](value)
    low, high = row[f"{column.key}_low"], row[f"{column.key}_high"]
    signed = column.kind == "difference"
    if _missing(low) or _missing(high):
        text = number(value, signed=signed)
        return f"{text} {f'({note})' if note else ''}".rstrip()
    if signed:
        return difference(value, low, high)
    return f"{number(value)} {interval(low, high)}"


def _missing(value: Any) -> bool:
    """Whether it is None or NaN, which alone differs from itself."""
    return value is None or value != value


def render_text(document: Document, *, color: bool = False, width: int = ANY) -> str:
    """Plain text, with terminal codes if asked for.

    Args:
        document: what to write.
        color: whether to mark rows by their style.
        width: columns of the terminal. Tables that need more are narrowed, then set
            below each other in parts that name their rows again.
    """
    parts = ["".join(_wrap(head, width) for head in document.heads)]
    parts += [
        _wrap(part, width) if isinstance(part, str) else _block(part, color, width)
        for part in document.parts
    ]
    return "\n".join(filter(str.strip, parts))


def _block(block: Block, color: bool, width: int) -> str:
    """What it is, its table, its conclusion."""
    title = visible(block.title)  # one line, to be found by, but in a terminal
    above = (_wrap(title, width) if width < ANY else f"{title}\n") if title else ""
    above += _wrap(block.about, width) if block.about else ""
    lines = (*block.conclusion.splitlines(), *block.remarks)
    below = "".join(_wrap(line, width) for line in lines)
    tables = _tables(block, color, width)
    return "\n".join(filter(None, (above, *tables, below)))


def _tables(block: Block, color: bool, width: int) -> list[str]:
    """Its table, in as many parts as the width asks for."""
    rows, heads = cells(block), header(block)
    columns = [[*texts] for texts in zip(*rows, strict=True)] or [[] for _ in heads]
    for gap, broken in _GAPS if block.ruled else _GAPS[1:]:
        shown = [_broken(head) if broken else head for head in heads]
        sizes = [max(map(_size, (h, *c))) for h, c in zip(shown, columns, strict=True)]
        if sum(sizes) + gap * (len(sizes) - 1) <= width:
            return [_table(block, rows, shown, range(len(sizes)), gap, color, width)]
    parts = _parts([column.key for column in block.columns], sizes, width)
    return [_table(block, rows, shown, part, 2, color, width) for part in parts]


def _parts(names: Sequence[str], sizes: Sequence[int], width: int) -> list[list[int]]:
    """Columns of each part of a table, the first ones in all.

    >>> _parts(["where", "proxy", "n", "p"], [8, 8, 10, 10], 30)
    [[0, 1, 2], [0, 1, 3]]
    """
    keys = [0, *(i for i in (1,) if names[i:] and names[i] == "proxy")]
    parts, last = [[*keys]], len(names) - 1
    for i in range(len(keys), len(names)):
        room = width - sum(sizes[k] + 2 for k in parts[-1])
        into = sizes[i] <= room or parts[-1] == keys or (i == last and room >= _LEAST)
        if not into:
            parts.append([*keys])
        parts[-1].append(i)
    return parts


def _size(text: str) -> int:
    from rich.cells import cell_len

    return max(map(cell_len, text.split("\n")))


def _broken(head: str) -> str:
    r"""A head in several lines, its arrow beside its last word.

    >>> _broken("ms/arch"), _broken("mean rank ↓")
    ('ms/\narch', 'mean\nrank ↓')
    """
    return re.sub(r" (?![↑↓])|(?<=/)(?=\w)", "\n", head)


def _table(
    block: Block,
    rows: Sequence[tuple[str, ...]],
    heads: Sequence[str],
    chosen: Sequence[int],
    gap: int,
    color: bool,
    width: int,
) -> str:
    """Some of its columns."""
    from rich import box
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    table = Table(
        box=box.SIMPLE_HEAD if block.ruled else None,
        pad_edge=False,
        show_edge=False,
        padding=(0, gap - block.ruled, 0, 0),
    )
    for i in chosen:
        to_right, whole = right(block)[i], block.columns[i].kind != "text"
        side: Literal["right", "left"] = "right" if to_right else "left"
        table.add_column(heads[i], justify=side, overflow="fold", no_wrap=whole)
    for texts, style in zip(rows, styles(block), strict=True):
        shown = (Text(texts[i]) for i in chosen)
        table.add_row(*shown, style=_STYLES.get(style, ""))
    buffer = io.StringIO()
    console = Console(
        file=buffer,
        width=width,
        force_terminal=color,
        color_system="standard" if color else None,
    )
    console.print(table)
    lines = buffer.getvalue().splitlines()
    return "".join(f"{line.rstrip()}\n" for line in lines)


def _wrap(text: str, width: int) -> str:
    text, width = visible(text, lines=True), min(WIDTH, width)
    lines = textwrap.fill(
        text,
        width,
        subsequent_indent=" " * (len(text) - len(text.lstrip())),
        break_long_words=False,
        break_on_hyphens=False,
    )
    return f"{lines}\n"


def render_md(document: Document) -> str:
    """A Markdown table for each block; who is ahead is bold."""
    parts = ["".join(f"- {escape_markdown(h.strip())}\n" for h in document.heads)]
    parts += [
        f"{escape_markdown(part)}\n" if isinstance(part, str) else _in_markdown(part)
        for part in document.parts
    ]
    return "\n".join(filter(None, parts))


def _in_markdown(block: Block) -> str:
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
