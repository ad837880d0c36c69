"""Proxies of random networks on random inputs."""

from __future__ import annotations

import math

from zcbench.errors import Undefined
from zcbench.evidence.records import GaussianResponse
from zcbench.proxies import proxy


@proxy(reference="lin2021zen", aliases=("zen_score",), data_independent=True)
def zen(r: GaussianResponse) -> float:
    """Log E abs(f(x) − f(x + .01 e)) + Σ_BN log σ (Lin et al. 2021). Higher is better.

    f are the features before global pooling with standard Gaussian weights, x and e
    standard Gaussian; σ² is the mean running variance of a BatchNorm layer after both
    passes. One repeat, as in the suites (32 in the paper). Undefined where the features
    do not respond.
    """
    if r.difference == 0 or not all(v > 0 for v in r.batchnorm_variances):
        raise Undefined("the features do not respond to the input")
    scales = sum(math.log(math.sqrt(v)) for v in r.batchnorm_variances)
    return math.log(r.difference) + scales
