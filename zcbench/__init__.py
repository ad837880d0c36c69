"""Benchmark zero-cost NAS proxies against tabular benchmarks and FLOPs/#params.

Importing zcbench imports neither torch nor pandas; the names below load on first use,
and so does every record that proxies can ask for (zcbench/evidence/table.py).
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from zcbench.analysis.published import load_scores as load_scores
    from zcbench.engine import run as run
    from zcbench.proxies import proxy as proxy
    from zcbench.scoring import score as score
    from zcbench.spaces import load_space as load_space
    from zcbench.store import load_run as load_run
    from zcbench.truth import load_truth as load_truth
    from zcbench.types import Architecture as Architecture
    from zcbench.types import Batch as Batch
    from zcbench.types import Score as Score
    from zcbench.types import Task as Task

__version__ = "0.1.0"

_HOME = {
    "Architecture": "zcbench.types",
    "Batch": "zcbench.types",
    "Score": "zcbench.types",
    "Task": "zcbench.types",
    "load_run": "zcbench.store",
    "load_scores": "zcbench.analysis.published",
    "load_space": "zcbench.spaces",
    "load_truth": "zcbench.truth",
    "proxy": "zcbench.proxies",
    "run": "zcbench.engine",
    "score": "zcbench.scoring",
    "Undefined": "zcbench.errors",
}


def __getattr__(name: str) -> Any:
    if name == "__all__":
        return __dir__()
    if name in _HOME:
        return getattr(import_module(_HOME[name]), name)
    if name in (records := _records()):
        return records[name]
    raise AttributeError(f"module 'zcbench' has no attribute {name!r}")


def __dir__() -> list[str]:
    return ["__version__", *sorted({**_HOME, **_records()})]


def _records() -> dict[str, type]:
    from zcbench.evidence.table import RECORDS

    return {record.__name__: record for record in RECORDS}
