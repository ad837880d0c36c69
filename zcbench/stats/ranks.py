"""Ranks with ties, and sums over pairs of points in O(n log n)."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class Ranks:
    """The order of n values, ties kept.

    Attributes:
        code: [n] dense ranks from 0; equal values share one.
        counts: how many values share each dense rank.
    """

    code: Ints
    counts: Ints

    @classmethod
    def of(cls, values: Floats) -> Ranks:
        """Ranks of finite values."""
        _, code, counts = np.unique(values, return_inverse=True, return_counts=True)
        return cls(code.astype(np.int64), counts.astype(np.int64))

    @property
    def constant(self) -> bool:
        """Whether all values are equal."""
        return len(self.counts) < 2

    @property
    def centred(self) -> Floats:
        """Mid-distribution function minus its mean: P(X < x) + ½ P(X = x) − ½."""
        below = np.cumsum(self.counts) - self.counts
        mid = (below + self.counts / 2) / len(self.code) - 0.5
        return np.asarray(mid[self.code], dtype=np.float64)

    @property
    def share_untied(self) -> Floats:
        """For each point, the share of all n points with another value."""
        return np.asarray(1 - self.counts[self.code] / len(self.code))

    def weight_above(self, weights: Floats) -> Floats:
        """For each point, the mean of weights over points above it, ties by half, [n].

        Args:
            weights: one number for each point. [n]
        """
        group = np.bincount(self.code, weights)
        above = np.cumsum(group[::-1])[::-1] - group / 2
        return np.asarray(above[self.code] / len(self.code))


def concordance(x: Ranks, y: Ranks) -> Ints:
    """Concordant minus discordant partners of each point, ties counting zero, [n].

    O(n log n): four counts of the points that lie below and left of each point, in
    the plane and in its mirror images.
    """
    x_up, y_up = x.code, y.code
    x_down, y_down = x_up.max() - x_up, y_up.max() - y_up
    agree = _below(x_up, y_up) + _below(x_down, y_down)
    return agree - _below(x_up, y_down) - _below(x_down, y_up)


def _below(x: Ints, y: Ints) -> Ints:
    """For each point, the number of points smaller in both coordinates, [n].

    With x ascending, and y descending where x ties, these are the earlier points with
    a smaller y; equal values of y are told apart so that the later one is smaller.
    """
    n = len(x)
    order = np.argsort(x * (y.max() + 1) + (y.max() - y), kind="stable")
    by_value = np.argsort(y[order] * n - np.arange(n))
    counts = np.empty(n, dtype=np.int64)
    counts[order] = _smaller_before(by_value)
    return counts


def _smaller_before(by_value: Ints) -> Ints:
    """For each position, the number of earlier positions that hold a smaller value.

    A merge sort read backwards: split the positions in halves, count for each in the
    right half those of the left half that are smaller, go on within the halves. All
    blocks of one size are done at once.

    Args:
        by_value: the positions 0 … n − 1 in ascending order of their values.
    """
    n = len(by_value)
    counts = np.zeros(n, dtype=np.int64)
    place = np.arange(n)
    sequence = by_value  # block after block, ascending by value within each
    for bit in reversed(range((n - 1).bit_length())):
        right = (sequence >> bit) & 1 == 1
        start = (sequence >> (bit + 1)) << (bit + 1)
        lefts = np.concatenate(([0], np.cumsum(~right)))
        before = lefts[:-1] - lefts[start]
        counts[sequence[right]] += before[right]
        target = np.where(right, place - before + (1 << bit), start + before)
        halves = np.empty_like(sequence)
        halves[target] = sequence
        sequence = halves
    return counts
