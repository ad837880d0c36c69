"""Read what `torch.save` wrote, as plain data and without torch.

The official NAS-Bench-201 file is one pickle of some gigabytes. `torch.load` refuses it
or runs whatever it names; with ``weights_only=True`` it reads it in Python code, ten
times as slowly as this, which is as strict.
"""

from __future__ import annotations

import gc
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO

from zcbench.errors import DataError
from zcbench.files import opened, reason
from zcbench.pickles import CONTAINERS_AND_NUMBERS, read_plain

_OLD_MAGIC = 0x1950A86A20F9469CFC6C  # first of the four pickles of the old format
_OFFICIAL = "Give the official file, such as NAS-Bench-201-v1_1-096897.pth."


def read_saved(path: Path) -> object:
    """The object in a file of `torch.save`, in either of its formats.

    Raises:
        DataError: it is missing, unreadable, not of that kind, or names anything but
            containers and numbers; or the memory does not suffice.
    """
    try:
        with opened(path) as stream:
            if zipfile.is_zipfile(stream):
                return _read_zip(stream, path)
            stream.seek(0)
            return _read_old(stream, path)
    except OSError as error:
        raise DataError(f"{path} cannot be read: {reason(error)}.", _OFFICIAL) from None
    except (zipfile.BadZipFile, NotImplementedError, RuntimeError) as error:
        raise DataError(f"{path} is damaged: {error}.", "Copy it again.") from None
    except MemoryError:
        raise DataError(
            f"There is not enough memory to read {path}.",
            "The official file needs about 30 GB, once.",
        ) from None


def _read_zip(stream: IO[bytes], path: Path) -> object:
    with zipfile.ZipFile(stream) as archive:
        names = [n for n in archive.namelist() if n.endswith("/data.pkl")]
        stored = all(
            archive.getinfo(n).compress_type == zipfile.ZIP_STORED for n in names
        )
        if len(names) != 1 or not stored:  # compressed, it could unpack to anything
            raise DataError(f"{path} was not written by torch.save.", _OFFICIAL)
        with archive.open(names[0]) as member:
            return read_plain(member, str(path), _OFFICIAL, CONTAINERS_AND_NUMBERS)


def _read_old(stream: IO[bytes], path: Path) -> object:
    """Magic number, version, byte sizes, then the object itself."""
    if read_plain(stream, str(path), _OFFICIAL) != _OLD_MAGIC:
        raise DataError(f"{path} was not written by torch.save.", _OFFICIAL)
    for _ in ("version", "sizes"):
        read_plain(stream, str(path), _OFFICIAL)
    return read_plain(stream, str(path), _OFFICIAL, CONTAINERS_AND_NUMBERS)


@contextmanager
def without_collection() -> Iterator[None]:
    """Spare the search for cycles among millions of objects that form none."""
    was = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was:
            gc.enable()
