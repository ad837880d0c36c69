"""Scores of the rows of one dataset: means over repeats, reasons, cost."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from zcbench.stats.ranks import Floats

if TYPE_CHECKING:
    import pandas as pd

Reasons = dict[str, dict[int, str]]
"""Proxy → position of an architecture → the first status of it that is not ok."""


def mean_scores(
    rows: pd.DataFrame, proxies: Sequence[str]
) -> tuple[pd.DataFrame, Reasons]:
    """Average repeats: an architecture fails if any of its repeats does.

    Args:
        rows: of one dataset, from `load_run`.
        proxies: its columns of scores.

    Returns:
        Scores by architecture and proxy, NaN where there is none; why they are not ok.
    """
    import pandas as pd

    code, archs = pd.factorize(rows["arch"])
    n, repeats = len(archs), np.bincount(code)
    values = {
        proxy: np.bincount(code, rows[proxy].to_numpy(float), minlength=n) / repeats
        for proxy in proxies
    }
    reasons: Reasons = {}
    for position, status in zip(code.tolist(), rows["status"], strict=True):
        for proxy, word in status.items():
            reasons.setdefault(proxy, {}).setdefault(position, word)
    for proxy, failed in reasons.items():
        if proxy in values:
            values[proxy][list(failed)] = np.nan
    return pd.DataFrame(values, index=pd.Index(archs)), reasons


def scores_by_repeat(rows: pd.DataFrame, scores: pd.DataFrame) -> dict[str, Floats]:
    """Proxy → [n, r] its scores by repeat, NaN where it has none."""
    import pandas as pd

    row = scores.index.get_indexer(pd.Index(rows["arch"]))
    column, labels = pd.factorize(rows["repeat"], sort=True)
    values = {p: np.full((len(scores), len(labels)), np.nan) for p in scores}
    for proxy, by_repeat in values.items():
        by_repeat[row, column] = rows[proxy].to_numpy(float)
    return values


def count_reasons(
    values: Floats, reasons: Sequence[Mapping[int, str]]
) -> dict[str, int]:
    """Why there is no value → how often, ``"missing"`` last.

    Args:
        values: [n], NaN where there is none.
        reasons: position → why, of each score that a value is made of.
    """
    words = Counter(
        next((reason[i] for reason in reasons if i in reason), "missing")
        for i in np.flatnonzero(np.isnan(values)).tolist()
    )
    return dict(sorted(words.items(), key=lambda item: (item[0] == "missing", item)))


def mean_seconds(column: pd.Series[Any], proxies: Sequence[str]) -> dict[str, float]:
    """Proxy → mean cost of scoring one network once; NaN if not known."""
    spent: dict[str, list[float]] = {proxy: [] for proxy in proxies}
    for seconds in column:
        for proxy, value in seconds.get("proxies", {}).items():
            if proxy in spent:
                spent[proxy].append(value)
    return {p: float(np.mean(v)) if v else math.nan for p, v in spent.items()}
