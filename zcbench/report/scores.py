"""Scores of one dataset of a run, one per architecture, repeats averaged."""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np

from zcbench.report.remarks import counted
from zcbench.stats.ranks import Floats

if TYPE_CHECKING:
    import pandas as pd


@dataclass(frozen=True, slots=True)
class Scores:
    """Scores of some architectures.

    Attributes:
        archs: [n] architecture strings.
        values: proxy → [n] mean score over repeats, NaN where there is none.
        statuses: proxy → position in archs → first status that is not ok.
        seconds: proxy → mean cost of scoring one network once; NaN if not known.
        remarks: proxy → what its scores note of their networks, counted.
    """

    archs: list[str]
    values: dict[str, Floats]
    statuses: dict[str, dict[int, str]]
    seconds: dict[str, float]
    remarks: Mapping[str, str] = field(default_factory=dict)

    def status_counts(self, proxy: str) -> dict[str, int]:
        """How many architectures have no score, by reason.

        ``"missing"``: the run has not got there yet.
        """
        counts = Counter(self.statuses.get(proxy, {}).values())
        absent = int(np.isnan(self.values[proxy]).sum()) - counts.total()
        ordered = dict(sorted(counts.items()))
        return ordered | ({"missing": absent} if absent else {})

    @property
    def digest(self) -> str:
        """sha256 of the sorted architecture strings."""
        return hashlib.sha256("\n".join(sorted(self.archs)).encode()).hexdigest()


def gather(rows: pd.DataFrame, proxies: list[str]) -> Scores:
    """Average repeats: an architecture fails if any of its repeats does.

    Args:
        rows: of one dataset, from `load_run`.
        proxies: its columns of scores.
    """
    import pandas as pd

    code, archs = pd.factorize(rows["arch"])
    n, repeats = len(archs), np.bincount(code)
    values = {
        proxy: np.bincount(code, rows[proxy].to_numpy(float), minlength=n) / repeats
        for proxy in proxies
    }
    statuses: dict[str, dict[int, str]] = {}
    for position, status in zip(code.tolist(), rows["status"], strict=True):
        for proxy, word in status.items():
            statuses.setdefault(proxy, {}).setdefault(position, word)
    for proxy, failed in statuses.items():
        if proxy in values:
            values[proxy][list(failed)] = np.nan
    return Scores(
        list(archs),
        values,
        statuses,
        _seconds(rows["seconds"], proxies),
        _remarks(rows, code.tolist()) if "notes" in rows else {},
    )


def _remarks(rows: pd.DataFrame, networks: list[int]) -> dict[str, str]:
    notes: dict[str, dict[int, list[str]]] = {}
    for network, said in zip(networks, rows["notes"], strict=True):
        for proxy, note in said.items():
            notes.setdefault(proxy, {}).setdefault(network, []).append(str(note))
    return {proxy: counted(found) for proxy, found in notes.items()}


def repeats_of(rows: pd.DataFrame, scores: Scores) -> dict[str, Floats]:
    """Proxy → [n, r] its scores by repeat, NaN where it has none.

    Args:
        rows: those that the scores were gathered from.
        scores: what was gathered.
    """
    import pandas as pd

    row = pd.Index(scores.archs).get_indexer(pd.Index(rows["arch"]))
    column, labels = pd.factorize(rows["repeat"], sort=True)
    found = {}
    for proxy in scores.values:
        found[proxy] = np.full((len(scores.archs), len(labels)), np.nan)
        found[proxy][row, column] = rows[proxy].to_numpy(float)
    return found


def _seconds(column: pd.Series[Any], proxies: list[str]) -> dict[str, float]:
    spent: dict[str, list[float]] = {proxy: [] for proxy in proxies}
    for seconds in column:
        for proxy, value in seconds.get("proxies", {}).items():
            if proxy in spent:
                spent[proxy].append(value)
    return {p: float(np.mean(v)) if v else float("nan") for p, v in spent.items()}
