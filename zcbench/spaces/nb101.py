"""NAS-Bench-101: cells of up to seven vertices and nine edges on CIFAR-10 (Ying 2019).

A string has 56 numbers: the 7×7 adjacency matrix row by row, which is upper triangular,
then the operation of each vertex: 0 input, 1 output, 2 max pooling, 3 and 4 convolution
1×1 and 3×3, each with BatchNorm and ReLU. A matrix is one of the space if there is a
path from input to output and at most nine edges are on one; the rest of it is cut.

Our index counts such matrices by their 21 numbers above the diagonal, read as a base-2
number, first row most significant, and for each of them the five operations between
input and output, read as a base-3 number. So many strings are the same network, some of
them with accuracies of different trainings.
"""

from __future__ import annotations

import re
from functools import cache
from itertools import permutations
from typing import TYPE_CHECKING

from zcbench.spaces.base import UnlistedSpace, digits_of
from zcbench.types import Architecture, Task

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray
    from torch import nn

VERTICES, MOST_EDGES = 7, 9
_EDGES = tuple((s, t) for s in range(VERTICES) for t in range(s + 1, VERTICES))
_N_MATRICES, _N_OPERATIONS = 1_538_083, 3**5
_OPERATIONS = (2, 3, 4)
_NUMBERS = re.compile(r"[(\[]?\d+(?:, ?\d+){55}[)\]]?")


class NASBench101(UnlistedSpace):
    """Cells of seven vertices on CIFAR-10; strings of 56 numbers."""

    name = "nb101"
    tasks = {"cifar10": Task("cifar10", (3, 32, 32), 10)}
    _form = (
        "One has 49 numbers of an upper triangular matrix, in which at most nine "
        "edges lead from input to output, then 0, five of 2, 3 and 4, and 1."
    )

    def __len__(self) -> int:
        """Number of strings; many are the same network, and few are known here."""
        return _N_MATRICES * _N_OPERATIONS

    def _spec(self, index: int) -> str:
        matrix, operations = divmod(index, _N_OPERATIONS)
        present = digits_of(int(_matrices()[matrix]), 2, len(_EDGES))
        numbers = [0] * VERTICES**2
        for (source, target), there in zip(_EDGES, present, strict=True):
            numbers[VERTICES * source + target] = there
        inner = [_OPERATIONS[d] for d in digits_of(operations, 3, VERTICES - 2)]
        spec = ",".join(map(str, [*numbers, 0, *inner, 1]))
        return f"({spec})"

    def _index(self, spec: str) -> int:
        """With or without brackets and spaces."""
        import numpy as np

        fits = _NUMBERS.fullmatch(spec)
        numbers = [int(n) for n in re.findall(r"\d+", spec)] if fits else [-1] * 56
        matrix, (first, *inner, last) = numbers[:49], numbers[49:]
        bits = [matrix[VERTICES * s + t] for s, t in _EDGES]
        bounds = (first, last) == (0, 1) and set(inner) <= set(_OPERATIONS)
        if bounds and set(bits) <= {0, 1} and sum(matrix) == sum(bits):
            word = int("".join(map(str, bits)), 2)
            place = int(np.searchsorted(_matrices(), word))
            if place < _N_MATRICES and _matrices()[place] == word:
                digits = "".join(str(_OPERATIONS.index(o)) for o in inner)
                return place * _N_OPERATIONS + int(digits, 3)
        raise ValueError("it has other numbers")

    def function_class(self, arch: Architecture) -> str:
        """Equal for cells that the benchmark counts as one: the same up to order."""
        matrix, operations = on_paths(arch.spec)
        last = len(operations) - 1
        orders = ((0, *o, last) for o in permutations(range(1, last)))
        return min(
            f"{[operations[v] for v in order]}{matrix[order, :][:, order].astype(int)}"
            for order in orders
        )

    def _network(self, spec: str, task: Task) -> nn.Module:
        from zcbench.networks.nb101 import Network101

        return Network101(*on_paths(spec), task)


def on_paths(spec: str) -> tuple[NDArray[np.bool_], list[int]]:
    """The part of a cell between input and output.

    Returns:
        Its upper triangular matrix [V, V], and the operations [V] of its vertices.
    """
    import numpy as np

    numbers = np.array(spec.strip("()").split(","), dtype=np.int64)
    matrix = numbers[:49].reshape(VERTICES, VERTICES) == 1
    reach = np.eye(VERTICES, dtype=bool)
    for source in reversed(range(VERTICES)):
        reach[source] |= reach[matrix[source]].any(0)
    kept = np.flatnonzero(reach[0] & reach[:, -1])
    return matrix[np.ix_(kept, kept)], numbers[49:][kept].tolist()


@cache
def _matrices() -> NDArray[np.int64]:
    """Every matrix of the space as the number of its edges' bits, sorted."""
    import numpy as np

    words = np.arange(2 ** len(_EDGES), dtype=np.int64)
    there = {
        edge: (words >> (len(_EDGES) - 1 - place)) % 2 == 1
        for place, edge in enumerate(_EDGES)
    }
    always, never = np.ones(len(words), dtype=bool), np.zeros(len(words), dtype=bool)
    fed = [always] + [never.copy() for _ in range(VERTICES - 1)]
    used = [never.copy() for _ in range(VERTICES - 1)] + [always]
    for source, target in _EDGES:  # in the order of sources
        fed[target] |= fed[source] & there[source, target]
    for source, target in reversed(_EDGES):
        used[source] |= used[target] & there[source, target]
    count = np.zeros(len(words), dtype=np.int8)
    for source, target in _EDGES:
        count += fed[source] & there[source, target] & used[target]
    kept: NDArray[np.int64] = words[fed[-1] & (count <= MOST_EDGES)]
    return kept
