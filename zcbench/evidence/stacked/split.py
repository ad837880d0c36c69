"""From what a stack's layers hold to what each network has."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from torch import Tensor

from zcbench.networks.stacked import (
    StackedBatchNorm,
    StackedLayer,
    StackedNetwork,
)

Member = StackedLayer | StackedBatchNorm


def split(n_networks: int, values: Mapping[Any, Iterable[Any]]) -> list[list[Any]]:
    """For each network, the values of its modules in the order of the mapping.

    Args:
        n_networks: P.
        values: module → a value for each of its members.
    """
    found: list[list[Any]] = [[] for _ in range(n_networks)]
    for module, each in values.items():
        for p, value in zip(module.members, each, strict=True):
            found[p].append(value)
    return found


def layers_of(network: StackedNetwork) -> list[tuple[Tensor, ...]]:
    """For each network, the weights of its layers on the CPU, as the one has them."""
    shared = {
        layer: [layer.weight.reshape(layer.shape).cpu()] * len(layer.members)
        for layer in network.layers
    }
    return [tuple(weights) for weights in split(network.n_networks, shared)]
