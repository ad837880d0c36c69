"""What an analysis hands to the formats: a table, and how numbers and titles read."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

from zcbench.errors import count

if TYPE_CHECKING:
    import pandas as pd

    from zcbench.analysis.study import Study

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


_TARGETS = {"val": "validation accuracy", "test": "test accuracy"}


SCORED = 0.9
"""Scores for fewer of the architectures than this are no order of a dataset."""
FEW = (
    f"§ scored for fewer than {SCORED:.0%} of the architectures: no order, below the "
    "others"
)
"""What the mark of `Study.thin` stands for."""


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
        rows: list[dict[str, Any]] = self.table.to_dict("records")
        return rows


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


def number(value: float, *, places: int = 2, signed: bool = False) -> str:
    """A correlation without leading zero: .71, -.26, 1.00.

    >>> number(0.714), number(-0.26), number(-0.001), number(0.05, signed=True)
    ('.71', '-.26', '.00', '+.05')
    """
    rounded = round(value, places)
    text = f"{rounded:{'+' if signed and rounded else ''}.{places}f}"
    text = text.replace("0.", ".", 1) if -1 < rounded < 1 else text
    return text if rounded else text.removeprefix("-")


def interval(low: float, high: float, *, places: int = 2) -> str:
    """[.69, .73], or nothing where there is none."""
    ends = (number(end, places=places) for end in (low, high))
    return "" if math.isnan(low) else f"[{', '.join(ends)}]"


def estimate(
    row: Mapping[str, Any], key: str, *, places: int = 2, signed: bool = False
) -> str:
    """A number of a row with its interval: .71 [.69, .73]."""
    ends = interval(row[f"{key}_low"], row[f"{key}_high"], places=places)
    return f"{number(row[key], places=places, signed=signed)} {ends}"


DECIDES = (0.0, Options().clearly)
"""Where the word on a difference changes."""


def places_of(
    low: float, high: float, decides: Sequence[float] = DECIDES, *, least: int = 2
) -> int:
    """Digits that keep the ends of an interval on their side of what decides.

    >>> places_of(0.0021, 0.09), places_of(0.02, 0.09), places_of(0.0521, 0.09)
    (3, 2, 3)
    """
    pairs = [(end, d) for end in (low, high) for d in decides if end != d]
    for places in range(least, least + 4):
        if all(round(end, places) != round(d, places) for end, d in pairs):
            return places
    return least


def difference(
    value: float, low: float, high: float, decides: Sequence[float] = DECIDES
) -> str:
    """Such as +.05 [.01, .09], with as many digits as its verdict needs.

    >>> difference(0.051, 0.0021, 0.09), difference(0.08, -0.0004, 0.17)
    ('+.05 [.002, .090]', '+.08 [-.0004, .1700]')
    """
    ends = interval(low, high, places=places_of(low, high, decides))
    return f"{number(value, signed=True)} {ends}".rstrip()


def percent(share: float) -> str:
    """A share of one: 95%, 99.5%.

    >>> percent(0.95), percent(0.995), percent(0.07)
    ('95%', '99.5%', '7%')
    """
    return f"{100 * share:.3g}%"


def p_value(p: float) -> str:
    """A p-value, two digits that count, never below what is worth telling.

    >>> p_value(0.0431), p_value(0.0004), p_value(1.0), p_value(0.9999)
    ('.043', '<.001', '1.00', '1.00')
    """
    if p < 0.001:
        return "<.001"
    return number(p, places=3 if p < 0.0995 else 2)


def milliseconds(seconds: float) -> str:
    """Two significant digits, as a plain number.

    >>> milliseconds(0.0183), milliseconds(1.234), milliseconds(0.00000123)
    ('18', '1234', '0.0012')
    """
    value = seconds * 1000
    if value == 0 or value >= 9.95:
        return f"{value:.0f}"
    return f"{value:.{1 - math.floor(math.log10(value))}f}"


def title(study: Study) -> str:
    """What a table shows: space, dataset, target, truth."""
    few, many = study.training_seeds
    seeds = f"{few} to {many}" if few < many else str(many)
    plural = "" if seeds == "1" else "s"
    of = f"mean of {seeds} training seed{plural}" if many else "training seeds unknown"
    release = f", {study.release}" if study.release else ""
    target = _TARGETS.get(study.target, study.target)
    return f"{study.space} · {study.task} · {target} ({of}{release})"


def setting(study: Study) -> str:
    """How a table was made: architectures, minibatch, seed."""
    kind = {"all": "", "sample": "sample of ", "list": "list of "}[study.sampled]
    parts = [
        *([f"population {study.population}"] if study.population != "list" else []),
        f"{kind}{count(study.architectures, 'architecture')}",
        f"minibatch {study.images}",
    ]
    for name, value in (("batch size", study.batch_size), ("seed", study.seed)):
        parts += [f"{name} {value}"] if value is not None else []
    if study.repeats > 1:
        parts.append(f"mean of {study.repeats} repeats")
    if study.precision != "float32":
        parts.append(study.precision)
    if study.partial:
        parts.append(f"PARTIAL: {study.networks:,} of {study.expected:,} networks")
    return " · ".join(parts)
