"""What the rows of tables have in common: where they are from, numbers, order."""

from __future__ import annotations

import functools
import math
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from typing import Any, Concatenate, ParamSpec, TypeVar

import pandas as pd

from zcbench.analysis.block import Column
from zcbench.analysis.study import Study
from zcbench.errors import count
from zcbench.stats import Estimate

Row = dict[str, Any]
P = ParamSpec("P")
T = TypeVar("T")

PLACE = ("run", "space", "dataset", "target", "population", "where", "few")
"""What a row of an analysis is about; ``where`` is how it is printed.

``few``: whether its proxy is one of `Study.thin`.
"""


def named(row: Mapping[str, Any]) -> str:
    """A proxy with the mark of too few scores."""
    return f"{row['proxy']} §" if row["few"] else str(row["proxy"])


PROXY = Column("proxy", "proxy", "text", named)
WHERE = (Column("where", "dataset", "text"), PROXY)
"""What is printed first of most tables."""


def place(study: Study, studies: Sequence[Study], proxy: str = "") -> Row:
    """The columns `PLACE` of the rows of a dataset.

    Args:
        study: the dataset.
        studies: all of the report: with several runs, each is named.
        proxy: what the row is about.
    """
    several = len({s.run for s in studies}) > 1
    where = study.task + (f" · {study.run}" if several else "")
    about = {name: getattr(study, name) for name in PLACE[:-2]}
    return about | {"where": where, "few": study.is_thin(proxy)}


def rows_of(
    studies: Sequence[Study], make: Callable[[Study], Iterable[Row]]
) -> list[Row]:
    """The rows of every dataset, each with where it is from."""
    return [
        place(study, studies, row.get("proxy", "")) | row
        for study in studies
        for row in make(study)
    ]


def frame(rows: Iterable[Row], columns: Iterable[str]) -> pd.DataFrame:
    """A table of rows with these columns; what a row lacks is NaN."""
    return pd.DataFrame(list(rows), columns=list(columns))


def blank(columns: Sequence[str]) -> Row:
    """A row of NaN, but for where it is from."""
    return dict.fromkeys((name for name in columns if name not in PLACE), math.nan)


def with_ends(*names: str, note: bool = False) -> tuple[str, ...]:
    """Columns of numbers with an interval each, and a note of their own if asked for.

    >>> with_ends("gain", note=True)
    ('gain', 'gain_low', 'gain_high', 'gain_note')
    """
    ends = ("", "_low", "_high", *(["_note"] if note else []))
    return tuple(f"{name}{end}" for name in names for end in ends)


def numbers(name: str, estimate: Estimate, note: str | None = None) -> Row:
    """The cells of such a column.

    Args:
        name: the column.
        estimate: the number and its interval.
        note: why something is missing; None if the column has no notes.
    """
    ends: Row = {"": estimate.value, "_low": estimate.low, "_high": estimate.high}
    if note is not None:
        ends |= {"_note": note}
    return {f"{name}{end}": value for end, value in ends.items()}


def merit(
    name: str, few: Collection[str] = (), sign: int = -1
) -> Callable[[Mapping[str, Any]], tuple[bool, bool, float, str]]:
    """To sort rows by: the highest first, then by proxy; those without a number last.

    Args:
        name: of the column.
        few: proxies that stand below the others with a number.
        sign: 1 where the lowest is to be first.
    """

    def key(row: Mapping[str, Any]) -> tuple[bool, bool, float, str]:
        value, proxy = row[name], row["proxy"]
        return math.isnan(value), proxy in few, sign * value, proxy

    return key


def by_dataset(
    rows: Sequence[Row], studies: Sequence[Study]
) -> Iterator[tuple[Study, str, list[Row]]]:
    """Each dataset, how tables name it, and its rows.

    Args:
        rows: with the columns of `place`.
        studies: the datasets.
    """
    for study in studies:
        here = [
            r for r in rows if (r["run"], r["dataset"]) == (study.run, study.dataset)
        ]
        yield study, place(study, studies)["where"], here


def said(
    rows: Sequence[Row],
    studies: Sequence[Study],
    say: Callable[[Study, list[Row]], str],
) -> str:
    """What is to be said of each dataset, after its name; nothing where it is empty."""
    texts = [
        (where, say(study, here)) for study, where, here in by_dataset(rows, studies)
    ]
    return " ".join(f"{where}: {text}." for where, text in texts if text)


def rows_about(study: Study, table: pd.DataFrame) -> pd.DataFrame:
    """The rows of a table that are about a dataset."""
    return table[(table["run"] == study.run) & (table["dataset"] == study.dataset)]


def tables_of(table: pd.DataFrame) -> Iterator[tuple[Study, pd.DataFrame]]:
    """Each study of a table of correlations with its rows, best first."""
    for study in table.attrs["studies"]:
        yield study, rows_about(study, table)


def mixture(studies: Sequence[Study]) -> str:
    """A sentence on what these mix, to follow another; empty if nothing."""
    parts = []
    for word in ("target", "population"):
        values = dict.fromkeys(getattr(s, word) for s in studies)
        if len(values) > 1:
            parts.append(f"{word}s {', '.join(values)}")
    return f" Mixed here: {'; '.join(parts)}." if parts else ""


def tables(studies: Sequence[Study]) -> str:
    """How many datasets these are: "3 datasets", or "6 tables of 3 datasets"."""
    different = len({(s.space, s.dataset) for s in studies})
    text = count(different, "dataset")
    return text if different == len(studies) else f"{len(studies)} tables of {text}"


def everywhere(studies: Sequence[Study]) -> str:
    """Where something holds that holds for all: "here", or "on all 3 datasets"."""
    return f"on all {tables(studies)}" if len(studies) > 1 else "here"


def once(
    analysis: Callable[Concatenate[tuple[Study, ...], P], T],
) -> Callable[Concatenate[Sequence[Study], P], T]:
    """An analysis that several sections ask for, computed once for all of them."""
    remembered = functools.lru_cache(maxsize=4)(analysis)

    @functools.wraps(analysis)
    def ask(studies: Sequence[Study], /, *args: P.args, **kwargs: P.kwargs) -> T:
        return remembered(tuple(studies), *args, **kwargs)  # type: ignore[arg-type]

    return ask
