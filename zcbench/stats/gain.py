"""How much better accuracies are predicted with a score than without it."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from zcbench.stats.association import association
from zcbench.stats.paired import Difference, difference
from zcbench.stats.partial import complete, independent, why_none
from zcbench.stats.ranks import Floats, Ranks

DEGREE = 3
"""Of the polynomials in ranks that predict accuracies."""
FOLDS = 10


@dataclass(frozen=True, slots=True)
class Gain:
    """How much better accuracies are predicted with a score than without.

    Attributes:
        before: ρ of the prediction from the other variables with the accuracy.
        after: ρ of the prediction from them and the score.
        found: the paired difference of the two, with its interval.
    """

    before: float
    after: float
    found: Difference


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
    n, nan = len(x), math.nan
    note = why_none(score, Ranks.of(x), Ranks.of(y))
    if not note and n < 4 * (DEGREE * (len(given) + 1) + 1):
        note = "too few"
    if note:
        none = Difference("spearman", nan, nan, nan, nan, nan, n, note)
        return Gain(nan, nan, none)
    target = Ranks.of(y).centred
    fold = np.random.default_rng(seed).permutation(n) % FOLDS
    old = [column for variable in others for column in _powers(variable)]
    before, after = (
        association(predicted_apart(columns, target, fold), target, "spearman")
        for columns in (old, old + _powers(x))
    )
    found = difference(after, before, confidence=confidence)
    return Gain(before.value, after.value, found)


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
