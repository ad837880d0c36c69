"""What the references share: a private copy and the list of its layers."""

from __future__ import annotations

import copy

import torch
from torch import Tensor, nn


def private_copy(net: nn.Module, dtype: torch.dtype) -> nn.Module:
    """Deep copy in train mode, without gradients, nothing frozen."""
    copied = copy.deepcopy(net).to(dtype)
    copied.train()
    for parameter in copied.parameters():
        parameter.requires_grad_(True)
        parameter.grad = None
    return copied


def layers(net: nn.Module) -> list[nn.Module]:
    """Every conv and linear layer."""
    return [m for m in net.modules() if isinstance(m, nn.Conv2d | nn.Linear)]


def weights(net: nn.Module) -> list[Tensor]:
    """Weight tensor of every conv and linear layer."""
    return [layer.weight for layer in layers(net)]


def loss_of(net: nn.Module, x: Tensor, y: Tensor) -> Tensor:
    """Mean cross-entropy."""
    return nn.functional.cross_entropy(net(x), y)
