"""Which proxies are ahead of the best baseline, on the same architectures."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from zcbench.stats import Association, Difference, association, paired_difference
from zcbench.stats.ranks import Floats


@dataclass(frozen=True, slots=True)
class Comparison:
    """A proxy against the best baseline on the architectures where it has a score.

    Attributes:
        proxy: the proxy.
        baseline: the baseline with the highest ρ on these architectures.
        baseline_value: that ρ.
        difference: ρ of the proxy minus that of the baseline.
        subset: whether some architectures are left out because the proxy failed there.
    """

    proxy: str
    baseline: str
    baseline_value: float
    difference: Difference
    subset: bool

    @property
    def ahead(self) -> bool:
        """Whether the interval of the difference lies above zero."""
        return self.difference.low > 0


@dataclass(frozen=True, slots=True)
class Verdict:
    """The proxies of a table against its baselines, by Spearman's ρ.

    Attributes:
        baseline: the best baseline over all architectures; empty if there is none.
        value: its ρ.
        comparisons: one for each other proxy, largest difference first.
    """

    baseline: str
    value: float
    comparisons: tuple[Comparison, ...]

    @property
    def ahead(self) -> tuple[Comparison, ...]:
        """Those that are ahead."""
        return tuple(c for c in self.comparisons if c.ahead)


def judge(
    scores: Mapping[str, Floats], accuracy: Floats, baselines: Collection[str]
) -> Verdict:
    """Compare every proxy with the best baseline.

    A proxy that fails on some architectures is compared on the others, and so is the
    baseline: failing on the hard ones is no merit. The baseline is chosen anew there,
    after the fact, which favours the baselines.

    Args:
        scores: proxy → one score for each architecture, higher is better, NaN where it
            failed. [n]
        accuracy: of the architectures. [n]
        baselines: which of the proxies are baselines.
    """
    known = np.isfinite(accuracy)
    seen: dict[bytes, dict[str, Association]] = {}

    def baselines_on(points: NDArray[np.bool_]) -> dict[str, Association]:
        key = points.tobytes()
        if key not in seen:
            values = {
                name: association(
                    np.where(points, scores[name], np.nan), accuracy, "spearman"
                )
                for name in scores
                if name in baselines
            }
            seen[key] = {n: a for n, a in values.items() if np.isfinite(a.value)}
        return seen[key]

    best, value = _best(baselines_on(known))
    comparisons = []
    for name, score in scores.items():
        if name in baselines:
            continue
        points = known & np.isfinite(score)
        rival, rival_value = _best(baselines_on(points))
        if not rival:
            continue
        difference = paired_difference(score, scores[rival], accuracy, "spearman")
        if np.isfinite(difference.delta):
            subset = bool(points.sum() < known.sum())
            comparisons.append(Comparison(name, rival, rival_value, difference, subset))
    comparisons.sort(key=lambda c: -c.difference.delta)
    return Verdict(best, value, tuple(comparisons))


def _best(candidates: Mapping[str, Association]) -> tuple[str, float]:
    """Name and ρ of the best; the first of equals."""
    if not candidates:
        return "", float("nan")
    name = max(candidates, key=lambda n: candidates[n].value)
    return name, candidates[name].value
