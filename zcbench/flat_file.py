"""Tables of the user's own: where a row is, which architecture, what is not used."""

from __future__ import annotations

import io
import re
import warnings
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from zcbench.errors import DataError, ZcbenchError

if TYPE_CHECKING:
    import pandas as pd

    from zcbench.spaces.base import Space
    from zcbench.types import Architecture

T = TypeVar("T")

NAMED = ("arch", "arch_str")
"""Columns of architecture strings, the first that is there counts."""
_ARCHS = (*NAMED, "architecture", "arch_string", "model", "network", "name", "cell")
"""What they may be called, too, in any capitals, where there is none of `NAMED`."""
_ACCURACY = re.compile(
    r"val|valid|validation|test|(?:val|valid|validation|test|train|eval)?"
    r"(?:acc|accs|accuracy|accuracies|top1|top5)\d*"
)
_MOST_COLUMNS = 10_000
_WORD = re.compile(r"[A-Z]+(?![a-z])\d*|[A-Z]?[a-z]+\d*|\d+")


@dataclass(frozen=True, slots=True)
class FlatFile:
    """A parsed file.

    Attributes:
        path: where it is.
        frame: its rows; the index counts them in the file, from 0.
        before: lines before the first row; 0 in a Parquet file.
    """

    path: Path
    frame: pd.DataFrame
    before: int

    def first(self, rows: pd.Series[bool]) -> tuple[Any, str]:
        """Label of the first marked row, and where a user finds it."""
        label = rows.index[rows.to_numpy().argmax()]
        kind = "line" if self.before else "row"
        return label, f"{kind} {label + 1 + self.before}"

    def require_numbers(self, column: str) -> None:
        """Raise `DataError` if an entry of a column is neither empty nor a number."""
        import pandas as pd

        given = self.frame[column]
        bad = given.notna() & pd.to_numeric(given, errors="coerce").isna()
        if bad.any():
            row, place = self.first(bad)
            raise DataError(
                f"{self.path}: {bad.sum():,} of {len(bad):,} entries in {column} are "
                f"no number; the first is on {place}: {str(given[row])[:60]}.",
                "Write plain numbers, leave the field empty where there is none, or "
                "remove the column.",
            )


def _check_width(content: bytes) -> None:
    """Raise `ValueError` if a table has too many columns: each costs pandas much."""
    marks = quotes = 0
    for line in io.BytesIO(content):
        marks += max(map(line.count, (b",", b";", b"\t")))
        quotes += line.count(b'"')
        if marks >= _MOST_COLUMNS:
            raise ValueError(f"it has more than {_MOST_COLUMNS:,} columns")
        if quotes % 2 == 0 and line.strip():  # else the header goes on
            return


def _separators(content: bytes) -> tuple[str, str]:
    """What divides fields, by the first line, and the decimal mark."""
    head = content.partition(b"\n")[0].decode("utf-8-sig", errors="replace")
    mark = max(",;\t", key=head.count)
    comma = mark == ";" and re.search(rb";\s*\d+,\d", content)
    return mark, "," if comma and not re.search(rb"\d\.\d", content) else "."


def csv_frame(
    path: Path, content: bytes, hint: str, *, as_text: bool = False
) -> pd.DataFrame:
    """Rows keep their number in the file; blank lines are dropped.

    Args:
        path: where it is.
        content: its fields may be divided by commas, semicolons or tabs.
        hint: what to do if it cannot be read.
        as_text: leave numbers as they are written.

    Raises:
        DataError: it cannot be read.
    """
    try:
        return _frame(content, as_text=as_text)
    except Exception as error:  # parsers raise many kinds
        raise unreadable(path, "CSV", error, hint) from None


def unreadable(path: Path, kind: str, error: Exception, hint: str) -> DataError:
    """What to say of a file that a parser cannot read."""
    words = " ".join(str(error).split()).rstrip(".")[:200] or type(error).__name__
    return DataError(f"{path} cannot be read as {kind}: {words}.", hint)


def _frame(content: bytes, *, as_text: bool) -> pd.DataFrame:
    import pandas as pd

    _check_width(content)
    mark, decimal = _separators(content)
    head = content.partition(b"\n")[0].decode("utf-8-sig", errors="replace")
    words = [name.strip().strip('"') for name in head.split(mark)]
    with warnings.catch_warnings():
        # Lines with more fields than the header.
        warnings.simplefilter("error", pd.errors.ParserWarning)
        frame = pd.read_csv(
            io.BytesIO(content),
            encoding="utf-8-sig",
            index_col=False,
            low_memory=False,
            skip_blank_lines=False,
            sep=mark,
            decimal=decimal,
            # Some architectures look like numbers: 02012100.
            dtype=str
            if as_text
            else {name: str for name in words if name.casefold() in _ARCHS},
        )
    frame.columns = frame.columns.map(lambda name: str(name).strip())
    return frame.dropna(how="all")


def is_accuracy(column: str) -> bool:
    """Whether a column is called after accuracies, in any capitals.

    >>> [is_accuracy(name) for name in ("TestAcc", "Test Accuracy (%)", "min_eigval")]
    [True, True, False]
    """
    words = (*_WORD.findall(column), *re.split(r"[\W_]+", column))
    return any(_ACCURACY.fullmatch(word.casefold()) for word in words)


def unused(path: Path, reasons: Mapping[str, str]) -> list[str]:
    """A line on the columns that are not used, with why; none if all are."""
    by_reason: dict[str, list[str]] = {}
    for column, reason in reasons.items():
        by_reason.setdefault(reason, []).append(column)
    parts = [f"{shown(names)} ({reason})" for reason, names in by_reason.items()]
    return [f"{path}: columns not used: {'; '.join(parts)}."] if parts else []


def shown(names: Iterable[object], most: int = 12) -> str:
    """Names for a message, cut short where there are many."""
    every = [str(name)[:60] for name in names]
    more = f" and {len(every) - most:,} more" if len(every) > most else ""
    return (", ".join(every[:most]) or "none") + more


def architectures(
    file: FlatFile, space: Space, *, repeats: bool = False
) -> tuple[pd.Series[Any], dict[str, str]]:
    """Each row's architecture, none twice unless repeats are allowed.

    Returns:
        The architectures, and column → why it is not used, of those that name them too.

    Raises:
        DataError: a row names none, or one that is there already, or two columns name
            different ones.
    """
    frame = file.frame
    key = next((c for c in (*NAMED, "index") if c in frame), None)
    key = key or next((c for c in frame if str(c).casefold() in _ARCHS), None)
    if key is None:
        readable = [c for c in frame if _could_name(file, space, c)]
        key = readable[0] if len(readable) == 1 else None
    if key is None:
        raise DataError(
            f"{file.path} does not say which architecture a row is: its columns are "
            f"{shown(frame.columns)}.",
            "Add a column arch with architecture strings, or index.",
        )
    archs = _of_column(file, space, key)
    _check(file, space, key, archs, repeats=repeats)
    reasons: dict[str, str] = {}
    for other in frame.columns:
        if other == key or not _could_name(file, space, other):
            continue
        others = _of_column(file, space, other)
        differ = archs.map(_index) != others.map(_index)
        if differ.any() and {key, other} == {"arch", "index"}:
            reasons[other] = f"{key} counts, and names other architectures"
        elif differ.any():
            _disagree(file, key, other, differ)
        else:
            reasons[other] = f"says the same as {key}"
    return archs, reasons


def _disagree(file: FlatFile, key: str, other: str, differ: pd.Series[bool]) -> None:
    row, place = file.first(differ)
    said = [f"{c} says {str(file.frame[c][row])[:100]}" for c in (key, other)]
    raise DataError(
        f"{file.path}: the columns {key} and {other} name different architectures in "
        f"{differ.sum():,} of {len(differ):,} rows; on {place} {' and '.join(said)}.",
        "Remove or rename the one that is wrong: row numbers are no index of zcbench.",
    )


def _could_name(file: FlatFile, space: Space, column: str) -> bool:
    """Whether it is the index, or a column of nothing but architecture strings."""
    import pandas as pd

    given = file.frame[column]
    if column in (*NAMED, "index"):
        return True
    if pd.api.types.is_numeric_dtype(given) or not given.notna().all():
        return False
    return all(_or_none(lambda s: read_name(space, s), str(spec)) for spec in given)


def _of_column(file: FlatFile, space: Space, column: str) -> pd.Series[Any]:
    """Each row's architecture by that column, None where it is none."""
    import pandas as pd

    given = file.frame[column]
    archs: list[Architecture | None]
    if column == "index":
        numbers = pd.to_numeric(given, errors="coerce")
        possible = (numbers % 1 == 0) & numbers.between(0, len(space) - 1)
        whole = numbers.where(possible, -1).astype("int64")
        archs = [_or_none(space.architecture, number) for number in whole]
    else:
        archs = [_or_none(lambda s: read_name(space, s), str(spec)) for spec in given]
    return pd.Series(archs, index=given.index, name=column, dtype=object)


def _check(
    file: FlatFile, space: Space, key: str, archs: pd.Series[Any], *, repeats: bool
) -> None:
    """Raise `DataError` unless each row has one, and none has that of another."""
    last = space.architecture(len(space) - 1)
    by_index = f"indices run from 0 to {last.index}"
    like = by_index if key == "index" else f"one looks like {last.spec}"
    given = file.frame[key]
    if archs.isna().any():
        row, place = file.first(archs.isna())
        empty = f"its {key} is empty" if given.isna()[row] else str(given[row])[:150]
        raise DataError(
            f"{file.path}: {archs.isna().sum():,} of {len(archs):,} rows are no "
            f"architecture of {space.name}; the first is {place}: {empty}.",
            f"Correct or remove them; {like}.",
        )
    twice = archs.map(_index).duplicated()
    if twice.any() and not repeats:
        row, place = file.first(twice)
        raise DataError(
            f"{file.path}: {twice.sum():,} of {len(archs):,} rows repeat an "
            f"architecture; the first is {place}: {archs[row].spec}.",
            "Keep one row for each.",
        )


def _index(arch: Architecture | None) -> int:
    return -1 if arch is None else arch.index


def _or_none(find: Callable[[T], Architecture], name: T) -> Architecture | None:
    try:
        return find(name)
    except ZcbenchError:
        return None


_NASLIB_OPERATIONS = (
    "skip_connect",
    "none",
    "nor_conv_3x3",
    "nor_conv_1x1",
    "avg_pool_3x3",
)
_NASLIB_ORDER = (0, 1, 3, 2, 4, 5)
"""Place in NASLib's indices of each edge in string order: it sorts by source."""
_INDICES = re.compile(r"[(\[]?\d+(, ?\d+){5}[)\]]?")


def read_name(space: Space, written: str) -> Architecture:
    """Architecture of a string of the space or, on nb201, NASLib's six indices.

    Raises:
        DataError: it is neither.
    """
    if space.name == "nb201" and _INDICES.fullmatch(written):
        numbers = [int(n) for n in re.findall(r"\d+", written)]
        if max(numbers) < len(_NASLIB_OPERATIONS):
            return space.parse(_from_naslib(numbers))
    return space.parse(written)


def _from_naslib(indices: Sequence[int]) -> str:
    """String of NASLib's indices of operations on NAS-Bench-201.

    >>> _from_naslib([4, 0, 3, 1, 4, 2])
    '|avg_pool_3x3~0|+|skip_connect~0|none~1|+|nor_conv_1x1~0|avg_pool_3x3~1|nor_conv_3x3~2|'
    """
    names = [_NASLIB_OPERATIONS[indices[place]] for place in _NASLIB_ORDER]
    a, b, c, d, e, f = names
    return f"|{a}~0|+|{b}~0|{c}~1|+|{d}~0|{e}~1|{f}~2|"
