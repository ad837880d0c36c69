"""NATS-Bench's size space: 8⁵ = 32,768 channel choices of one network (Dong 2021).

The skeleton of NAS-Bench-201 with one cell in each stage, always the same: five layers
(cell, residual block, cell, residual block, cell) with 8, 16, … or 64 channels each. A
string such as ``8:16:24:32:64`` gives their channels. Our index: (channels / 8 − 1) of
each layer read as a base-8 number, first layer most significant.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from zcbench.spaces.base import SpaceBase, digits_of
from zcbench.types import Task

if TYPE_CHECKING:
    from torch import nn

_STEP, _CHOICES, _LAYERS = 8, 8, 5
_N_ARCHITECTURES = 8**5
_SPEC = re.compile(":".join([r"(8|16|24|32|40|48|56|64)"] * _LAYERS))


class NATSBenchSize(SpaceBase):
    """Channels of 5 layers, 8 choices each; strings as published."""

    name = "nats_sss"
    tasks = {
        "cifar10": Task("cifar10", (3, 32, 32), 10),
        "cifar100": Task("cifar100", (3, 32, 32), 100),
        "ImageNet16-120": Task("ImageNet16-120", (3, 16, 16), 120),
    }
    _form = "One has channels of 5 layers, from 8 to 64 by eights: 8:16:24:32:64."

    def __len__(self) -> int:
        """Number of architectures."""
        return _N_ARCHITECTURES

    def _spec(self, index: int) -> str:
        digits = digits_of(index, _CHOICES, _LAYERS)
        return ":".join(str(_STEP * (digit + 1)) for digit in digits)

    def _index(self, spec: str) -> int:
        if _SPEC.fullmatch(spec) is None:
            raise ValueError("it has other channels")
        index = 0
        for channels in spec.split(":"):
            index = _CHOICES * index + int(channels) // _STEP - 1
        return index

    def _network(self, spec: str, task: Task) -> nn.Module:
        from zcbench.networks.nats_sss import SizeNetwork

        return SizeNetwork([int(number) for number in spec.split(":")], task)
