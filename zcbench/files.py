"""Files: only regular ones of a sensible size are read, and they are written whole."""

from __future__ import annotations

import contextlib
import errno
import gzip
import io
import os
import stat
import tomllib
import zlib
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Protocol

from zcbench.errors import DataError

LARGEST = 1 << 30
"""Bytes of a table, list or report, also when it is unpacked."""
LARGEST_SETTINGS = 16 << 20
"""Bytes of what says how to run: configurations, tasks, manifests."""
GZIP = b"\x1f\x8b"
CHECKSUM = "crc32"
"""Last entry of what zcbench writes as JSON."""
_END = len(b', "crc32": "00000000"}')
_PIECE = 1 << 20
_AS_IS = getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_BINARY", 0)
"""Flags to open with: no waiting for a pipe's other end, no other line ends."""
_KINDS = {
    stat.S_IFIFO: "a pipe",
    stat.S_IFSOCK: "a socket",
    stat.S_IFCHR: "a device",
    stat.S_IFBLK: "a device",
}


class Readable(Protocol):
    """What can be read piece by piece, such as a member of an archive."""

    def read(self, size: int, /) -> bytes:
        """At most so many bytes; none at the end."""
        ...


def expanded(path: str) -> Path:
    """A path with ~ filled in; ~nobody stays, so that the message names it."""
    try:
        return Path(path).expanduser()
    except RuntimeError:
        return Path(path)


def opened(path: Path) -> io.BufferedReader:
    """A regular file, opened for reading; nothing waits for the other end of a pipe.

    Raises:
        OSError: it cannot be opened, or is a folder, pipe, device or socket.
    """
    try:
        kind = stat.S_IFMT(path.stat().st_mode)
    except ValueError as error:  # a path that no system has
        raise OSError(errno.EINVAL, str(error)) from None
    if kind == stat.S_IFDIR:
        raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR))
    if kind != stat.S_IFREG:
        what = _KINDS.get(kind, "special")
        raise OSError(errno.EINVAL, f"it is {what}, no regular file")
    return os.fdopen(os.open(path, os.O_RDONLY | _AS_IS), "rb")


def read(path: Path, most: int = LARGEST) -> bytes:
    """Content of a regular file.

    Raises:
        OSError: it cannot be read, is no regular file, or has more bytes than that.
    """
    with opened(path) as stream:
        if os.fstat(stream.fileno()).st_size > most:
            raise _too_large(most)
        return read_stream(stream, most)


def read_stream(stream: Readable, most: int = LARGEST) -> bytes:
    """What is left of a stream, also of one that unpacks.

    Raises:
        OSError: there is more than that, or the stream fails.
    """
    pieces, left = [], most
    while piece := stream.read(min(_PIECE, left + 1)):
        pieces.append(piece)
        left -= len(piece)
        if left < 0:
            pieces.clear()
            raise _too_large(most)
    return b"".join(pieces)


def _too_large(most: int) -> OSError:
    return OSError(errno.EFBIG, f"it holds more than {most >> 20:,} MiB")


def unpacked(content: bytes) -> bytes:
    """Content that may be compressed with gzip.

    Raises:
        OSError: it is damaged, or unpacks to more than `LARGEST` bytes.
    """
    if not content.startswith(GZIP):
        return content
    try:
        return read_stream(gzip.GzipFile(fileobj=io.BytesIO(content)))
    except (EOFError, zlib.error, gzip.BadGzipFile):
        raise gzip.BadGzipFile(errno.EINVAL, "gzip cannot read it") from None


def reason(error: Exception) -> str:
    """Why something cannot be read, for the middle of a sentence."""
    if isinstance(error, UnicodeDecodeError):
        return "it is not UTF-8"
    if isinstance(error, RecursionError):
        return "it is nested too deeply"
    if isinstance(error, zlib.error):
        return "it is damaged"
    if isinstance(error, OSError):
        return error.strerror or str(error)
    digits = "integer string conversion" in str(error)
    return "it has a number of too many digits" if digits else str(error)


def read_toml(path: Path, what: str, hint: str) -> Mapping[str, object]:
    """Entries of a TOML file.

    Args:
        path: the file.
        what: what it is called in messages: ``The task``.
        hint: what to do if it cannot be read.

    Raises:
        DataError: it cannot.
    """
    try:
        return tomllib.loads(read(path, LARGEST_SETTINGS).decode("utf-8-sig"))
    except (OSError, ValueError, RecursionError) as error:
        text = f"{what} {path} cannot be read: {reason(error)}."
        raise DataError(text, hint) from None


def signed(text: bytes) -> bytes:
    """A JSON object with its checksum as the last entry.

    >>> signed(b'{"a": 1}')
    b'{"a": 1, "crc32": "7aa88204"}'
    """
    body = text.rstrip()[:-1].rstrip()
    return body + b', "crc32": "%08x"}' % zlib.crc32(body)


def is_intact(text: bytes) -> bool:
    """Whether the checksum that a JSON object ends in is that of its bytes."""
    text = text.rstrip()
    return text == signed(text[:-_END] + b"}")


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
    """Write the output of a command: a file whole or not at all, others as they are.

    Raises:
        DataError: it cannot be written.
    """
    raw = content
    if isinstance(raw, str):
        raw = raw.encode(errors="backslashreplace")
    try:
        if not path.parent.is_dir():  # a misspelt folder is not made
            raise FileNotFoundError(2, os.strerror(2))
        if path.exists() and not path.is_file():  # /dev/stdout, say
            file = os.open(path, os.O_WRONLY | _AS_IS)
            os.set_blocking(file, True)
            with os.fdopen(file, "wb") as stream:
                stream.write(raw)
        else:
            write_whole(path.resolve(), [raw])  # a link stays one
    except (OSError, RuntimeError) as error:  # the latter for links in a circle
        why = error.strerror if isinstance(error, OSError) else None
        raise DataError(
            f"{path} cannot be written: {why or error}.", "Give another --output."
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


def cache_dir() -> Path:
    """The cache: ``ZCBENCH_CACHE`` if set, else the platform's cache folder."""
    chosen = os.environ.get("ZCBENCH_CACHE")
    if chosen:
        return Path(chosen).expanduser()
    import pooch

    return Path(pooch.os_cache("zcbench"))
