"""Several scores: what each adds to the others, and which rank alike.

What one adds: greedy mean-rank ensembles, cross-validated.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy.cluster import hierarchy
from scipy.spatial.distance import squareform

from zcbench.stats.association import FEWEST
from zcbench.stats.ranks import Floats, Ints, Ranks
from zcbench.stats.search_metrics import last_if_missing

FOLDS = 5
ALIKE = 0.8
"""Mean |ρ| from which scores make a group."""


@dataclass(frozen=True, slots=True, eq=False)
class Ensemble:
    """Ensembles of 1, 2, … scores.

    Attributes:
        members: positions of the scores, in the order chosen on all points.
        repeated: [size] in how many folds the first `size` scores were the same ones.
        held_out: [size, n] mean rank of each point by the scores that were chosen
            without its fold.
        control: [size, n] the same with the best of all shuffled scores in place of
            the last.
    """

    members: tuple[int, ...]
    repeated: tuple[int, ...]
    held_out: Floats
    control: Floats


def greedy(
    gram: Floats,
    product: Floats,
    size: int,
    start: Sequence[int] = (),
    candidates: Sequence[int] | None = None,
) -> list[int]:
    """Choose scores one by one so that their mean rank agrees best with the accuracy.

    The correlation of the sum of ranks with the ranks of the accuracy, from their
    products alone: Σ cⱼ / √(Σ Gⱼₖ).

    Args:
        gram: products G of the ranks of the scores, mean 0. [m, m]
        product: c, of each of them with the ranks of the accuracy. [m]
        size: how many, at most m.
        start: those that are chosen already.
        candidates: from which to choose; None for all.
    """
    picked = list(start)
    candidates = range(len(gram)) if candidates is None else candidates
    while len(picked) < size:
        left = np.array([c for c in candidates if c not in picked])
        own = gram[picked][:, picked].sum() if picked else 0.0
        cross = gram[left][:, picked].sum(axis=1) if picked else 0.0
        square = own + 2 * cross + gram[left, left]
        reached = product[picked].sum() + product[left]
        with np.errstate(invalid="ignore", divide="ignore"):
            merit = np.where(square > 0, reached / np.sqrt(square), -np.inf)
        picked.append(int(left[np.argmax(merit)]))
    return picked


def ensembles(
    scores: Sequence[Floats], accuracy: Floats, size: int, *, seed: int = 0
) -> Ensemble:
    """Mean-rank ensembles of up to `size` scores, and their shuffled controls.

    Scores are ranked over all points, those without a score last; which scores enter is
    decided on four fifths of the points and judged on the last. The control chooses the
    last score in the same way among scores whose values are shuffled among the points:
    what one more score does that knows nothing.

    Args:
        scores: higher is better, NaN where there is none. [n] each
        accuracy: finite. [n]
        size: most scores in an ensemble.
        seed: of the folds and of the shuffling.
    """
    n, size = len(accuracy), min(size, len(scores))
    rng = np.random.default_rng(seed)
    fold = rng.permutation(n) % FOLDS
    ranks = np.stack([Ranks.of(last_if_missing(score)).centred for score in scores])
    shuffled = np.stack([row[rng.permutation(n)] for row in ranks])
    every = np.concatenate([ranks, shuffled])
    truth = Ranks.of(accuracy).centred
    real, fake = range(len(ranks)), range(len(ranks), 2 * len(ranks))
    members = greedy(ranks @ ranks.T, ranks @ truth, size)
    repeated = [0] * size
    held_out, control = np.empty((size, n)), np.empty((size, n))
    for number in range(FOLDS):
        inside, outside = fold != number, np.flatnonzero(fold == number)
        known, target = every[:, inside], truth[inside]
        known = known - known.mean(axis=1, keepdims=True)
        gram, product = known @ known.T, known @ (target - target.mean())
        picked = greedy(gram, product, size, candidates=real)
        for k in range(size):
            repeated[k] += set(picked[: k + 1]) == set(members[: k + 1])
            chance = greedy(gram, product, k + 1, picked[:k], fake)
            held_out[k, outside] = _mean(every[picked[: k + 1]][:, outside])
            control[k, outside] = _mean(every[chance][:, outside])
    return Ensemble(tuple(members), tuple(repeated), held_out, control)


def _mean(ranks: Floats) -> Floats:
    """Mean over the scores, rounded so that ties stay ties, [n]."""
    return np.asarray(np.round(ranks.mean(axis=0), 12))


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
