"""Keep freed memory for the next network instead of giving it back.

A network's feature maps are a few megabytes each. By default glibc returns such blocks
to the operating system when they are freed, and the next network pays for every page
again (docs/performance.md has what that costs).
"""

from __future__ import annotations

import ctypes
import platform

_TRIM_THRESHOLD, _MMAP_THRESHOLD = -1, -3  # mallopt(3)
_NEVER = 2**31 - 1
_LARGEST = 32 * 2**20  # of the blocks that glibc lets its heap serve


def keep_freed_memory() -> bool:
    """Tell glibc's allocator to keep what this process frees.

    The process stays as large as its largest network has made it.

    Returns:
        Whether that was done; False with another C library.
    """
    if platform.libc_ver()[0] != "glibc":
        return False
    mallopt = ctypes.CDLL(None).mallopt
    return bool(mallopt(_MMAP_THRESHOLD, _LARGEST)) and bool(
        mallopt(_TRIM_THRESHOLD, _NEVER)
    )
