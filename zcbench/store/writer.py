"""A run directory open for writing."""

from __future__ import annotations

import contextlib
import json
import os
import time
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from filelock import FileLock, Timeout

from zcbench.errors import DataError, UsageError
from zcbench.files import LARGEST_SETTINGS, read, reason, signed, write_whole
from zcbench.store.directory import ARCHS, MANIFEST, is_empty, read_manifest
from zcbench.store.records import (
    SCORES,
    Key,
    Record,
    is_whole,
    line_of,
    merge,
    note,
    read_records,
)

try:
    import fcntl
except ImportError:  # Windows
    fcntl = None  # type: ignore[assignment]

_LOCK = ".lock"
_SYNC_SECONDS = 1.0
_PATIENCE = 2.0
"""Seconds to wait for a lock: a process that was killed holds it while it is torn down,
with much memory for a while."""


class RunStore:
    """A run directory open for writing, by one process at a time.

    Args:
        path: the directory; made if it does not exist.

    Attributes:
        path: the directory.
        manifest: the manifest found there, None in a new directory.
        unsigned: whether it has lines without checksums, of an earlier version; the
            first line that is added gives one to all.

    Raises:
        UsageError: another process writes to it.
        DataError: it cannot be written, or holds something else than a run.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.manifest: dict[str, Any] | None = None
        self._done: dict[Key, frozenset[str]] = {}
        self._n_lines = 0
        self.unsigned = False
        self._file = self._directory = -1
        self._size = 0
        self._synced = 0.0
        self._text = b""
        self._looked = (-1, -1)
        self._lock = FileLock(path / _LOCK)
        self._make_directory()
        try:
            self._acquire()
            if (path / MANIFEST).exists():
                self.manifest = read_manifest(path)
                self._text = self._manifest_text()
            self._read_done()
        except BaseException:
            self.close()
            raise

    def __enter__(self) -> RunStore:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def __len__(self) -> int:
        """Number of (dataset, architecture, repeat) with a line."""
        return len(self._done)

    def done(self, key: Key) -> frozenset[str]:
        """Proxies that need no further work there; see `read_done`."""
        return self._done.get(key, frozenset())

    def write_manifest(self, manifest: Mapping[str, Any]) -> None:
        """Replace the manifest, atomically."""
        text = json.dumps(manifest, indent=1, allow_nan=False)
        content = signed(text.encode()) + b"\n"
        self._replace(MANIFEST, [content])
        self.manifest = dict(manifest)
        self._text, self._looked = content, (-1, -1)

    def write_archs(self, specs: Iterable[str]) -> None:
        """Keep the architectures that the run was given, one a line."""
        self._replace(ARCHS, (f"{spec}\n".encode() for spec in specs))

    def read_archs(self) -> list[str]:
        """Architectures that earlier runs in this directory were given."""
        file = self.path / ARCHS
        try:
            return read(file).decode().splitlines()
        except FileNotFoundError:
            return []
        except (OSError, ValueError) as error:
            raise DataError(f"{file} cannot be read: {reason(error)}.") from None

    def append(self, record: Record) -> None:
        """Write one line; it is with the operating system when this returns.

        Raises:
            DataError: the disk is full or not writable, or the directory or its file
                is no longer what it was. What was there stays whole.
        """
        line = line_of(record)
        if self.unsigned:  # of an earlier version: from now on all have checksums
            self._rewrite(merge(read_records(self.path)))
        self.check()
        try:
            if self._file < 0:
                self._open_for_append()
            view = memoryview(line)
            while view:
                view = view[os.write(self._file, view) :]
            self._size += len(line)
            self._note(record)
            if time.monotonic() - self._synced > _SYNC_SECONDS:
                os.fsync(self._file)
                self._synced = time.monotonic()
        except OSError as error:
            self._take_back()
            raise self._unwritable(error) from None

    def drop(self, proxies: Iterable[str]) -> None:
        """Forget all scores of some proxies (they are to be computed anew)."""
        gone = set(proxies)
        merged = merge(read_records(self.path))
        for record in merged.values():
            for part in ("scores", "status", "messages"):
                if part in record:
                    kept = {p: v for p, v in record[part].items() if p not in gone}
                    record[part] = kept
        self._rewrite(merged)

    def compact(self) -> None:
        """Rewrite to one line per key, atomically, if there are several anywhere."""
        self.check()
        if self._n_lines > len(self._done):
            self._rewrite(merge(read_records(self.path)))

    def close(self) -> None:
        """Flush to the disk and let other processes in."""
        if self._file >= 0:
            file, self._file = self._file, -1
            with contextlib.suppress(OSError):
                os.fsync(file)
            os.close(file)
        if self._directory >= 0:
            directory, self._directory = self._directory, -1
            os.close(directory)
        self._lock.release()

    def check(self) -> None:
        """Make sure that the directory and its scores are those that were opened.

        Raises:
            DataError: they were moved, deleted, replaced or written by others.
        """
        scores = self.path / SCORES
        for file, path in ((self._directory, self.path), (self._file, scores)):
            try:
                if file >= 0 and not os.path.samestat(path.stat(), os.fstat(file)):
                    raise FileNotFoundError
            except OSError:
                raise self._gone(f"{path} was moved, deleted or replaced") from None
        if self.manifest is not None:
            try:
                same = self._manifest_text() == self._text
            except OSError:
                raise self._gone(f"{self.path} was emptied") from None
            if not same:
                raise self._gone(f"{self.path / MANIFEST} was changed by others")
        if self._file >= 0 and os.fstat(self._file).st_size != self._size:
            raise self._gone(f"{scores} was written by another program")

    def _manifest_text(self) -> bytes:
        """What the manifest holds, read again only where it looks touched."""
        file = self.path / MANIFEST
        found = file.stat()
        look = found.st_size, found.st_mtime_ns
        text = self._text if look == self._looked else read(file, LARGEST_SETTINGS)
        self._looked = look
        return text

    def _gone(self, what: str) -> DataError:
        return DataError(
            f"{what} while the run was going on, which has stopped.",
            "Put the directory back and start the run again, or give another --out.",
        )

    def _make_directory(self) -> None:
        try:
            self.path.mkdir(parents=True, exist_ok=True)
            # A run killed at its very start leaves a list of architectures alone.
            begun = (self.path / MANIFEST).exists() or (self.path / ARCHS).exists()
            foreign = not (begun or is_empty(self.path))
        except (FileExistsError, NotADirectoryError):
            raise DataError(
                f"{self.path} is not a directory.", "Give another --out."
            ) from None
        except OSError as error:
            raise self._unwritable(error) from None
        if foreign:
            raise DataError(
                f"{self.path} holds files but no run of zcbench.", "Give another --out."
            )

    def _acquire(self) -> None:
        """Lock a file in the directory, and the directory, which no one can remove.

        Not every system and network disk can do the latter.
        """
        try:
            self._lock.acquire(timeout=_PATIENCE)
            if fcntl is not None:
                self._directory = os.open(self.path, os.O_RDONLY)
                self._lock_directory()
        except (Timeout, BlockingIOError):
            raise UsageError(
                f"{self.path} is being written by another process.",
                "Wait until it ends, or give another --out.",
            ) from None
        except OSError as error:
            if self._directory < 0:  # else a disk that locks no directories
                raise self._unwritable(error) from None

    def _lock_directory(self) -> None:
        until = time.monotonic() + _PATIENCE
        while True:
            try:
                return fcntl.flock(self._directory, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                if time.monotonic() > until:
                    raise
            time.sleep(0.05)

    def _read_done(self) -> None:
        if (self.path / f"{SCORES}.gz").exists():
            raise DataError(
                f"{self.path} is packed: its scores are in {SCORES}.gz.",
                "Unpack them with gunzip to go on, or give another --out.",
            )
        for record in read_records(
            self.path, lambda _: setattr(self, "unsigned", True)
        ):
            self._note(record)

    def _note(self, record: Record) -> None:
        note(self._done, record)
        self._n_lines += 1

    def _open_for_append(self) -> None:
        """Open the file; drop a torn tail, or end it with the newline that it lacks."""
        file = self.path / SCORES
        self._file = os.open(file, os.O_RDWR | os.O_CREAT, 0o666)
        self._size = os.lseek(self._file, 0, os.SEEK_END)
        tail = b""
        while self._size and b"\n" not in tail:
            start = max(0, self._size - len(tail) - 65536)
            tail = os.pread(self._file, self._size - start, start)
            if start == 0:
                break
        tail = tail[tail.rfind(b"\n") + 1 :]
        if tail and is_whole(tail):
            self._size += os.write(self._file, b"\n")
        elif tail:
            self._take_back(self._size - len(tail))

    def _take_back(self, size: int | None = None) -> None:
        """Cut the file to what it held before a write that failed."""
        self._size = self._size if size is None else size
        if self._file >= 0:
            with contextlib.suppress(OSError):
                os.ftruncate(self._file, self._size)
                os.lseek(self._file, self._size, os.SEEK_SET)

    def _rewrite(self, merged: Mapping[Key, Record]) -> None:
        if self._file >= 0:
            os.close(self._file)
            self._file = -1
        self._replace(SCORES, map(line_of, merged.values()))
        self.unsigned = False
        self._done.clear()
        self._n_lines = 0
        for record in merged.values():
            self._note(record)

    def _replace(self, name: str, parts: Iterable[bytes]) -> None:
        self.check()
        try:
            write_whole(self.path / name, parts)
        except OSError as error:
            raise self._unwritable(error) from None

    def _unwritable(self, error: OSError) -> DataError:
        kept = f" Results kept there: {len(self._done):,}." if self._done else ""
        return DataError(
            f"{self.path} cannot be written: {error.strerror or error}.{kept}",
            f"Make room or make it writable, then go on with --out {self.path}.",
        )
