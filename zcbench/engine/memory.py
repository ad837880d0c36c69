"""How many networks fit into memory at once."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence

import torch
from torch import Tensor

from zcbench.evidence.records import HessianGradient, MinibatchKernel
from zcbench.evidence.te_nas import IMAGES
from zcbench.networks.stacked import Rules
from zcbench.networks.stacked_layers import StackedBatchNorm, StackedLayer
from zcbench.spaces.base import Space, Stackable
from zcbench.types import Architecture

MOST = 256
"""More networks at once gain nothing, and an interrupted run would lose more."""

_SHARE = 0.8
"""Part of the free memory that a stack may take."""

_IN_PASSING = 16
"""Maps of a network's largest size that come and go during a pass."""

_PER_WEIGHT = 3
"""Values for each weight: its gradient, and what the grouped convolutions copy. The
kernel of a minibatch holds the gradients of `IMAGES` images besides."""


def bytes_of_networks(
    space: Space,
    architectures: Sequence[Architecture],
    task: str,
    batch_size: int,
    needs: frozenset[type],
    dtype: torch.dtype = torch.float32,
) -> list[int]:
    """Memory that each network takes at the peak of its passes.

    Counted, not measured: one forward without data notes the maps that passes keep.

    Args:
        space: a `Stackable` space.
        architectures: the networks.
        task: name of one of the space's tasks.
        batch_size: images in the minibatch.
        needs: record types that will be made.
        dtype: of weights and images.
    """
    assert isinstance(space, Stackable)  # noqa: S101 - nothing else is stacked
    network = space.stack(architectures, task).to("meta", dtype)
    rules = _Count(4 if HessianGradient in needs else 1)
    image = torch.empty((1, *space.tasks[task].input_shape), device="meta", dtype=dtype)
    with torch.no_grad():
        network(network.images(image), rules)
    kept = network.split(rules.kept)
    largest = network.split(rules.largest)
    weights = network.split(rules.weights)
    per_weight = _PER_WEIGHT + (IMAGES if MinibatchKernel in needs else 0)
    return [
        dtype.itemsize
        * (
            batch_size * (sum(kept[p]) + _IN_PASSING * max(largest[p]))
            + per_weight * sum(weights[p])
        )
        for p in range(network.n_networks)
    ]


def largest_stack(sizes: Sequence[int], free: int) -> int:
    """How many of the first networks fit, at least one and at most `MOST`.

    Args:
        sizes: bytes of each network, from `bytes_of_networks`.
        free: bytes that they may take together.

    >>> largest_stack([400, 300, 200, 100], free=750)
    2
    """
    total = 0
    for count, size in enumerate(sizes[:MOST]):
        total += size
        if total > free:
            return max(count, 1)
    return max(len(sizes[:MOST]), 1)


def stacks_that_fit(sizes: Sequence[int], free: int) -> Iterator[slice]:
    """Cut networks into stacks that fit, one after the other.

    Args:
        sizes: bytes of each network, from `bytes_of_networks`.
        free: bytes that a stack may take.

    >>> list(stacks_that_fit([400, 300, 200, 100], free=750))
    [slice(0, 2, None), slice(2, 4, None)]
    """
    start = 0
    while start < len(sizes):
        end = start + largest_stack(sizes[start : start + MOST], free)
        yield slice(start, end)
        start = end


def memory_for_stacks(device: torch.device | str) -> int:
    """Bytes that a stack may take: most of what is free now."""
    if torch.device(device).type == "cuda":
        return int(torch.cuda.mem_get_info(device)[0] * _SHARE)
    return int(os.sysconf("SC_AVPHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") * _SHARE)


class _Count(Rules):
    """Values of one image that the passes keep for a layer, and its weights.

    Kept are input and output; with the second derivative also the tangent, and the
    gradients of the loss with respect to the output and to that of its BatchNorm.
    Dead operations keep nothing.
    """

    dead = False

    def __init__(self, of_output: int) -> None:
        self.kept: dict[StackedLayer, list[int]] = {}
        self.largest: dict[StackedLayer, list[int]] = {}
        self.weights: dict[StackedLayer, list[int]] = {}
        self._of_output = of_output

    def layer(self, layer: StackedLayer, x: Tensor) -> Tensor:
        out: Tensor = layer(x)
        n = len(layer.members)
        before, after = x.numel() // n, out.numel() // n
        self.kept[layer] = [before + self._of_output * after] * n
        self.largest[layer] = [max(before, after)] * n
        self.weights[layer] = [layer.n_parameters] * n
        return out

    def batchnorm(self, _norm: StackedBatchNorm, x: Tensor) -> Tensor:
        return x
