"""Tables of numbers made without any download that stand in for real ones.

Features of real tables are correlated: here each is a mixture of a few hidden factors
and of noise of its own, with mean 0 and variance 1 as after the usual normalisation.
What a table is about, its factors' weights, belongs to the task; rows belong to the
minibatch. The regression target is a mixture of the same factors, and noise.
"""

from __future__ import annotations

import numpy as np

from zcbench.minibatch.builtin import Floats, Random
from zcbench.types import Task

VECTORS = ("vectors", 1)
"""Name and version; the latter is raised whenever the numbers change."""

_FEATURES_A_FACTOR = 3
_SHARE_X, _SHARE_Y = 0.7, 0.8
"""Shares of the variance of features and targets that the factors explain."""


def builtin_vectors(count: int, task: Task, *parts: object) -> tuple[Floats, Floats]:
    """Rows for a task, and what a regression would predict.

    Args:
        count: number of rows.
        task: gives the number of features D, and seeds what the table is about.
        *parts: identity that seeds the rows.

    Returns:
        Features [N, D] and targets [N], both of variance 1.
    """
    (features,) = task.input_shape
    factors = max(1, features // _FEATURES_A_FACTOR)
    weights = Random("vectors", task.name).normal(features + 1, factors)
    weights /= np.linalg.norm(weights, axis=1, keepdims=True)
    random = Random(*parts)
    rows = random.normal(count, factors + features + 1)
    hidden, own = rows[:, :factors], rows[:, factors:]
    share = np.full(features + 1, _SHARE_X)
    share[-1] = _SHARE_Y
    mixed = np.sqrt(share) * (hidden @ weights.T) + np.sqrt(1 - share) * own
    return mixed[:, :-1], mixed[:, -1]
