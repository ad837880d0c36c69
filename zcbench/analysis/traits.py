"""What the proxies of a run are: from the run itself, or from what is loaded here."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from zcbench.errors import UsageError


@dataclass(frozen=True, slots=True)
class Traits:
    """What the names of proxies stand for.

    Attributes:
        baselines: those that others are compared with.
        lower: those of which lower is better.
        unknown: those of which neither the run nor a loaded plug-in says it.
    """

    baselines: tuple[str, ...]
    lower: frozenset[str]
    unknown: tuple[str, ...]

    def notes(self, run: str) -> list[str]:
        """A line for the user where something is unknown; none elsewhere."""
        about = (
            f"{run}: neither the run nor a loaded plug-in says whether a higher or a "
            f"lower score is better of {', '.join(self.unknown)}: higher is taken. "
            "--plugin FILE loads one."
        )
        return [about] if self.unknown else []


def traits(manifest: Mapping[str, Any], proxies: Iterable[str]) -> Traits:
    """Traits of the proxies of a run.

    Args:
        manifest: of the run; those written before it kept traits rely on the registry.
        proxies: names.
    """
    said = {proxy: _said(manifest, proxy) for proxy in proxies}
    return Traits(
        baselines=tuple(proxy for proxy in said if said[proxy].get("baseline")),
        lower=frozenset(p for p in said if said[p].get("direction") == "lower"),
        unknown=tuple(proxy for proxy in said if not said[proxy]),
    )


def aliases(manifest: Mapping[str, Any]) -> dict[str, str]:
    """Other names of the proxies of a run → their names in it."""
    return {
        alias: proxy
        for proxy in manifest["proxies"]
        for alias in _said(manifest, proxy).get("aliases", ())
    }


def _said(manifest: Mapping[str, Any], proxy: str) -> Mapping[str, Any]:
    """Direction, baseline and aliases of a proxy; empty if nobody knows it."""
    from zcbench.proxies import PROXIES

    if kept := manifest.get("traits", {}).get(proxy):
        return dict(kept)
    try:
        return PROXIES.get(proxy).traits
    except UsageError:  # of a plug-in that is not loaded
        return {}
