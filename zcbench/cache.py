"""Where zcbench keeps what it downloads or imports."""

from __future__ import annotations

import os
from pathlib import Path


def cache_dir() -> Path:
    """The cache: ``ZCBENCH_CACHE`` if set, else the platform's cache folder."""
    chosen = os.environ.get("ZCBENCH_CACHE")
    if chosen:
        return Path(chosen).expanduser()
    import pooch

    return Path(pooch.os_cache("zcbench"))
