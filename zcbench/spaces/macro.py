"""NAS-Bench-Macro: 3⁸ = 6,561 chains of eight layers on CIFAR-10 (Su et al. 2021).

Each layer is one of three blocks. A string such as ``02012100`` has one digit a layer:
0 identity, 1 inverted residual with kernel 3 and expansion 3, 2 inverted residual with
kernel 5 and expansion 6. Three stages of 2, 3 and 3 layers; the first layer of a stage
halves the image and doubles the channels, from 32 after the stem.

An identity that changes no shape does nothing, wherever it stands in its stage: the
benchmark trained one architecture for all that differ by it only, the one with its
identities last, and gives the others the same accuracies.
"""

from __future__ import annotations

from functools import cached_property
from typing import TYPE_CHECKING

from zcbench.spaces.base import SpaceBase, digits_of
from zcbench.types import Task

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray
    from torch import nn

STAGES = (2, 3, 3)
"""Layers of each stage."""

_BLOCKS = "012"
_N_LAYERS = sum(STAGES)
_N_ARCHITECTURES = 3**8


class NASBenchMacro(SpaceBase):
    """Chains of 8 layers with 3 blocks; strings as published.

    The population ``distinct`` has those whose identities come last in their stage (its
    first layer aside); every other string is the same network as one of these.
    """

    name = "macro"
    tasks = {"cifar10": Task("cifar10", (3, 32, 32), 10)}
    populations = ("all", "distinct")
    _form = "One has a digit 0, 1 or 2 for each of 8 layers, such as 02012100."

    def __len__(self) -> int:
        """Number of architectures."""
        return _N_ARCHITECTURES

    def _spec(self, index: int) -> str:
        """The index in base 3."""
        digits = digits_of(index, len(_BLOCKS), _N_LAYERS)
        return "".join(map(str, digits))

    def _index(self, spec: str) -> int:
        if len(spec) != _N_LAYERS or not set(spec) <= set(_BLOCKS):
            raise ValueError("it has other digits")
        return int(spec, len(_BLOCKS))

    def _network(self, spec: str, task: Task) -> nn.Module:
        from zcbench.networks.macro import MacroNetwork

        return MacroNetwork(spec, STAGES, task)

    @cached_property
    def _members(self) -> dict[str, NDArray[np.int64]]:
        import numpy as np

        indices = np.arange(len(self), dtype=np.int64)
        specs = (self._spec(int(index)) for index in indices)
        distinct = [spec == identities_last(spec) for spec in specs]
        return {"distinct": indices[distinct]}


def identities_last(spec: str) -> str:
    """The string of the same network with its identities last in every stage.

    >>> identities_last("02012100")
    '02012100'
    >>> identities_last("02001002")
    '02010020'
    """
    out, start = "", 0
    for layers in STAGES:
        first, rest = spec[start], spec[start + 1 : start + layers]
        out += first + rest.replace("0", "").ljust(layers - 1, "0")
        start += layers
    return out
