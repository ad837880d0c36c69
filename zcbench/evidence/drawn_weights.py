"""Weights drawn anew, for definitions that have an initialisation of their own."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm
from torch.nn.modules.conv import _ConvNd

from zcbench.networks.stacked import Rules
from zcbench.networks.stacked_layers import StackedLayer
from zcbench.seeding import normal

Spread = Callable[[Sequence[int]], float]
"""Shape of a weight → its standard deviation."""
NORMS = (_BatchNorm, nn.LayerNorm, nn.GroupNorm)


def standard(_: Sequence[int]) -> float:
    """N(0, 1)."""
    return 1.0


def fan_in(shape: Sequence[int]) -> float:
    """Kaiming's for the forward: √(2 / weights of an output)."""
    return math.sqrt(2 / math.prod(shape[1:]))


def fan_out(shape: Sequence[int]) -> float:
    """Kaiming's for the backward: √(2 / weights of an input)."""
    return math.sqrt(2 / (shape[0] * math.prod(shape[2:])))


@torch.no_grad()
def draw_weights(network: nn.Module, spread: Spread, *identity: object) -> None:
    """Gaussian weights, normalisation at 1, no biases, in place.

    Args:
        network: convolutions, linear and normalisation layers change, nothing else.
        spread: of a weight.
        identity: of the draw: seed and purpose. Each weight depends on it and its name.
    """
    for name, module in network.named_modules():
        if isinstance(module, _ConvNd | nn.Linear):
            shape = tuple(module.weight.shape)
            module.weight.copy_(normal(shape, *identity, name)).mul_(spread(shape))
        elif isinstance(module, NORMS) and module.weight is not None:
            module.weight.fill_(1)
        owns = isinstance(module, (_ConvNd, nn.Linear, *NORMS))
        if owns and module.bias is not None:
            module.bias.zero_()
        if isinstance(module, _BatchNorm):
            module.reset_running_stats()  # other passes move them


class DrawnWeights(Rules):
    """The same for a stack.

    Args:
        spread: of a weight.
        identity: of the draw.
    """

    def __init__(self, spread: Spread, *identity: object) -> None:
        self._spread, self._identity = spread, identity

    def layer(self, layer: StackedLayer, x: Tensor) -> Tensor:
        """Convolution or linear layer, no bias."""
        drawn = normal(layer.shape, *self._identity, layer.name).to(layer.weight)
        weight = drawn.mul_(self._spread(layer.shape)).reshape(layer.weight.shape)
        out: Tensor = layer(x, weight)
        return out
