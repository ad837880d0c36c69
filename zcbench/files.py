"""Files that are written whole or not at all."""

from __future__ import annotations

import contextlib
import os
from pathlib import Path

from zcbench.errors import DataError


def put(content: str | bytes, path: Path) -> None:
    """Write a file whole or not at all: a reader never meets half of it.

    Args:
        content: text, to be written as UTF-8, or bytes.
        path: the file, in a folder that is there.

    Raises:
        OSError: it cannot be written.
    """
    partial = path.with_name(f".{path.name}.{os.getpid()}.part")
    try:
        partial.write_bytes(content.encode() if isinstance(content, str) else content)
        partial.replace(path)
    except OSError:
        with contextlib.suppress(OSError):
            partial.unlink()
        raise


def write(content: str | bytes, path: Path) -> None:
    """`put` the output of a command.

    Raises:
        DataError: it cannot be written.
    """
    try:
        put(content, path)
    except OSError as error:
        raise DataError(
            f"{path} cannot be written: {error.strerror or error}.",
            "Give another --output.",
        ) from None
