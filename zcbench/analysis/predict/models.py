"""Models that predict accuracy; scikit-learn is imported when one is made."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from importlib import import_module
from typing import Any, Protocol

from zcbench.errors import UsageError
from zcbench.stats.ranks import Floats

_NEIGHBOURS = 10


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
    require("sklearn")
    return MODELS[name](n, seed)


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


def _gbdt(n: int, seed: int) -> Model:
    """200 small trees on samples of rows and columns.

    Chosen by measurement over scikit-learn's defaults and over
    HistGradientBoostingRegressor: see docs/predict.md.
    """
    from sklearn.ensemble import GradientBoostingRegressor

    del n
    model: Model = GradientBoostingRegressor(
        n_estimators=200,
        learning_rate=0.05,
        max_depth=3,
        subsample=0.7,
        max_features=0.3,
        random_state=seed,
    )
    return model


def _forest(n: int, seed: int) -> Model:
    """100 trees, a third of the columns at each split."""
    from sklearn.ensemble import RandomForestRegressor

    del n
    model: Model = RandomForestRegressor(100, max_features=1 / 3, random_state=seed)
    return model


def _ridge(n: int, seed: int) -> Model:
    """Linear; the penalty by leave-one-out on the training architectures."""
    from sklearn.linear_model import RidgeCV

    del n, seed
    model: Model = RidgeCV(alphas=[10.0**k for k in range(-2, 5)])
    return model


def _knn(n: int, seed: int) -> Model:
    """Mean of up to 10 neighbours, near ones weighing more."""
    from sklearn.neighbors import KNeighborsRegressor

    del seed
    model: Model = KNeighborsRegressor(min(_NEIGHBOURS, n), weights="distance")
    return model


def _xgboost(n: int, seed: int) -> Model:
    """XGBoost with its defaults."""
    require("xgboost")
    from xgboost import XGBRegressor

    del n
    model: Model = XGBRegressor(random_state=seed, n_jobs=1)
    return model


def _lightgbm(n: int, seed: int) -> Model:
    """LightGBM with its defaults, but leaves of five: its twenty are a fifth of 100."""
    require("lightgbm")
    from lightgbm import LGBMRegressor

    del n
    model: Model = LGBMRegressor(
        min_child_samples=5, random_state=seed, n_jobs=1, verbose=-1
    )
    return model


MODELS: Mapping[str, Callable[[int, int], Model]] = {
    "gbdt": _gbdt,
    "forest": _forest,
    "ridge": _ridge,
    "knn": _knn,
    "xgboost": _xgboost,
    "lightgbm": _lightgbm,
}
