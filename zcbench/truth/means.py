"""From accuracies per training seed to the columns that every table shares."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import pandas as pd

_SEED = re.compile(r"(.+)_seed(\d+)")
_FIRST = ("arch", "index", "val", "test", "val_12", "test_12")


def with_means(
    table: pd.DataFrame, targets: Sequence[str] = ("val", "test")
) -> pd.DataFrame:
    """Table with the mean over training seeds of every accuracy that has seeds.

    Args:
        table: columns ``arch``, ``index`` and accuracies such as ``val_seed0``; a mean
            that is there already stays as it is.
        targets: names that accuracies may have.

    Returns:
        A new table sorted by ``index``: arch, index, means, then the rest as it came.
    """
    seeds: dict[str, list[str]] = {}
    for column in table.columns:
        match = _SEED.fullmatch(column)
        if match and (match[1] in targets or match[1].partition("_")[0] in targets):
            seeds.setdefault(match[1], []).append(column)
    missing = {label: of for label, of in seeds.items() if label not in table.columns}
    means = {label: table[of].mean(axis=1) for label, of in missing.items()}
    table = table.assign(**means)
    first = [column for column in _FIRST if column in table.columns]
    rest = [column for column in table.columns if column not in first]
    return table[[*first, *rest]].sort_values("index", ignore_index=True)
