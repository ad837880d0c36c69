"""Networks like MnasNet on ImageNet, as trained by Accel-NASBench (Ahmad 2024).

Seven blocks of one to four inverted residuals. A string has one word a block, such as
``e6k3l2s``: expansion 6, kernel 3, two layers, squeeze-excite (``n`` where there is
none). Our index: the place of each word in `BLOCKS`, read as a base-48 number, first
block most significant.

The authors' code for the networks is not public in the part at hand, so that the
activation is a choice: ReLU, as in MnasNet, with which every proxy is defined.
"""

from __future__ import annotations

from functools import reduce
from itertools import product
from typing import TYPE_CHECKING

from zcbench.errors import DataError
from zcbench.spaces.base import UnlistedSpace, check_index, digits_of
from zcbench.types import Architecture, Task

if TYPE_CHECKING:
    from torch import nn

BLOCKS = tuple(
    f"e{expansion}k{kernel}l{layers}{excite}"
    for expansion, kernel, layers, excite in product("146", "35", "1234", "ns")
)
_N_BLOCKS = 7
_N_ARCHITECTURES = 48**7


class MnasNetImageNet(UnlistedSpace):
    """Seven blocks with 48 choices each on ImageNet."""

    name = "mnasnet_imagenet"
    tasks = {"imagenet": Task("imagenet", (3, 224, 224), 1000)}

    def __len__(self) -> int:
        """Number of architectures, of which few are trained."""
        return _N_ARCHITECTURES

    def architecture(self, index: int) -> Architecture:
        """Architecture at a position.

        Raises:
            UsageError: the index is out of range.
        """
        check_index(self, index)
        places = digits_of(index, len(BLOCKS), _N_BLOCKS)
        return Architecture(self.name, index, " ".join(BLOCKS[p] for p in places))

    def parse(self, spec: str) -> Architecture:
        """Architecture of a string.

        Raises:
            DataError: the string is not an architecture of this space.
        """
        words = spec.split(" ")
        if len(words) != _N_BLOCKS or not set(words) <= set(BLOCKS):
            raise DataError(
                f"{spec[:200]!r} is not an architecture of {self.name}.",
                f"One has 7 blocks with spaces between, such as {BLOCKS[-1]}.",
            )
        places = map(BLOCKS.index, words)
        index = reduce(lambda number, place: number * len(BLOCKS) + place, places)
        return Architecture(self.name, index, spec)

    def _network(self, spec: str, task: Task) -> nn.Module:
        from zcbench.networks.mnasnet import MnasNetwork

        return MnasNetwork(spec.split(" "), task)
