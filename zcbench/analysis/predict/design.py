"""From features to the columns that a model sees, fitted on training architectures."""

from __future__ import annotations

from typing import Literal

import numpy as np

from zcbench.analysis.predict.features import Feature
from zcbench.stats.ranks import Floats, Ints, Ranks

Values = Literal["rank", "raw"]


def columns(feature: Feature, train: Ints, values: Values) -> Floats:
    """What a model sees of a feature, [n, d]; a row depends on itself and on `train`.

    Columns that do not vary among the training architectures are left out, the others
    have mean 0 and variance 1 among them.

    Args:
        feature: of n architectures.
        train: positions of the training architectures.
        values: whether scores are replaced by `ranked` values or taken as they are.
    """
    found = feature.values
    if feature.score:
        found = filled(feature.values[:, 0], train, values)
    mean, spread = found[train].mean(axis=0), found[train].std(axis=0)
    # The mean of equal numbers can miss them by rounding, so equality decides.
    varies = np.ptp(found[train], axis=0) > 0
    return np.asarray((found[:, varies] - mean[varies]) / spread[varies])


def filled(score: Floats, train: Ints, values: Values) -> Floats:
    """A score without gaps, and whether it was missing, [n, 2].

    A missing score gets the median of the training architectures that have one.

    Args:
        score: NaN where it is missing. [n]
        train: positions of the training architectures.
        values: ``"rank"`` or ``"raw"``.
    """
    missing = ~np.isfinite(score)
    known = score[train][~missing[train]]
    if not len(known):
        return np.column_stack([np.zeros(len(score)), missing])
    whole = np.where(missing, np.median(known), score)
    if values == "rank":
        whole = ranked(whole, known)
    return np.column_stack([whole, missing])


def ranked(values: Floats, known: Floats) -> Floats:
    """Share of the known values below each value, [n].

    P(X < x) + ½ P(X = x) at the known values, straight lines between them; 0 below
    the least and 1 above the largest would be steps of unknown size, so both ends stay
    flat.

    Args:
        values: finite. [n]
        known: finite, at least one.
    """
    levels = np.unique(known)
    ranks = Ranks.of(known)
    below = np.cumsum(ranks.counts) - ranks.counts
    share = (below + ranks.counts / 2) / len(known)
    return np.interp(values, levels, share)


def shuffle(feature: Feature, train: Ints, order: Ints) -> Feature:
    """The feature with its rows exchanged among the training architectures, and others.

    Args:
        feature: of n architectures.
        train: positions of the training architectures.
        order: a permutation of the n positions; all features of a trial share it.
    """
    inside = np.isin(order, train)
    source = np.arange(len(order))
    for part in (inside, ~inside):
        drawn = order[part]
        source[np.sort(drawn)] = drawn
    return Feature(
        feature.name, feature.values[source], feature.score, feature.shuffled
    )
