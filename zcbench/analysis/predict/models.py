"""Models that predict accuracy, and the columns that they see.

Columns are fitted on training architectures; scikit-learn is imported when a model is
made.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from importlib import import_module
from typing import Any, Literal, Protocol

import numpy as np

from zcbench.analysis.predict.features import Feature
from zcbench.errors import UsageError
from zcbench.stats.ranks import Floats, Ints, Ranks

Values = Literal["rank", "raw"]
Recipe = tuple[str, str, dict[str, Any]]
"""Module, class and settings of a model."""


def columns(feature: Feature, train: Ints, values: Values) -> Floats:
    """What a model sees of a feature, [n, d]; a row depends on itself and on `train`.

    Columns that do not vary among the training architectures are left out, the others
    have mean 0 and variance 1 among them.

    Args:
        feature: of n architectures.
        train: positions of the training architectures.
        values: whether scores are replaced by `ranked` values or taken as they are.
    """
    seen = feature.values
    if feature.score:
        seen = filled(feature.values[:, 0], train, values)
    mean, spread = seen[train].mean(axis=0), seen[train].std(axis=0)
    # The mean of equal numbers can miss them by rounding, so equality decides.
    varies = np.ptp(seen[train], axis=0) > 0
    return np.asarray((seen[:, varies] - mean[varies]) / spread[varies])


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


class Model(Protocol):
    """A regression as scikit-learn's are."""

    def fit(self, x: Floats, y: Floats) -> Any:
        """Learn from columns [n, d] and labels [n]."""
        ...

    def predict(self, x: Floats) -> Floats:
        """Labels of other rows."""
        ...


def make_model(name: str, n: int, seed: int) -> Model:
    """A model that has learnt nothing yet.

    Args:
        name: one of `MODELS`.
        n: how many architectures it will be trained on.
        seed: of what it draws.

    Raises:
        UsageError: what it needs is not installed.
    """
    module, of_class, settings = MODELS[name](n, seed)
    require("sklearn")
    require(module.partition(".")[0])
    model: Model = getattr(import_module(module), of_class)(**settings)
    return model


def require(package: str) -> None:
    """Raise `UsageError` unless a package can be imported."""
    try:
        import_module(package)
    except ImportError:
        raise UsageError(*_MISSING[package]) from None


_MISSING = {
    "sklearn": (
        "Predictors need scikit-learn, which is not installed.",
        "Install it: pip install 'zcbench[predict]'.",
    ),
    "xgboost": (
        "The model xgboost needs XGBoost, which is not installed.",
        "Install it: pip install xgboost; or use gbdt.",
    ),
    "lightgbm": (
        "The model lightgbm needs LightGBM, which is not installed.",
        "Install it: pip install lightgbm; or use gbdt.",
    ),
}


def _gbdt(_: int, seed: int) -> Recipe:
    """200 small trees on samples of rows and columns.

    Chosen by measurement over scikit-learn's defaults and over
    HistGradientBoostingRegressor: see docs/predictors.md.
    """
    trees = {"n_estimators": 200, "learning_rate": 0.05, "max_depth": 3}
    parts = {"subsample": 0.7, "max_features": 0.3}
    settings = trees | parts | {"random_state": seed}
    return "sklearn.ensemble", "GradientBoostingRegressor", settings


def _forest(_: int, seed: int) -> Recipe:
    """100 trees, a third of the columns at each split."""
    settings = {"n_estimators": 100, "max_features": 1 / 3, "random_state": seed}
    return "sklearn.ensemble", "RandomForestRegressor", settings


def _ridge(_: int, __: int) -> Recipe:
    """Linear; the penalty by leave-one-out on the training architectures."""
    return (
        "sklearn.linear_model",
        "RidgeCV",
        {"alphas": [10.0**k for k in range(-2, 5)]},
    )


def _knn(n: int, _: int) -> Recipe:
    """Mean of up to 10 neighbours, near ones weighing more."""
    settings = {"n_neighbors": min(10, n), "weights": "distance"}
    return "sklearn.neighbors", "KNeighborsRegressor", settings


def _xgboost(_: int, seed: int) -> Recipe:
    """XGBoost with its defaults."""
    return "xgboost", "XGBRegressor", {"random_state": seed, "n_jobs": 1}


def _lightgbm(_: int, seed: int) -> Recipe:
    """LightGBM with its defaults, but leaves of five: its twenty are a fifth of 100."""
    settings = {"min_child_samples": 5, "random_state": seed, "n_jobs": 1}
    return "lightgbm", "LGBMRegressor", settings | {"verbose": -1}


MODELS: Mapping[str, Callable[[int, int], Recipe]] = {
    "gbdt": _gbdt,
    "forest": _forest,
    "ridge": _ridge,
    "knn": _knn,
    "xgboost": _xgboost,
    "lightgbm": _lightgbm,
}
"""Name of a model → what it is, for a number of architectures and a seed."""
