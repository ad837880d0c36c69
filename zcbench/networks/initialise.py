"""PyTorch's default initialisation, with one random stream for each parameter name.

And the size of a network, for which it has no weights at all.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import lru_cache
from typing import TypeVar

import torch
from torch import Tensor, nn
from torch.nn.modules.conv import _ConvNd

from zcbench.seeding import generator

_POSITIONS = 0.02
"""Standard deviation of tables of positions, as transformers start them."""
_LARGEST_KEPT = 2**16
"""Numbers in a tensor that is kept: networks that have larger ones have them once."""

M = TypeVar("M", bound=nn.Module)


def initialised(make: Callable[[], M], seed: int, repeat: int = 0) -> M:
    """Network with weights that depend on (seed, repeat, parameter name) alone.

    Convolutions and linear layers draw weight and bias from U(−b, b), b = fan_in^−½
    (what PyTorch's Kaiming-uniform with a = √5 comes to), and so do weights that
    `nn.MultiheadAttention` holds; normalisation layers start at 1 and 0. Of the rest,
    such as tables of positions, what the constructor makes all equal stays so, and
    what has two axes or more is normal with a standard deviation of 0.02.

    Args:
        make: constructs the network. `Conv2d` and `Linear` of this file save it the
            draw that PyTorch would make and that is replaced here.
        seed: seed of the run.
        repeat: which initialisation, from 0.

    Returns:
        The network in train mode on the CPU.
    """
    with torch.random.fork_rng(devices=[]):  # layers that draw weights of their own
        network = make()
    with torch.no_grad():
        for prefix, module in network.named_modules():
            own = module.named_parameters(prefix, recurse=False)
            if isinstance(module, (nn.Conv2d, nn.Linear)):
                fan_in = module.weight[0].numel()
                for name, parameter in own:
                    shape = tuple(parameter.shape)
                    parameter.copy_(drawn(seed, repeat, name, shape, fan_in))
                continue
            joint = isinstance(module, nn.MultiheadAttention)
            for name, parameter in own:
                if parameter.dim() < 2 or parameter.min() == parameter.max():
                    continue
                random = generator(seed, "weights", repeat, name)
                bound = 1 / math.sqrt(parameter.shape[-1])
                if joint:
                    parameter.uniform_(-bound, bound, generator=random)
                else:
                    parameter.normal_(std=_POSITIONS, generator=random)
    return network


class Conv2d(nn.Conv2d):
    """Convolution that does not draw its weights: `initialised` does."""

    def reset_parameters(self) -> None:
        """Leave the weights as the memory was."""


class Linear(nn.Linear):
    """Linear layer that does not draw its weights: `initialised` does."""

    def reset_parameters(self) -> None:
        """Leave the weights as the memory was."""


def drawn(
    seed: int, repeat: int, name: str, shape: tuple[int, ...], fan_in: int
) -> Tensor:
    """Values of the parameter of that name; not to be written to."""
    draw = _kept if math.prod(shape) <= _LARGEST_KEPT else _kept.__wrapped__
    return draw(seed, repeat, name, shape, fan_in)


@lru_cache(maxsize=1024)  # one seed of NAS-Bench-201 has about 200 tensors, 7 MB
def _kept(
    seed: int, repeat: int, name: str, shape: tuple[int, ...], fan_in: int
) -> Tensor:
    bound = 1 / math.sqrt(fan_in)
    random = generator(seed, "weights", repeat, name)
    return torch.empty(shape).uniform_(-bound, bound, generator=random)


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
