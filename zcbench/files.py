"""Files that are written whole or not at all: no reader ever meets half of one."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterable
from pathlib import Path

from zcbench.errors import DataError


def write_whole(path: Path, parts: Iterable[bytes]) -> None:
    """Write a file beside its place, to the disk, and then move it there.

    Args:
        path: the file; what is there is replaced. Its folder is made.
        parts: its content.

    Raises:
        OSError: the disk refuses; what was there stays.
    """
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    path.parent.mkdir(parents=True, exist_ok=True)
    try:
        with temporary.open("wb") as stream:
            stream.writelines(parts)
            stream.flush()
            os.fsync(stream.fileno())
        temporary.replace(path)
    except BaseException:
        with contextlib.suppress(OSError):
            temporary.unlink()
        raise


def write(content: str | bytes, path: Path) -> None:
    """Write the output of a command, whole or not at all.

    Raises:
        DataError: it cannot be written.
    """
    try:
        if not path.parent.is_dir():  # a misspelt folder is not made
            raise FileNotFoundError(2, os.strerror(2))
        write_whole(path, [content.encode() if isinstance(content, str) else content])
    except OSError as error:
        raise DataError(
            f"{path} cannot be written: {error.strerror or error}.",
            "Give another --output.",
        ) from None


def make_folder(path: Path) -> None:
    """Make the folder of a command's output, with those above it.

    Raises:
        DataError: it cannot be made.
    """
    try:
        path.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise DataError(
            f"{path} cannot be made: {error.strerror or error}.",
            "Give another --output.",
        ) from None
