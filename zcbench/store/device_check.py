"""A finding of a self-check in words, as manifests keep it. No torch here."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any


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
