"""Tables that were made once of official files, and lie in the cache.

A table is a CSV with one row per architecture and, for each dataset, accuracies by
training seed. Beside it lies a record with the sha256 of what it was made of.
"""

from __future__ import annotations

import gzip
import hashlib
import io
import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from zcbench.errors import AbsentDataError, DataError
from zcbench.files import (
    LARGEST_SETTINGS,
    cache_dir,
    read,
    reason,
    unpacked,
    write_whole,
)
from zcbench.truth import TARGETS, with_means

if TYPE_CHECKING:
    import pandas as pd

SOURCES: Mapping[str, Mapping[str, tuple[str, str]]] = {
    # dataset: {target: (what was trained on, what was evaluated on)}
    "cifar10": {"val": ("cifar10-valid", "x-valid"), "test": ("cifar10", "ori-test")},
    "cifar100": {"val": ("cifar100", "x-valid"), "test": ("cifar100", "x-test")},
    "ImageNet16-120": {
        "val": ("ImageNet16-120", "x-valid"),
        "test": ("ImageNet16-120", "x-test"),
    },
}
"""Where NAS-Bench-201 and NATS-Bench keep an accuracy. CIFAR-10 validation comes from
training on half of the training set, CIFAR-10 test from training on all of it."""
_SCHEMA = 1


@dataclass(frozen=True, slots=True, kw_only=True)
class Record:
    """What is known of an imported table.

    Attributes:
        source: name of the official file.
        table_sha256: of the table in the cache.
        architectures: rows of the table.
        source_sha256: of the official file; empty if it is a folder or large archive.
        release: ``"NAS-Bench-201 v1.1"``; empty if there is but one.
        seeds: training seeds of the benchmark, if known; seed0 is the first of them.
        schema: version of the table's layout.
    """

    source: str
    table_sha256: str
    architectures: int
    source_sha256: str = ""
    release: str = ""
    seeds: list[int] | None = None
    schema: int = _SCHEMA


@dataclass(frozen=True, slots=True)
class Imported:
    """A table in the cache, or the place for it.

    Attributes:
        stem: of its files.
        absent: what to say where it is not.
        first: how to import it.
        again: how to import it again.
    """

    stem: str
    absent: str
    first: str
    again: str

    def path(self) -> Path:
        """Where the table is, or will be."""
        return cache_dir() / "truth" / f"{self.stem}.csv.gz"

    def write(self, table: pd.DataFrame, **known: Any) -> Record:
        """Write a table and its record.

        Args:
            table: what to write.
            **known: other attributes of the `Record`.

        Raises:
            DataError: the cache cannot be written; what was there stays.
        """
        path = self.path()
        content = gzip.compress(table.to_csv(index=False).encode(), mtime=0)
        digest = hashlib.sha256(content).hexdigest()
        record = Record(table_sha256=digest, architectures=len(table), **known)
        try:
            write_whole(path, [content])
            text = json.dumps(asdict(record), indent=1)
            write_whole(path.with_name(f"{self.stem}.json"), [text.encode()])
        except OSError as error:
            raise DataError(
                f"{path.parent} cannot be written: {error.strerror}.",
                "Make room there, or set ZCBENCH_CACHE to another folder.",
            ) from None
        return record

    def record(self) -> Record | None:
        """The record of the table; None if none was imported.

        Raises:
            DataError: there is one that cannot be read.
        """
        path = self.path().with_name(f"{self.stem}.json")
        try:
            record = Record(**json.loads(read(path, LARGEST_SETTINGS)))
        except FileNotFoundError:
            return None
        except (OSError, ValueError, TypeError, RecursionError):
            raise DataError(f"{path} is damaged.", self.again) from None
        if record.schema != _SCHEMA:
            raise DataError(f"{path} is of another version of zcbench.", self.again)
        return record

    def load(self, dataset: str) -> tuple[pd.DataFrame, Record]:
        """The columns of a dataset, without its name, with means over seeds.

        Raises:
            DataError: none was imported, it was changed since, or it has no accuracies
                of that dataset.
        """
        import pandas as pd

        record, path = self.record(), self.path()
        if record is None:
            raise AbsentDataError(self.absent, self.first)
        try:
            content = read(path)
        except OSError as error:
            raise DataError(
                f"{path} cannot be read: {reason(error)}.", self.again
            ) from None
        if hashlib.sha256(content).hexdigest() != record.table_sha256:
            raise DataError(f"{path} was changed since it was imported.", self.again)
        text = io.BytesIO(unpacked(content))
        whole = pd.read_csv(text, dtype=str)  # pandas would round the last digit
        names = [name for name in whole.columns if name.startswith(f"{dataset}_")]
        numbers = whole[names].dropna(how="all").astype("float64")
        numbers.columns = [name.removeprefix(f"{dataset}_") for name in names]
        numbers["index"] = whole["index"].astype("int64")
        table = with_means(numbers.assign(arch=whole["arch"]))
        if not any(target in table for target in TARGETS):
            what = f"{record.source}, which was imported, has no accuracies"
            raise DataError(f"{what} for {dataset}.", self.again)
        return table, record
