"""Tables whose cells know how they sort."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from typing import Any

from zcbench.analysis.block import Block
from zcbench.analysis.study import tables_of
from zcbench.analysis.verdict import AHEAD, CLEARLY
from zcbench.report.cells import cells, right
from zcbench.report.pages import HEADER, RIGHT, pages
from zcbench.report.report import Report

_KEYS = ("proxy", "version", "n", "failed", "spearman", "kendall", "seconds_per_arch")
"""Columns of the table of correlations that its printed columns sort by."""


@dataclass(frozen=True, slots=True)
class Head:
    """The head of a column.

    Attributes:
        text: what it says.
        numeric: whether its cells sort as numbers, largest first.
        right: whether they are aligned to the right.
    """

    text: str
    numeric: bool
    right: bool


@dataclass(frozen=True, slots=True)
class Cell:
    """A cell.

    Attributes:
        text: what it says.
        key: the number that it sorts by; empty if it has none.
    """

    text: str
    key: str


@dataclass(frozen=True, slots=True)
class Row:
    """A row.

    Attributes:
        style: ``"baseline"``, ``"ahead"`` or empty.
        cells: one for each column.
    """

    style: str
    cells: tuple[Cell, ...]


@dataclass(frozen=True, slots=True)
class Table:
    """A table.

    Attributes:
        heads: of its columns.
        rows: from top to bottom.
    """

    heads: tuple[Head, ...]
    rows: tuple[Row, ...]


def page_table(report: Report, position: int) -> Table:
    """The table of correlations of one dataset."""
    page = pages(report)[position]
    _, records = list(tables_of(report.table))[position]
    heads = tuple(
        Head(text, key != "proxy", to_right)
        for text, key, to_right in zip(HEADER, _KEYS, RIGHT, strict=True)
    )
    rows = []
    for line, record in zip(page.lines, records.to_dict("records"), strict=True):
        style = "ahead" if line.ahead else "baseline" if line.baseline else ""
        keys = [_key(record[key]) for key in _KEYS]
        rows.append(Row(style, tuple(map(Cell, line.cells, keys))))
    return Table(heads, tuple(rows))


def block_table(block: Block, baselines: Collection[str]) -> Table:
    """The table of a section; rows of these proxies are marked as baselines."""
    heads = tuple(
        Head(column.header, column.kind != "text", to_right)
        for column, to_right in zip(block.columns, right(block), strict=True)
    )
    rows = []
    records = block.table.to_dict("records")
    for texts, record in zip(cells(block), records, strict=True):
        keys = [
            "" if column.kind == "text" else _key(record[column.key])
            for column in block.columns
        ]
        rows.append(Row(_style(record, baselines), tuple(map(Cell, texts, keys))))
    return Table(heads, tuple(rows))


def _style(record: dict[Any, Any], baselines: Collection[str]) -> str:
    if record.get("word") in (CLEARLY, AHEAD):
        return "ahead"
    return "baseline" if record.get("proxy") in baselines else ""


def _key(value: object) -> str:
    """A number for the page's script; empty for what is none."""
    known = isinstance(value, int | float) and value == value
    return f"{value:.6g}" if known else ""
