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

from zcbench.stats.ranks import Floats


def ranks(values: Floats) -> Floats:
    """Rank of each score on each task, 1 the best, ties their mean, [..., k].

    Args:
        values: correlation of k scores, higher is better. [..., k]
    """
    from scipy import stats

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
    found = _chi_square(unit_ranks)
    shuffled = np.broadcast_to(unit_ranks, (permutations, b, k))
    reached = _chi_square(rng.permuted(shuffled, axis=2)) >= found - 1e-9
    return Friedman(float(found), (1 + int(reached.sum())) / (1 + permutations), b)


def _chi_square(unit_ranks: Floats) -> Floats:
    """χ² of ranks, [...] of [..., b, k]."""
    b, k = unit_ranks.shape[-2:]
    apart = unit_ranks.mean(axis=-2) - (k + 1) / 2
    return np.asarray(12 * b / (k * (k + 1)) * (apart**2).sum(axis=-1))


def critical_difference(k: int, units: int, confidence: float) -> float:
    """Nemenyi's: mean ranks further apart than this differ; NaN under two units.

    q √(k (k + 1) / 12 b), with q the quantile of the studentised range of k means.
    """
    from scipy import stats

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
    from scipy import stats

    if len(differences) < fewest_units(confidence) or not differences.any():
        return math.nan
    return float(stats.wilcoxon(differences).pvalue)


@dataclass(frozen=True, slots=True, eq=False)
class Unit:
    """The tasks of one space.

    Attributes:
        values: correlation of each score on each task. [d, k]
        deviations: of them in each resample of the architectures. [resamples, d, k]
    """

    values: Floats
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


def hierarchical_bootstrap(
    resampled: Sequence[Floats], rng: np.random.Generator
) -> Floats:
    """Mean over units, in each resample of units and of what is within, [resamples, k].

    One unit stays as it is: the result then says nothing of other spaces.

    Args:
        resampled: for each unit, its value in each resample of its architectures.
            [resamples, k]
        rng: where chance comes from.
    """
    if len(resampled) == 1:
        return resampled[0]
    units, count = np.stack(resampled), len(resampled[0])
    drawn = rng.integers(len(units), size=(count, len(units)))
    inner = rng.integers(count, size=(count, len(units)))
    return np.asarray(units[drawn, inner].mean(axis=1))
