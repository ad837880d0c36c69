"""Statistics of score tables: rank correlations, their intervals, paired differences.

Nothing here knows of files, spaces or proxies: arrays in, numbers out.
"""

from __future__ import annotations

from zcbench.stats.association import KINDS, Association, Kind, association
from zcbench.stats.bootstrap import linear_bootstrap, rank_bootstrap, resample_counts
from zcbench.stats.multiple import Family, holm
from zcbench.stats.paired import Difference, difference, paired_difference
from zcbench.stats.ranks import Ranks, concordance

__all__ = [
    "KINDS",
    "Association",
    "Difference",
    "Family",
    "Kind",
    "Ranks",
    "association",
    "concordance",
    "difference",
    "holm",
    "linear_bootstrap",
    "paired_difference",
    "rank_bootstrap",
    "resample_counts",
]
