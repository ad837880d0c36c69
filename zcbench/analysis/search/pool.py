"""What a simulated search may ask of a benchmark, as arrays over its architectures."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

import numpy as np
from scipy import stats

from zcbench.analysis.predict.encodings import ENCODINGS
from zcbench.analysis.study import Study
from zcbench.errors import DataError, unknown
from zcbench.spaces import load_space
from zcbench.spaces.cell import CellSpace
from zcbench.stats.ranks import Floats, Ints, Ranks

MOST_NEIGHBOURS = 64
FEWEST = 4
"""Architectures that a search needs at least."""
_CHUNK = 1024


@dataclass(frozen=True, slots=True, eq=False)
class Scored:
    """A proxy, as a search sees it.

    Attributes:
        order: [n] normal scores of its ranks, higher is better; NaN without a score.
        hours: [n] what it costs to score an architecture.
    """

    order: Floats
    hours: Floats


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
    known = np.isfinite(study.accuracy)
    if known.sum() < FEWEST:
        raise DataError(
            f"Only {known.sum():,} architectures of {study.run} have an "
            "accuracy: too few to search.",
            "Give another --target or --truth, or score more.",
        )
    there = (*study.scores, *study.early)
    names = list(dict.fromkeys(proxies)) or list(there)
    for name in names:
        if name not in there:
            raise unknown("proxy of this run", name, there)
    accuracy = study.accuracy[known]
    seeds = study.seeds[known] if study.seeds.shape[1] else accuracy[:, None]
    # The known trainings of an architecture first, so that one can be drawn of them.
    seeds = np.take_along_axis(seeds, np.argsort(np.isnan(seeds), axis=1), axis=1)
    alone = np.isnan(seeds[:, 0])
    seeds[alone, 0] = accuracy[alone]
    hours, unit = _training(study, known)
    space = load_space(study.space)
    archs = [a for a, there in zip(study.archs, known, strict=True) if there]
    places = ENCODINGS["encoding"](space, archs)
    encoding = places
    if isinstance(space, CellSpace):
        encoding = np.hstack([places, ENCODINGS["paths"](space, archs)])
    encoding = encoding[:, np.ptp(encoding, axis=0) > 0]
    neighbours, changes = nearest(places)
    return SearchPool(
        seen=seeds,
        trained=np.isfinite(seeds).sum(axis=1),
        accuracy=accuracy,
        hours=hours,
        unit=unit,
        measure=study.unit,
        proxies={name: _scored(study, name, known, hours, unit) for name in names},
        baselines=tuple(name for name in names if name in study.baselines),
        encoding=encoding - encoding.mean(axis=0),
        neighbours=neighbours,
        changes=changes,
    )


def nearest(places: Floats) -> tuple[Ints, int]:
    """For each architecture those that differ least, and how much they do at most.

    In a whole space these are all that differ in one; in a sample of it they are what
    a mutation can lead to. Of more than `MOST_NEIGHBOURS`, the first are taken.

    Args:
        places: one of each place's columns is 1. [n, d]
    """
    n, size = len(places), round(float(places[0].sum()))
    columns = places.astype(np.float32)
    found = np.full((n, MOST_NEIGHBOURS), -1, dtype=np.int64)
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
        found[start + rows[kept], turn[kept]] = others[kept]
        widest = max(widest, int(turn[kept].max()) + 1)
    return found[:, :widest], changes


def normal_scores(values: Floats) -> Floats:
    """Ranks as quantiles of a normal distribution; NaN stays NaN, [n]."""
    out = np.full(len(values), math.nan)
    known = np.isfinite(values)
    if known.any():
        out[known] = stats.norm.ppf(Ranks.of(values[known]).centred + 0.5)
    return out


def _training(study: Study, known: np.ndarray) -> tuple[Floats, str]:
    if study.train_seconds is None or not np.isfinite(study.train_seconds[known]).all():
        return np.ones(int(known.sum())), "trainings"
    return study.train_seconds[known] / 3600, "GPU-hours"


def _scored(
    study: Study, name: str, known: np.ndarray, hours: Floats, unit: str
) -> Scored:
    """A proxy's cost is known in hours only; beside trainings it counts as nothing."""
    if name in study.early:
        method = study.early[name]
        return Scored(normal_scores(method.accuracy[known]), method.share * hours)
    seconds = study.seconds[name]
    cost = seconds / 3600 if unit == "GPU-hours" and math.isfinite(seconds) else 0.0
    return Scored(normal_scores(study.scores[name][known]), np.full(len(hours), cost))
