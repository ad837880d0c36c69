"""How high a correlation with a noisy accuracy can be, and what that leaves of it.

Accuracies differ between training seeds, so that not even the order of the true
accuracies agrees fully with that of the observed ones. The ceiling is the expected
correlation between the two: what a proxy reaches that knows everything but the seeds.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from zcbench.stats.association import (
    FEWEST,
    Association,
    Estimate,
    quantile,
    resample_counts,
)
from zcbench.stats.ranks import Floats, Ranks
from zcbench.stats.true_accuracy import TrueAccuracy

REPLICATES = 100
"""Bootstrap resamples of a ceiling, each of them fitted anew."""
FEWEST_TRAINED_TWICE = 20
"""Points with two trainings below which the noise is not known."""
BELOW_1 = 0.9999999
LOWEST = 0.05
"""Ceilings of resamples are not taken below this: a share would be meaningless."""
_DRAWS = 200_000
_DRAWS_OF_A_REPLICATE = 20_000


@dataclass(frozen=True, slots=True, eq=False)
class Ceiling(Estimate):
    """Highest correlation that a score can be expected to have with some accuracies.

    Spearman's ρ between true and observed accuracy. The note is empty,
    ``"seeds unknown"``, ``"one seed"``, ``"too few"`` or ``"constant truth"``;
    ``"no noise"`` where all seeds agree, so that the ceiling is 1.

    Attributes:
        agreement: mean Spearman's ρ between two training seeds over these points; NaN
            if unknown. Where points were chosen by the mean over seeds it is too low.
        deviations: [replicates] of the ceiling in each resample; empty without one.
    """

    agreement: float = math.nan
    deviations: Floats = field(default_factory=lambda: np.empty(0))


def top(accuracy: Floats, fraction: float) -> NDArray[np.bool_]:
    """The best share of the points that have an accuracy, [n].

    ⌈fraction · n⌉ of them, and more where accuracies tie.

    Args:
        accuracy: NaN where there is none. [n]
        fraction: between 0 and 1.
    """
    known = accuracy[np.isfinite(accuracy)]
    if not len(known):
        return np.zeros(len(accuracy), dtype=np.bool_)
    count = math.ceil(round(fraction * len(known), 9))
    cut = np.partition(known, len(known) - count)[len(known) - count]
    return np.asarray(accuracy >= cut)


@dataclass(frozen=True, slots=True, eq=False)
class Ceilings:
    """The ceilings of several sets of the same points.

    Attributes:
        sets: one ceiling for each set.
        members: [m] positions of the points of each set.
        counts: [replicates, n] how often each resample drew each point.
        whole: how many architectures the ceilings are estimated from.
    """

    sets: tuple[Ceiling, ...]
    members: tuple[NDArray[np.intp], ...]
    counts: NDArray[np.float32]
    whole: int

    def share(
        self,
        which: int,
        rho: Association,
        points: NDArray[np.intp],
        *,
        reliability: float = 1.0,
        confidence: float = 0.95,
    ) -> Estimate:
        """ρ / (ceiling · √reliability): the correlation without the noise.

        With reliability 1 it is the share of its ceiling that a score reaches; with
        the score's own reliability it is Spearman's (1904) correction for attenuation,
        as the ceiling is √(reliability of the accuracies). The errors of ρ and of the
        ceiling enter the interval together, by the same resamples where both are of
        the same points.

        Args:
            which: position of the set.
            rho: correlation of the score with accuracy.
            points: positions of its points. [m]
            reliability: of the score.
            confidence: nominal coverage of the interval.
        """
        ceiling = self.sets[which]
        if math.isnan(rho.value) or not ceiling.value > 0 or not reliability > 0:
            return Estimate()
        scale = math.sqrt(reliability)
        value = rho.value / (ceiling.value * scale)
        if not len(ceiling.deviations) or math.isnan(rho.low):
            return Estimate(value)
        influence = np.asarray(rho.influence / rho.n, dtype=np.float32)
        moved = (self.counts[:, points] - 1) @ influence
        beneath = np.maximum(ceiling.value + ceiling.deviations, LOWEST)
        replicates = (rho.value + moved) / (beneath * scale)
        half = quantile(confidence, rho.n) * float(np.nanstd(replicates, ddof=1))
        return Estimate(value, value - half, value + half)


# Over 40 lines: half of them say what its arguments are.
def ceilings(
    accuracy: Floats,
    seeds: Floats,
    fractions: Sequence[float] = (1.0, 0.1, 0.01),
    *,
    whole: tuple[Floats, Floats] | None = None,
    confidence: float = 0.95,
    replicates: int = REPLICATES,
    seed: int = 0,
) -> Ceilings:
    """The ceilings among all points and among the best of them.

    Args:
        accuracy: finite, mean over seeds. [n]
        seeds: by training seed, NaN where not trained. [n, s]
        fractions: shares of the points, best first by accuracy.
        whole: accuracy and seeds of all that the points are a sample of, likewise; the
            ceilings are then those of the same shares of all. None if not known.
        confidence: nominal coverage of the intervals.
        replicates: bootstrap resamples for the intervals, each fitted anew.
        seed: of what is drawn at random.
    """
    members = tuple(np.flatnonzero(top(accuracy, fraction)) for fraction in fractions)
    known, trained = (accuracy, seeds) if whole is None else whole
    why = _why_unknown(known, trained)
    values = np.full(len(fractions), 1.0 if why == "no noise" else math.nan)
    counts = np.empty((0, len(accuracy)), dtype=np.float32)
    moved = np.empty((0, len(fractions)))
    if not why:
        rng = np.random.default_rng([seed, 1])
        values = _expected(known, trained, fractions, _DRAWS, rng)
        counts = np.concatenate(list(resample_counts(len(accuracy), replicates, rng)))
        size = None if whole is None else len(known)
        parts = ((known[i], trained[i]) for i in _resampled(counts, size, rng))
        few = _DRAWS_OF_A_REPLICATE
        moved = np.stack([_expected(*part, fractions, few, rng) for part in parts])
    of_whole = (top(known, fraction) for fraction in fractions)
    sets = (
        _ceiling(float(values[i]), moved[:, i], known[m], trained[m], why, confidence)
        for i, m in enumerate(of_whole)
    )
    return Ceilings(tuple(sets), members, counts, len(known))


def _resampled(
    counts: NDArray[np.float32], size: int | None, rng: np.random.Generator
) -> Iterator[NDArray[np.int64]]:
    """Positions of each resample: as counted, or so many of a whole that is larger."""
    for row in counts:
        if size is None:
            yield np.repeat(np.arange(len(row)), row.astype(np.int64))
        else:
            yield rng.integers(size, size=size)


def _ceiling(
    value: float,
    replicates: Floats,
    accuracy: Floats,
    seeds: Floats,
    why: str,
    confidence: float,
) -> Ceiling:
    """The ceiling of one set from its value in each resample."""
    n, agreement = len(accuracy), repeatability(seeds)
    note = why if why and why != "no noise" else _why_none(accuracy) or why
    if note:
        known = value if note == "no noise" else math.nan
        return Ceiling(known, n=n, note=note, agreement=agreement)
    usable = replicates[np.isfinite(replicates)]
    error = float(np.std(np.arctanh(np.clip(usable, -BELOW_1, BELOW_1)), ddof=1))
    z, half = math.atanh(min(value, BELOW_1)), quantile(confidence, n) * error
    low, high = math.tanh(z - half), math.tanh(z + half)
    deviations = replicates - float(usable.mean())
    return Ceiling(value, low, high, n, "", agreement, deviations)


def _why_unknown(accuracy: Floats, seeds: Floats) -> str:
    """Why no ceiling can be given at all, or an empty text."""
    trained = np.isfinite(seeds).sum(axis=1)
    if not trained.any():
        return "seeds unknown"
    if trained.max() < 2:
        return "one seed"
    if (trained > 1).sum() < FEWEST_TRAINED_TWICE:
        return "too few"
    if Ranks.of(accuracy).constant:
        return "constant truth"
    twice = seeds[trained > 1]
    if np.array_equal(np.nanmin(twice, axis=1), np.nanmax(twice, axis=1)):
        return "no noise"
    return ""


def _why_none(accuracy: Floats) -> str:
    """Why there is none among these points, or an empty text."""
    if len(accuracy) < FEWEST:
        return "too few"
    return "constant truth" if Ranks.of(accuracy).constant else ""


def _expected(
    accuracy: Floats,
    seeds: Floats,
    fractions: Sequence[float],
    draws: int,
    rng: np.random.Generator,
) -> Floats:
    """Mean correlation of drawn true accuracies with the observed ones, [fractions]."""
    true = TrueAccuracy.fit(accuracy, seeds)
    means = []
    for fraction in fractions:
        points = np.flatnonzero(top(accuracy, fraction))
        observed = Ranks.of(accuracy[points]).centred
        spread = float(observed @ observed)
        if len(points) < 2 or spread == 0:
            means.append(math.nan)
            continue
        times = max(1, min(400, draws // len(points)))
        values = true.draw(points, times, rng)
        ranks = values.argsort(axis=1).argsort(axis=1) - (len(points) - 1) / 2
        norm = math.sqrt(spread * float(ranks[0] @ ranks[0]))
        means.append(float((ranks @ observed).mean()) / norm)
    return np.array(means)


def repeatability(repeats: Floats) -> float:
    """Mean Spearman's ρ between two measurements of the same points; NaN if unknown.

    Over all pairs of columns, each over the points that have both.

    Args:
        repeats: NaN where not measured. [n, r]
    """
    pairs = []
    for i in range(repeats.shape[1]):
        for j in range(i):
            both = np.isfinite(repeats[:, i]) & np.isfinite(repeats[:, j])
            a, b = Ranks.of(repeats[both, i]), Ranks.of(repeats[both, j])
            if both.sum() >= FEWEST and not (a.constant or b.constant):
                u, v = a.centred, b.centred
                pairs.append(float(u @ v) / math.sqrt(float(u @ u) * float(v @ v)))
    return float(np.mean(pairs)) if pairs else math.nan


def of_mean(reliability: float, count: float) -> float:
    """Reliability of a mean of `count` measurements, from that of one.

    k r / (1 + (k − 1) r), after Spearman (1910) and Brown (1910).

    >>> round(of_mean(0.5, 2), 4), of_mean(0.8, 1)
    (0.6667, 0.8)
    """
    return count * reliability / (1 + (count - 1) * reliability)
