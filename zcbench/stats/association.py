"""Rank correlation of scores with accuracy, its interval and its influence values.

The interval comes from the influence function (infinitesimal jackknife): IFᵢ says how
the correlation moves when point i gets more weight, its variance is Σ IFᵢ² / n², and
the interval is symmetric on Fisher's z scale. No distribution is assumed, ties are
part of the statistic, and the difference of two correlations on the same points has
the influence IFᵃ − IFᵇ: one subtraction gives every paired test. The bootstrap moves
each statistic by its influence values, one matrix product for any number of them;
docs/statistics.md measures how far that agrees with ranking every resample anew.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import stats

from zcbench.stats.ranks import Floats, Ranks, concordance

Kind = Literal["spearman", "kendall"]
KINDS: tuple[Kind, ...] = ("spearman", "kendall")
FEWEST = 4
"""Points below which no correlation is given."""
ZERO = 1e-12
"""Differences below this are rounding."""
CHUNK = 64
"""Resamples held at a time: 4 MB of counts for a space of 15,625."""


@dataclass(frozen=True, slots=True)
class Estimate:
    """A number with its interval.

    Attributes:
        value: the number; NaN where it is not defined.
        low: lower end of the interval; NaN where there is none.
        high: upper end.
        n: points used.
        note: empty, or why a number is missing.
    """

    value: float = math.nan
    low: float = math.nan
    high: float = math.nan
    n: int = 0
    note: str = ""


@dataclass(frozen=True, slots=True, eq=False)
class Association(Estimate):
    """A rank correlation with its uncertainty.

    ``n`` counts points with a finite score and a finite accuracy. The note is empty,
    ``"all failed"``, ``"too few"`` (under 4 points), ``"constant"`` (all scores equal)
    or ``"constant truth"``; ``"perfect"`` (±1) and ``"no spread"`` (no point matters
    more than another) have a value, but no interval.

    Attributes:
        kind: ``"spearman"`` (of mid-ranks) or ``"kendall"`` (τ-b).
        influence: influence values of the n points, mean 0; empty without a value.
    """

    kind: Kind = "spearman"
    influence: Floats = field(default_factory=lambda: np.empty(0))


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
    if note := why_none(x, x_ranks, y_ranks):
        return Association(n=n, note=note, kind=kind)
    value = _STATISTIC[kind](x_ranks, y_ranks)
    influence = _INFLUENCE[kind](x_ranks, y_ranks)
    low, high, note = fisher_interval(
        value, standard_error(influence), quantile(confidence, n)
    )
    return Association(value, low, high, n, note, kind, influence)


def why_none(score: Floats, x: Ranks, y: Ranks) -> str:
    """Why a score has no correlation, in the words of `Association`, or nothing.

    Args:
        score: the score, also where it does not count. [n]
        x: its ranks where it counts.
        y: those of the accuracy there.
    """
    if not np.isfinite(score).any():
        return "all failed"
    if len(x.code) < FEWEST:
        return "too few"
    if y.constant:
        return "constant truth"
    return "constant" if x.constant else ""


def standard_error(influence: Floats) -> float:
    """Standard error of a statistic from its influence values: √(Σ IF²) / n."""
    # No dot product: BLAS would start threads, which wait for each other on a busy
    # machine for longer than the sum takes.
    return math.sqrt(float(np.square(influence).sum())) / len(influence)


def quantile(confidence: float, n: int) -> float:
    """Two-sided quantile for an interval from n points: Student's t, n − 2 degrees.

    Not the normal one: with it the intervals of 10 or 20 points are too short.
    """
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
    value = float(stats.spearmanr(x.code, y.code).statistic)
    return min(1.0, max(-1.0, value))


def _kendall(x: Ranks, y: Ranks) -> float:
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


def resample_counts(
    n: int, resamples: int, rng: np.random.Generator
) -> Iterator[NDArray[np.float32]]:
    """How often each point is drawn, [up to CHUNK, n] at a time.

    Args:
        n: points.
        resamples: how many resamples in all; each draws n points with replacement.
        rng: where chance comes from.
    """
    for start in range(0, resamples, CHUNK):
        rows = min(CHUNK, resamples - start)
        counts = np.empty((rows, n), dtype=np.float32)
        for row in counts:
            row[:] = np.bincount(rng.integers(n, size=n), minlength=n)
        yield counts


def linear_bootstrap(
    influence: NDArray[np.floating], resamples: int, rng: np.random.Generator
) -> Floats:
    """Deviation of each statistic in each resample, to first order, [resamples, m].

    A resample that draws point i wᵢ times moves a statistic by Σ wᵢ IFᵢ / n.

    Args:
        influence: IFᵢ / n of m statistics over the same points, each column with sum
            0; 0 where a point does not enter a statistic. [n, m]
        resamples: how many.
        rng: where chance comes from.
    """
    columns = np.ascontiguousarray(influence, dtype=np.float32)
    moved = [w @ columns for w in resample_counts(len(columns), resamples, rng)]
    return np.concatenate(moved).astype(np.float64)
