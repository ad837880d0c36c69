"""Proxies of the graph of operations: nothing is drawn, nothing is fitted."""

from __future__ import annotations

from zcbench.errors import Undefined
from zcbench.evidence.records import Dataflow
from zcbench.proxies import proxy


@proxy(reference="huang2024graph", baseline=True, data_independent=True)
def avg_degree(d: Dataflow) -> float:
    """Average degree of the graph of channels (Huang et al. 2024). Higher is better.

    Channels of operations on a path from input to output are joined where one reads
    the other: all to all through a convolution or linear layer, one to one through a
    pooling or skip; activations, normalisation and sums lie on edges. NASGraph keeps
    the edges over which something flows with drawn weights; here all are kept.
    """
    return _on_a_path(d).degree


@proxy(reference="mellor2021neural", baseline=True, data_independent=True)
def n_relus(d: Dataflow) -> float:
    """Number of ReLUs, on dead branches too, as nwot counts. Higher is better."""
    return d.relus


@proxy(reference="white2022deeper", baseline=True, data_independent=True)
def op_balance(d: Dataflow) -> float:
    """Convolutions less poolings on a path from input to output. Higher is better.

    A convolution learns and counts 1, a skip hands on and counts 0, a pooling blurs and
    counts −1. The weights are these signs; no accuracy was looked at to choose them.
    """
    return _on_a_path(d).convolutions - d.poolings


def _on_a_path(d: Dataflow) -> Dataflow:
    if not d.degree:
        raise Undefined("no operation is on a path from input to output")
    return d
