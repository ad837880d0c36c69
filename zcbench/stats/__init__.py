"""Statistics of score tables: rank correlations, their intervals, paired differences.

Nothing here knows of files, spaces or proxies: arrays in, numbers out.
"""

from __future__ import annotations

from zcbench.stats.association import KINDS, Association, Kind, association
from zcbench.stats.coverage import Coverage, simulate_coverage
from zcbench.stats.paired import Difference, paired_difference
from zcbench.stats.ranks import Ranks, concordance

__all__ = [
    "KINDS",
    "Association",
    "Coverage",
    "Difference",
    "Kind",
    "Ranks",
    "association",
    "concordance",
    "paired_difference",
    "simulate_coverage",
]
