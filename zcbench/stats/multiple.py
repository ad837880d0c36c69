"""Many comparisons at once: Holm's correction, and intervals that hold together."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from zcbench.stats.ranks import Floats


def holm(p: ArrayLike) -> Floats:
    """Holm's corrected p-values, [m].

    The k-th smallest of m is multiplied by m − k + 1, and is at least the one before
    it. Valid whatever the dependence. NaN stays NaN and does not count.

    Args:
        p: p-values. [m]

    >>> holm([0.04, 0.01, 0.03]).tolist()
    [0.06, 0.03, 0.06]
    """
    values = np.asarray(p, dtype=np.float64)
    corrected = np.full(values.shape, np.nan)
    known = np.flatnonzero(np.isfinite(values))
    order = known[np.argsort(values[known], kind="stable")]
    factors = np.arange(len(order), 0, -1)
    corrected[order] = np.minimum(1.0, np.maximum.accumulate(values[order] * factors))
    return corrected


DRAWS = 100_000
"""Draws of the largest |z|: its 95% quantile is then known to a third of a percent."""
_AT_ONCE = 10_000


@dataclass(frozen=True, slots=True, eq=False)
class Family:
    """Comparisons that are to hold together: single-step max-|z| correction.

    The comparisons of a table hang together: proxies resemble each other, datasets
    share their architectures. Their covariances follow from the influence values, and
    the largest |z| of all of them, were all differences nil, is drawn from the normal
    distribution with these covariances (Hothorn et al. 2008).

    Attributes:
        comparisons: how many there are.
        largest: [draws] largest |z| among them where all differences are nil, sorted.
    """

    comparisons: int
    largest: Floats

    @classmethod
    def of(
        cls,
        influences: Sequence[NDArray[np.floating]],
        rng: np.random.Generator,
        draws: int = DRAWS,
    ) -> Family:
        """From the influence values of all comparisons.

        Args:
            influences: for each set of points, those of the statistics on them, over
                n; sets are independent of each other, and a column of zeros does not
                count. [n, m]
            rng: where chance comes from.
            draws: how often the largest |z| is drawn.
        """
        largest, count = np.zeros(draws), 0
        for influence in influences:
            root, comparisons = _root_of_correlation(influence)
            count += comparisons
            for start in range(0, draws if comparisons else 0, _AT_ONCE):
                part = largest[start : start + _AT_ONCE]
                z = rng.standard_normal((len(part), root.shape[1])) @ root.T
                np.maximum(part, np.abs(z).max(axis=1), out=part)
        return cls(count, np.sort(largest) if count else np.zeros(0))

    def level(self, confidence: float) -> float:
        """Level for each comparison so that all intervals hold at once.

        Never below Bonferroni's, (1 − confidence) / comparisons, never above
        1 − confidence.
        """
        return self._level(confidence, 1 - confidence)

    def levels(self, confidence: float) -> tuple[float, float]:
        """Levels between which `level` would lie with other random numbers.

        Three standard errors of the difference of two shares of draws: what holds at
        both ends does not depend on the draws.
        """
        alpha = 1 - confidence
        apart = 3 * math.sqrt(2 * alpha * confidence / max(1, len(self.largest)))
        return (
            self._level(confidence, max(0.0, alpha - apart)),
            self._level(confidence, alpha + apart),
        )

    def _level(self, confidence: float, share: float) -> float:
        """That of the |z| which this share of the draws exceeds, within its bounds."""
        from scipy import stats

        alpha = 1 - confidence
        bonferroni = alpha / max(1, self.comparisons)
        above = math.floor(share * (len(self.largest) + 1) + 1e-9) - 1
        if above < 0:  # too few draws to know better
            return bonferroni
        reached = 2 * float(stats.norm.sf(self.largest[-1 - above]))
        return min(alpha, max(bonferroni, reached))

    def adjusted(self, p: float) -> float:
        """p-value corrected for the other comparisons; consistent with `level`.

        (1 + draws whose largest |z| reaches that of p) / (1 + draws), or
        Bonferroni's p where that is smaller.
        """
        from scipy import stats

        if math.isnan(p):
            return p
        count = len(self.largest)
        z = float(stats.norm.isf(p / 2))
        reached = count - int(np.searchsorted(self.largest, z, side="left"))
        bonferroni = p * self.comparisons
        return max(p, min(1.0, bonferroni, (1 + reached) / (1 + count)))


def _root_of_correlation(influence: NDArray[np.floating]) -> tuple[Floats, int]:
    """R with R Rᵀ the correlation of the statistics that have any spread, [m, k]; m."""
    values = np.asarray(influence, dtype=np.float64)
    error = np.sqrt(np.einsum("nm,nm->m", values, values))
    spread = values[:, error > 0] / error[error > 0]
    eigenvalues, vectors = np.linalg.eigh(spread.T @ spread)
    kept = eigenvalues > 1e-10 * max(1.0, float(eigenvalues.max(initial=0)))
    root = vectors[:, kept] * np.sqrt(eigenvalues[kept])
    return np.asarray(root), spread.shape[1]
