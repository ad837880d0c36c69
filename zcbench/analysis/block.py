"""What an analysis hands to the formats: a table of numbers, and how it reads."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

if TYPE_CHECKING:
    import pandas as pd

ColumnKind = Literal[
    "text",
    "correlation",
    "signed",
    "interval",
    "difference",
    "count",
    "share",
    "p",
    "number",
]
Style = Literal["", "ahead", "baseline", "better", "worse"]
"""What a row is to its reader; every format marks it in its own way."""


@dataclass(frozen=True, slots=True)
class Options:
    """What a reader may choose about all sections.

    Attributes:
        clearly: by how much the whole interval of Δρ must lie above zero for a proxy
            to be "clearly" ahead.
        confidence: of intervals, and 1 minus the level of tests.
        resamples: how many resamples a bootstrap takes.
        seed: of what is drawn at random.
    """

    clearly: float = 0.05
    confidence: float = 0.95
    resamples: int = 1000
    seed: int = 0


@dataclass(frozen=True, slots=True)
class Column:
    """One printed column.

    Attributes:
        key: column of the table that it prints, and sorts by.
        header: what stands above it.
        kind: how it prints: ``"text"``; ``"correlation"`` .71; ``"signed"`` +.05;
            ``"interval"`` .71 [.67, .74] from the columns key, key_low and key_high;
            ``"difference"`` +.05 [.01, .08] likewise;
            ``"count"`` 1,000; ``"share"`` 71%; ``"p"`` .013 or <.001; ``"number"`` to
            three significant digits.
        words: how it prints a row instead, where that takes more of the row; its kind
            still says how it is aligned and sorted.
    """

    key: str
    header: str
    kind: ColumnKind
    words: Callable[[Mapping[str, Any]], str] | None = None


@dataclass(frozen=True, slots=True, eq=False)
class Block:
    """A table and what it says: one section of a report, or all that a command prints.

    Attributes:
        name: its key in JSON, which several can share, and the value of ``--section``.
        title: what stands above it; may be empty.
        about: how to read it, in a sentence or two; may be empty.
        table: tidy numbers. A cell without a number prints the word in the column
            ``note`` of its row, if the table has one.
        columns: what is printed of it, and how.
        conclusion: what the numbers say: a sentence, a list of lines, or empty.
        remarks: lines that follow the conclusion.
        styles: of its rows; empty if there is none to mark.
        where: the dataset that it is about; empty for all.
        foot: what its columns are; said once of blocks that follow each other.
        ruled: whether a line divides head and rows in text.
    """

    name: str
    title: str
    about: str
    table: pd.DataFrame
    columns: tuple[Column, ...]
    conclusion: str
    remarks: tuple[str, ...] = ()
    styles: tuple[Style, ...] = ()
    where: str = ""
    foot: str = ""
    ruled: bool = True

    def records(self) -> list[dict[str, Any]]:
        """Its rows, column → value."""
        found: list[dict[str, Any]] = self.table.to_dict("records")
        return found


@dataclass(frozen=True, slots=True, eq=False)
class Listing(Block):
    """A block whose table is a list of rows, for commands that do without pandas."""

    table: list[dict[str, Any]]

    def records(self) -> list[dict[str, Any]]:
        """Its rows, column → value."""
        return self.table


def conclusions(blocks: Sequence[Block]) -> dict[str, str]:
    """What each says, by its name, for JSON."""
    return {block.name: block.conclusion for block in blocks}
