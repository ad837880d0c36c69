"""NATS-Bench's size space: the official archive, imported once into a compact table.

The archive is ``NATS-sss-v1_0-50262-simple``, as a folder or the .tar of it: one pickle
for each architecture and one for their strings, each compressed with bzip2. They are
read as plain data (`zcbench.pickles`); nothing in them is run, and the package
nats_bench is not needed. The table has, for each dataset, validation and test accuracy
of each training seed after 90 and 12 epochs.
"""

from __future__ import annotations

import bz2
import io
import lzma
import re
import tarfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from zcbench.errors import DataError, ZcbenchError
from zcbench.files import opened, read, read_stream, reason
from zcbench.pickles import CONTAINERS_AND_NUMBERS, read_plain
from zcbench.truth import Truth
from zcbench.truth.imported import SOURCES, Imported, Record

if TYPE_CHECKING:
    import pandas as pd

    from zcbench.spaces import Space

NAME = "NATS-sss"
"""What the official archive is called after."""

_EPOCHS = {"90": "", "12": "_12"}
_MEMBER = re.compile(r"(?:^|/)(meta|\d+)\.pickle\.pbz2$")
_OFFICIAL = "Give NATS-sss-v1_0-50262-simple, the folder or its .tar."
_IMPORT = "Import the archive once: zcbench data import NATS-sss-v1_0-50262-simple.tar."

Row = dict[str, Any]


TABLE = Imported(
    "nats-sss", "No archive of NATS-Bench's sizes was imported.", _IMPORT, _IMPORT
)


def import_official(archive: Path) -> Record:
    """Write the table of an official archive into the cache.

    Args:
        archive: the folder or its .tar. Nothing in it is run.

    Returns:
        The record that lies beside the table.

    Raises:
        DataError: it is not the official one, is damaged or holds impossible numbers;
            or the cache cannot be written.
    """
    import pandas as pd

    from zcbench.spaces import load_space

    with _members(archive) as members:
        rows = list(_rows(members, archive, load_space("nats_sss")))
    table = pd.DataFrame(rows).sort_values("index", ignore_index=True)
    return TABLE.write(table, source=archive.name)


def load(dataset: str) -> pd.DataFrame:
    """Table with ``val``, ``test``, ``val_12``, ``test_12`` and their seeds.

    Raises:
        DataError: no archive was imported, or the table was changed since.
    """
    table, record = TABLE.load(dataset)
    table.attrs = {
        "truth": TRUTH.name,
        "release": "NATS-Bench (size), 90 epochs",
        "digest": record.table_sha256,
        "source": record.source,
    }
    return table


TRUTH = Truth(
    "nats-bench-size",
    "nats_sss",
    "official archive, imported once: validation and test accuracy, 90 and 12 epochs",
    load,
)


Members = Iterator[tuple[str, bytes]]
"""Name (``meta`` or a number) and content of each file."""


@contextmanager
def _members(archive: Path) -> Iterator[Members]:
    try:
        if archive.is_dir():
            yield _of_folder(archive)
        else:
            with opened(archive) as raw, tarfile.open(fileobj=raw) as stream:
                yield _of_tar(stream)
    except (tarfile.TarError, EOFError, zlib.error, lzma.LZMAError):
        raise DataError(f"{archive} is no .tar, or a damaged one.", _OFFICIAL) from None
    except OSError as error:
        raise DataError(
            f"{archive} cannot be read: {reason(error)}.", _OFFICIAL
        ) from None


def _of_folder(folder: Path) -> Members:
    for path in sorted(folder.iterdir()):
        if match := _MEMBER.search(path.name):
            yield match[1], read(path)


def _of_tar(stream: tarfile.TarFile) -> Members:
    """Files are read in place: nothing is unpacked to disk."""
    for member in stream:
        match = _MEMBER.search(member.name)
        content = stream.extractfile(member) if match and member.isfile() else None
        if match and content is not None:
            yield match[1], read_stream(content)


def _rows(members: Members, archive: Path, space: Space) -> Iterator[Row]:
    """One row an architecture, in the order of the archive."""
    strings: dict[int, str] = {}
    by_number: dict[int, Row] = {}
    for name, packed in members:
        where = f"{archive}, {name}"
        try:
            raw = io.BytesIO(read_stream(bz2.BZ2File(io.BytesIO(packed))))
        except (OSError, ValueError, EOFError):
            raise DataError(f"{where} is no bzip2 file.", _OFFICIAL) from None
        content = read_plain(raw, where, _OFFICIAL, CONTAINERS_AND_NUMBERS)
        try:
            if name == "meta":
                strings = dict(enumerate(content["meta_archs"]))  # type: ignore[index]
            else:
                by_number[int(name)] = _trainings(content, space)
        except ZcbenchError as error:
            raise DataError(f"{where}: {error.what}", _OFFICIAL) from None
        except Exception as error:  # foreign structures can fail anywhere
            raise DataError(
                f"{where} does not have the structure of NATS-Bench "
                f"({type(error).__name__}: {error}).",
                _OFFICIAL,
            ) from None
    if not by_number or not strings:
        raise DataError(f"{archive} does not hold NATS-Bench's sizes.", _OFFICIAL)
    for number, row in by_number.items():
        if strings.get(number) != row["arch"]:
            raise DataError(
                f"{archive}, {number} is {row['arch']}, but {strings.get(number)} in "
                "the list of architectures.",
                _OFFICIAL,
            )
        yield row


def _trainings(content: Any, space: Space) -> Row:
    arch = space.parse(content["90"]["arch_str"])
    row: Row = {"arch": arch.spec, "index": arch.index}
    for epochs, suffix in _EPOCHS.items():
        trials = content[epochs]["all_results"]
        for dataset, sources in SOURCES.items():
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
