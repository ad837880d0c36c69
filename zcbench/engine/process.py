"""A process that scores: threads, memory, random state."""

from __future__ import annotations

import ctypes
import platform
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

_TRIM_THRESHOLD, _MMAP_THRESHOLD = -1, -3  # mallopt(3)
_NEVER = 2**31 - 1
_LARGEST = 32 * 2**20  # of the blocks that glibc lets its heap serve
_SHARE = 0.95
"""Part of the free memory that the process may still take."""
_CGROUP = Path("/sys/fs/cgroup")


def start_worker(threads: int) -> None:
    """Settle a process that does nothing but score."""
    import torch

    keep_freed_memory()
    torch.set_num_threads(threads)


@contextmanager
def torch_state(threads: int) -> Iterator[None]:
    """Give torch that many threads; restore them and the random state at the end.

    The allocator keeps freed memory from here on: glibc cannot be asked to go back.
    """
    import torch

    keep_freed_memory()
    before = torch.get_num_threads()
    with torch.random.fork_rng(devices=[]):
        torch.set_num_threads(threads)
        try:
            yield
        finally:
            torch.set_num_threads(before)


def keep_freed_memory() -> bool:
    """Tell glibc's allocator to keep freed memory for the next network.

    A network's feature maps are a few megabytes each. By default glibc returns such
    blocks to the operating system, and the next network pays for every page again
    (docs/performance.md has what that costs). The process stays as large as its largest
    network has made it.

    Returns:
        Whether that was done; False with another C library.
    """
    if platform.libc_ver()[0] != "glibc":
        return False
    mallopt = ctypes.CDLL(None).mallopt
    return bool(mallopt(_MMAP_THRESHOLD, _LARGEST)) and bool(
        mallopt(_TRIM_THRESHOLD, _NEVER)
    )


@contextmanager
def within_memory() -> Iterator[None]:
    """Let allocations fail that the machine has no memory for.

    Linux grants them and kills the process when it writes there. Elsewhere nothing is
    changed.
    """
    if sys.platform != "linux":
        yield
        return
    import resource

    before = resource.getrlimit(resource.RLIMIT_DATA)
    free = _free()
    limit = _taken() + int(_SHARE * free) if free else resource.RLIM_INFINITY
    if before[0] != resource.RLIM_INFINITY:
        limit = before[0] if limit == resource.RLIM_INFINITY else min(limit, before[0])
    resource.setrlimit(resource.RLIMIT_DATA, (limit, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_DATA, before)


def _taken() -> int:
    """Bytes of data that the process has, also those that it never wrote to."""
    return _kilobytes(Path("/proc/self/status"), "VmData") * 1024


def _free() -> int:
    """Bytes that are free on the machine and in its container; 0 if not known."""
    known = [_kilobytes(Path("/proc/meminfo"), "MemAvailable") * 1024]
    most, now = (_number(_CGROUP / f"memory.{name}") for name in ("max", "current"))
    if most:
        known.append(most - now + _cached())
    return max(0, min(known))


def _cached() -> int:
    """Bytes of files that a container would give up."""
    try:
        lines = (_CGROUP / "memory.stat").read_text().splitlines()
    except OSError:
        return 0
    return sum(int(n) for name, n in map(str.split, lines) if name == "inactive_file")


def _number(file: Path) -> int:
    try:
        return int(file.read_text())
    except (OSError, ValueError):  # "max"
        return 0


def _kilobytes(file: Path, name: str) -> int:
    try:
        lines = file.read_text().splitlines()
    except OSError:
        return 0
    return next((int(x.split()[1]) for x in lines if x.startswith(f"{name}:")), 0)
