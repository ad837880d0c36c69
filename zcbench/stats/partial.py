"""What a score tells of accuracies that other variables do not.

Three ways: the partial rank correlation, the correlation among points that are alike in
another variable, and the gain of a prediction from all others by the score.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from zcbench.stats.association import (
    FEWEST,
    Association,
    Estimate,
    association,
    fisher_interval,
    quantile,
    ratio_influence,
    standard_error,
    why_none,
)
from zcbench.stats.paired import Difference, difference
from zcbench.stats.ranks import Floats, Ints, Ranks

_MOST_BINS, _SMALLEST_BIN = 40, 10
DEGREE = 3
"""Of the polynomials in ranks that predict accuracies."""
FOLDS = 10

COLLINEAR = 1e-9
"""Share of its variance below which nothing of a variable is left by the others."""


def independent(ranked: Sequence[Floats]) -> list[int]:
    """Positions of the variables that are no linear combination of earlier ones.

    Args:
        ranked: variables with mean 0. [n] each
    """
    kept: list[int] = []
    basis: list[Floats] = []
    for position, variable in enumerate(ranked):
        rest = variable.copy()
        for direction in basis:
            rest = rest - direction * float(direction @ rest)
        size = float(rest @ rest)
        if size > COLLINEAR * float(variable @ variable):
            kept.append(position)
            basis.append(rest / math.sqrt(size))
    return kept


# Over 40 lines: half of them say what it is.
def partial_association(
    score: Floats,
    accuracy: Floats,
    given: Sequence[Floats],
    *,
    confidence: float = 0.95,
) -> Association:
    """Partial rank correlation of score and accuracy given other variables.

    The correlation of what linear regression on the ranks of the others leaves of the
    ranks of both. Influence values take account of every rank that a point moves and
    of the regression: with c the weights of a residual r = Σ cⱼ uⱼ in the ranks, IF of
    E[r s] is r s + Σ cⱼ E[hⱼ s] + Σ dⱼ E[hⱼ r] − 3 E[r s], as in `association`.

    Args:
        score: NaN where there is none. [n]
        accuracy: likewise. [n]
        given: variables to hold fixed, likewise. [n] each
        confidence: nominal coverage of the interval.

    Returns:
        As `association`; the note is ``"no more than those given"`` where the others
        determine the score, and ``"accuracy is those given"`` where they determine the
        accuracy.
    """
    a, b, variables = complete(score, accuracy, given)
    x_ranks, y_ranks, n = Ranks.of(a), Ranks.of(b), len(a)
    others = [Ranks.of(variable) for variable in variables]
    others = [others[i] for i in independent([r.centred for r in others])]
    note = why_none(score, x_ranks, y_ranks)
    if not note and n < len(others) + FEWEST:
        note = "too few"
    x, y = Residual.of(x_ranks, others), Residual.of(y_ranks, others)
    if not note and (x.empty or y.empty):
        note = f"{'no more than' if x.empty else 'accuracy is'} those given"
    if note:
        return Association(n=n, note=note)
    influence, value = _correlation(x, y)
    factor = quantile(confidence, n - len(others))
    low, high, note = fisher_interval(value, standard_error(influence), factor)
    return Association(value, low, high, n, note, "spearman", influence)


def complete(
    score: Floats, accuracy: Floats, given: Sequence[Floats]
) -> tuple[Floats, Floats, list[Floats]]:
    """All of them over the points where all are known."""
    used = np.isfinite(score) & np.isfinite(accuracy)
    for variable in given:
        used = used & np.isfinite(variable)
    return score[used], accuracy[used], [variable[used] for variable in given]


def _correlation(x: Residual, y: Residual) -> tuple[Floats, float]:
    """(influence values, correlation) of two residuals."""
    a, b, c = (float(np.mean(u.left * v.left)) for u, v in ((x, y), (x, x), (y, y)))
    influence = ratio_influence(a, b, c, x.moved(y), x.moved(x), y.moved(y))
    return influence, min(1.0, max(-1.0, a / math.sqrt(b * c)))


@dataclass(frozen=True, slots=True, eq=False)
class Residual:
    """What linear regression on other ranks leaves of the ranks of a variable.

    Attributes:
        left: [n] the residuals.
        ranks: of the variable and of the others.
        weights: of each of these ranks in the residual, 1 for the variable itself.
        empty: whether nothing is left.
    """

    left: Floats
    ranks: tuple[Ranks, ...]
    weights: tuple[float, ...]
    empty: bool

    @classmethod
    def of(cls, ranks: Ranks, others: Sequence[Ranks]) -> Residual:
        """Regress the ranks on those of the others, which are independent."""
        u = ranks.centred
        if not others or not len(u):
            return cls(u, (ranks,), (1.0,), ranks.constant)
        z = np.stack([other.centred for other in others], axis=1)
        slopes = np.linalg.solve(z.T @ z, z.T @ u)
        left = u - z @ slopes
        empty = float(left @ left) < COLLINEAR * float(u @ u)
        return cls(left, (ranks, *others), (1.0, *(-slopes).tolist()), empty)

    def moved(self, other: Residual) -> Floats:
        """Influence values of the mean product with another residual, [n]."""
        product = self.left * other.left
        influence = product - 3 * float(product.mean())
        for ours, theirs in ((self, other), (other, self)):
            for ranks, weight in zip(ours.ranks, ours.weights, strict=True):
                influence = influence + weight * ranks.weight_above(theirs.left)
        return influence


@dataclass(frozen=True, slots=True)
class Pooled(Estimate):
    """Mean of the correlations within bins, weighted by their points.

    The note is as of `association`, or ``"no bins"``.

    Attributes:
        bins: how many bins enter.
        smallest: points in the smallest of them.
    """

    bins: int = 0
    smallest: int = 0


def bins_of(variable: Floats) -> Ints:
    """Sort points into bins of one variable; −1 for those in none, [n].

    Its values themselves where there are at most 40 of them, else 20 quantile bins,
    fewer where these would hold less than 10 points. Smaller bins are left out.

    Args:
        variable: NaN where there is none. [n]
    """
    bins = np.full(len(variable), -1, dtype=np.int64)
    known = np.flatnonzero(np.isfinite(variable))
    if not len(known):
        return bins
    ranks = Ranks.of(variable[known])
    code = ranks.code
    if len(ranks.counts) > _MOST_BINS:
        count = max(1, min(_MOST_BINS // 2, len(known) // _SMALLEST_BIN))
        code = np.minimum((ranks.centred + 0.5) * count, count - 1).astype(np.int64)
    large = np.bincount(code) >= _SMALLEST_BIN
    bins[known] = np.where(large[code], code, -1)
    return bins


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
    if note := why_none(score, Ranks.of(a), Ranks.of(b)):
        return Pooled(n=len(a), note=note)
    pooled = []
    for bin_ in range(int(bins.max(initial=-1)) + 1):
        points = bins == bin_
        here = association(score[points], accuracy[points], "spearman")
        if not math.isnan(here.value):
            pooled.append(here)
    if not pooled:
        text = "constant in each bin" if bins.max(initial=-1) >= 0 else "no bins"
        return Pooled(n=len(a), note=text)
    return _pooled(pooled, confidence)


def _pooled(bins: Sequence[Association], confidence: float) -> Pooled:
    """Weighted mean of the correlations of separate bins."""
    sizes = np.array([here.n for here in bins])
    n, weights = int(sizes.sum()), sizes / sizes.sum()
    value = float(weights @ [here.value for here in bins])
    # n / (n − 3): influence values of few points are too small
    errors = [
        standard_error(here.influence) * math.sqrt(here.n / max(1, here.n - 3))
        for here in bins
    ]
    error = float(np.sqrt(np.sum((weights * errors) ** 2)))
    factor = quantile(confidence, max(FEWEST, n - 2 * (len(bins) - 1)))
    low, high, note = fisher_interval(value, error, factor)
    return Pooled(value, low, high, n, note, len(bins), int(sizes.min()))


@dataclass(frozen=True, slots=True)
class Gain:
    """How much better accuracies are predicted with a score than without.

    Attributes:
        before: ρ of the prediction from the other variables with the accuracy.
        after: ρ of the prediction from them and the score.
        difference: of the two, paired, with its interval.
    """

    before: float
    after: float
    difference: Difference


def gain(
    score: Floats,
    accuracy: Floats,
    given: Sequence[Floats],
    *,
    confidence: float = 0.95,
    seed: int = 0,
) -> Gain:
    """Cross-fitted gain of a rank regression by a score.

    The rank of the accuracy is regressed on polynomials of degree 3 in the ranks of
    the others, once with and once without those of the score. Every prediction comes
    from the other nine tenths of the points, so that a score that knows nothing gains
    nothing. Accuracies are not used to rank the others.

    Args:
        score: NaN where there is none. [n]
        accuracy: likewise. [n]
        given: the other variables, likewise. [n] each
        confidence: nominal coverage of the interval.
        seed: of the folds.
    """
    x, y, others = complete(score, accuracy, given)
    n = len(x)
    note = why_none(score, Ranks.of(x), Ranks.of(y))
    if not note and n < 4 * (DEGREE * (len(given) + 1) + 1):
        note = "too few"
    if note:
        return Gain(math.nan, math.nan, Difference(n=n, note=note))
    target = Ranks.of(y).centred
    fold = np.random.default_rng(seed).permutation(n) % FOLDS
    old = [column for variable in others for column in _powers(variable)]
    before, after = (
        association(predicted_apart(columns, target, fold), target, "spearman")
        for columns in (old, old + _powers(x))
    )
    moved = difference(after, before, confidence=confidence)
    return Gain(before.value, after.value, moved)


def _powers(variable: Floats) -> list[Floats]:
    """Legendre polynomials of the ranks, without the constant; means taken out."""
    u = 2 * Ranks.of(variable).centred
    columns = np.polynomial.legendre.legvander(u, DEGREE)[:, 1:]
    return list((columns - columns.mean(axis=0)).T)


def predicted_apart(
    columns: Sequence[Floats], y: Floats, fold: NDArray[np.integer]
) -> Floats:
    """Least-squares predictions of each fold from the other folds, [n].

    Args:
        columns: what predicts. [n] each
        y: what is predicted. [n]
        fold: number of the fold of each point. [n]
    """
    kept = independent(columns)
    x = np.stack([np.ones(len(y)), *(columns[i] for i in kept)], axis=1)
    parts = [np.flatnonzero(fold == f) for f in range(int(fold.max()) + 1)]
    grams = [x[part].T @ x[part] for part in parts]
    products = [x[part].T @ y[part] for part in parts]
    gram, product = np.sum(grams, axis=0), np.sum(products, axis=0)
    predicted = np.empty(len(y))
    for part, own, towards in zip(parts, grams, products, strict=True):
        slopes = np.linalg.lstsq(gram - own, product - towards, rcond=1e-10)[0]
        predicted[part] = x[part] @ slopes
    return predicted
