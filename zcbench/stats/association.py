"""Rank correlation of scores with accuracy, its interval and its influence values.

The interval comes from the influence function (infinitesimal jackknife): IFᵢ says how
the correlation moves when point i gets more weight, its variance is Σ IFᵢ² / n², and
the interval is symmetric on Fisher's z scale. No distribution is assumed, ties are
part of the statistic, and the difference of two correlations on the same points has
the influence IFᵃ − IFᵇ: one subtraction gives every paired test.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import ArrayLike

from zcbench.stats.ranks import Floats, Ranks, concordance

Kind = Literal["spearman", "kendall"]
KINDS: tuple[Kind, ...] = ("spearman", "kendall")
FEWEST = 4
"""Points below which no correlation is given."""
ZERO = 1e-12
"""Differences below this are rounding."""


@dataclass(frozen=True, slots=True, eq=False)
class Association:
    """A rank correlation with its uncertainty.

    Attributes:
        kind: ``"spearman"`` (of mid-ranks) or ``"kendall"`` (τ-b).
        value: the correlation, signed; NaN where it is not defined.
        low: lower end of the interval; NaN where there is none.
        high: upper end.
        n: points used: those with a finite score and a finite accuracy.
        note: empty, or why a number is missing: ``"all failed"``, ``"too few"`` (under
            4 points), ``"constant"`` (all scores equal), ``"constant truth"``;
            ``"perfect"`` (±1) and ``"no spread"`` (no point matters more than another)
            have a value, but no interval.
        influence: influence values of the n points, mean 0; empty without a value.
    """

    kind: Kind
    value: float
    low: float
    high: float
    n: int
    note: str
    influence: Floats


def association(
    score: ArrayLike, accuracy: ArrayLike, kind: Kind, *, confidence: float = 0.95
) -> Association:
    """Correlation of scores with accuracies over the points that have both.

    Args:
        score: one number for each point; NaN and ±inf mean that there is none. [n]
        accuracy: likewise. [n]
        kind: ``"spearman"`` or ``"kendall"``.
        confidence: nominal coverage of the interval.

    Returns:
        The correlation; NaN with a note where the data does not determine it.
    """
    x, y = np.asarray(score, dtype=np.float64), np.asarray(accuracy, dtype=np.float64)
    used = np.isfinite(x) & np.isfinite(y)
    n = int(used.sum())
    x_ranks, y_ranks = Ranks.of(x[used]), Ranks.of(y[used])
    note = ""
    if not np.isfinite(x).any():
        note = "all failed"
    elif n < FEWEST:
        note = "too few"
    elif y_ranks.constant:
        note = "constant truth"
    elif x_ranks.constant:
        note = "constant"
    if note:
        return Association(kind, math.nan, math.nan, math.nan, n, note, np.empty(0))
    value = _STATISTIC[kind](x_ranks, y_ranks)
    influence = _INFLUENCE[kind](x_ranks, y_ranks)
    low, high, note = fisher_interval(
        value, standard_error(influence), quantile(confidence, n)
    )
    return Association(kind, value, low, high, n, note, influence)


def standard_error(influence: Floats) -> float:
    """Standard error of a statistic from its influence values: √(Σ IF²) / n."""
    # No dot product: BLAS would start threads, which wait for each other on a busy
    # machine for longer than the sum takes.
    return math.sqrt(float(np.square(influence).sum())) / len(influence)


def quantile(confidence: float, n: int) -> float:
    """Two-sided quantile for an interval from n points: Student's t, n − 2 degrees.

    Not the normal one: with it the intervals of 10 or 20 points are too short.
    """
    from scipy import stats

    return float(stats.t.ppf((1 + confidence) / 2, n - 2))


def fisher_interval(
    value: float, error: float, factor: float
) -> tuple[float, float, str]:
    """Interval symmetric on the scale of atanh, and a note if there is none."""
    if 1 - value * value < ZERO:
        return math.nan, math.nan, "perfect"
    if error < ZERO:
        return math.nan, math.nan, "no spread"
    z, half = math.atanh(value), factor * error / (1 - value * value)
    return math.tanh(z - half), math.tanh(z + half), ""


def _spearman(x: Ranks, y: Ranks) -> float:
    from scipy import stats

    value = float(stats.spearmanr(x.code, y.code).statistic)
    return min(1.0, max(-1.0, value))


def _kendall(x: Ranks, y: Ranks) -> float:
    from scipy import stats

    result = stats.kendalltau(x.code, y.code, variant="b", method="asymptotic")
    return min(1.0, max(-1.0, float(result.statistic)))


def _spearman_influence(x: Ranks, y: Ranks) -> Floats:
    """Influence values of ρ = A / √(B C), the correlation of mid-ranks, [n].

    A = E[u v], B = E[u²], C = E[v²] with u, v the centred mid-distribution functions.
    Weight on a point enters three times: as a point, and by moving the ranks u of
    those above it, and their v: IF_A = u v + E[h_x V] + E[h_y U] − 3 A, where h is 1
    for points above, ½ for ties. B and C likewise; without ties they do not move.
    """
    u, v = x.centred, y.centred
    a, b, c = float(np.mean(u * v)), float(np.mean(u * u)), float(np.mean(v * v))
    of_a = u * v + x.weight_above(v) + y.weight_above(u) - 3 * a
    of_b = u * u + 2 * x.weight_above(u) - 3 * b
    of_c = v * v + 2 * y.weight_above(v) - 3 * c
    return ratio_influence(a, b, c, of_a, of_b, of_c)


def _kendall_influence(x: Ranks, y: Ranks) -> Floats:
    """Influence values of τ-b = T / √(D E), [n].

    T = E[sign(x − x') sign(y − y')], D = P(x ≠ x'), E = P(y ≠ y'): means over pairs,
    so that the influence of a point is twice its own mean minus the overall mean.
    """
    t, d, e = concordance(x, y) / len(x.code), x.share_untied, y.share_untied
    a, b, c = float(t.mean()), float(d.mean()), float(e.mean())
    return ratio_influence(a, b, c, 2 * (t - a), 2 * (d - b), 2 * (e - c))


def ratio_influence(
    a: float, b: float, c: float, of_a: Floats, of_b: Floats, of_c: Floats
) -> Floats:
    """Chain rule for a / √(b c)."""
    scale = math.sqrt(b * c)
    return np.asarray(of_a / scale - a / (2 * scale) * (of_b / b + of_c / c))


_STATISTIC: Mapping[Kind, Callable[[Ranks, Ranks], float]] = {
    "spearman": _spearman,
    "kendall": _kendall,
}
_INFLUENCE: Mapping[Kind, Callable[[Ranks, Ranks], Floats]] = {
    "spearman": _spearman_influence,
    "kendall": _kendall_influence,
}
