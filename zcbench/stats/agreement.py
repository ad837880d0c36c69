"""Which scores rank alike: their rank correlations, and groups of them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from zcbench.stats.association import FEWEST
from zcbench.stats.ranks import Floats, Ints, Ranks

ALIKE = 0.8
"""Mean |ρ| from which scores make a group."""


@dataclass(frozen=True, slots=True, eq=False)
class Agreement:
    """Rank correlations between m scores.

    Attributes:
        rho: [m, m] Spearman's ρ, each over the points that have both; 1 on the
            diagonal, NaN where it is not defined.
        n: [m, m] points that have both.
        order: [m] positions in which alike scores stand together.
        group: [m] number of the group of each score, from 0, in that order.
    """

    rho: Floats
    n: Ints
    order: Ints
    group: Ints


def agreement(scores: Sequence[Floats]) -> Agreement:
    """Correlate scores with each other, and group them.

    Groups by average linkage of the distance 1 − |ρ|: two groups are joined while the
    mean |ρ| between their members is at least `ALIKE`. An undefined ρ counts as 0.

    Args:
        scores: NaN where there is none. [n] each
    """
    values = np.stack(list(scores))
    rho, n = rank_correlations(values)
    order, group = _grouped(np.where(np.isfinite(rho), np.abs(rho), 0.0))
    return Agreement(rho, n, order, group)


def rank_correlations(values: Floats) -> tuple[Floats, Ints]:
    """(ρ, points) of every pair of rows, over the points that both have, [m, m].

    Rows that lack the same points are ranked together, once.

    Args:
        values: NaN where there is none. [m, n]
    """
    m = len(values)
    finite = np.isfinite(values)
    n = finite.astype(np.int64) @ finite.T.astype(np.int64)
    rho = np.full((m, m), np.nan)
    _, mask = np.unique(finite, axis=0, return_inverse=True)
    mask = mask.ravel()
    for first in range(int(mask.max()) + 1):
        for second in range(first + 1):
            rows = np.flatnonzero((mask == first) | (mask == second))
            a, b = (int(np.argmax(mask == k)) for k in (first, second))
            here = correlated(values[np.ix_(rows, finite[a] & finite[b])])
            pairs = (mask[rows][:, None] == first) & (mask[rows] == second)
            pairs |= pairs.T
            rho[np.ix_(rows, rows)] = np.where(pairs, here, rho[np.ix_(rows, rows)])
    np.fill_diagonal(rho, 1.0)
    return rho, n


def correlated(values: Floats) -> Floats:
    """Spearman's ρ of every pair of rows without gaps; NaN where one is constant.

    Args:
        values: finite. [m, n]
    """
    if values.shape[1] < FEWEST:
        return np.full((len(values), len(values)), np.nan)
    ranked = np.stack([Ranks.of(row).centred for row in values])
    size = np.sqrt((ranked * ranked).sum(axis=1))
    with np.errstate(invalid="ignore", divide="ignore"):
        unit = np.where(size[:, None] > 0, ranked / size[:, None], np.nan)
    return np.asarray(np.clip(unit @ unit.T, -1.0, 1.0))


def _grouped(similarity: Floats) -> tuple[Ints, Ints]:
    """(order, group) of scores by average linkage."""
    from scipy.cluster import hierarchy
    from scipy.spatial.distance import squareform

    m = len(similarity)
    if m < 2:
        return np.arange(m), np.zeros(m, dtype=np.int64)
    distance = np.maximum(0.0, 1 - similarity)
    np.fill_diagonal(distance, 0.0)
    condensed = squareform(distance, checks=False)
    tree = hierarchy.linkage(condensed, "average", optimal_ordering=True)
    order = hierarchy.leaves_list(tree).astype(np.int64)
    label = hierarchy.fcluster(tree, 1 - ALIKE + 1e-12, "distance")
    _, first = np.unique(label[order], return_index=True)
    number = {int(label[order[f]]): k for k, f in enumerate(np.sort(first))}
    return order, np.array([number[int(k)] for k in label], dtype=np.int64)
