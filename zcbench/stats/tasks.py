"""Several scores over several tasks: ranks, and tests whose unit is the space.

Tasks of one space share their architectures: a score that is lucky with these is lucky
on every task. What is averaged over the tasks of a space is one unit, and the tests
count units.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import stats

from zcbench.stats.ranks import Floats


def ranks(values: Floats) -> Floats:
    """Rank of each score on each task, 1 the best, ties their mean, [..., k].

    Args:
        values: correlation of k scores, higher is better. [..., k]
    """
    return np.asarray(stats.rankdata(-values, axis=-1), dtype=np.float64)


@dataclass(frozen=True, slots=True)
class Friedman:
    """Do k scores rank alike over some units?

    Attributes:
        statistic: χ²; NaN for fewer than two units or scores.
        p: share of the permutations within units that reach it.
        units: how many.
    """

    statistic: float
    p: float
    units: int


def friedman(
    unit_ranks: Floats, permutations: int, rng: np.random.Generator
) -> Friedman:
    """Friedman's test by permutation, which holds for two units as well.

    χ² = 12 b / (k (k + 1)) Σ (mean rank − (k + 1) / 2)², without ties' correction,
    which no permutation changes.

    Args:
        unit_ranks: rank of each score in each unit. [b, k]
        permutations: how many; each shuffles the ranks within every unit.
        rng: where chance comes from.
    """
    b, k = unit_ranks.shape
    if b < 2 or k < 2:
        return Friedman(math.nan, math.nan, b)
    observed = _chi_square(unit_ranks)
    shuffled = np.broadcast_to(unit_ranks, (permutations, b, k))
    reached = _chi_square(rng.permuted(shuffled, axis=2)) >= observed - 1e-9
    return Friedman(float(observed), (1 + int(reached.sum())) / (1 + permutations), b)


def _chi_square(unit_ranks: Floats) -> Floats:
    """χ² of ranks, [...] of [..., b, k]."""
    b, k = unit_ranks.shape[-2:]
    apart = unit_ranks.mean(axis=-2) - (k + 1) / 2
    return np.asarray(12 * b / (k * (k + 1)) * (apart**2).sum(axis=-1))


def critical_difference(k: int, units: int, confidence: float) -> float:
    """Nemenyi's: mean ranks further apart than this differ; NaN under two units.

    q √(k (k + 1) / 12 b), with q the quantile of the studentised range of k means.
    """
    if units < 2 or k < 2:
        return math.nan
    q = float(stats.studentized_range.ppf(confidence, k, math.inf))
    return q * math.sqrt(k * (k + 1) / (12 * units))


def fewest_units(confidence: float) -> int:
    """Units below which Wilcoxon's two-sided test cannot reject: 2^(1 − b) > level.

    >>> fewest_units(0.95)
    6
    """
    return math.ceil(1 - math.log2(1 - confidence) - 1e-9)


def signed_rank(differences: Floats, confidence: float) -> float:
    """Two-sided p of Wilcoxon's signed-rank test over units; NaN where they are few.

    Args:
        differences: one for each unit. [b]
        confidence: of the test that it is for.
    """
    if len(differences) < fewest_units(confidence) or not differences.any():
        return math.nan
    return float(stats.wilcoxon(differences).pvalue)


@dataclass(frozen=True, slots=True, eq=False)
class Unit:
    """The tasks of one space.

    Attributes:
        values: correlation of each score on each task, 0 where it has no order. [d, k]
        orders: whether it orders the task's architectures. [d, k]
        deviations: of them in each resample of the architectures, which only one space
            alone needs; of several there are no resamples. [resamples, d, k]
    """

    values: Floats
    orders: NDArray[np.bool_]
    deviations: Floats

    @property
    def resampled(self) -> Floats:
        """Correlations in each resample, [resamples, d, k]."""
        return self.values + self.deviations


def leads(values: Floats, baselines: Sequence[int]) -> Floats:
    """Each correlation minus that of the best baseline on the task, [..., k].

    Args:
        values: correlations. [..., k]
        baselines: which of the k are baselines.
    """
    best = values[..., list(baselines)].max(axis=-1, keepdims=True)
    return np.asarray(values - best)


PRIOR = 4
"""Degrees of freedom of the variance that all scores share; simulated to cover."""


def interval_over_units(
    values: Floats, pool: Sequence[int], confidence: float
) -> tuple[Floats, Floats]:
    """Ends of the interval of each score's mean over units, [k] and [k].

    Student's t over units, each unit one number whatever its tasks. A variance of two
    or three numbers is often nearly nothing by chance, so that it is shrunk to what the
    scores have in common (the moderated t of Smyth 2004):

        s̃² = (d₀ s₀² + (b − 1) s²) / (d₀ + b − 1), with d₀ + b − 1 degrees of freedom,

    s₀² the mean variance in the pool, d₀ = `PRIOR`. docs/statistics.md has its
    simulated coverage for 2 to 12 units.

    Args:
        values: each score in each unit, two units at least. [b, k]
        pool: scores whose variances are averaged.
        confidence: nominal coverage.
    """
    b = len(values)
    variance = values.var(axis=0, ddof=1)
    freedom = PRIOR + b - 1
    shrunk = (PRIOR * variance[list(pool)].mean() + (b - 1) * variance) / freedom
    quantile = float(stats.t.ppf((1 + confidence) / 2, freedom))
    half = quantile * np.sqrt(shrunk / b)
    mean = values.mean(axis=0)
    return mean - half, mean + half
