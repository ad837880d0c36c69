"""What a simulated search may ask of a benchmark, and what is searched with."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from scipy import stats

from zcbench.analysis.predict.features import ENCODINGS
from zcbench.analysis.study import Study
from zcbench.errors import DataError, unknown
from zcbench.spaces import load_space
from zcbench.spaces.cell import CellSpace
from zcbench.stats.ranks import Floats, Ints, Ranks

MOST_NEIGHBOURS = 64
FEWEST = 4
"""Architectures that a search needs at least."""
_CHUNK = 1024
METHODS = ("random", "evolution", "predictor")
AIDS = ("none", "warmup", "filter", "features")


@dataclass(frozen=True, slots=True, eq=False)
class Scored:
    """A proxy, as a search sees it.

    Attributes:
        order: [n] normal scores of its ranks, higher is better; NaN without a score.
        hours: [n] what it costs to score an architecture.
        once: what it costs before the first: the training of a supernet.
    """

    order: Floats
    hours: Floats
    once: float = 0.0


@dataclass(frozen=True, slots=True, eq=False)
class SearchPool:
    """The architectures that can be found, and what is known of them.

    Attributes:
        seen: [n, s] accuracy by training seed, the known ones first; NaN after them.
        trained: [n] how many are known, at least one.
        accuracy: [n] by which a find is judged, the mean over training seeds.
        hours: [n] cost of one training; 1 for each where it is unknown.
        unit: what `hours` counts: ``"GPU-hours"`` or ``"trainings"``.
        measure: what regret counts, such as ``"percent of accuracy"``.
        proxies: those that may help; early stopping too, where the truth has it.
        baselines: which of them are baselines.
        encoding: [n, d] columns of mean 0 for a predictor.
        neighbours: [n, m] architectures that differ least; -1 where there are fewer.
        changes: how many places a neighbour differs in, at most.
    """

    seen: Floats
    trained: Ints
    accuracy: Floats
    hours: Floats
    unit: str
    measure: str
    proxies: Mapping[str, Scored]
    baselines: tuple[str, ...]
    encoding: Floats
    neighbours: Ints
    changes: int

    def __len__(self) -> int:
        """How many architectures there are."""
        return len(self.accuracy)


# Over 40 lines: one field of a pool after the other, each once.
def search_pool(study: Study, proxies: Iterable[str] = ()) -> SearchPool:
    """The architectures of one dataset of a run that have an accuracy.

    Args:
        study: the dataset.
        proxies: the scores that may help, or early stopping such as ``val_12``; all
            if none is named.

    Raises:
        DataError: hardly any architecture has an accuracy.
        UsageError: there are no such scores.
    """
    if study.known.sum() < FEWEST:
        raise DataError(
            f"Only {study.known.sum():,} architectures of {study.run} have an "
            "accuracy: too few to search.",
            "Give another --target or --truth, or score more.",
        )
    part = study.among(study.known)
    there = (*part.scores, *part.early)
    names = list(dict.fromkeys(proxies)) or list(there)
    for name in names:
        if name not in there:
            raise unknown("proxy of this run", name, there)
    seeds = _known_first(part)
    hours, unit = _training(part)
    places, encoding = _encoded(part)
    neighbours, changes = nearest(places)
    return SearchPool(
        seen=seeds,
        trained=np.isfinite(seeds).sum(axis=1),
        accuracy=part.accuracy,
        hours=hours,
        unit=unit,
        measure=part.unit,
        proxies={name: _scored(part, name, hours, unit) for name in names},
        baselines=tuple(name for name in names if name in part.baselines),
        encoding=encoding,
        neighbours=neighbours,
        changes=changes,
    )


def _known_first(study: Study) -> Floats:
    """Accuracy by training seed, the known ones first, so that one can be drawn."""
    accuracy = study.accuracy
    seeds = study.seeds if study.seeds.shape[1] else accuracy[:, None]
    seeds = np.take_along_axis(seeds, np.argsort(np.isnan(seeds), axis=1), axis=1)
    alone = np.isnan(seeds[:, 0])
    seeds[alone, 0] = accuracy[alone]
    return seeds


def _encoded(study: Study) -> tuple[Floats, Floats]:
    """Choices at each place, and the columns of mean 0 that a predictor sees."""
    space = load_space(study.space)
    places = ENCODINGS["encoding"](space, study.archs)
    columns = places
    if isinstance(space, CellSpace):
        columns = np.hstack([places, ENCODINGS["paths"](space, study.archs)])
    columns = columns[:, np.ptp(columns, axis=0) > 0]
    return places, columns - columns.mean(axis=0)


def nearest(places: Floats) -> tuple[Ints, int]:
    """For each architecture those that differ least, and how much they do at most.

    In a whole space these are all that differ in one; in a sample of it they are what
    a mutation can lead to. Of more than `MOST_NEIGHBOURS`, the first are taken.

    Args:
        places: one of each place's columns is 1. [n, d]
    """
    n, size = len(places), round(float(places[0].sum()))
    columns = places.astype(np.float32)
    near = np.full((n, MOST_NEIGHBOURS), -1, dtype=np.int64)
    changes = widest = 0
    for start in range(0, n, _CHUNK):
        same = columns[start : start + _CHUNK] @ columns.T
        here = np.arange(start, min(start + _CHUNK, n))
        same[here - start, here] = -1
        most = same.max(axis=1)
        changes = max(changes, size - round(float(most.min())))
        rows, others = np.nonzero(same == most[:, None])
        first = np.searchsorted(rows, np.arange(len(here)))
        turn = np.arange(len(rows)) - first[rows]
        kept = turn < MOST_NEIGHBOURS
        near[start + rows[kept], turn[kept]] = others[kept]
        widest = max(widest, int(turn[kept].max()) + 1)
    return near[:, :widest], changes


def normal_scores(values: Floats) -> Floats:
    """Ranks as quantiles of a normal distribution; NaN stays NaN, [n]."""
    out = np.full(len(values), math.nan)
    known = np.isfinite(values)
    if known.any():
        out[known] = stats.norm.ppf(Ranks.of(values[known]).centred + 0.5)
    return out


def _training(study: Study) -> tuple[Floats, str]:
    if study.train_seconds is None or not np.isfinite(study.train_seconds).all():
        return np.ones(len(study.archs)), "trainings"
    return study.train_seconds / 3600, "GPU-hours"


def _scored(study: Study, name: str, hours: Floats, unit: str) -> Scored:
    """A proxy's cost is known in hours only; beside trainings it counts as nothing."""
    if name in study.early:
        method = study.early[name]
        return Scored(normal_scores(method.accuracy), method.share * hours)
    cost, once = (
        seconds / 3600 if unit == "GPU-hours" and math.isfinite(seconds) else 0.0
        for seconds in (study.seconds[name], study.trained.get(name, 0.0))
    )
    order = normal_scores(study.scores[name])
    return Scored(order, np.full(len(hours), cost), once)


@dataclass(frozen=True, slots=True)
class Setting:
    """How to search.

    Attributes:
        trials: searches, each with its own random numbers.
        evaluations: architectures that each of them trains.
        warmup: architectures that are scored before the first is trained.
        candidates: how many are drawn where a proxy filters.
        seed: of all searches.
    """

    trials: int = 400
    evaluations: int = 200
    warmup: int = 500
    candidates: int = 10
    seed: int = 0


@dataclass(frozen=True, slots=True)
class Variant:
    """A method and its aid.

    Attributes:
        method: one of `METHODS`.
        aid: one of `AIDS`.
        proxies: those that aid: none, one, or the features.
    """

    method: str
    aid: str = "none"
    proxies: tuple[str, ...] = ()

    @property
    def label(self) -> str:
        """evolution, warmup by nwot."""
        by = f" by {', '.join(self.proxies)}" if len(self.proxies) == 1 else ""
        return self.method if self.aid == "none" else f"{self.method}, {self.aid}{by}"


@dataclass(frozen=True, slots=True, eq=False)
class Trace:
    """What one variant trained.

    Attributes:
        chosen: [trials, evaluations] positions in the pool, in order.
        seen: [trials, evaluations] accuracy of the one training that the search saw.
        hours: [trials, evaluations] cost until that training is done, proxies included.
        best: [trials, evaluations] accuracy, as finds are judged, of the architecture
            that was best so far by what the search saw.
    """

    chosen: Ints
    seen: Floats
    hours: Floats
    best: Floats


def variants(
    pool: SearchPool, methods: Sequence[str] = METHODS, aids: Sequence[str] = AIDS
) -> list[Variant]:
    """Every method alone and with every aid, by every proxy.

    Raises:
        UsageError: there is no such method or aid.
    """
    for what, names, known in (("method", methods, METHODS), ("aid", aids, AIDS)):
        for name in names:
            if name not in known:
                raise unknown(what, name, known)
    kinds = []
    for method in (m for m in METHODS if m in methods):
        if "none" in aids:
            kinds.append(Variant(method))
        for aid in (a for a in AIDS if a in aids and a not in ("none", "features")):
            kinds += [Variant(method, aid, (proxy,)) for proxy in pool.proxies]
        if method == "predictor" and "features" in aids:
            kinds += list(_features(pool))
    return kinds


def _features(pool: SearchPool) -> Iterator[Variant]:
    """The baselines alone, which papers leave out, and all proxies."""
    if pool.baselines:
        yield Variant("predictor", "features", pool.baselines)
    if set(pool.proxies) > set(pool.baselines):
        yield Variant("predictor", "features", tuple(pool.proxies))
