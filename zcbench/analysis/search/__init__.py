"""Simulated search on a tabular benchmark: what do proxies save a search method?

`simulate` runs hundreds of searches at once on the architectures of a run: they train
what the benchmark has trained, pay its training time and the measured time of proxies,
and see the accuracy of one training. What they find is judged by the mean over
trainings.
"""

from __future__ import annotations

from zcbench.analysis.search.pool import SearchPool, search_pool
from zcbench.analysis.search.section import curves, searches
from zcbench.analysis.search.setting import (
    AIDS,
    METHODS,
    Setting,
    Trace,
    Variant,
    variants,
)
from zcbench.analysis.search.simulate import simulate

__all__ = [
    "AIDS",
    "METHODS",
    "SearchPool",
    "Setting",
    "Trace",
    "Variant",
    "curves",
    "search_pool",
    "searches",
    "simulate",
    "variants",
]
