"""Finished parts of a long computation in a folder, for who goes on with it."""

from __future__ import annotations

import json
import zipfile
import zlib
from collections.abc import Callable, Mapping
from io import BytesIO
from pathlib import Path
from typing import TYPE_CHECKING, Any

from zcbench.errors import DataError, UsageError
from zcbench.files import write_whole

if TYPE_CHECKING:
    from numpy.typing import NDArray

Arrays = Mapping[str, "NDArray[Any]"]
_ABOUT = "about.json"
_DAMAGED = (OSError, ValueError, EOFError, KeyError, zipfile.BadZipFile, zlib.error)


class Parts:
    """Arrays of each part, in a file of its own.

    Args:
        path: the folder, made if it does not exist; None keeps nothing.
        about: what the parts depend on, as JSON has it.

    Raises:
        UsageError: it holds parts that depend on something else.
        DataError: it holds no parts.
        OSError: it cannot be made or read.
    """

    def __init__(
        self, path: Path | None = None, about: Mapping[str, Any] | None = None
    ) -> None:
        self.path = path
        if path is None:
            return
        here = json.loads(json.dumps(about))
        file = path / _ABOUT
        if not file.exists():
            if path.exists() and (not path.is_dir() or any(path.iterdir())):
                raise DataError(f"{path} holds something else.", "Give another --out.")
            write_whole(file, [json.dumps(here, indent=1).encode()])
            return
        try:
            there = dict(json.loads(file.read_bytes()))
        except (ValueError, TypeError, RecursionError):
            raise DataError(f"{file} is damaged.", "Give another --out.") from None
        same = {name: json.dumps(value) for name, value in there.items()}  # as of NaN
        other = [name for name in here if same.get(name) != json.dumps(here[name])]
        if other:
            raise UsageError(
                f"{path} holds parts of another command: other {', '.join(other)}.",
                "Say the same, or give another --out.",
            )

    def of(self, name: str, make: Callable[[], Arrays]) -> Arrays:
        """A part that is there, or is made now; then it is on the disk.

        Args:
            name: of the part and its file.
            make: does the work.
        """
        import numpy as np

        if self.path is None:
            return make()
        file = self.path / f"{name}.npz"
        try:
            with np.load(file, allow_pickle=False) as there:
                return dict(there)
        except _DAMAGED:  # or not there
            made = make()
        content = BytesIO()
        np.savez_compressed(content, allow_pickle=False, **dict(made))
        write_whole(file, [content.getvalue()])
        return made
