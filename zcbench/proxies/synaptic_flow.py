"""Proxies of the data-free synaptic flow."""

from __future__ import annotations

import math

from zcbench.errors import Undefined
from zcbench.evidence.records import SynapticFlow
from zcbench.proxies import proxy


@proxy(reference="tanaka2020pruning", data_independent=True)
def synflow(s: SynapticFlow) -> float:
    """Log Σ abs(w) · ∂R/∂abs(w) (Tanaka et al. 2020). Higher is better.

    R is the sum of outputs for one all-ones image, every parameter absolute, BatchNorm
    removed. The logarithm keeps 1e65 readable and changes no rank. Undefined where
    nothing flows (a disconnected cell), which is no low score but none at all.
    """
    total = sum(s.flow)
    if total <= 0:
        raise Undefined("no flow from input to output")
    return math.log(total)
