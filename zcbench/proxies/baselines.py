"""The trivial ones: size and norm. A proxy that does not beat these says nothing."""

from __future__ import annotations

from zcbench.errors import Undefined
from zcbench.evidence.records import Parameters, Structure
from zcbench.proxies import proxy


@proxy(reference="ning2021evaluating", baseline=True, data_independent=True)
def params(p: Parameters) -> float:
    """Number of trainable parameters, biases and BatchNorm included. Higher is better.

    Evidence: Parameters. Counted on the full network: operations that reach nothing
    count too, as in the published tables.
    """
    return p.n_params


@proxy(
    reference="ning2021evaluating",
    aliases=("macs",),
    baseline=True,
    data_independent=True,
)
def flops(s: Structure) -> float:
    """Multiply-accumulates of conv and linear layers, one image. Higher is better.

    Evidence: Structure. Bias, BatchNorm and pooling are not counted, so that on
    NAS-Bench-201 it ranks cells exactly as `params` does; NAS-Bench-Suite-Zero counts
    BatchNorm and pooling, which breaks ties and moves ρ by about .03.
    """
    return s.macs


@proxy(reference="white2022deeper", baseline=True, data_independent=True)
def n_layers(s: Structure) -> float:
    """Convolutions and linear layers on a path from input to output. Higher is better.

    Evidence: Structure. Heavily tied: read Kendall's τ-b beside Spearman's ρ.
    """
    return s.n_layers


@proxy(reference="abdelfattah2021zero", data_independent=True)
def l2_norm(p: Parameters) -> float:
    """Σ over layers of ‖w‖₂, convolutions and linear layers. Higher is better.

    Evidence: Parameters, weights at initialisation; dead layers count, as in the suite.
    """
    if not p.weights:
        raise Undefined("the network has no convolution or linear modules")
    return sum(float(w.norm()) for w in p.weights)
