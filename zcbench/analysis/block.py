"""What an analysis hands to the formats: a table of numbers, and how it reads."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

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
        key: column of the table that it prints.
        header: what stands above it.
        kind: how it prints: ``"text"``; ``"correlation"`` .71; ``"signed"`` +.05;
            ``"interval"`` .71 [.67, .74] from the columns key, key_low and key_high;
            ``"difference"`` +.05 [.01, .08] likewise;
            ``"count"`` 1,000; ``"share"`` 71%; ``"p"`` .013 or <.001; ``"number"`` to
            three significant digits.
    """

    key: str
    header: str
    kind: ColumnKind


@dataclass(frozen=True, slots=True, eq=False)
class Block:
    """One section of a report.

    Attributes:
        name: its key in JSON and the value of ``--section``.
        title: what stands above it.
        about: how to read it, in a sentence or two.
        table: tidy numbers. A cell without a number prints the word in the column
            ``note`` of its row, if the table has one.
        columns: what is printed of it, and how.
        conclusion: a sentence that the numbers carry, or empty.
    """

    name: str
    title: str
    about: str
    table: pd.DataFrame
    columns: tuple[Column, ...]
    conclusion: str
