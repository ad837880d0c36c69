"""Partial rank correlation: what a score and accuracies share beyond other things."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from zcbench.stats.association import (
    FEWEST,
    Association,
    fisher_interval,
    quantile,
    ratio_influence,
    standard_error,
)
from zcbench.stats.ranks import Floats, Ranks

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
    x_ranks, y_ranks, n, nan = Ranks.of(a), Ranks.of(b), len(a), math.nan
    others = [Ranks.of(variable) for variable in variables]
    others = [others[i] for i in independent([r.centred for r in others])]
    note = why_none(score, x_ranks, y_ranks)
    if not note and n < len(others) + FEWEST:
        note = "too few"
    x, y = Residual.of(x_ranks, others), Residual.of(y_ranks, others)
    if not note and (x.empty or y.empty):
        note = f"{'no more than' if x.empty else 'accuracy is'} those given"
    if note:
        return Association("spearman", nan, nan, nan, n, note, np.empty(0))
    influence, value = _correlation(x, y)
    factor = quantile(confidence, n - len(others))
    low, high, note = fisher_interval(value, standard_error(influence), factor)
    return Association("spearman", value, low, high, n, note, influence)


def why_none(score: Floats, x: Ranks, y: Ranks) -> str:
    """Why a score has no correlation, in the words of `association`, or nothing.

    Args:
        score: the score, also where it does not count. [n]
        x: its ranks where it counts.
        y: those of the accuracy there.
    """
    if not np.isfinite(score).any():
        return "all failed"
    if len(x.code) < FEWEST:
        return "too few"
    if y.constant:
        return "constant truth"
    return "constant" if x.constant else ""


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
        found = product - 3 * float(product.mean())
        for ours, theirs in ((self, other), (other, self)):
            for ranks, weight in zip(ours.ranks, ours.weights, strict=True):
                found = found + weight * ranks.weight_above(theirs.left)
        return found
