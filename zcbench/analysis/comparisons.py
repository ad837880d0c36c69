"""Every proxy against every baseline, corrected for all comparisons of a report."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from zcbench.analysis.block import Options
from zcbench.analysis.study import Study
from zcbench.stats import Difference, Family, Kind, difference, holm
from zcbench.stats.ranks import Floats


@dataclass(frozen=True, slots=True)
class Comparison:
    """A proxy against a baseline, on the architectures where both have a score.

    Attributes:
        study: position of the dataset in the report.
        proxy: the proxy.
        baseline: the baseline.
        value: correlation of the proxy there.
        rival: correlation of the baseline there.
        found: their difference, with its own interval and p-value.
        low: lower end of the interval that holds together with all others.
        high: upper end.
        p: p-value corrected likewise.
        p_holm: Holm's corrected p-value.
    """

    study: int
    proxy: str
    baseline: str
    value: float
    rival: float
    found: Difference
    low: float = math.nan
    high: float = math.nan
    p: float = math.nan
    p_holm: float = math.nan


@dataclass(frozen=True, slots=True)
class Comparisons:
    """All comparisons of a report.

    Attributes:
        entries: every proxy with every baseline of every dataset, in that order.
        count: those that have an interval: what is corrected for.
        level: level of each single one, for all intervals to hold together.
        levels: between which it would lie with other random numbers.
    """

    entries: tuple[Comparison, ...]
    count: int
    level: float
    levels: tuple[float, float]

    def of(self, study: int, proxy: str) -> list[Comparison]:
        """Those of one proxy on one dataset."""
        return [c for c in self.entries if c.study == study and c.proxy == proxy]


@dataclass(frozen=True, slots=True)
class Rows:
    """Where the architectures of some datasets stand in one matrix.

    Attributes:
        size: distinct architectures.
        places: position of the dataset in the report → [n] rows.
    """

    size: int
    places: Mapping[int, NDArray[np.intp]]

    def scattered(
        self, study: int, points: NDArray[np.bool_], values: Floats
    ) -> Floats:
        """Values of some architectures of a dataset in their rows, 0 elsewhere."""
        column = np.zeros(self.size)
        column[self.places[study][points]] = values
        return column


def by_space(studies: Sequence[Study]) -> dict[str, Rows]:
    """The architectures of each space, shared by its datasets and runs."""
    import pandas as pd

    found = {}
    for space in dict.fromkeys(study.space for study in studies):
        here = [i for i, s in enumerate(studies) if s.space == space]
        codes, known = pd.factorize(np.concatenate([studies[i].archs for i in here]))
        ends = np.cumsum([len(studies[i].archs) for i in here])
        places = np.split(codes, ends[:-1])
        found[space] = Rows(len(known), dict(zip(here, places, strict=True)))
    return found


def comparisons(
    studies: Sequence[Study], options: Options, kind: Kind = "spearman"
) -> Comparisons:
    """Compare every proxy with every baseline of every dataset.

    Several sections of a report ask for the same: it is computed once.

    Args:
        studies: the datasets of the report.
        options: its confidence, and the seed of what is drawn.
        kind: ``"spearman"`` or ``"kendall"``.
    """
    return _comparisons(tuple(studies), options, kind)


@lru_cache(maxsize=4)
def _comparisons(
    studies: tuple[Study, ...], options: Options, kind: Kind
) -> Comparisons:
    entries: list[Comparison] = []
    influences: list[NDArray[np.float32]] = []
    for rows in by_space(studies).values():
        here: list[Comparison] = []
        influence: list[NDArray[np.float32]] = []
        for position in rows.places:
            for entry, column in _pairs(
                studies[position], position, rows, options, kind
            ):
                here.append(entry)
                influence.append(column)
        if here:
            influences.append(np.stack(influence, axis=1))
        entries += here
    family = Family.of(influences, np.random.default_rng(options.seed))
    level = family.level(options.confidence)
    by_holm = holm([entry.found.p for entry in entries])
    corrected = []
    for entry, p_holm in zip(entries, by_holm, strict=True):
        low, high = entry.found.interval(level)
        p = family.adjusted(entry.found.p)
        corrected.append(replace(entry, low=low, high=high, p=p, p_holm=float(p_holm)))
    ordered = sorted(corrected, key=lambda entry: entry.study)
    return Comparisons(
        tuple(ordered), family.comparisons, level, family.levels(options.confidence)
    )


def _pairs(
    study: Study, position: int, rows: Rows, options: Options, kind: Kind
) -> Iterable[tuple[Comparison, NDArray[np.float32]]]:
    """Each comparison of a dataset, with its influence values in their rows."""
    known = np.isfinite(study.accuracy)
    for proxy in study.proxies:
        for baseline in study.baselines:
            scores = study.scores[proxy], study.scores[baseline]
            points = known & np.isfinite(scores[0]) & np.isfinite(scores[1])
            a, b = (
                study.association(n, kind, points, confidence=options.confidence)
                for n in (proxy, baseline)
            )
            found = difference(a, b, confidence=options.confidence)
            moved = np.zeros(rows.size)
            if found.error > 0:
                moved = rows.scattered(position, points, found.influence)
            entry = Comparison(position, proxy, baseline, a.value, b.value, found)
            yield entry, moved.astype(np.float32)
