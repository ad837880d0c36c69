"""Response to a Gaussian change of input, of every network of a stack.

As `zcbench.evidence.gaussian_response` for one network.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from zcbench.evidence.gaussian_response import STEP, gaussian
from zcbench.evidence.records import GaussianResponse
from zcbench.evidence.subject import StackedSubject
from zcbench.networks.stacked import (
    Rules,
    StackedBatchNorm,
    StackedLayer,
)


@torch.no_grad()
def measure_gaussian_response(subject: StackedSubject) -> list[GaussianResponse]:
    """Two forwards with standard Gaussian weights, BatchNorm in train mode."""
    network, x, seed = subject.network, subject.batch.x, subject.seed
    base = gaussian("input", tuple(x.shape), seed)
    change = gaussian("change", tuple(x.shape), seed)
    rules = _Gaussian(seed)
    responses = []
    for images in (base, base + STEP * change):
        network(network.images(images.to(x.device, x.dtype)), rules)
        responses.append(rules.last)
    moved = (responses[0] - responses[1]).abs()
    each = moved.reshape(len(x), network.n_networks, -1).sum(2)
    differences = each.double().mean(0).tolist()
    means = {
        norm: rules.variances[norm].reshape(-1, norm.channels).mean(1).tolist()
        for norm in network.batchnorms
    }
    variances = network.split(means)
    return [
        GaussianResponse(difference, tuple(variance))
        for difference, variance in zip(differences, variances, strict=True)
    ]


class _Gaussian(Rules):
    """Gaussian weights, no bias; BatchNorm keeps its running variances."""

    def __init__(self, seed: int) -> None:
        self.last: Tensor
        self.variances: dict[StackedBatchNorm, Tensor] = {}
        self._seed = seed

    def layer(self, layer: StackedLayer, x: Tensor) -> Tensor:
        drawn = gaussian(f"{layer.name}.weight", layer.shape, self._seed)
        out: Tensor = layer(x, drawn.reshape(layer.weight.shape).to(layer.weight))
        return out

    def batchnorm(self, norm: StackedBatchNorm, x: Tensor) -> Tensor:
        if norm not in self.variances:
            self.variances[norm] = torch.ones_like(norm.weight)
        return F.batch_norm(
            x,
            torch.zeros_like(norm.bias),  # running means: nobody asks for them
            self.variances[norm],
            norm.weight,
            norm.bias,
            training=True,
            momentum=norm.momentum,
            eps=norm.eps,
        )

    def features(self, x: Tensor) -> Tensor:
        self.last = x
        return x
