"""Do the intervals cover and the tests reject at their nominal rate? A simulation."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from zcbench.stats.association import Kind, association
from zcbench.stats.paired import paired_difference
from zcbench.stats.ranks import Floats

POPULATION = 50_000


@dataclass(frozen=True, slots=True)
class Coverage:
    """Outcome of a simulation.

    Attributes:
        kind: ``"spearman"`` or ``"kendall"``.
        n: points in each sample.
        truth: the correlation in the population.
        covered: share of the samples whose interval contains it.
        width: mean width of the intervals.
        rejected: share of the samples whose paired test rejects, at 1 − confidence,
            that two equally good scores are equally good.
        undefined: share of the samples that gave no interval; they are left out of
            the other shares.
    """

    kind: Kind
    n: int
    truth: float
    covered: float
    width: float
    rejected: float
    undefined: float


def simulate_coverage(
    kind: Kind,
    n: int,
    *,
    correlation: float = 0.6,
    levels: int | None = None,
    samples: int = 1000,
    seed: int = 0,
    confidence: float = 0.95,
) -> Coverage:
    """Draw samples from a known population and count how often the interval is right.

    The population is normal; two scores share the given correlation with the accuracy
    and err independently of each other.

    Args:
        kind: ``"spearman"`` or ``"kendall"``.
        n: points in each sample.
        correlation: Pearson correlation of each score with the accuracy, before
            `levels`.
        levels: cut the scores into about this many levels: heavy ties, as of n_layers.
        samples: how many samples.
        seed: of the simulation.
        confidence: nominal coverage.

    Returns:
        What was counted.
    """
    rng = np.random.default_rng(seed)
    accuracy = rng.normal(size=POPULATION)
    first, second = (_score(rng, accuracy, correlation, levels) for _ in range(2))
    truth = association(first, accuracy, kind).value
    shift = association(second, accuracy, kind).value - truth
    hits, widths, rejections = [], [], []
    for _ in range(samples):
        drawn = rng.integers(POPULATION, size=n)
        a, b, y = first[drawn], second[drawn], accuracy[drawn]
        one = association(a, y, kind, confidence=confidence)
        two = paired_difference(b, a, y, kind, confidence=confidence)
        if not (math.isfinite(one.low) and math.isfinite(two.low)):
            continue
        hits.append(one.low <= truth <= one.high)
        widths.append(one.high - one.low)
        rejections.append(not two.low <= shift <= two.high)
    kept = len(hits)
    covered, width, rejected = (
        float(np.mean(v)) if kept else math.nan for v in (hits, widths, rejections)
    )
    undefined = 1 - kept / samples
    return Coverage(kind, n, truth, covered, width, rejected, undefined)


def _score(
    rng: np.random.Generator, accuracy: Floats, correlation: float, levels: int | None
) -> Floats:
    noise = rng.normal(size=len(accuracy))
    score = correlation * accuracy + math.sqrt(1 - correlation**2) * noise
    if levels is None:
        return score
    return np.floor(np.clip(score / 4 + 0.5, 0, 0.999) * levels)
