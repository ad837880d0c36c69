"""A process that scores: threads, memory, random state."""

from __future__ import annotations

import ctypes
import platform
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    pass


_TRIM_THRESHOLD, _MMAP_THRESHOLD = -1, -3  # mallopt(3)
_NEVER = 2**31 - 1
_LARGEST = 32 * 2**20  # of the blocks that glibc lets its heap serve


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
