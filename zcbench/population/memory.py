"""How many networks fit into memory at once."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from zcbench.evidence.records import HessianGradient
from zcbench.population.network import Rules, StackedBatchNorm, StackedLayer
from zcbench.population.split import split
from zcbench.spaces.base import Space, Stackable
from zcbench.types import Architecture

MOST = 256
"""More networks at once gain nothing, and an interrupted run would lose more."""

_IN_PASSING = 16
"""Maps of a network's largest size that come and go during a pass."""


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
    kept = split(network.n_networks, rules.kept)
    largest = split(network.n_networks, rules.largest)
    per_value = batch_size * dtype.itemsize
    return [
        per_value * (sum(values) + _IN_PASSING * max(maps))
        for values, maps in zip(kept, largest, strict=True)
    ]


def largest_population(sizes: Sequence[int], free: int) -> int:
    """How many of the first networks fit, at least one and at most `MOST`.

    Args:
        sizes: bytes of each network, from `bytes_of_networks`.
        free: bytes that they may take together.

    >>> largest_population([400, 300, 200, 100], free=750)
    2
    """
    total = 0
    for count, size in enumerate(sizes[:MOST]):
        total += size
        if total > free:
            return max(count, 1)
    return max(len(sizes[:MOST]), 1)


class _Count(Rules):
    """Values of one image that a layer's passes keep.

    Input and output of every layer. With the second derivative also the gradients of
    the loss with respect to it and to its BatchNorm, and its tangent.
    """

    def __init__(self, of_output: int) -> None:
        self.kept: dict[StackedLayer, list[int]] = {}
        self.largest: dict[StackedLayer, list[int]] = {}
        self._of_output = of_output

    def layer(self, layer: StackedLayer, x: Tensor) -> Tensor:
        out: Tensor = layer(x)
        n = len(layer.members)
        before, after = x.numel() // n, out.numel() // n
        self.kept[layer] = [before + self._of_output * after] * n
        self.largest[layer] = [max(before, after)] * n
        return out

    def batchnorm(self, norm: StackedBatchNorm, x: Tensor) -> Tensor:
        return x
