"""Many comparisons at once: Holm's correction, and intervals that hold together."""

from __future__ import annotations

import math
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


@dataclass(frozen=True, slots=True, eq=False)
class Family:
    """Comparisons that are to hold together: single-step max-|z| correction.

    The comparisons of a table hang together: proxies resemble each other, datasets
    share their architectures. How far is read off the bootstrap: the largest |z| of
    all of them, in each resample.

    Attributes:
        comparisons: how many there are.
        largest: [resamples] largest |z| among them where all differences are nil.
    """

    comparisons: int
    largest: Floats

    @classmethod
    def of(cls, deviations: list[Floats], errors: list[NDArray[np.float64]]) -> Family:
        """From bootstrap deviations of all comparisons.

        Args:
            deviations: for each set of points, those of the statistics on them, as
                from `linear_bootstrap`. [resamples, m]
            errors: their standard errors; comparisons with 0 or NaN do not count. [m]
        """
        largest, count = np.zeros(len(deviations[0]) if deviations else 0), 0
        for moved, error in zip(deviations, errors, strict=True):
            valid = np.isfinite(error) & (error > 0)
            count += int(valid.sum())
            if valid.any():
                z = np.abs(moved[:, valid]) / error[valid]
                largest = np.maximum(largest, z.max(axis=1))
        return cls(count, np.sort(largest))

    def level(self, confidence: float) -> float:
        """Level for each comparison so that all intervals hold at once.

        Never below Bonferroni's, (1 − confidence) / comparisons, never above
        1 − confidence.
        """
        from scipy import stats

        alpha = 1 - confidence
        bonferroni = alpha / max(1, self.comparisons)
        above = math.floor(alpha * (len(self.largest) + 1) + 1e-9) - 1
        if above < 0:  # too few resamples to know better
            return bonferroni
        found = 2 * float(stats.norm.sf(self.largest[-1 - above]))
        return min(alpha, max(bonferroni, found))

    def adjusted(self, p: float) -> float:
        """p-value corrected for the other comparisons; consistent with `level`.

        (1 + resamples whose largest |z| reaches that of p) / (1 + resamples), or
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
