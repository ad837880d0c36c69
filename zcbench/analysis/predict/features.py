"""Which numbers describe an architecture: encodings, scores, and their controls."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

import numpy as np

from zcbench.analysis.predict.encodings import ENCODINGS
from zcbench.analysis.study import Study
from zcbench.errors import DataError, UsageError, unknown
from zcbench.spaces import Space, load_space
from zcbench.spaces.base import Isomorphic
from zcbench.stats.ranks import Floats, Ints

SHUFFLED = "shuffled"
GROUPS: Mapping[str, str] = {
    "proxies": "all scores, those of baselines too",
    "measured": "the scores that are no baselines",
    "baselines": "the scores of baselines",
    SHUFFLED: "all scores, exchanged among architectures: they know nothing",
}
"""Names that stand for several scores."""


@dataclass(frozen=True, slots=True, eq=False)
class Feature:
    """Some columns that belong together.

    Attributes:
        name: of the encoding or the proxy.
        values: [n, d]; NaN where a score is missing.
        score: whether it is a score: one column, used by its rank, perhaps missing.
        shuffled: whether its rows are exchanged in every trial.
    """

    name: str
    values: Floats
    score: bool
    shuffled: bool = False


@dataclass(frozen=True, slots=True, eq=False)
class Pool:
    """Architectures to train on and to test on.

    Attributes:
        space: where they are from.
        archs: [n] architecture strings.
        accuracy: [n] finite.
        scores: proxy → [n] higher is better; NaN where there is none.
        baselines: those of the proxies that are baselines.
        classes: [n] equal for architectures that compute the same function.
        isomorphs: what was done about those, a clause for the reader.
    """

    space: Space
    archs: list[str]
    accuracy: Floats
    scores: Mapping[str, Floats]
    baselines: tuple[str, ...]
    classes: Ints
    isomorphs: str


def pool_of(
    study: Study, *, proxies: Iterable[str] = (), keep_isomorphs: bool = False
) -> Pool:
    """The architectures of one dataset of a run that have an accuracy.

    Args:
        study: the dataset.
        proxies: the scores to have; all if none is named.
        keep_isomorphs: whether architectures that compute the same function may stand
            on both sides of a split.

    Raises:
        DataError: no architecture has an accuracy.
        UsageError: there are no such scores.
    """
    known = np.isfinite(study.accuracy)
    if not known.any():
        raise DataError(
            f"No architecture of {study.run} has an accuracy.",
            "Give another --target or --truth.",
        )
    names = list(dict.fromkeys(proxies)) or list(study.scores)
    for name in names:
        if name not in study.scores:
            raise unknown("proxy of this run", name, study.scores)
    archs = [a for a, there in zip(study.archs, known, strict=True) if there]
    space = load_space(study.space)
    classes, words = _classes(space, archs, keep_isomorphs)
    return Pool(
        space=space,
        archs=archs,
        accuracy=study.accuracy[known],
        scores={name: study.scores[name][known] for name in names},
        baselines=tuple(name for name in names if name in study.baselines),
        classes=classes,
        isomorphs=words,
    )


def default_features(pool: Pool) -> tuple[str, ...]:
    """The encoding, the scores, both, and the controls that the run has scores for."""
    size = "+".join(name for name in ("params", "flops") if name in pool.scores)
    controls = (size, f"encoding+{size}") if size else ()
    return (
        "encoding",
        *controls,
        "proxies",
        "encoding+proxies",
        f"encoding+{SHUFFLED}",
    )


def features_of(pool: Pool, wanted: str) -> list[Feature]:
    """The features that a word such as ``encoding+params+flops`` asks for, each once.

    Args:
        pool: the architectures.
        wanted: names joined by +: of `ENCODINGS`, of `GROUPS` or of proxies.

    Raises:
        UsageError: there is no such encoding, group or proxy, or none of a group.
    """
    found: dict[tuple[str, bool], Feature] = {}
    for name in (part.strip() for part in wanted.split("+")):
        for feature in _named(pool, name):
            found.setdefault((feature.name, feature.shuffled), feature)
    return list(found.values())


def _named(pool: Pool, name: str) -> list[Feature]:
    if name in ENCODINGS:
        return [Feature(name, ENCODINGS[name](pool.space, pool.archs), score=False)]
    if name in pool.scores:
        return [Feature(name, pool.scores[name][:, None], score=True)]
    if name not in GROUPS:
        raise unknown("feature", name, (*ENCODINGS, *GROUPS, *pool.scores))
    members = {
        "measured": [n for n in pool.scores if n not in pool.baselines],
        "baselines": list(pool.baselines),
    }.get(name, list(pool.scores))
    if not members:
        raise UsageError(
            f"The features {name} are empty: this run has no such scores.",
            f"It has {', '.join(pool.scores)}.",
        )
    mixed = name == SHUFFLED
    return [Feature(n, pool.scores[n][:, None], True, mixed) for n in members]


def _classes(space: Space, archs: list[str], keep: bool) -> tuple[Ints, str]:
    alone = np.arange(len(archs), dtype=np.int64)
    if keep:
        return alone, "Test architectures may compute the same as a training one"
    if not isinstance(space, Isomorphic):
        return alone, f"Which architectures of {space.name} are isomorphic is unknown"
    words = [space.function_class(space.parse(arch)) for arch in archs]
    _, classes = np.unique(words, return_inverse=True)
    text = "No test architecture is isomorphic to a training one"
    return classes.astype(np.int64), text
