"""What is searched with: methods, aids, how long."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from zcbench.analysis.search.pool import SearchPool
from zcbench.errors import unknown
from zcbench.stats.ranks import Floats, Ints

METHODS = ("random", "evolution", "predictor")
AIDS = ("none", "warmup", "filter", "features")


@dataclass(frozen=True, slots=True)
class Setting:
    """How to search.

    Attributes:
        trials: searches, each with its own random numbers.
        evaluations: architectures that each of them trains.
        warmup: architectures that are scored before the first is trained.
        candidates: how many are drawn where a proxy filters.
        seed: of all searches.
    """

    trials: int = 400
    evaluations: int = 200
    warmup: int = 500
    candidates: int = 10
    seed: int = 0


@dataclass(frozen=True, slots=True)
class Variant:
    """A method and its aid.

    Attributes:
        method: one of `METHODS`.
        aid: one of `AIDS`.
        proxies: those that aid: none, one, or the features.
    """

    method: str
    aid: str = "none"
    proxies: tuple[str, ...] = ()

    @property
    def label(self) -> str:
        """evolution, warmup by nwot."""
        by = f" by {', '.join(self.proxies)}" if len(self.proxies) == 1 else ""
        return self.method if self.aid == "none" else f"{self.method}, {self.aid}{by}"


@dataclass(frozen=True, slots=True, eq=False)
class Trace:
    """What one variant trained.

    Attributes:
        chosen: [trials, evaluations] positions in the pool, in order.
        seen: [trials, evaluations] accuracy of the one training that the search saw.
        hours: [trials, evaluations] cost until that training is done, proxies included.
        found: [trials, evaluations] accuracy, as finds are judged, of the architecture
            that was best so far by what the search saw.
    """

    chosen: Ints
    seen: Floats
    hours: Floats
    found: Floats


def variants(
    pool: SearchPool, methods: Sequence[str] = METHODS, aids: Sequence[str] = AIDS
) -> list[Variant]:
    """Every method alone and with every aid, by every proxy.

    Raises:
        UsageError: there is no such method or aid.
    """
    for what, names, known in (("method", methods, METHODS), ("aid", aids, AIDS)):
        for name in names:
            if name not in known:
                raise unknown(what, name, known)
    found = []
    for method in (m for m in METHODS if m in methods):
        if "none" in aids:
            found.append(Variant(method))
        for aid in (a for a in AIDS if a in aids and a not in ("none", "features")):
            found += [Variant(method, aid, (proxy,)) for proxy in pool.proxies]
        if method == "predictor" and "features" in aids:
            found += list(_features(pool))
    return found


def _features(pool: SearchPool) -> Iterator[Variant]:
    """The baselines alone, which papers leave out, and all proxies."""
    if pool.baselines:
        yield Variant("predictor", "features", pool.baselines)
    if set(pool.proxies) > set(pool.baselines):
        yield Variant("predictor", "features", tuple(pool.proxies))
