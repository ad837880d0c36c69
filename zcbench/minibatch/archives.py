"""Take what is wanted out of `.npz` and `.tar.gz` files, in memory and within limits.

Archives may come from anywhere: nothing is extracted to disk or unpickled, and what
unpacks to more than it should is refused.
"""

from __future__ import annotations

import gzip
import io
import math
import tarfile
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import PurePosixPath
from typing import IO, Any

import numpy as np
from numpy.typing import NDArray

from zcbench.errors import DataError

MAX_MEMBER = 1 << 30
"""Largest file in an archive, in bytes; CIFAR-100's is 155 million."""
MAX_TOTAL = 2 << 30
"""Most that an archive may unpack to."""
_TRUSTED = "Do not trust that file: fetch the official one."
_NPZ = "An .npz needs images, uint8 [N, H, W, C], and labels, integers [N]."


def is_npz(data: bytes) -> bool:
    """Whether the bytes begin like a zip file."""
    return data.startswith(b"PK\x03\x04")


def is_tar(data: bytes) -> bool:
    """Whether the bytes begin like a tar file, or are compressed with gzip."""
    return data.startswith(b"\x1f\x8b") or data[257:262] == b"ustar"


@contextmanager
def _undamaged(where: str) -> Iterator[None]:
    try:
        yield
    except (DataError, MemoryError):
        raise
    except Exception as error:  # a damaged archive can raise nearly anything
        raise DataError(
            f"{where} is damaged ({type(error).__name__}).", "Fetch or copy it again."
        ) from None


def read_npz(data: bytes, where: str) -> tuple[NDArray[Any], NDArray[Any]]:
    """Arrays ``images`` and ``labels`` of an `.npz`.

    Raises:
        DataError: one is missing, of another type or shape, or the file is damaged.
    """
    with _undamaged(where), zipfile.ZipFile(io.BytesIO(data)) as archive:
        images, labels = (_npy(archive, name, where) for name in ("images", "labels"))
    if images.dtype != np.uint8 or images.ndim != 4:
        raise DataError(f"The images in {where} are {_describe(images)}.", _NPZ)
    if labels.dtype.kind not in "iu" or labels.ndim != 1:
        raise DataError(f"The labels in {where} are {_describe(labels)}.", _NPZ)
    if len(images) != len(labels):
        raise DataError(
            f"{where} has {len(images)} images but {len(labels)} labels.", _NPZ
        )
    return images, labels


def _describe(array: NDArray[Any]) -> str:
    return f"{array.dtype.name} {list(array.shape)}"


def _npy(archive: zipfile.ZipFile, name: str, where: str) -> NDArray[Any]:
    """One array; its header is checked before anything is made of it."""
    if f"{name}.npy" not in archive.namelist():
        raise DataError(f"{where} has no array {name!r}.", _NPZ)
    info = archive.getinfo(f"{name}.npy")
    _check_size(info.file_size, name, where)
    stream = io.BytesIO(archive.read(info))
    version = np.lib.format.read_magic(stream)
    read_header = {
        (1, 0): np.lib.format.read_array_header_1_0,
        (2, 0): np.lib.format.read_array_header_2_0,
    }[version]
    shape, fortran, dtype = read_header(stream)
    if dtype.hasobject or dtype.fields is not None:
        raise DataError(f"The {name} in {where} are Python objects, not numbers.", _NPZ)
    array = np.frombuffer(stream.read(), dtype=dtype)
    if len(array) != math.prod(shape):
        raise DataError(f"The {name} in {where} are cut short.", "Copy it again.")
    return array.reshape(shape, order="F" if fortran else "C")


def read_tar(data: bytes, where: str, wanted: frozenset[str]) -> dict[str, bytes]:
    """Files of a tar archive, compressed with gzip or not.

    Args:
        data: the archive.
        where: what it is called in messages.
        wanted: names of the members to read; others are passed over.

    Raises:
        DataError: it is damaged, unpacks to too much, or has a name that points
            outside it.
    """
    files = {}
    with _undamaged(where):
        raw: IO[bytes] = io.BytesIO(data)
        if data.startswith(b"\x1f\x8b"):
            raw = gzip.GzipFile(fileobj=raw)  # type: ignore[assignment]
        stream = _Limited(raw, where)
        with tarfile.open(fileobj=stream, mode="r|") as archive:  # type: ignore[call-overload]
            for member in archive:
                path = PurePosixPath(member.name)
                if path.is_absolute() or ".." in path.parts:
                    raise DataError(
                        f"{where} has a member that points outside it: {member.name}.",
                        _TRUSTED,
                    )
                _check_size(member.size, member.name, where)
                if member.isreg() and str(path) in wanted:
                    files[str(path)] = archive.extractfile(member).read()
        while stream.read(1 << 20):
            pass  # to the end, where gzip keeps its checksum
    return files


class _Limited:
    """A stream that stops at `MAX_TOTAL` bytes, whatever it claims to hold."""

    def __init__(self, stream: IO[bytes], where: str) -> None:
        self._stream = stream
        self._where = where
        self._left = MAX_TOTAL

    def read(self, size: int) -> bytes:
        chunk = self._stream.read(min(size, self._left + 1))
        self._left -= len(chunk)
        if self._left < 0:
            raise DataError(
                f"{self._where} unpacks to more than {MAX_TOTAL >> 20} MiB.", _TRUSTED
            )
        return chunk


def _check_size(size: int, name: str, where: str) -> None:
    if size > MAX_MEMBER:
        raise DataError(
            f"{name} in {where} unpacks to more than {MAX_MEMBER >> 20} MiB.", _TRUSTED
        )
