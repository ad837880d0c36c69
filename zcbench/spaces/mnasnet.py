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

from zcbench.spaces.base import UnlistedSpace, digits_of
from zcbench.types import Task

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
    _form = f"One has 7 blocks with spaces between, such as {BLOCKS[-1]}."

    def __len__(self) -> int:
        """Number of architectures, of which few are trained."""
        return _N_ARCHITECTURES

    def _spec(self, index: int) -> str:
        places = digits_of(index, len(BLOCKS), _N_BLOCKS)
        return " ".join(BLOCKS[p] for p in places)

    def _index(self, spec: str) -> int:
        words = spec.split(" ")
        if len(words) != _N_BLOCKS:
            raise ValueError("it has another number of blocks")
        places = map(BLOCKS.index, words)
        return reduce(lambda number, place: number * len(BLOCKS) + place, places)

    def _network(self, spec: str, task: Task) -> nn.Module:
        from zcbench.networks.mnasnet import MnasNetwork

        return MnasNetwork(spec.split(" "), task)
