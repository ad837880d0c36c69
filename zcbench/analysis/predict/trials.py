"""Train and test predictors many times, on architectures drawn anew in each trial."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import product
from typing import Literal

import numpy as np

from zcbench.analysis.predict.features import Feature, Pool, features_of
from zcbench.analysis.predict.models import Values, columns, make_model, shuffle
from zcbench.errors import UsageError
from zcbench.seeding import derive
from zcbench.stats import association
from zcbench.stats.association import FEWEST
from zcbench.stats.ranks import Floats, Ints, Ranks
from zcbench.store.parts import Arrays, Parts

Labels = Literal["rank", "accuracy"]
Key = tuple[int, str, str]
"""Training size, model, features."""


@dataclass(frozen=True, slots=True)
class Setting:
    """What to train, and how often.

    Attributes:
        train: training sizes; a trial's smaller sets are the first of its largest.
        test: test architectures of a trial; None for all that are left.
        trials: how many.
        models: names of `zcbench.analysis.predict.models.MODELS`.
        features: words such as ``"encoding+proxies"``.
        values: ``"rank"`` for scores by their rank among the training architectures.
        labels: what models learn: the rank of an accuracy, or the accuracy.
        importance: whether to exchange each feature among the test architectures.
        seed: of the trials.
    """

    train: tuple[int, ...] = (100,)
    test: int | None = None
    trials: int = 100
    models: tuple[str, ...] = ("gbdt",)
    features: tuple[str, ...] = ("encoding", "encoding+proxies")
    values: Values = "rank"
    labels: Labels = "rank"
    importance: bool = False
    seed: int = 0


@dataclass(frozen=True, slots=True, eq=False)
class Trials:
    """What the trials gave.

    Attributes:
        spearman: (size, model, features) → [trials] ρ with accuracy on the test
            architectures; NaN where all predictions, or all accuracies, are equal.
        kendall: the same of τ-b.
        importance: (size, model, features) → feature → [trials] ρ minus ρ with that
            feature exchanged among the test architectures; the largest size only.
        tested: [trials] test architectures.
        isomorphs: [trials] architectures left out, for they are isomorphic to one of
            the largest training set.
    """

    spearman: Mapping[Key, Floats]
    kendall: Mapping[Key, Floats]
    importance: Mapping[Key, Mapping[str, Floats]]
    tested: Ints
    isomorphs: Ints


@dataclass(frozen=True, slots=True)
class Split:
    """The architectures of one trial, by position.

    Attributes:
        train: of the largest training set, in the order drawn.
        test: to predict.
        isomorphs: how many were left out.
    """

    train: Ints
    test: Ints
    isomorphs: int


def run_trials(
    pool: Pool,
    setting: Setting,
    progress: Callable[[], object] = lambda: None,
    parts: Parts | None = None,
) -> Trials:
    """Train and test every model on every set of features.

    All sizes, models and features of a trial share its test architectures, so that
    their differences are paired.

    Args:
        pool: the architectures.
        setting: what to train.
        progress: called after each trial.
        parts: where trials are kept.

    Raises:
        UsageError: the pool is too small, or has no such feature.
    """
    wanted = {name: features_of(pool, name) for name in setting.features}
    keys = _keys(setting)
    rho = {key: np.full(setting.trials, math.nan) for key in keys}
    tau = {key: np.full(setting.trials, math.nan) for key in keys}
    lost: dict[Key, dict[str, Floats]] = {}
    tested = np.zeros((2, setting.trials), dtype=np.int64)
    parts = parts or Parts()
    for trial in range(setting.trials):
        make = partial(_arrays, pool, setting, wanted, trial)
        arrays = parts.of(f"trial-{trial:06d}", make)
        tested[:, trial] = arrays["tested"]
        for i, key in enumerate(keys):
            rho[key][trial], tau[key][trial] = arrays["values"][i]
            names = arrays[f"exchanged-{i}"].tolist()
            for name, drop in zip(names, arrays[f"drops-{i}"], strict=True):
                of = lost.setdefault(key, {})
                of.setdefault(name, np.full(setting.trials, math.nan))[trial] = drop
        progress()
    return Trials(rho, tau, lost, tested[0], tested[1])


def _arrays(
    pool: Pool, setting: Setting, wanted: Mapping[str, Sequence[Feature]], trial: int
) -> Arrays:
    """A trial as it is kept, keys by size, model and features."""
    split = draw(pool, setting, trial)
    found = {
        key: (drops, values)
        for key, drops, values in _trial(pool, setting, wanted, split, trial)
    }
    keys = _keys(setting)
    arrays = {
        "tested": np.array([len(split.test), split.isomorphs]),
        "values": np.array([found[key][1] for key in keys]),
    }
    for i, key in enumerate(keys):
        drops = found[key][0]
        arrays[f"exchanged-{i}"] = np.array(list(drops), dtype=str)
        arrays[f"drops-{i}"] = np.array(list(drops.values()), dtype=float)
    return arrays


def _keys(setting: Setting) -> list[Key]:
    return list(product(setting.train, setting.models, setting.features))


def draw(pool: Pool, setting: Setting, trial: int) -> Split:
    """Training and test architectures of a trial.

    Raises:
        UsageError: there are not enough.
    """
    order = _rng(setting, trial).permutation(len(pool.archs))
    largest = max(setting.train)
    train, rest = order[:largest], order[largest:]
    same = np.isin(pool.classes[rest], pool.classes[train])
    test = rest[~same][: setting.test]
    least = FEWEST if setting.test is None else setting.test
    if len(test) < least:
        left = f", {same.sum():,} of the rest isomorphic to those" if same.any() else ""
        raise UsageError(
            f"{len(pool.archs):,} architectures are too few: {largest:,} to train on "
            f"and {least:,} to test on are asked for{left}.",
            f"Score more, {'keep isomorphs, ' if same.any() else ''}train or test on "
            "fewer.",
        )
    return Split(train, test, int(same.sum()))


def _trial(
    pool: Pool,
    setting: Setting,
    wanted: Mapping[str, Sequence[Feature]],
    split: Split,
    trial: int,
) -> Iterator[tuple[Key, Mapping[str, float], tuple[float, float]]]:
    """Everything that is trained in one trial."""
    order = _rng(setting, trial, "shuffle").permutation(len(pool.archs))
    seed = derive("predict model", setting.seed, trial) % 2**32
    accuracy = pool.accuracy[split.test]
    for size in setting.train:
        train = split.train[:size]
        labels = _labels(pool.accuracy[train], setting.labels)
        seen = _Seen(train, setting.values, order)
        for name, features in wanted.items():
            blocks = [seen.columns(feature) for feature in features]
            matrix = np.hstack(blocks)
            for kind in setting.models:
                x = matrix[split.test]
                predict = _trained(kind, matrix[train], labels, seed)
                values = _agreement(predict(x), accuracy)
                drops = {}
                if setting.importance and size == max(setting.train):
                    widths = {
                        _label(f): b.shape[1]
                        for f, b in zip(features, blocks, strict=True)
                    }
                    turn = _rng(setting, trial, "importance").permutation(len(x))
                    drops = _importance(predict, x, accuracy, widths, turn)
                yield (size, kind, name), drops, values


class _Seen:
    """Columns of features for one training set, each made once."""

    def __init__(self, train: Ints, values: Values, order: Ints) -> None:
        self._train, self._values, self._order = train, values, order
        self._made: dict[tuple[str, bool], Floats] = {}

    def columns(self, feature: Feature) -> Floats:
        key = feature.name, feature.shuffled
        if key not in self._made:
            if feature.shuffled:
                feature = shuffle(feature, self._train, self._order)
            self._made[key] = columns(feature, self._train, self._values)
        return self._made[key]


def _label(feature: Feature) -> str:
    return f"{feature.name} (shuffled)" if feature.shuffled else feature.name


def _trained(
    kind: str, x: Floats, labels: Floats, seed: int
) -> Callable[[Floats], Floats]:
    """What a model predicts once it has learnt; a constant where it sees nothing."""
    if not x.shape[1]:
        return lambda rows: np.full(len(rows), labels.mean())
    model = make_model(kind, len(x), seed)
    model.fit(x, labels)
    return model.predict


def _labels(accuracy: Floats, labels: Labels) -> Floats:
    return Ranks.of(accuracy).centred if labels == "rank" else accuracy


def _agreement(predicted: Floats, accuracy: Floats) -> tuple[float, float]:
    rho = association(predicted, accuracy, "spearman").value
    return rho, association(predicted, accuracy, "kendall").value


def _importance(
    predict: Callable[[Floats], Floats],
    x: Floats,
    accuracy: Floats,
    widths: Mapping[str, int],
    turn: Ints,
) -> dict[str, float]:
    """ρ minus ρ with one feature exchanged among the rows of x, for each feature."""
    whole = association(predict(x), accuracy, "spearman").value
    drops, start = {}, 0
    for name, width in widths.items():
        other = x.copy()
        other[:, start : start + width] = x[turn, start : start + width]
        start += width
        value = association(predict(other), accuracy, "spearman").value
        drops[name] = _or_zero(whole) - _or_zero(value)
    return drops


def _or_zero(value: float) -> float:
    """Predictions that are all equal rank nothing."""
    return 0.0 if math.isnan(value) else value


def _rng(setting: Setting, trial: int, use: str = "split") -> np.random.Generator:
    return np.random.default_rng(derive("predict", use, setting.seed, trial))
