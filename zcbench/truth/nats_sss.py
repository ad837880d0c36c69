"""NATS-Bench's size space: the official archive, imported once into a compact table.

The archive is ``NATS-sss-v1_0-50262-simple``, as a folder or the .tar of it: one pickle
for each architecture and one for their strings, each compressed with bzip2. They are
read as plain data (`plain_pickle`); nothing in them is run, and the package nats_bench
is not needed. The table is a CSV in the cache with, for each dataset, validation and
test accuracy of each training seed after 90 and 12 epochs. CIFAR-10 validation comes
from training on half of the training set, CIFAR-10 test from training on all of it.
"""

from __future__ import annotations

import bz2
import gzip
import hashlib
import io
import json
import re
import tarfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from zcbench.cache import cache_dir
from zcbench.errors import AbsentDataError, DataError, ZcbenchError
from zcbench.truth import TARGETS, Truth
from zcbench.truth.means import with_means
from zcbench.truth.nb201_official import write_whole
from zcbench.truth.plain_pickle import CONTAINERS_AND_NUMBERS, read_plain

if TYPE_CHECKING:
    import pandas as pd

    from zcbench.spaces import Space

NAME = "NATS-sss"
"""What the official archive is called after."""

_SOURCES: Mapping[str, Mapping[str, tuple[str, str]]] = {
    # dataset: {target: (what was trained on, what was evaluated on)}
    "cifar10": {"val": ("cifar10-valid", "x-valid"), "test": ("cifar10", "ori-test")},
    "cifar100": {"val": ("cifar100", "x-valid"), "test": ("cifar100", "x-test")},
    "ImageNet16-120": {
        "val": ("ImageNet16-120", "x-valid"),
        "test": ("ImageNet16-120", "x-test"),
    },
}
_EPOCHS = {"90": "", "12": "_12"}
_MEMBER = re.compile(r"(?:^|/)(meta|\d+)\.pickle\.pbz2$")
_OFFICIAL = "Give NATS-sss-v1_0-50262-simple, the folder or its .tar."
_IMPORT = "Import the archive once: zcbench data import NATS-sss-v1_0-50262-simple.tar."

Row = dict[str, Any]


def table_path(cache: Path | None = None) -> Path:
    """Where the table is, or will be."""
    return (cache or cache_dir()) / "truth" / "nats-sss.csv.gz"


def import_archive(archive: Path, cache: Path | None = None) -> int:
    """Write the table of an official archive into the cache.

    Args:
        archive: the folder or its .tar. Nothing in it is run.
        cache: the cache, `zcbench.cache.cache_dir()` by default.

    Returns:
        How many architectures it has.

    Raises:
        DataError: it is not the official one, is damaged or holds impossible numbers;
            or the cache cannot be written.
    """
    import pandas as pd

    from zcbench.spaces import load_space

    with _members(archive) as members:
        rows = list(_rows(members, archive, load_space("nats_sss")))
    table = pd.DataFrame(rows).sort_values("index", ignore_index=True)
    content = gzip.compress(table.to_csv(index=False).encode(), mtime=0)
    record = {
        "source": archive.name,
        "table_sha256": hashlib.sha256(content).hexdigest(),
        "architectures": len(table),
    }
    path = table_path(cache)
    write_whole(path, content)
    write_whole(_record_path(path), json.dumps(record, indent=1).encode())
    return len(table)


def read_record(cache: Path | None = None) -> dict[str, Any] | None:
    """Source, table_sha256 and architectures of the table; None without one.

    Raises:
        DataError: there is one that cannot be read.
    """
    path = _record_path(table_path(cache))
    try:
        record = json.loads(path.read_bytes())
        return {k: record[k] for k in ("source", "table_sha256", "architectures")}
    except FileNotFoundError:
        return None
    except (OSError, ValueError, TypeError, KeyError):
        raise DataError(f"{path} is damaged.", _IMPORT) from None


def load(dataset: str) -> pd.DataFrame:
    """Table with ``val``, ``test``, ``val_12``, ``test_12`` and their seeds.

    Raises:
        DataError: no archive was imported, or the table was changed since.
    """
    import pandas as pd

    record, path = read_record(), table_path()
    if record is None:
        raise AbsentDataError("No archive of NATS-Bench's sizes was imported.", _IMPORT)
    try:
        content = path.read_bytes()
    except OSError as error:
        raise DataError(f"{path} cannot be read: {error.strerror}.", _IMPORT) from None
    if hashlib.sha256(content).hexdigest() != record["table_sha256"]:
        raise DataError(f"{path} was changed since it was imported.", _IMPORT)
    whole = pd.read_csv(io.BytesIO(gzip.decompress(content)))
    names = [name for name in whole.columns if name.startswith(f"{dataset}_")]
    numbers = whole[names].dropna(how="all")
    numbers.columns = [name.removeprefix(f"{dataset}_") for name in names]
    table = with_means(numbers.join(whole[["arch", "index"]]))
    if not any(target in table for target in TARGETS):
        raise DataError(f"{record['source']} has no accuracies for {dataset}.", _IMPORT)
    table.attrs = {
        "truth": TRUTH.name,
        "release": "NATS-Bench (size), 90 epochs",
        "digest": record["table_sha256"],
        "source": record["source"],
    }
    return table


TRUTH = Truth(
    "nats-bench-size",
    "nats_sss",
    "official archive, imported once: validation and test accuracy, 90 and 12 epochs",
    load,
)


def _record_path(table: Path) -> Path:
    return table.parent / "nats-sss.json"


Members = Iterator[tuple[str, bytes]]
"""Name (``meta`` or a number) and content of each file."""


@contextmanager
def _members(archive: Path) -> Iterator[Members]:
    try:
        if archive.is_dir():
            yield _of_folder(archive)
        else:
            with tarfile.open(archive) as stream:
                yield _of_tar(stream)
    except (tarfile.TarError, EOFError):
        raise DataError(f"{archive} is no .tar, or a damaged one.", _OFFICIAL) from None
    except OSError as error:
        reason = error.strerror or error
        raise DataError(f"{archive} cannot be read: {reason}.", _OFFICIAL) from None


def _of_folder(folder: Path) -> Members:
    for path in sorted(folder.iterdir()):
        if match := _MEMBER.search(path.name):
            yield match[1], path.read_bytes()


def _of_tar(stream: tarfile.TarFile) -> Members:
    """Files are read in place: nothing is unpacked to disk."""
    for member in stream:
        match = _MEMBER.search(member.name)
        content = stream.extractfile(member) if match and member.isfile() else None
        if match and content is not None:
            yield match[1], content.read()


def _rows(members: Members, archive: Path, space: Space) -> Iterator[Row]:
    """One row an architecture, in the order of the archive."""
    strings: dict[int, str] = {}
    found: dict[int, Row] = {}
    for name, packed in members:
        where = f"{archive}, {name}"
        try:
            raw = io.BytesIO(bz2.decompress(packed))
        except (OSError, ValueError):
            raise DataError(f"{where} is no bzip2 file.", _OFFICIAL) from None
        content = read_plain(raw, where, _OFFICIAL, CONTAINERS_AND_NUMBERS)
        try:
            if name == "meta":
                strings = dict(enumerate(content["meta_archs"]))  # type: ignore[index]
            else:
                found[int(name)] = _row(content, space)
        except ZcbenchError as error:
            raise DataError(f"{where}: {error.what}", _OFFICIAL) from None
        except Exception as error:  # foreign structures can fail anywhere
            raise DataError(
                f"{where} does not have the structure of NATS-Bench "
                f"({type(error).__name__}: {error}).",
                _OFFICIAL,
            ) from None
    if not found or not strings:
        raise DataError(f"{archive} does not hold NATS-Bench's sizes.", _OFFICIAL)
    for number, row in found.items():
        if strings.get(number) != row["arch"]:
            raise DataError(
                f"{archive}, {number} is {row['arch']}, but {strings.get(number)} in "
                "the list of architectures.",
                _OFFICIAL,
            )
        yield row


def _row(content: Any, space: Space) -> Row:
    arch = space.parse(content["90"]["arch_str"])
    row: Row = {"arch": arch.spec, "index": arch.index}
    for epochs, suffix in _EPOCHS.items():
        trials = content[epochs]["all_results"]
        for dataset, sources in _SOURCES.items():
            for target, (trained_on, evaluated_on) in sources.items():
                seeds = sorted(seed for name, seed in trials if name == trained_on)
                for place, seed in enumerate(seeds):
                    trial = trials[trained_on, seed]
                    last = f"{evaluated_on}@{trial['epochs'] - 1}"
                    accuracy = float(trial["eval_acc1es"][last])
                    if not 0 <= accuracy <= 100:
                        raise DataError(f"the accuracy {accuracy:g} is impossible.")
                    row[f"{dataset}_{target}{suffix}_seed{place}"] = accuracy
                    if epochs == "90" and trained_on == dataset:
                        params = round(float(trial["params"]) * 1e6)
                        row[f"{dataset}_stored_params"] = params
    return row
