"""Performance predictors: models trained on a few architectures, tested on others.

`predictions` runs many trials of a `Pool` of architectures and gives a section such as
those of a report. Everything that is fitted (which columns are kept, ranks, scaling,
what stands for a missing score, the model) sees the training architectures alone.
"""

from __future__ import annotations

from zcbench.analysis.predict.encodings import ENCODINGS
from zcbench.analysis.predict.features import GROUPS, Pool, default_features, pool_of
from zcbench.analysis.predict.models import MODELS
from zcbench.analysis.predict.section import importances, predictions
from zcbench.analysis.predict.trials import Setting, Trials, run_trials

__all__ = [
    "ENCODINGS",
    "GROUPS",
    "MODELS",
    "Pool",
    "Setting",
    "Trials",
    "default_features",
    "importances",
    "pool_of",
    "predictions",
    "run_trials",
]
