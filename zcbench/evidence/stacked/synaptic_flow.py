"""Synaptic flow of every network of a stack.

As `zcbench.evidence.synaptic_flow` for one network. What flows through a layer z = w x
is Σ_w w · ∂R/∂w = Σ_z z · ∂R/∂z: no gradient of a weight is needed.
"""

from __future__ import annotations

import torch
from torch import Tensor

from zcbench.evidence.records import SynapticFlow
from zcbench.evidence.subject import StackedSubject
from zcbench.networks.stacked import (
    Rules,
    StackedBatchNorm,
    StackedLayer,
)


def measure_synaptic_flow(subject: StackedSubject) -> list[SynapticFlow]:
    """Forward and backward of one all-ones image in float64, for every network."""
    network = subject.network
    ones = torch.ones_like(subject.batch.x[:1], dtype=torch.float64)
    rules = _Absolute()
    logits = network(network.images(ones), rules)
    through = rules.through
    grads = torch.autograd.grad(logits.sum(), list(through.values()), allow_unused=True)
    flows = {layer: [0.0] * len(layer.members) for layer in network.layers}
    for (layer, out), grad in zip(through.items(), grads, strict=True):
        if grad is not None:
            flows[layer] = _sums(out.detach() * grad, layer).tolist()
    return [SynapticFlow(tuple(flow)) for flow in network.split(flows)]


class _Absolute(Rules):
    """Absolute weights and biases, no BatchNorm."""

    dead = False

    def __init__(self) -> None:
        self.through: dict[StackedLayer, Tensor] = {}
        """Output of each layer before its bias."""

    def layer(self, layer: StackedLayer, x: Tensor) -> Tensor:
        out: Tensor = layer(x, layer.weight.double().abs())
        if not out.requires_grad:
            out.requires_grad_(True)
        self.through[layer] = out
        if layer.bias is None:
            return out
        bias = layer.bias.double().abs().repeat(len(layer.members))
        return out + bias[:, None, None]

    def batchnorm(self, _norm: StackedBatchNorm, x: Tensor) -> Tensor:
        return x


def _sums(products: Tensor, layer: StackedLayer) -> Tensor:
    """[1, G·C, H, W] → [G]."""
    return products.reshape(len(layer.members), -1).sum(1)
