"""The bootstrap over points, the same resample for every statistic of these points.

Two ways to the same distribution. `rank_bootstrap` ranks every resample anew: what is
usually meant. `linear_bootstrap` moves each statistic by its influence values, which is
one matrix product for any number of statistics. docs/statistics.md measures how far
they agree; reports use the second.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from zcbench.stats.ranks import Floats, Ranks

CHUNK = 64
"""Resamples held at a time: 4 MB of counts for a space of 15,625."""


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
    found = [w @ columns for w in resample_counts(len(columns), resamples, rng)]
    return np.concatenate(found).astype(np.float64)


def rank_bootstrap(
    scores: Floats, accuracy: Floats, resamples: int, rng: np.random.Generator
) -> Floats:
    """Spearman's ρ of each score in each resample, ranked anew, [resamples, m].

    A point drawn twice ties with itself. NaN where a resample is constant.

    Args:
        scores: m scores of n points, finite. [m, n]
        accuracy: of the points, finite. [n]
        resamples: how many.
        rng: where chance comes from.
    """
    ranked = [Ranks.of(score) for score in scores]
    truth = Ranks.of(accuracy)
    found = []
    for counts in resample_counts(len(accuracy), resamples, rng):
        w = counts.astype(np.float64)
        v = _centred(truth, w)
        vv = (w * v * v).sum(axis=1)
        columns = []
        for ranks in ranked:
            u = _centred(ranks, w)
            square = (w * u * u).sum(axis=1) * vv
            product = (w * u * v).sum(axis=1)
            with np.errstate(invalid="ignore", divide="ignore"):
                columns.append(np.where(square > 0, product / np.sqrt(square), np.nan))
        found.append(np.stack(columns, axis=1))
    return np.concatenate(found)


def _centred(ranks: Ranks, counts: Floats) -> Floats:
    """Mid-ranks of drawn points less their mean, [r, n]."""
    n = counts.shape[1]
    order = np.argsort(ranks.code, kind="stable")
    starts = np.cumsum(ranks.counts) - ranks.counts
    groups = np.add.reduceat(counts[:, order], starts, axis=1)
    mid = np.cumsum(groups, axis=1) - groups / 2
    return np.asarray(mid[:, ranks.code] - n / 2)
