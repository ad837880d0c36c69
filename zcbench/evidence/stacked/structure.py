"""Parameters, multiply-accumulates and layers on a path, of every network of a stack.

As `zcbench.evidence.structure` for one network.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

from zcbench.evidence.records import Parameters, Structure
from zcbench.evidence.subject import StackedSubject
from zcbench.networks.stacked import (
    Rules,
    StackedBatchNorm,
    StackedLayer,
)
from zcbench.seeding import generator


def measure_structure(subject: StackedSubject) -> list[Structure]:
    """Forward and backward of two random images in float64, for every network."""
    network, x = subject.network, subject.batch.x
    shape = (2, *x.shape[1:])
    images = torch.randn(shape, generator=generator("structure", shape))
    rules = _TwoImages()
    logits = network(network.images(images.to(x.device, torch.float64)), rules)
    on_path = _on_path(logits, rules.outputs)
    counts = network.split(on_path)
    macs = network.split(rules.macs)
    return [
        Structure(every.n_params, sum(macs[p]), sum(counts[p]), every.weights)
        for p, every in enumerate(measure_parameters(subject))
    ]


def measure_parameters(subject: StackedSubject) -> list[Parameters]:
    """What every network consists of."""
    network = subject.network
    totals = [0] * network.n_networks
    for members, n_parameters in (
        *((layer.members, layer.n_parameters) for layer in network.layers),
        *((norm.members, norm.n_parameters) for norm in network.batchnorms),
    ):
        for p in members:
            totals[p] += n_parameters
    return list(map(Parameters, totals, network.weights()))


class _TwoImages(Rules):
    """Fixed statistics, as two images are too few; float64, as gradients get tiny."""

    def __init__(self) -> None:
        self.outputs: dict[StackedLayer, Tensor] = {}
        self.macs: dict[StackedLayer, list[int]] = {}

    def layer(self, layer: StackedLayer, x: Tensor) -> Tensor:
        bias = None if layer.bias is None else layer.bias.double()
        out: Tensor = layer(x, layer.weight.double(), bias)
        if torch.is_grad_enabled():
            self.outputs[layer] = out if out.requires_grad else out.requires_grad_(True)
        each = out[0].numel() // len(layer.members) * layer.fan_in
        self.macs[layer] = [each] * len(layer.members)
        return out

    def batchnorm(self, norm: StackedBatchNorm, x: Tensor) -> Tensor:
        out: Tensor = x / math.sqrt(1 + norm.eps)
        return out


def _on_path(
    logits: Tensor, outputs: dict[StackedLayer, Tensor]
) -> dict[StackedLayer, list[int]]:
    """For each layer and member, 1 if the output varies and reaches the logits."""
    n_classes = logits.shape[2]
    slopes = torch.rand((2, n_classes), generator=generator("structure", "slopes"))
    grads = torch.autograd.grad(
        (logits * slopes.to(logits)[:, None]).sum(),
        list(outputs.values()),
        allow_unused=True,
    )
    on_path = {}
    for (layer, out), grad in zip(outputs.items(), grads, strict=True):
        members = len(layer.members)
        varies = (out[0] != out[1]).view(members, -1).any(1)
        if grad is not None:
            reaches = (grad != 0).view(2, members, -1).any(2).any(0)
            on_path[layer] = (varies & reaches).long().tolist()
    return on_path
