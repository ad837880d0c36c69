"""#params and multiply-accumulates of a network, without weights or data."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor, nn
from torch.nn.modules.conv import _ConvNd


def size_of(
    make: Callable[[], nn.Module], input_shape: tuple[int, ...]
) -> tuple[int, int]:
    """Trainable parameters, and what proxy `flops` counts, of one that a space builds.

    Args:
        make: builds the network.
        input_shape: of one image.
    """
    macs = 0

    def count(layer: nn.Module, _inputs: object, output: Tensor) -> None:
        nonlocal macs
        weight: Tensor = layer.weight  # type: ignore[assignment]
        macs += output[0].numel() * weight[0].numel()

    with torch.device("meta"), torch.no_grad():
        network = make().eval()
        for module in network.modules():
            if isinstance(module, _ConvNd | nn.Linear):
                module.register_forward_hook(count)
        network(torch.empty((1, *input_shape)))
    trained = (p.numel() for p in network.parameters() if p.requires_grad)
    return sum(trained), macs
