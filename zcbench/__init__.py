"""Benchmark zero-cost NAS proxies against tabular benchmarks and FLOPs/#params.

Importing zcbench imports neither torch nor pandas; the names below load on first use.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from zcbench.analysis.published import load_scores as load_scores
    from zcbench.engine import run as run
    from zcbench.evaluate import score as score
    from zcbench.proxies import proxy as proxy
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
    "score": "zcbench.evaluate",
    "ActivationKernel": "zcbench.evidence.records",
    "ChannelSaliency": "zcbench.evidence.records",
    "ActivationPatterns": "zcbench.evidence.records",
    "BlockFeatures": "zcbench.evidence.records",
    "ChannelCorrelation": "zcbench.evidence.records",
    "PartGradients": "zcbench.evidence.records",
    "SignAgreement": "zcbench.evidence.records",
    "TangentKernel": "zcbench.evidence.records",
    "FreshNetwork": "zcbench.evidence.records",
    "GaussianResponse": "zcbench.evidence.records",
    "Gradients": "zcbench.evidence.records",
    "HessianGradient": "zcbench.evidence.records",
    "InputCorrelation": "zcbench.evidence.records",
    "Parameters": "zcbench.evidence.records",
    "Structure": "zcbench.evidence.records",
    "SynapticFlow": "zcbench.evidence.records",
    "Undefined": "zcbench.errors",
}

__all__ = ["__version__", *sorted(_HOME)]


def __getattr__(name: str) -> Any:
    if name not in _HOME:
        raise AttributeError(f"module 'zcbench' has no attribute {name!r}")
    return getattr(import_module(_HOME[name]), name)


def __dir__() -> list[str]:
    return __all__
