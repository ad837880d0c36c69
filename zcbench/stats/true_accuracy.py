"""What accuracies would be with endlessly many training seeds, as a distribution.

The mean over two or three seeds is the true accuracy plus noise. How large the noise
is, the seeds tell by themselves; how the true accuracies are spread is the observed
spread with that noise taken out (deconvolution, by expectation maximisation). Bayes'
rule then gives, for every observed mean, the distribution of the true accuracy behind
it, also where points were chosen by the observed mean, as the top 10% are.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from zcbench.stats.ranks import Floats, Ints

STEP = 1 / 3
"""Width of a bin, in standard deviations of one training."""
LONGEST_GAP = 6.0
"""Empty stretches are cut to this: nothing can change places across them."""
ITERATIONS = 20
"""Of expectation maximisation; stopping early keeps the distribution smooth."""
WINDOW = 15
"""Points on each side that share their noise, at least; else 1 in 60 of all."""


@dataclass(frozen=True, slots=True, eq=False)
class TrueAccuracy:
    """The distribution of the true accuracy behind each observed one.

    Attributes:
        row: [n] which distribution belongs to which point.
        cumulative: [rows × bins] cumulative distributions, one after another, each
            raised by its row, so that they ascend as a whole.
        bins: how many.
    """

    row: Ints
    cumulative: Floats
    bins: int

    @classmethod
    def fit(cls, accuracy: Floats, seeds: Floats) -> TrueAccuracy:
        """Fit the distribution to observed accuracies.

        Args:
            accuracy: mean over seeds. [n]
            seeds: accuracy by training seed, NaN where not trained; some points must
                have two that differ. [n, s]
        """
        order = np.argsort(accuracy, kind="stable")
        noise = local_noise(accuracy[order], seeds[order])
        place = np.empty(len(order), dtype=np.int64)
        place[order] = _bins(accuracy[order], noise)
        bins = int(place.max()) + 1 + round(3 / STEP)
        counts, group = np.unique(
            np.isfinite(seeds).sum(axis=1).clip(min=1), return_inverse=True
        )
        kernels = [_kernel(bins, int(count)) for count in counts]
        observed = [
            np.bincount(place[group == g], minlength=bins).astype(np.float32)
            for g in range(len(counts))
        ]
        prior = _deconvolved(kernels, observed)
        pairs, row = np.unique(place * len(counts) + group, return_inverse=True)
        density = np.stack([kernels[p % len(counts)][p // len(counts)] for p in pairs])
        cumulative = np.cumsum(density * prior, axis=1, dtype=np.float64)
        cumulative /= cumulative[:, -1:]
        cumulative += np.arange(len(pairs))[:, None]
        return cls(row.astype(np.int64), cumulative.ravel(), bins)

    def draw(
        self, points: NDArray[np.intp], times: int, rng: np.random.Generator
    ) -> Floats:
        """True accuracies of some points, [times, m].

        On a scale on which a single training errs by 1 (standard deviation) and which
        keeps the order of accuracies: for ranking.

        Args:
            points: their positions. [m]
            times: how often to draw all of them.
            rng: where chance comes from.
        """
        row = self.row[points]
        which, inside = rng.random((times, 2, len(row))).swapaxes(0, 1)
        position = np.searchsorted(self.cumulative, row + which)
        return np.asarray((position - row * self.bins + (inside - 0.5)) * STEP)


def local_noise(accuracy: Floats, seeds: Floats) -> Floats:
    """Standard deviation of one training near each accuracy, [n].

    Pooled over the neighbours in accuracy: two or three seeds of one point say little.

    Args:
        accuracy: ascending. [n]
        seeds: by training seed, NaN where not trained. [n, s]
    """
    n = len(accuracy)
    trained = np.isfinite(seeds)
    count = trained.sum(axis=1)
    total = np.where(trained, seeds, 0).sum(axis=1)
    mean = total / np.maximum(count, 1)
    squares = np.where(trained, (seeds - mean[:, None]) ** 2, 0).sum(axis=1)
    freedom = np.maximum(count - 1, 0)
    half = max(WINDOW, n // 60)
    low = np.maximum(np.arange(n) - half, 0)
    high = np.minimum(np.arange(n) + half + 1, n)
    variance = _between(squares, low, high) / np.maximum(
        _between(freedom, low, high), 1
    )
    floor = 1e-4 * squares.sum() / freedom.sum()
    return np.asarray(np.sqrt(np.maximum(variance, floor)))


def _between(values: Floats | Ints, low: Ints, high: Ints) -> Floats:
    """Sums of values[low:high]."""
    sums = np.concatenate(([0.0], np.cumsum(values)))
    return np.asarray(sums[high] - sums[low])


def _bins(accuracy: Floats, noise: Floats) -> Ints:
    """Position of ascending accuracies on the scale where the noise is 1, [n]."""
    gaps = 2 * np.diff(accuracy) / (noise[1:] + noise[:-1])
    scale = np.concatenate(([0.0], np.cumsum(np.minimum(gaps, LONGEST_GAP))))
    return np.asarray(np.rint((scale + 3) / STEP), dtype=np.int64)


def _kernel(bins: int, seeds: int) -> NDArray[np.float32]:
    """Probability of each observed bin given the true one, [observed, true]."""
    distance = STEP * (np.arange(bins)[:, None] - np.arange(bins))
    density = np.exp(-0.5 * seeds * distance**2).astype(np.float32)
    return np.asarray(density / density.sum(axis=0))


def _deconvolved(
    kernels: list[NDArray[np.float32]], observed: list[NDArray[np.float32]]
) -> NDArray[np.float32]:
    """Distribution whose noisy versions fit the observed counts best, [bins]."""
    total = np.sum(observed, axis=0)
    prior = kernels[0] @ total
    prior /= prior.sum()
    for _ in range(ITERATIONS):
        update = np.zeros_like(prior)
        for kernel, counts in zip(kernels, observed, strict=True):
            expected = np.maximum(kernel @ prior, np.float32(1e-30))
            update += kernel.T @ (counts / expected)
        prior = prior * update / total.sum()
    return np.asarray(prior)
