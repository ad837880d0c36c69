"""Accuracies from a CSV or Parquet file of the user's own.

Columns: ``arch`` (architecture strings), or ``index`` in zcbench's own order where
there is no ``arch``; and accuracies in percent: ``val`` or ``test``, or one column a
training seed (``val_seed0``, ``test_seed1``, …). A column that is called after the
dataset is its ``accuracy``; any other column of numbers is a target if it is asked for.
With several datasets in one file, columns start with the dataset's name. A number of
epochs may follow the target: ``cifar10_test_200_seed0`` is a seed of ``test`` on
cifar10 (200 epochs are the full training), ``cifar10_val_12`` becomes ``val_12``.
Columns ``test_1``, ``test_2``, … without a gap are trainings too, not epochs. Other
columns do not matter. A table may cover part of the space.
"""

from __future__ import annotations

import gzip
import hashlib
import io
import itertools
import pickle
import pickletools
import re
import warnings
import zlib
from collections.abc import Callable, Collection
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from zcbench.errors import DataError, ZcbenchError
from zcbench.truth import TARGETS, shown
from zcbench.truth.means import with_means

if TYPE_CHECKING:
    import pandas as pd

    from zcbench.spaces import Space
    from zcbench.types import Architecture

T = TypeVar("T")

_COLUMN = re.compile(r"(val|test)(?:_(\d+))?(?:_seed(\d+))?")
_READ = re.compile(rf"arch|index|(?:.+_)?(?:{_COLUMN.pattern})")
_REPEATED = re.compile(r"\.\d+$")  # pandas reads the columns val,val as val,val.1
_SEED = re.compile(r"_seed\d+$")
_FULL_EPOCHS = "200"
_PLAIN = "accuracy"
"""Target of a column that is called after its dataset."""
_GZIP, _PARQUET = b"\x1f\x8b", b"PAR1"
_ZIP = (b"PK\x03\x04", b"PK\x05\x06")  # with members, without
_FORMATS = "Give a CSV (UTF-8, with commas) or Parquet file."


def read_table(
    path: Path, space: Space, dataset: str, target: str = "auto"
) -> pd.DataFrame:
    """Read and check a table; see the module's docstring for its columns.

    Args:
        path: the file; a CSV may be compressed with gzip.
        space: what the architectures must belong to.
        dataset: picks the columns that start with its name, if there are any.
        target: a column (or columns, with ``_seed0`` …) to have as a target too.

    Returns:
        Table as `zcbench.load_truth` describes.

    Raises:
        DataError: it is missing, unreadable, no CSV or Parquet, or its columns,
            architectures or accuracies are not acceptable.
    """
    content = _content(path)
    file = _parsed(path, content)
    values = _accuracies(file, dataset, target)
    archs = _architectures(file, space)
    values = _trained(file, values, dataset)
    archs = archs[values.index]
    known = (*TARGETS, _PLAIN, *([target] if target != "auto" else []))
    table = with_means(
        values.assign(
            arch=[arch.spec for arch in archs], index=[arch.index for arch in archs]
        ),
        known,
    )
    table.attrs = {
        "targets": [name for name in dict.fromkeys(known) if name in table],
        "truth": path.name,
        "release": path.name,
        "digest": hashlib.sha256(content).hexdigest(),
    }
    return table


@dataclass(frozen=True, slots=True)
class _File:
    """A parsed file.

    Attributes:
        path: where it is.
        frame: its rows; the index counts them in the file, from 0.
        before: lines before the first row; 0 in a Parquet file.
    """

    path: Path
    frame: pd.DataFrame
    before: int

    def first(self, rows: pd.Series[bool]) -> tuple[object, str]:
        """Label of the first marked row, and where a user finds it."""
        label = rows.index[rows.to_numpy().argmax()]
        kind = "line" if self.before else "row"
        return label, f"{kind} {label + 1 + self.before}"


def _content(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except FileNotFoundError:
        raise DataError(f"There is no truth file {path}.", _FORMATS) from None
    except OSError as error:
        raise DataError(
            f"The truth file {path} cannot be read: {error.strerror}.", _FORMATS
        ) from None


def _parsed(path: Path, content: bytes) -> _File:
    try:
        text = gzip.decompress(content) if content.startswith(_GZIP) else content
    except (OSError, EOFError, ValueError, zlib.error):
        raise DataError(f"{path} is damaged: gzip cannot read it.", _FORMATS) from None
    if text.startswith(_ZIP) or _is_pickle(text):
        raise DataError(
            f"{path} is a pickle or an archive; nothing in it was run.",
            f"{_FORMATS} The official .pth goes through `zcbench data import`.",
        )
    parquet = text.startswith(_PARQUET)
    try:
        frame = _parquet(text) if parquet else _csv(text)
    except ImportError:
        raise DataError(
            f"{path} is a Parquet file, and pyarrow is not installed.",
            "Install it: pip install 'zcbench[parquet]'.",
        ) from None
    except Exception as error:  # parsers raise many kinds
        kind = "Parquet" if parquet else "CSV"
        reason = " ".join(str(error).split()).rstrip(".")[:200]
        raise DataError(
            f"{path} cannot be read as {kind}: {reason or type(error).__name__}.",
            _FORMATS,
        ) from None
    if not len(frame):
        raise DataError(f"{path} has no rows.", "Give one row per architecture.")
    frame.columns = frame.columns.map(str)
    _check_names(path, frame)
    return _File(path, frame, 0 if parquet else 1)


def _check_names(path: Path, frame: pd.DataFrame) -> None:
    names = frame.columns.map(lambda name: _REPEATED.sub("", name))
    for name in names[names.duplicated()]:
        if _READ.fullmatch(name):
            raise DataError(
                f"{path} has several columns called {name}.", "Remove or rename one."
            )


def _parquet(content: bytes) -> pd.DataFrame:
    import pandas as pd

    frame = pd.read_parquet(io.BytesIO(content))
    return frame.reset_index(drop=list(frame.index.names) == [None])


def _csv(content: bytes) -> pd.DataFrame:
    """Rows keep their number in the file; blank lines are dropped."""
    import pandas as pd

    with warnings.catch_warnings():
        # Lines with more fields than the header.
        warnings.simplefilter("error", pd.errors.ParserWarning)
        frame = pd.read_csv(
            io.BytesIO(content),
            encoding="utf-8-sig",
            index_col=False,
            low_memory=False,
            skip_blank_lines=False,
            dtype={"arch": str},  # some architectures look like numbers: 02012100
        )
    return frame.dropna(how="all")


def _is_pickle(content: bytes) -> bool:
    """Whether it is a pickle, also one of the old text protocols; not run."""
    if content[:1] == pickle.PROTO and content[1:2] <= b"\x05":
        return True
    if not content.endswith(pickle.STOP):
        return False
    try:
        return all(True for _ in pickletools.genops(content))
    except Exception:  # anything else is no pickle
        return False


def _accuracies(file: _File, dataset: str, target: str) -> pd.DataFrame:
    """The dataset's accuracies in percent and its target, under their short names."""
    import numpy as np
    import pandas as pd

    values: dict[str, pd.Series[float]] = {}
    for label, column in _chosen(file, dataset, target).items():
        given = file.frame[column]
        numbers = pd.to_numeric(given, errors="coerce").astype(np.float64)
        if _COLUMN.fullmatch(label) is None and label != _PLAIN:  # in its own unit
            values[label] = numbers.where(np.isfinite(numbers))
            continue
        bad = given.notna() & ~numbers.between(0, 100)
        if bad.any():
            row, place = file.first(bad)
            raise DataError(
                f"{file.path}: {bad.sum():,} of {len(bad):,} values in {column} are no "
                f"accuracy in percent; the first is on {place}: "
                f"{str(given[row])[:60]}.",
                "Accuracies are numbers from 0 to 100; leave the field empty where a "
                "training seed is missing.",
            )
        values[label] = numbers
    return pd.DataFrame(values)


def _chosen(file: _File, dataset: str, target: str) -> dict[str, str]:
    """Short name → column, of those that belong to the dataset."""
    columns = list(file.frame.columns)
    prefix = f"{dataset}_" if _is_prefixed(file, dataset) else ""
    chosen: dict[str, str] = {}
    counted = _counted(columns, prefix)
    for column in columns:
        label = counted.get(column) or _label(column, dataset, prefix, target)
        if label is None:
            continue
        if label in chosen:
            raise DataError(
                f"{file.path} has two columns for {label}: {chosen[label]} and "
                f"{column}.",
                "Remove or rename one.",
            )
        chosen[label] = column
    known = {*TARGETS, _PLAIN, target}
    if not any(_SEED.sub("", label) in known for label in chosen):
        raise DataError(
            f"{file.path} has no accuracies for {dataset}: its columns are "
            f"{shown(columns)}.",
            f"Name them val, test, val_seed0, …, or {dataset}_val, {dataset}_test, ….",
        )
    return chosen


def _counted(columns: Collection[str], prefix: str) -> dict[str, str]:
    """Columns test_1, test_2, … (two at least) → test_seed1, and so on."""
    found: dict[str, str] = {}
    for name in TARGETS:
        numbers = itertools.count(1)
        run = list(
            itertools.takewhile(
                columns.__contains__, (f"{prefix}{name}_{k}" for k in numbers)
            )
        )
        if len(run) > 1:
            found |= {c: f"{name}_seed{k}" for k, c in enumerate(run, start=1)}
    return found


def _label(column: str, dataset: str, prefix: str, target: str) -> str | None:
    """Short name of a column, None for one that does not matter."""
    if column == dataset:
        return _PLAIN
    if not column.startswith(prefix):
        return None
    short = column.removeprefix(prefix)
    if short == target or _SEED.sub("", short) == target:
        return short
    match = _COLUMN.fullmatch(short)
    if match is None:
        return None
    name, epochs, seed = match.groups()
    label = name if epochs in (None, _FULL_EPOCHS) else f"{name}_{epochs}"
    return label + (f"_seed{seed}" if seed else "")


def _is_prefixed(file: _File, dataset: str) -> bool:
    start = f"{dataset}_"
    return any(
        column.startswith(start) and _COLUMN.fullmatch(column.removeprefix(start))
        for column in file.frame.columns
    )


def _architectures(file: _File, space: Space) -> pd.Series[Any]:
    """Each row's architecture; none twice."""
    import pandas as pd

    last = space.architecture(len(space) - 1)
    if "arch" in file.frame:
        given = file.frame["arch"]
        found = [_or_none(space.parse, str(spec)) for spec in given]
        like = f"one looks like {last.spec}"
    elif "index" in file.frame:
        given = file.frame["index"]
        numbers = pd.to_numeric(given, errors="coerce")
        possible = (numbers % 1 == 0) & numbers.between(0, last.index)
        whole = numbers.where(possible, -1).astype("int64")
        found = [_or_none(space.architecture, number) for number in whole]
        like = f"indices run from 0 to {last.index}"
    else:
        raise DataError(
            f"{file.path} does not say which architecture a row is: its columns are "
            f"{shown(file.frame.columns)}.",
            "Add a column arch with architecture strings, or index.",
        )
    archs = pd.Series(found, index=given.index, dtype=object)
    if archs.isna().any():
        row, place = file.first(archs.isna())
        raise DataError(
            f"{file.path}: {archs.isna().sum():,} of {len(archs):,} rows are no "
            f"architecture of {space.name}; the first is {place}: "
            f"{str(given[row])[:150]}.",
            f"Correct or remove them; {like}.",
        )
    twice = archs.duplicated()
    if twice.any():
        row, place = file.first(twice)
        raise DataError(
            f"{file.path}: {twice.sum():,} of {len(archs):,} rows repeat an "
            f"architecture; the first is {place}: {archs[row].spec}.",
            "Keep one row for each.",
        )
    return archs


def _or_none(find: Callable[[T], Architecture], name: T) -> Architecture | None:
    try:
        return find(name)
    except ZcbenchError:
        return None


def _trained(file: _File, values: pd.DataFrame, dataset: str) -> pd.DataFrame:
    """The rows with accuracies; a target that has some must have one in each of them.

    Rows that are empty for this dataset are left out where the file has columns for
    several: they were trained on another.
    """
    if _is_prefixed(file, dataset) or _PLAIN in values:
        values = values[values.notna().any(axis=1)]
        if not len(values):
            raise DataError(
                f"{file.path} has no architecture with an accuracy for {dataset}.",
                "Fill in its columns, or leave the dataset out.",
            )
    for target in TARGETS:
        columns = [c for c in values if c.partition("_seed")[0] == target]
        empty = values[columns].isna().all(axis=1)
        if columns and empty.any():
            raise DataError(
                f"{file.path}: {empty.sum():,} of {len(values):,} rows have no "
                f"{target} accuracy for {dataset}; the first is "
                f"{file.first(empty)[1]}.",
                "Fill them in, or leave those architectures out.",
            )
    return values
