"""Statistics of score tables: rank correlations, their intervals, paired differences.

Nothing here knows of files, spaces or proxies: arrays in, numbers out.
"""

from __future__ import annotations

from zcbench.stats.association import (
    KINDS,
    Association,
    Estimate,
    Kind,
    association,
    linear_bootstrap,
    resample_counts,
)
from zcbench.stats.paired import (
    Difference,
    Family,
    difference,
    holm,
    paired_difference,
)
from zcbench.stats.ranks import Ranks, concordance

__all__ = [
    "KINDS",
    "Association",
    "Difference",
    "Estimate",
    "Family",
    "Kind",
    "Ranks",
    "association",
    "concordance",
    "difference",
    "holm",
    "linear_bootstrap",
    "paired_difference",
    "resample_counts",
]
