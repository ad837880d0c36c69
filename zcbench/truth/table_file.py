"""Accuracies from a CSV or Parquet file of the user's own.

Columns: ``arch`` or ``arch_str`` (architecture strings), or ``index`` in zcbench's own
order where there is neither (``model``, ``network`` and the like will do, too); and
accuracies in percent, or all of them as fractions, which become percent: ``val`` or
``test``, or one column a training seed (``val_seed0``, ``test_seed1``, …). A column
that is called after the dataset is its ``accuracy``, or what else the task is judged by
(`Task.metric`), in its own unit; any other column of numbers is a target if it is asked
for. With several datasets in one file, columns start with the dataset's name. A number
of epochs may follow the target: ``cifar10_test_200_seed0`` is a seed of ``test`` on
cifar10 (200 epochs are the full training), ``cifar10_val_12`` becomes ``val_12``.
Columns ``test_1``, ``test_2``, … without a gap are trainings too, not epochs, unless
they are many or rise like a learning curve. Where no column is called so, the only one
that is called after accuracies (``top1``), or as the metric, is taken.
``attrs["notes"]`` names the columns that are not used. A table may cover part of the
space.
"""

from __future__ import annotations

import gzip
import hashlib
import io
import pickle
import pickletools
import re
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from zcbench.errors import AbsentDataError, DataError
from zcbench.files import LARGEST, read, reason, unpacked
from zcbench.flat_file import (
    FlatFile,
    architectures,
    csv_frame,
    is_accuracy,
    unreadable,
    unused,
)
from zcbench.spaces.base import Unlisted
from zcbench.truth import TARGETS, with_means
from zcbench.truth.units import (
    counted_trainings,
    in_percent,
    is_percent,
    only_column,
)

if TYPE_CHECKING:
    import pandas as pd

    from zcbench.spaces import Space

_COLUMN = re.compile(r"(val|test)(?:_(?:acc|accuracy|top1))?(?:_(\d+))?(?:_seed(\d+))?")
_READ = re.compile(rf"arch|arch_str|index|(?:.+_)?(?:{_COLUMN.pattern})")
_REPEATED = re.compile(r"\.\d+$")  # pandas reads the columns val,val as val,val.1
_SEED = re.compile(r"_seed\d+$")
_FULL_EPOCHS = "200"
_PARQUET = b"PAR1"
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
    notes: list[str] = []
    metric = space.tasks[dataset].metric
    chosen = _chosen(file, space, dataset, target, notes)
    values = in_percent(path, _accuracies(file, chosen, notes), notes)
    retrained = isinstance(space, Unlisted) and not any(map(_SEED.search, values))
    archs, reasons = architectures(file, space, repeats=retrained)
    reasons |= _not_chosen(file, {*chosen.values(), archs.name, *reasons}, target)
    notes += unused(path, reasons)
    values = _trained(file, values, dataset, metric)
    archs = archs[values.index]
    known = (*TARGETS, metric, *([target] if target != "auto" else []))
    names = [arch.spec for arch in archs], [arch.index for arch in archs]
    values = _by_training(path, values.assign(arch=names[0], index=names[1]), notes)
    table = with_means(values, known)
    table.attrs = {
        "targets": [name for name in dict.fromkeys(known) if name in table],
        "truth": path.name,
        "release": path.name,
        "digest": hashlib.sha256(content).hexdigest(),
    }
    table.attrs |= {"notes": notes} if notes else {}
    return table


def _by_training(path: Path, rows: pd.DataFrame, notes: list[str]) -> pd.DataFrame:
    """Rows of the same architecture as one, with a column for each of its trainings."""
    training = rows.groupby("index").cumcount()
    if not training.any():
        return rows
    notes.append(
        f"{path}: {(training > 0).sum():,} rows repeat an architecture, and are taken "
        "for further trainings of it."
    )
    rows, of = rows.assign(training=training), ["arch", "index"]
    wide = rows.pivot(index=of, columns="training")  # noqa: PD010 - nothing to add up
    wide.columns = wide.columns.map(lambda pair: f"{pair[0]}_seed{pair[1]}")
    return wide.reset_index()


def _content(path: Path) -> bytes:
    try:
        return read(path)
    except FileNotFoundError:
        raise AbsentDataError(f"There is no truth file {path}.", _FORMATS) from None
    except OSError as error:
        raise DataError(
            f"The truth file {path} cannot be read: {reason(error)}.", _FORMATS
        ) from None


def _parsed(path: Path, content: bytes) -> FlatFile:
    try:
        text = unpacked(content)
    except gzip.BadGzipFile:
        raise DataError(f"{path} is damaged: gzip cannot read it.", _FORMATS) from None
    except OSError as error:
        raise DataError(f"{path} cannot be read: {reason(error)}.", _FORMATS) from None
    if text.startswith(_ZIP) or _is_pickle(text):
        raise DataError(
            f"{path} is a pickle or an archive; nothing in it was run.",
            f"{_FORMATS} The official .pth goes through `zcbench data import`.",
        )
    parquet = text.startswith(_PARQUET)
    frame = (_parquet if parquet else csv_frame)(path, text, _FORMATS)
    if not len(frame):
        raise DataError(f"{path} has no rows.", "Give one row per architecture.")
    frame.columns = frame.columns.map(str)
    _check_names(path, frame)
    return FlatFile(path, frame, 0 if parquet else 1)


def _check_names(path: Path, frame: pd.DataFrame) -> None:
    names = frame.columns.map(lambda name: _REPEATED.sub("", name))
    for name in names[names.duplicated()]:
        if _READ.fullmatch(name):
            raise DataError(
                f"{path} has several columns called {name}.", "Remove or rename one."
            )


def _parquet(path: Path, content: bytes, hint: str) -> pd.DataFrame:
    import pandas as pd

    try:
        from pyarrow import parquet

        table = parquet.ParquetFile(io.BytesIO(content)).metadata
        if 8 * table.num_rows * table.num_columns > LARGEST:
            raise ValueError(f"it unpacks to more than {LARGEST >> 20:,} MiB")
        frame = pd.read_parquet(io.BytesIO(content))
    except ImportError:
        raise DataError(
            f"{path} is a Parquet file, and pyarrow is not installed.",
            "Install it: pip install 'zcbench[parquet]'.",
        ) from None
    except Exception as error:  # parsers raise many kinds
        raise unreadable(path, "Parquet", error, hint) from None
    return frame.reset_index(drop=list(frame.index.names) == [None])


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


def _accuracies(
    file: FlatFile, chosen: dict[str, str], notes: list[str]
) -> pd.DataFrame:
    """The dataset's accuracies and its target, under their short names."""
    import numpy as np
    import pandas as pd

    values: dict[str, pd.Series[float]] = {}
    for label, column in chosen.items():
        given = file.frame[column]
        numbers = pd.to_numeric(given, errors="coerce").astype(np.float64)
        if not is_percent(label):  # in its own unit
            file.require_numbers(column)
            notes += _odd(file, column, numbers)
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


def _odd(file: FlatFile, column: str, numbers: pd.Series[float]) -> Iterator[str]:
    """Lines on values that a target in its own unit should hardly have."""
    import numpy as np

    endless = np.isinf(numbers)
    if endless.any():
        place = file.first(endless)[1]
        yield (
            f"{file.path}: {endless.sum():,} values in {column} are infinite, and left "
            f"out; the first is on {place}."
        )
    outside = ~endless & numbers.notna() & ~numbers.between(0, 100)
    if is_accuracy(column) and outside.any():
        row, place = file.first(outside)
        yield (
            f"{file.path}: {outside.sum():,} values in {column} are no accuracy in "
            f"percent; the first is on {place}: {numbers[row]:g}."
        )


def _not_chosen(file: FlatFile, used: set[str], target: str) -> dict[str, str]:
    """Column → why it is not used."""
    why = "no accuracy of this dataset by name"
    why += f", nor the target {target}" if target != "auto" else ""
    return {column: why for column in file.frame.columns if column not in used}


def _chosen(
    file: FlatFile, space: Space, dataset: str, target: str, notes: list[str]
) -> dict[str, str]:
    """Short name → column, of those that belong to the dataset and to no other."""
    columns, metric = list(file.frame.columns), space.tasks[dataset].metric
    prefix = f"{dataset}_" if _is_prefixed(file, dataset) else ""
    chosen: dict[str, str] = {}
    counted = counted_trainings(file, prefix, notes)
    for column in columns:
        label = counted.get(column) or _label(column, prefix, target)
        own = {dataset: metric, f"{dataset}_{target}": target}
        label = own.get(column, label)
        if label is None:
            continue
        if label in chosen:
            raise DataError(
                f"{file.path} has two columns for {label}: {chosen[label]} and "
                f"{column}.",
                "Remove or rename one.",
            )
        chosen[label] = column
    known = {*TARGETS, metric, target}
    if not any(_SEED.sub("", label) in known for label in chosen):
        chosen[metric] = only_column(file, space, dataset)
    return chosen


def _label(column: str, prefix: str, target: str) -> str | None:
    """Short name of a column, None for one that does not matter."""
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


def _is_prefixed(file: FlatFile, dataset: str) -> bool:
    start = f"{dataset}_"
    return any(
        column.startswith(start) and _COLUMN.fullmatch(column.removeprefix(start))
        for column in file.frame.columns
    )


def _trained(
    file: FlatFile, values: pd.DataFrame, dataset: str, metric: str
) -> pd.DataFrame:
    """The rows with accuracies; a target that has some must have one in each of them.

    Rows that are empty for this dataset are left out where the file has columns for
    several: they were trained on another.
    """
    if _is_prefixed(file, dataset) or metric in values:
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
