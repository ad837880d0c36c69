"""Every proxy against every baseline, corrected for all comparisons of a report."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from zcbench.analysis.block import Options
from zcbench.analysis.rows import once
from zcbench.analysis.study import Study
from zcbench.stats import Difference, Estimate, Family, Kind, difference, holm
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
        single: their difference, with its own interval and p-value.
        together: the same with the interval that holds together with all others.
        p: p-value corrected likewise.
        p_holm: Holm's corrected p-value.
    """

    study: int
    proxy: str
    baseline: str
    value: float
    rival: float
    single: Difference
    together: Estimate
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
    by_name = {}
    for space in dict.fromkeys(study.space for study in studies):
        here = [i for i, s in enumerate(studies) if s.space == space]
        codes, known = pd.factorize(np.concatenate([studies[i].archs for i in here]))
        ends = np.cumsum([len(studies[i].archs) for i in here])
        places = np.split(codes, ends[:-1])
        by_name[space] = Rows(len(known), dict(zip(here, places, strict=True)))
    return by_name


@once
def comparisons(
    studies: tuple[Study, ...], options: Options, kind: Kind = "spearman"
) -> Comparisons:
    """Compare every proxy with every baseline of every dataset.

    Args:
        studies: the datasets of the report.
        options: its confidence, and the seed of what is drawn.
        kind: ``"spearman"`` or ``"kendall"``.
    """
    entries: list[Comparison] = []
    influences: list[NDArray[np.float32]] = []
    for rows in by_space(studies).values():
        pairs = [
            pair
            for position in rows.places
            for pair in _pairs(studies[position], position, rows, options, kind)
        ]
        entries += [entry for entry, _ in pairs]
        if pairs:
            influences.append(np.stack([column for _, column in pairs], axis=1))
    family = Family.of(influences, np.random.default_rng(options.seed))
    level = family.level(options.confidence)
    by_holm = holm([entry.single.p for entry in entries])
    corrected = []
    for entry, p_holm in zip(entries, by_holm, strict=True):
        single = entry.single
        together = Estimate(single.value, *single.interval(level))
        p = family.adjusted(single.p)
        corrected.append(replace(entry, together=together, p=p, p_holm=float(p_holm)))
    ordered = sorted(corrected, key=lambda entry: entry.study)
    return Comparisons(
        tuple(ordered), family.comparisons, level, family.levels(options.confidence)
    )


def _pairs(
    study: Study, position: int, rows: Rows, options: Options, kind: Kind
) -> Iterable[tuple[Comparison, NDArray[np.float32]]]:
    """Each comparison of a dataset, with its influence values in their rows."""
    rivals = study.rivals
    for proxy in study.proxies:
        for baseline in rivals:
            scores = study.scores[proxy], study.scores[baseline]
            points = study.known & np.isfinite(scores[0]) & np.isfinite(scores[1])
            a, b = (
                study.association(n, kind, points, confidence=options.confidence)
                for n in (proxy, baseline)
            )
            single = difference(a, b, confidence=options.confidence)
            moved = np.zeros(rows.size)
            if single.error > 0:
                moved = rows.scattered(position, points, single.influence)
            entry = Comparison(
                position, proxy, baseline, a.value, b.value, single, single
            )
            yield entry, moved.astype(np.float32)
