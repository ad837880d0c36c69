"""Do the intervals cover and the tests reject at their nominal rate? Simulations."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from zcbench.stats.association import (
    Association,
    Kind,
    association,
    resample_counts,
)
from zcbench.stats.paired import Difference, Family, difference, holm
from zcbench.stats.ranks import Floats, Ranks

POPULATION = 50_000


@dataclass(frozen=True, slots=True)
class Coverage:
    """Outcome of a simulation of single comparisons.

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

    The population is normal; two scores share the given correlation with the accuracy,
    exactly, and err independently of each other.

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
    a, b, y = _twins(rng, correlation, levels)
    truth = association(a, y, kind).value
    hits, widths, rejections = [], [], []
    for _ in range(samples):
        drawn = rng.integers(POPULATION, size=n)
        one, two = (
            association(s[drawn], y[drawn], kind, confidence=confidence) for s in (a, b)
        )
        found = difference(one, two, confidence=confidence)
        if not (math.isfinite(one.low) and math.isfinite(found.low)):
            continue
        hits.append(one.low <= truth <= one.high)
        widths.append(one.high - one.low)
        rejections.append(found.p < 1 - confidence)
    kept = len(hits)
    covered, width, rejected = (
        float(np.mean(v)) if kept else math.nan for v in (hits, widths, rejections)
    )
    undefined = 1 - kept / samples
    return Coverage(kind, n, truth, covered, width, rejected, undefined)


def _twins(
    rng: np.random.Generator, correlation: float, levels: int | None
) -> tuple[Floats, Floats, Floats]:
    """Two equally good scores and the accuracy of a population.

    Each point is there twice, its scores exchanged: neither score is better.
    """
    accuracy = rng.normal(size=POPULATION // 2)
    noise = rng.normal(size=(2, len(accuracy)))
    scores = correlation * accuracy + math.sqrt(1 - correlation**2) * noise
    if levels is not None:
        scores = np.floor(np.clip(scores / 4 + 0.5, 0, 0.999) * levels)
    first, second = scores
    return (
        np.concatenate([first, second]),
        np.concatenate([second, first]),
        np.tile(accuracy, 2),
    )


@dataclass(frozen=True, slots=True)
class Agreement:
    """How the closed form and two bootstraps agree on Δρ of two scores.

    Attributes:
        n: points in each sample.
        error_ratio: standard error of the bootstrap that ranks every resample anew,
            over that of the influence values; median over the samples.
        covered: share of the samples whose interval by influence values contains 0.
        covered_by_ranks: the same of the percentile interval of the bootstrap that
            ranks every resample anew.
        width: mean width of the former.
        width_by_ranks: mean width of the latter.
    """

    n: int
    error_ratio: float
    covered: float
    covered_by_ranks: float
    width: float
    width_by_ranks: float


def simulate_agreement(
    n: int,
    *,
    correlation: float = 0.6,
    levels: int | None = None,
    samples: int = 200,
    resamples: int = 500,
    seed: int = 0,
    confidence: float = 0.95,
) -> Agreement:
    """Compare the ways to an interval of Δρ on samples from a known population.

    Args:
        n: points in each sample.
        correlation: as in `simulate_coverage`.
        levels: likewise.
        samples: how many samples.
        resamples: of each bootstrap.
        seed: of the simulation.
        confidence: nominal coverage.
    """
    rng = np.random.default_rng(seed)
    a, b, y = _twins(rng, correlation, levels)
    tail = (1 - confidence) / 2
    ratios, ours, anew = [], [], []
    for _ in range(samples):
        drawn = rng.integers(POPULATION, size=n)
        one, two = (association(s[drawn], y[drawn], "spearman") for s in (a, b))
        found = difference(one, two, confidence=confidence)
        if math.isnan(found.low):
            continue
        moved = rank_bootstrap(np.stack([a[drawn], b[drawn]]), y[drawn], resamples, rng)
        deltas = moved[:, 0] - moved[:, 1]
        ratios.append(float(np.nanstd(deltas)) / found.error)
        ours.append((found.low, found.high))
        anew.append(np.nanquantile(deltas, [tail, 1 - tail]))
    mine, theirs = np.array(ours), np.array(anew)
    return Agreement(
        n=n,
        error_ratio=float(np.median(ratios)),
        covered=_share_with_zero(mine),
        covered_by_ranks=_share_with_zero(theirs),
        width=float(np.ptp(mine, axis=1).mean()),
        width_by_ranks=float(np.ptp(theirs, axis=1).mean()),
    )


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


def _share_with_zero(ends: Floats) -> float:
    """Share of intervals that contain 0, of [m, 2]."""
    return float(np.mean((ends[:, 0] <= 0) & (ends[:, 1] >= 0)))


@dataclass(frozen=True, slots=True)
class FamilyWise:
    """Outcome of a simulation of whole tables.

    Attributes:
        n: architectures.
        comparisons: in each table.
        uncorrected: share of the tables with a false rejection at 1 − confidence.
        holm: the same with Holm's correction.
        largest: the same with the correction by the largest |z|.
        together: share of the tables all of whose corrected intervals are right.
        false_lead: share of the tables that put a proxy ahead of the best baseline
            which is not.
        power_holm: share of the better proxies found better than all baselines, by
            Holm; NaN if there is none.
        power_largest: the same by the corrected intervals.
    """

    n: int
    comparisons: int
    uncorrected: float
    holm: float
    largest: float
    together: float
    false_lead: float
    power_holm: float
    power_largest: float


def simulate_family(
    n: int,
    *,
    better: float | None = None,
    proxies: int = 8,
    baselines: int = 3,
    datasets: int = 3,
    correlation: float = 0.6,
    samples: int = 300,
    draws: int = 10_000,
    seed: int = 0,
    confidence: float = 0.95,
) -> FamilyWise:
    """Draw whole tables in which some or all proxies are as good as the baselines.

    All is normal. The datasets share their architectures, hence half of the accuracy;
    what a score errs by is half its own on all datasets, half anew on each.

    Args:
        n: architectures.
        better: correlation of the first half of the proxies; None if they are no
            better than the baselines.
        proxies: in each table.
        baselines: in each table.
        datasets: in each table.
        correlation: Pearson correlation of all other scores with the accuracy.
        samples: how many tables.
        draws: of the largest |z|.
        seed: of the simulation.
        confidence: nominal coverage.
    """
    rng = np.random.default_rng(seed)
    strength = np.full(proxies + baselines, correlation)
    truth = np.zeros((datasets, proxies, baselines))
    if better is not None:
        strength[: proxies // 2] = better
        gain = _spearman_of(better) - _spearman_of(correlation)
        truth[:, : proxies // 2] = gain
    outcomes = []
    for _ in range(samples):
        found, influence = _table(rng, n, strength, baselines, datasets)
        family = Family.of([influence], rng, draws)
        outcomes.append(_outcome(found, family, truth, confidence))
    shares = np.mean(np.array(outcomes, dtype=np.float64), axis=0).tolist()
    return FamilyWise(n, truth.size, *shares)


def _outcome(
    found: list[Difference], family: Family, truth: Floats, confidence: float
) -> tuple[float, ...]:
    """What one table gets wrong and right, fields of `FamilyWise` from the third on."""
    alpha, nil = 1 - confidence, truth == 0
    level = family.level(confidence)
    low, high = (
        np.reshape(ends, truth.shape)
        for ends in zip(*(f.interval(level) for f in found), strict=True)
    )
    p = np.reshape([f.p for f in found], truth.shape)
    upward = np.reshape([f.value > 0 for f in found], truth.shape)
    by_holm = holm(p.ravel()).reshape(truth.shape) < alpha
    ahead = np.asarray((low > 0).all(axis=2))
    ahead_by_holm = np.asarray((by_holm & upward).all(axis=2))
    good = np.asarray(~nil.any(axis=2))
    return (
        float(((p < alpha) & nil).any()),
        float((by_holm & nil).any()),
        float((((low > 0) | (high < 0)) & nil).any()),
        float(((low <= truth) & (truth <= high)).all()),
        float((ahead & ~good).any()),
        float(ahead_by_holm[good].mean()) if good.any() else math.nan,
        float(ahead[good].mean()) if good.any() else math.nan,
    )


def _spearman_of(correlation: float) -> float:
    """Spearman's ρ of a normal population."""
    return 6 / math.pi * math.asin(correlation / 2)


def _table(
    rng: np.random.Generator, n: int, strength: Floats, baselines: int, datasets: int
) -> tuple[list[Difference], Floats]:
    """Differences by dataset, proxy and baseline, and their influence / n, [n, m]."""
    shared, half = rng.normal(size=n), math.sqrt(0.5)
    own = rng.normal(size=(len(strength), n))
    found, influence = [], []
    for _ in range(datasets):
        accuracy = half * (shared + rng.normal(size=n))
        noise = half * (own + rng.normal(size=own.shape))
        weight = np.sqrt(1 - strength**2)
        scores = strength[:, None] * accuracy + weight[:, None] * noise
        known: list[Association] = [
            association(s, accuracy, "spearman") for s in scores
        ]
        for proxy in known[:-baselines]:
            for baseline in known[-baselines:]:
                found.append(difference(proxy, baseline))
                influence.append((proxy.influence - baseline.influence) / n)
    return found, np.stack(influence, axis=1)
