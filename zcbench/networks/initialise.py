"""PyTorch's default initialisation, with one random stream for each parameter name."""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import lru_cache
from typing import TypeVar

import torch
from torch import Tensor, nn

from zcbench.seeding import generator

M = TypeVar("M", bound=nn.Module)


def initialised(make: Callable[[], M], seed: int, repeat: int = 0) -> M:
    """Network with weights that depend on (seed, repeat, parameter name) alone.

    Convolutions and linear layers draw weight and bias from U(−b, b), b = fan_in^−½
    (what PyTorch's Kaiming-uniform with a = √5 comes to); normalisation layers start
    at 1 and 0.

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
            if isinstance(module, (nn.Conv2d, nn.Linear)):
                fan_in = module.weight[0].numel()
                for name, parameter in module.named_parameters(prefix, recurse=False):
                    shape = tuple(parameter.shape)
                    parameter.copy_(drawn(seed, repeat, name, shape, fan_in))
    return network


class Conv2d(nn.Conv2d):
    """Convolution that does not draw its weights: `initialised` does."""

    def reset_parameters(self) -> None:
        """Leave the weights as the memory was."""


class Linear(nn.Linear):
    """Linear layer that does not draw its weights: `initialised` does."""

    def reset_parameters(self) -> None:
        """Leave the weights as the memory was."""


@lru_cache(maxsize=1024)  # one seed of NAS-Bench-201 has about 200 tensors, 7 MB
def drawn(
    seed: int, repeat: int, name: str, shape: tuple[int, ...], fan_in: int
) -> Tensor:
    """Values of the parameter of that name; not to be written to."""
    bound = 1 / math.sqrt(fan_in)
    random = generator(seed, "weights", repeat, name)
    return torch.empty(shape).uniform_(-bound, bound, generator=random)
