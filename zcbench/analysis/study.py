"""One dataset of one run with its accuracies: what every analysis starts from."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from functools import lru_cache
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from zcbench.analysis.block import SCORED
from zcbench.errors import DataError
from zcbench.stats import Association, Kind, association
from zcbench.stats.ranks import Floats

FEWEST = 5
"""Networks below which a correlation has no interval, and a proxy no verdict."""


@dataclass(frozen=True, slots=True)
class Early:
    """Early stopping: an accuracy after a part of the training, as a method.

    Attributes:
        accuracy: [n] mean over training seeds; NaN where it is not known.
        epochs: after how many.
        share: of a whole training.
    """

    accuracy: Floats
    epochs: int
    share: float


@dataclass(frozen=True, slots=True, eq=False, kw_only=True)
class Study:
    """One dataset of one run, its n architectures that the truth knows.

    Every score is oriented: higher is better, also of proxies whose own direction is
    the other one.

    Attributes:
        run: the run directory, as it was named.
        space: search space.
        dataset: task of the space.
        target: which accuracy, such as ``"val"`` or ``"test"``.
        unit: what a difference of two accuracies is counted in, such as
            ``"percent of accuracy"``.
        population: which architectures these are.
        sampled: how the run chose among them: ``"sample"``, ``"all"`` or ``"list"``.
        networks: how many (architecture, repeat) the run has done on this dataset.
        expected: how many it asks for; None if not known.
        truth: name of the ground truth.
        release: of the ground truth.
        truth_digest: sha256 of it.
        minibatch: name of the source of images.
        minibatch_digest: digest of that source.
        batch_size: images in the minibatch.
        seed: of the run.
        repeats: initialisations and minibatches for each architecture.
        precision: arithmetic of the passes.
        input_size: height and width of the images; ``"auto"`` is the dataset's own.
        part: what was built of the networks that were trained; empty if all.
        archs: [n] architecture strings.
        scores: proxy → [n] mean over repeats; NaN where it has no score.
        by_repeat: proxy → [n, r] scores; NaN where it has no score.
        accuracy: [n] mean over training seeds; NaN where the truth has a gap.
        seeds: [n, s] per training seed, NaN where not trained; [n, 0] if unknown.
        whole: accuracy [N] and seeds [N, s] of all architectures that the truth knows,
            where the studied ones are a sample of all of the space; else None.
        seconds: proxy → cost of scoring one network once; NaN if unknown.
        train_seconds: [n] cost of one training; None if the truth does not know it.
        baselines: those of the proxies that are baselines.
        lower: those of the proxies that say lower is better, which are turned here.
        versions: proxy → version.
        statuses: proxy → why there is no score → for how many architectures;
            ``"missing"``: the run has not got there yet.
        note: lines for the user: architectures left out, how the truth was read.
        remarks: proxy → what its scores note of their networks, counted.
        aggregates: those of the proxies that are combinations of others' ranks.
        early: early stopping, which trains and is no proxy.
        trained: those of the scores that come from a supernet, no proxies either → the
            seconds that it was trained for, once for all architectures.
        remembered: correlations that were asked for.
    """

    run: str
    space: str
    dataset: str
    target: str
    unit: str
    population: str
    sampled: str
    networks: int
    expected: int | None
    truth: str
    release: str
    truth_digest: str
    minibatch: str
    minibatch_digest: str
    batch_size: int | None
    seed: int | None
    repeats: int
    precision: str
    input_size: int | str = "auto"
    part: str = ""
    archs: list[str]
    scores: Mapping[str, Floats]
    by_repeat: Mapping[str, Floats]
    accuracy: Floats
    seeds: Floats
    seconds: Mapping[str, float]
    train_seconds: Floats | None
    baselines: tuple[str, ...]
    lower: frozenset[str]
    versions: Mapping[str, int]
    statuses: Mapping[str, Mapping[str, int]]
    note: str
    whole: tuple[Floats, Floats] | None = None
    remarks: Mapping[str, str] = field(default_factory=dict)
    aggregates: tuple[str, ...] = ()
    early: Mapping[str, Early] = field(default_factory=dict)
    trained: Mapping[str, float] = field(default_factory=dict)
    remembered: dict[tuple[str, Kind, float, bytes], Association] = field(
        default_factory=dict, init=False, repr=False
    )

    def __deepcopy__(self, memo: object) -> Self:
        """Itself: pandas copies what a table holds in ``attrs`` with every slice."""
        return self

    @property
    def architectures(self) -> int:
        """How many were run and have a row in the truth."""
        return len(self.archs)

    @property
    def sample_digest(self) -> str:
        """sha256 of the sorted architecture strings."""
        return hashlib.sha256("\n".join(sorted(self.archs)).encode()).hexdigest()

    @property
    def training_seeds(self) -> tuple[int, int]:
        """(fewest, most) trainings behind an accuracy; (0, 0) if unknown."""
        trained = np.isfinite(self.seeds).sum(axis=1)
        trained = trained[trained > 0]
        return (int(trained.min()), int(trained.max())) if len(trained) else (0, 0)

    @property
    def task(self) -> str:
        """The dataset, and which part of the networks was scored for it."""
        return f"{self.dataset} ({self.part})" if self.part else self.dataset

    @property
    def images(self) -> str:
        """Where the images come from, and their size if not the dataset's own."""
        size = self.input_size
        at = "" if size == "auto" else f" at {size}×{size}"
        return f"{self.minibatch or 'unknown'}{at}"

    @property
    def partial(self) -> bool:
        """Whether the run has not got to all its networks."""
        return self.expected is not None and self.networks < self.expected

    @property
    def mean_train_seconds(self) -> float:
        """Cost of one training, on average; NaN if unknown."""
        seconds = self.train_seconds
        if seconds is None or not np.isfinite(seconds).any():
            return math.nan
        return float(np.nanmean(seconds))

    @property
    def proxies(self) -> tuple[str, ...]:
        """Those that are no baselines and do not train, in the order of the run."""
        others = {*self.baselines, *self.trained}
        return tuple(name for name in self.scores if name not in others)

    def n_scored(self, name: str) -> int:
        """Architectures with an accuracy and this score; 0 without such a proxy."""
        score = self.scores.get(name)
        return 0 if score is None else int((np.isfinite(score) & self.known).sum())

    def is_thin(self, name: str) -> bool:
        """Whether a proxy has scores for too few to stand beside the others.

        Less than `SCORED` of the architectures with an accuracy, and more than none.
        """
        return 0 < self.n_scored(name) < SCORED * int(self.known.sum())

    @property
    def thin(self) -> frozenset[str]:
        """All of these proxies."""
        return frozenset(filter(self.is_thin, self.scores))

    @property
    def ranked(self) -> tuple[str, ...]:
        """Those of them that may be the best of a dataset."""
        return tuple(name for name in self.proxies if not self.is_thin(name))

    @property
    def rivals(self) -> tuple[str, ...]:
        """Baselines that others are compared with; those of `thin` if there is none."""
        able = tuple(name for name in self.baselines if not self.is_thin(name))
        return able or self.baselines

    @property
    def known(self) -> NDArray[np.bool_]:
        """Which architectures have an accuracy, [n]."""
        return np.isfinite(self.accuracy)

    @property
    def functions(self) -> tuple[str, ...] | None:
        """What each architecture computes, [n]; None if the space does not tell."""
        return _functions(self.space, tuple(self.archs))

    def among(self, points: NDArray[np.bool_]) -> Self:
        """A study of some of its architectures.

        Args:
            points: which. [n]
        """
        trained = self.train_seconds
        early = {
            name: replace(method, accuracy=method.accuracy[points])
            for name, method in self.early.items()
        }
        return replace(
            self,
            archs=[a for a, kept in zip(self.archs, points, strict=True) if kept],
            scores={name: values[points] for name, values in self.scores.items()},
            by_repeat={name: v[points] for name, v in self.by_repeat.items()},
            accuracy=self.accuracy[points],
            seeds=self.seeds[points],
            whole=None,
            train_seconds=None if trained is None else trained[points],
            early=early,
        )

    def about(self) -> dict[str, Any]:
        """What it is about, for JSON."""
        return {name: getattr(self, name) for name in _ABOUT}

    def association(
        self,
        proxy: str,
        kind: Kind,
        points: NDArray[np.bool_] | None = None,
        *,
        confidence: float = 0.95,
    ) -> Association:
        """Correlation of an oriented score with accuracy; computed once.

        Args:
            proxy: which score.
            kind: ``"spearman"`` or ``"kendall"``.
            points: architectures to speak of; None for all. [n]
            confidence: nominal coverage of the interval.
        """
        score = self.scores[proxy]
        used = np.isfinite(score) & self.known
        used = used if points is None else used & points
        key = proxy, kind, confidence, used.tobytes()
        if key not in self.remembered:
            accuracy = np.where(used, self.accuracy, np.nan)
            self.remembered[key] = association(
                score, accuracy, kind, confidence=confidence
            )
        return self.remembered[key]


_ABOUT = (
    *("run", "space", "dataset", "target", "population", "sampled", "architectures"),
    *("networks", "expected", "sample_digest", "truth", "release", "truth_digest"),
    *("training_seeds", "minibatch", "minibatch_digest", "batch_size", "seed"),
    *("repeats", "precision", "input_size", "part", "partial"),
)
PERCENT = "percent of accuracy"
"""The unit of a study whose accuracies are in percent; any other is the target's."""


@lru_cache(maxsize=8)
def _functions(space_name: str, archs: tuple[str, ...]) -> tuple[str, ...] | None:
    from zcbench.spaces import load_space
    from zcbench.spaces.base import Isomorphic

    space = load_space(space_name)
    if not isinstance(space, Isomorphic):
        return None
    parse, class_of = space.parse, space.function_class

    def function(arch: str) -> str:
        try:
            return class_of(parse(arch))
        except DataError:  # not of the space, as in tables of others
            return arch

    return tuple(map(function, archs))
