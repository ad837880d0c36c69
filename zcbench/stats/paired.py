"""Difference of two correlations with the same accuracies, on the same points."""

from __future__ import annotations

import math
from dataclasses import dataclass, field, replace

import numpy as np
from numpy.typing import ArrayLike

from zcbench.stats.association import (
    ZERO,
    Association,
    Kind,
    association,
    quantile,
    standard_error,
)
from zcbench.stats.ranks import Floats


@dataclass(frozen=True, slots=True)
class Difference:
    """How much better score a ranks the points than score b.

    Attributes:
        kind: ``"spearman"`` or ``"kendall"``.
        delta: correlation of a minus correlation of b; NaN where one is not defined.
        low: lower end of the interval of delta.
        high: upper end.
        p: two-sided p-value of delta = 0.
        error: standard error of delta.
        n: points with both scores and an accuracy.
        note: empty, or why a number is missing, as in `Association`; ``"same order"``
            where a and b rank the points identically (0, certainly).
        influence: how much each point moves delta, over n: what `Family` corrects by;
            0 for points that are not used or where there is no error. [points given]
    """

    kind: Kind
    delta: float
    low: float
    high: float
    p: float
    error: float
    n: int
    note: str
    influence: Floats = field(
        default_factory=lambda: np.zeros(0), repr=False, compare=False
    )

    def interval(self, level: float) -> tuple[float, float]:
        """Interval at another level: 1 − level is its nominal coverage."""
        if math.isnan(self.low):
            return math.nan, math.nan
        half = quantile(1 - level, self.n) * self.error
        return self.delta - half, self.delta + half


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
    kind, n, delta = of_a.kind, of_a.n, of_a.value - of_b.value
    nan = math.nan
    if math.isnan(delta):
        note = of_a.note if math.isnan(of_a.value) else of_b.note
        return Difference(kind, nan, nan, nan, nan, nan, n, note)
    influence = of_a.influence - of_b.influence
    error = standard_error(influence)
    if error < ZERO:
        if delta * delta < ZERO:
            return Difference(kind, 0.0, 0.0, 0.0, 1.0, 0.0, n, "same order")
        return Difference(kind, delta, nan, nan, nan, nan, n, "no spread")
    half = quantile(confidence, n) * error
    p = _two_sided(delta / error, n)
    return Difference(
        kind, delta, delta - half, delta + half, p, error, n, "", influence / n
    )


def _two_sided(t: float, n: int) -> float:
    from scipy import stats

    return float(2 * stats.t.sf(math.fabs(t), n - 2))
