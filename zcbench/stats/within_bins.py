"""Rank correlation among points that are alike in another variable."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from zcbench.stats.association import (
    FEWEST,
    Association,
    association,
    fisher_interval,
    quantile,
    standard_error,
)
from zcbench.stats.partial import complete, why_none
from zcbench.stats.ranks import Floats, Ints, Ranks


@dataclass(frozen=True, slots=True)
class Pooled:
    """Mean of the correlations within bins, weighted by their points.

    Attributes:
        value: the mean; NaN where no bin has one.
        low: lower end of its interval.
        high: upper end.
        bins: how many bins enter.
        n: points in them.
        smallest: points in the smallest of them.
        note: empty, or why there is no number: as of `association`, or ``"no bins"``.
    """

    value: float
    low: float
    high: float
    bins: int
    n: int
    smallest: int
    note: str


def bins_of(variable: Floats, *, most: int = 40, smallest: int = 10) -> Ints:
    """Sort points into bins of one variable; −1 for those in none, [n].

    Its values themselves where there are at most `most` of them, else `most` // 2
    quantile bins, fewer where these would hold less than `smallest` points.

    Args:
        variable: NaN where there is none. [n]
        most: bins at most.
        smallest: bins with fewer points are left out.
    """
    found = np.full(len(variable), -1, dtype=np.int64)
    known = np.flatnonzero(np.isfinite(variable))
    if not len(known):
        return found
    ranks = Ranks.of(variable[known])
    code = ranks.code
    if len(ranks.counts) > most:
        count = max(1, min(most // 2, len(known) // smallest))
        code = np.minimum((ranks.centred + 0.5) * count, count - 1).astype(np.int64)
    large = np.bincount(code) >= smallest
    found[known] = np.where(large[code], code, -1)
    return found


def within_bins(
    score: Floats, accuracy: Floats, bins: Ints, *, confidence: float = 0.95
) -> Pooled:
    """Rank correlation of points that are alike in another variable.

    Σ n_b ρ_b / Σ n_b over the bins in which both vary.

    Args:
        score: NaN where there is none. [n]
        accuracy: likewise. [n]
        bins: from `bins_of`. [n]
        confidence: nominal coverage of the interval.
    """
    a, b, _ = complete(score, accuracy, ())
    n, nan = len(a), math.nan
    note = why_none(score, Ranks.of(a), Ranks.of(b))
    if note:
        return Pooled(nan, nan, nan, 0, n, 0, note)
    found = []
    for bin_ in range(int(bins.max(initial=-1)) + 1):
        points = bins == bin_
        here = association(score[points], accuracy[points], "spearman")
        if not math.isnan(here.value):
            found.append(here)
    if not found:
        text = "constant in each bin" if bins.max(initial=-1) >= 0 else "no bins"
        return Pooled(nan, nan, nan, 0, n, 0, text)
    return _pooled(found, confidence)


def _pooled(found: Sequence[Association], confidence: float) -> Pooled:
    """Weighted mean of the correlations of separate bins."""
    sizes = np.array([here.n for here in found])
    n, weights = int(sizes.sum()), sizes / sizes.sum()
    value = float(weights @ [here.value for here in found])
    # n / (n − 3): influence values of few points are too small
    errors = [
        standard_error(here.influence) * math.sqrt(here.n / max(1, here.n - 3))
        for here in found
    ]
    error = float(np.sqrt(np.sum((weights * errors) ** 2)))
    factor = quantile(confidence, max(FEWEST, n - 2 * (len(found) - 1)))
    low, high, note = fisher_interval(value, error, factor)
    return Pooled(value, low, high, len(found), n, int(sizes.min()), note)
