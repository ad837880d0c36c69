"""What a search by a score finds: where ρ over all points says little.

Points without a score come last: a search does not choose them. Ties are broken at
random, and what is given is the expected value over that.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
from scipy import stats
from scipy.special import gammaln

from zcbench.stats.ranks import Floats, Ranks


def last_if_missing(score: Floats) -> Floats:
    """Dense ranks of scores from 1, 0 where there is none, [n]."""
    ranks = np.zeros(len(score))
    known = np.isfinite(score)
    if known.any():
        ranks[known] = Ranks.of(score[known]).code + 1
    return ranks


def chosen(values: Floats, k: int) -> Floats:
    """Probability of each point to be among the k largest, ties at random, [n].

    Args:
        values: finite. [n]
        k: at most n.
    """
    cut = np.partition(values, len(values) - k)[len(values) - k]
    above, level = values > cut, values == cut
    share = (k - int(above.sum())) / int(level.sum())
    return np.where(above, 1.0, np.where(level, share, 0.0))


def precision_at(score: Floats, accuracy: Floats, k: int) -> float:
    """Share of the k best by score that are among the k best by accuracy.

    Args:
        score: NaN where there is none. [n]
        accuracy: finite. [n]
        k: at most n.
    """
    by_score = chosen(last_if_missing(score), k)
    return float(by_score @ chosen(accuracy, k)) / k


def best_of(score: Floats, accuracy: Floats, ks: Sequence[int]) -> Floats:
    """Expected accuracy of the best by score of k points drawn at random, [k].

    Of n points sorted by score, the j-th is the best of k drawn ones with probability
    C(j − 1, k − 1) / C(n, k). For k = 1 it is the mean accuracy, for k = n the accuracy
    of the best by score. With the accuracy as score it is the best possible.

    Args:
        score: NaN where there is none. [n]
        accuracy: finite. [n]
        ks: how many are drawn, each between 1 and n.
    """
    ranks = Ranks.of(last_if_missing(score))
    n = len(accuracy)
    mean = np.bincount(ranks.code, accuracy) / ranks.counts
    up_to = np.cumsum(ranks.counts)
    expected = []
    for k in ks:
        # the best is among the first m: C(m, k) / C(n, k)
        within = np.exp(_log_choose(up_to, k) - _log_choose(np.array([n]), k))
        expected.append(float(np.diff(within, prepend=0.0) @ mean))
    return np.array(expected)


def _log_choose(m: np.ndarray[tuple[int], np.dtype[np.int64]], k: int) -> Floats:
    """Logarithm of C(m, k); −∞ for m < k."""
    enough = m >= k
    kept = np.where(enough, m, k).astype(np.float64)
    value = gammaln(kept + 1) - gammaln(k + 1.0) - gammaln(kept - k + 1)
    return np.where(enough, value, -np.inf)


def weighted_tau(score: Floats, accuracy: Floats) -> float:
    """Vigna's (2015) weighted τ with hyperbolic weights; NaN where all are equal.

    An exchange of two points weighs 1 / (1 + r) + 1 / (1 + s), with r and s their ranks
    from 0 at the top: the mean of ranking by score and by accuracy.

    Args:
        score: NaN where there is none. [n]
        accuracy: finite. [n]
    """
    ranks = last_if_missing(score).astype(np.int64)
    truth = Ranks.of(accuracy)
    if truth.constant or Ranks.of(ranks.astype(np.float64)).constant:
        return math.nan
    return float(stats.weightedtau(ranks, truth.code).statistic)


def ndcg(score: Floats, accuracy: Floats) -> float:
    """Normalised discounted cumulative gain over all points; NaN for a loss.

    Σⱼ (2^aⱼ − 1) / log₂(1 + j), with aⱼ the accuracy in percent of the j-th best by
    score, divided by its largest value. One percent more accuracy doubles the gain, so
    that only the very best points count.

    Args:
        score: NaN where there is none. [n]
        accuracy: in percent, finite. [n]
    """
    most, least = float(accuracy.max()), float(accuracy.min())
    if least < 0 or most == 0:  # no accuracies
        return math.nan
    gains = np.exp2(accuracy - most) - math.pow(2.0, -most)
    discounts = 1 / np.log2(np.arange(2, len(accuracy) + 2))
    ranks = Ranks.of(-last_if_missing(score))
    mean = np.bincount(ranks.code, gains) / ranks.counts
    starts = np.cumsum(ranks.counts) - ranks.counts
    reached = float(np.add.reduceat(discounts, starts) @ mean)
    return reached / float(np.sort(gains)[::-1] @ discounts)
