"""Shapes of a network, beside its size."""

from __future__ import annotations

from zcbench.evidence.records import Structure
from zcbench.proxies import proxy


@proxy(reference="ning2021evaluating", data_independent=True)
def reuse(s: Structure) -> float:
    """Multiply-accumulates for each parameter. Higher is better."""
    return s.macs / s.n_params
