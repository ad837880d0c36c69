"""A finding of a self-check, as manifests and the cache keep it. No torch here."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from zcbench.files import write_whole


def disagreements(found: Mapping[str, Any]) -> list[str]:
    """What one check has found wrong, and what was done about it.

    Args:
        found: an entry of a manifest's ``device_check``.
    """
    proxies: dict[tuple[str, str], list[str]] = {}
    for name, way in found["taken"].items():
        proxies.setdefault((found["reasons"][name], way), []).append(name)
    where = f"{found['about']['space']} {found['about']['dataset']}"
    done = {"none": "have no scores", "float64": "are calculated in float64"}
    return [
        f"{where}: {reason}; {', '.join(names)} "
        f"{done.get(way, f'are calculated with {way}')}"
        for (reason, way), names in proxies.items()
    ]


def save(file: Path, found: Mapping[str, Any]) -> None:
    """Keep what a check has found in a file of the cache.

    Raises:
        OSError: it cannot be written.
    """
    write_whole(file, [json.dumps(found, indent=1).encode()])
