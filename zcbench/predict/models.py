"""Models that predict accuracy; scikit-learn is imported when one is made."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Protocol

from zcbench.errors import UsageError
from zcbench.stats.ranks import Floats

_NEIGHBOURS = 10


class Model(Protocol):
    """A regression of scikit-learn."""

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
        UsageError: scikit-learn is not installed.
    """
    require_sklearn()
    return MODELS[name](n, seed)


def require_sklearn() -> None:
    """Raise `UsageError` unless scikit-learn can be imported."""
    try:
        import sklearn  # noqa: F401
    except ImportError:
        raise UsageError(
            "Predictors need scikit-learn, which is not installed.",
            "Install it: pip install 'zcbench[predict]'.",
        ) from None


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


MODELS: Mapping[str, Callable[[int, int], Model]] = {
    "gbdt": _gbdt,
    "forest": _forest,
    "ridge": _ridge,
    "knn": _knn,
}
