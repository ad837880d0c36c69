"""The cells of a section as texts."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from zcbench.analysis.block import Block, Column, ColumnKind, Style
from zcbench.analysis.words import interval, number, p_value
from zcbench.errors import visible

RIGHT: frozenset[ColumnKind] = frozenset({"count", "share", "p", "number"})
"""Kinds of columns that are aligned to the right."""


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
    text = number(value, signed=column.kind == "difference")
    low, high = row[f"{column.key}_low"], row[f"{column.key}_high"]
    ends = "" if _missing(low) or _missing(high) else interval(low, high)
    return f"{text} {ends or (f'({note})' if note else '')}".rstrip()


def _missing(value: Any) -> bool:
    """Whether it is None or NaN, which alone differs from itself."""
    return value is None or value != value


_PLAIN: Mapping[ColumnKind, Callable[[Any], str]] = {
    "correlation": number,
    "signed": lambda value: number(value, signed=True),
    "count": lambda value: f"{int(value):,}",
    "share": lambda value: f"{100 * value:.0f}%",
    "p": p_value,
    "number": lambda value: f"{value:,.3g}" if abs(value) < 1000 else f"{value:,.0f}",
}
