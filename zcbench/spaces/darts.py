"""DARTS cells, the space of NAS-Bench-301 (Liu 2019, Zela 2022), on three other tasks.

A string has a normal and a reduction cell, each of eight pairs (input node, operation),
two for each of four nodes, such as ``(((0,3),(1,2),…),(…))``. Nodes 0 and 1 are the two
cells before; operations are 0 max and 1 average pooling, 2 identity, 3 and 4 separable
convolution 3×3 and 5×5, 5 and 6 dilated convolution 3×3 and 5×5. The order of a node's
two pairs does not matter: here the smaller input comes first.

Our index has for each node, first node of the normal cell most significant, the place
of its two inputs among all pairs of them, then its two operations.
"""

from __future__ import annotations

import re
from itertools import combinations
from typing import TYPE_CHECKING

from zcbench.spaces.base import UnlistedSpace
from zcbench.types import Task

if TYPE_CHECKING:
    from torch import nn

_N_OPERATIONS, _NODES = 7, (2, 3, 4, 5) * 2
"""Operations; for each node of both cells what it can take for an input."""
_INPUTS = tuple(tuple(combinations(range(node), 2)) for node in _NODES)
_SHAPE = tuple(n for inputs in _INPUTS for n in (len(inputs), *[_N_OPERATIONS] * 2))
_N_ARCHITECTURES = (1 * 3 * 6 * 10 * 7**8) ** 2
_SPEC = re.compile(r"[\d(), \[\]]*")


class Darts(UnlistedSpace):
    """A normal and a reduction cell on NinaPro, Spherical CIFAR-100 and SVHN."""

    name = "darts"
    tasks = {
        "ninapro": Task("ninapro", (1, 16, 52), 18),
        "scifar100": Task("scifar100", (3, 60, 60), 100),
        "svhn": Task("svhn", (3, 32, 32), 10),
    }

    def __len__(self) -> int:
        """Number of architectures, of which few are trained."""
        return _N_ARCHITECTURES

    def _spec(self, index: int) -> str:
        import numpy as np

        places = iter(np.unravel_index(index, _SHAPE))
        nodes = [
            f"({first},{next(places)}),({second},{next(places)})"
            for first, second in (inputs[next(places)] for inputs in _INPUTS)
        ]
        normal, reduction = ",".join(nodes[:4]), ",".join(nodes[4:])
        return f"(({normal}),({reduction}))"

    def _index(self, spec: str) -> int:
        """The order of a node's pairs does not matter."""
        import numpy as np

        numbers = [int(digit) for digit in re.findall(r"\d+", spec)]
        places: list[int] = []
        if not _SPEC.fullmatch(spec) or len(numbers) != 4 * len(_NODES):
            raise ValueError("it is no list of so many numbers")
        for node, inputs in enumerate(_INPUTS):
            a, o, b, p = numbers[4 * node : 4 * node + 4]
            (first, left), (second, right) = sorted(((a, o), (b, p)))
            places += inputs.index((first, second)), left, right
        return int(np.ravel_multi_index(places, _SHAPE))

    def _network(self, spec: str, task: Task) -> nn.Module:
        from zcbench.networks.darts import DartsNetwork

        numbers = [int(digit) for digit in re.findall(r"\d", spec)]
        pairs = list(zip(numbers[::2], numbers[1::2], strict=True))
        return DartsNetwork(pairs[:8], pairs[8:], task)
