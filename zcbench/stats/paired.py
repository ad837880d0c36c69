"""Differences of correlations on the same points, one and many at once.

Many are corrected: Holm's p-values, and intervals that hold together.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field, replace

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import stats

from zcbench.stats.association import (
    ZERO,
    Association,
    Estimate,
    Kind,
    association,
    quantile,
    standard_error,
)
from zcbench.stats.ranks import Floats

DRAWS = 100_000
"""Draws of the largest |z|: its 95% quantile is then known to a third of a percent."""
_AT_ONCE = 10_000


@dataclass(frozen=True, slots=True)
class Difference(Estimate):
    """How much better score a ranks the points than score b.

    ``n`` counts points with both scores and an accuracy. The note is empty, as in
    `Association`, or ``"same order"`` where a and b rank the points identically (0,
    certainly).

    Attributes:
        p: two-sided p-value of no difference.
        error: standard error.
        influence: how much each point moves the difference, over n: what `Family`
            corrects by; 0 for points that are not used or where there is no error.
            [points given]
    """

    p: float = math.nan
    error: float = math.nan
    influence: Floats = field(
        default_factory=lambda: np.zeros(0), repr=False, compare=False
    )

    def interval(self, level: float) -> tuple[float, float]:
        """Interval at another level: 1 − level is its nominal coverage."""
        if math.isnan(self.low):
            return math.nan, math.nan
        half = quantile(1 - level, self.n) * self.error
        return self.value - half, self.value + half


def paired_difference(
    score_a: ArrayLike,
    score_b: ArrayLike,
    accuracy: ArrayLike,
    kind: Kind,
    *,
    confidence: float = 0.95,
) -> Difference:
    """Correlation of score a with accuracy minus that of score b.

    Both are taken over the points where both scores exist, so that a proxy gains
    nothing from points on which it has failed. The influence values of the difference
    are the differences of the influence values: what the two share cancels.

    Args:
        score_a: one number for each point; NaN and ±inf mean that there is none. [n]
        score_b: likewise. [n]
        accuracy: likewise. [n]
        kind: ``"spearman"`` or ``"kendall"``.
        confidence: nominal coverage of the interval.

    Returns:
        The difference, its interval and p-value (Student's t, n − 2 degrees).
    """
    a, b, y = (np.asarray(v, dtype=np.float64) for v in (score_a, score_b, accuracy))
    used = np.isfinite(a) & np.isfinite(b) & np.isfinite(y)
    result = difference(
        association(np.where(used, a, np.nan), y, kind),
        association(np.where(used, b, np.nan), y, kind),
        confidence=confidence,
    )
    influence = np.zeros(len(y))
    if result.error > 0:
        influence[used] = result.influence
    return replace(result, influence=influence)


def difference(
    of_a: Association, of_b: Association, *, confidence: float = 0.95
) -> Difference:
    """The same from the two correlations, which must be over the same points.

    Args:
        of_a: that of score a.
        of_b: that of score b.
        confidence: nominal coverage of the interval.
    """
    n, delta = of_a.n, of_a.value - of_b.value
    if math.isnan(delta):
        return Difference(n=n, note=of_a.note if math.isnan(of_a.value) else of_b.note)
    influence = of_a.influence - of_b.influence
    error = standard_error(influence)
    if error < ZERO:
        if delta * delta < ZERO:
            return Difference(0.0, 0.0, 0.0, n, "same order", 1.0, 0.0)
        return Difference(delta, n=n, note="no spread")
    half = quantile(confidence, n) * error
    p = float(2 * stats.t.sf(math.fabs(delta / error), n - 2))
    return Difference(delta, delta - half, delta + half, n, "", p, error, influence / n)


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
