"""Spaces of cells: a small directed graph with one operation on every edge.

Index of an architecture: its operations in string order, read as a number in base
``len(operations)``, first edge most significant.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from functools import cached_property
from typing import TYPE_CHECKING, ClassVar

from zcbench.errors import DataError
from zcbench.spaces.base import check_index, check_name
from zcbench.types import Architecture, Task

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray
    from torch import nn

    from zcbench.evidence.stacked.network import StackedNetwork

Edge = tuple[int, int]
Cell = tuple[str, ...]
"""The operations of a cell in string order."""


def edges_of(n_nodes: int) -> tuple[Edge, ...]:
    """(source, target) of each edge in string order: by target, then by source."""
    return tuple((s, t) for t in range(1, n_nodes) for s in range(t))


def reachable(cell: Cell, n_nodes: int) -> tuple[frozenset[int], frozenset[int]]:
    """Nodes that the input reaches, and nodes that reach the output.

    Args:
        cell: the operations in string order; ``none`` cuts an edge.
        n_nodes: number of nodes; node 0 is the input, the last one the output.

    Returns:
        Two sets of nodes, the first with node 0, the second with the last node.
    """
    edges = zip(edges_of(n_nodes), cell, strict=True)
    present = [edge for edge, operation in edges if operation != "none"]
    forward = {0}
    for source, target in present:  # string order visits targets in order
        if source in forward:
            forward.add(target)
    backward = {n_nodes - 1}
    for source, target in reversed(present):
        if target in backward:
            backward.add(source)
    return frozenset(forward), frozenset(backward)


def live_edges(cell: Cell, n_nodes: int) -> tuple[bool, ...]:
    """For each edge, whether it carries something from the input to the output."""
    forward, backward = reachable(cell, n_nodes)
    return tuple(
        operation != "none" and source in forward and target in backward
        for (source, target), operation in zip(edges_of(n_nodes), cell, strict=True)
    )


def function_of(cell: Cell, n_nodes: int) -> str:
    """What the last node computes, the same words for cells that compute the same.

    A node is the sum of its inputs, whatever their order; ``skip_connect`` passes its
    input on, a sum of sums is one sum, and zeros (``none``, and any operation on a
    zero) are left out. With that rule the 15,625 cells of NAS-Bench-201 are 4,930
    functions. The benchmark's own count, 6,466, keeps zeros in its sums and the order
    of sums within sums: it tells some cells apart that compute the same.

    Args:
        cell: the operations in string order.
        n_nodes: number of nodes.

    >>> function_of(("nor_conv_1x1", "none", "skip_connect"), 3)
    'nor_conv_1x1(0)'
    """
    nodes = [["0"]]
    operations = iter(cell)
    for target in range(1, n_nodes):
        terms = [
            term
            for source, operation in zip(nodes[:target], operations, strict=False)
            for term in _terms(source, operation)
        ]
        nodes.append(sorted(terms))
    return "+".join(nodes[-1])


def _terms(source: list[str], operation: str) -> list[str]:
    if operation == "none" or not source:
        return []
    return (
        source if operation == "skip_connect" else [f"{operation}({'+'.join(source)})"]
    )


class CellSpace:
    """All cells of `n_nodes` nodes over some operations, as `Space`.

    Attributes:
        operations: names in the order of the index's digits.
        n_nodes: nodes of a cell.
        stages: channels of each stage of the network.
        depth: cells in each stage.
    """

    name: ClassVar[str]
    tasks: ClassVar[Mapping[str, Task]]
    operations: ClassVar[tuple[str, ...]]
    n_nodes: ClassVar[int]
    stages: ClassVar[tuple[int, ...]]
    depth: ClassVar[int]
    populations = ("all", "connected", "trimmed")

    def __len__(self) -> int:
        return int(len(self.operations) ** len(edges_of(self.n_nodes)))

    def architecture(self, index: int) -> Architecture:
        """Architecture at a position of the enumeration.

        Raises:
            UsageError: the index is out of range.
        """
        check_index(self, index)
        rest, operations = index, []
        for _ in edges_of(self.n_nodes):
            rest, digit = divmod(rest, len(self.operations))
            operations.append(self.operations[digit])
        return Architecture(self.name, index, self._format(reversed(operations)))

    def parse(self, spec: str) -> Architecture:
        """Architecture of a string.

        Raises:
            DataError: the string is not an architecture of this space.
        """
        index = 0
        for operation in self.cell(spec):
            index = len(self.operations) * index + self.operations.index(operation)
        return Architecture(self.name, index, spec)

    def cell(self, spec: str) -> Cell:
        """The operations of an architecture string, in string order.

        Raises:
            DataError: the string is not an architecture of this space.
        """
        match = self._pattern.fullmatch(spec)
        if match is None:
            example = self._format([self.operations[1]] * len(edges_of(self.n_nodes)))
            raise DataError(
                f"{spec[:200]!r} is not an architecture of {self.name}.",
                f"One looks like {example}.",
            )
        for operation in match.groups():
            if operation not in self.operations:
                raise DataError(
                    f"{spec[:200]!r} has the unknown operation {operation[:40]!r}.",
                    f"Operations are {', '.join(self.operations)}.",
                )
        return match.groups()

    def function_class(self, arch: Architecture) -> str:
        """Equal for cells that compute the same: see `function_of`."""
        return function_of(self.cell(arch.spec), self.n_nodes)

    def population(self, name: str) -> NDArray[np.int64]:
        """Indices of a population.

        ``all``: every cell. ``connected``: those with a path from input to output.
        ``trimmed``: those without an operation that cannot matter; every other cell
        computes the same function as one of these, and the empty cell stands for all
        that are not connected.

        Raises:
            UsageError: there is no such population.
        """
        check_name(self, "population", name)
        return self._populations[name]

    def build(
        self, arch: Architecture, task: str, *, seed: int = 0, repeat: int = 0
    ) -> nn.Module:
        """The full network, in train mode, with PyTorch's default initialisation.

        Args:
            arch: an architecture of this space.
            task: name of one of the space's tasks.
            seed: seed of the run.
            repeat: which initialisation, from 0.

        Returns:
            The network on the CPU, state-dict names as in the benchmark.

        Raises:
            UsageError: there is no such task.
        """
        from zcbench.spaces.cell_network import CellNetwork
        from zcbench.spaces.initialise import initialised

        check_name(self, "dataset", task)
        cell = self.cell(arch.spec)
        return initialised(
            lambda: CellNetwork(
                cell, self.n_nodes, self.tasks[task], self.stages, self.depth
            ),
            seed,
            repeat,
        )

    def stack(
        self,
        architectures: Sequence[Architecture],
        task: str,
        *,
        seed: int = 0,
        repeat: int = 0,
    ) -> StackedNetwork:
        """The networks that `build` gives, as one: see `zcbench.evidence.stacked`.

        Raises:
            UsageError: there is no such task.
        """
        from zcbench.spaces.cell_stack import StackedCellNetwork

        check_name(self, "dataset", task)
        return StackedCellNetwork(
            [self.cell(arch.spec) for arch in architectures],
            self.n_nodes,
            self.tasks[task],
            self.stages,
            self.depth,
            seed=seed,
            repeat=repeat,
        )

    def _format(self, operations: object) -> str:
        remaining = iter(operations)  # type: ignore[call-overload]
        nodes = (
            "|" + "".join(f"{next(remaining)}~{source}|" for source in range(target))
            for target in range(1, self.n_nodes)
        )
        return "+".join(nodes)

    @cached_property
    def _pattern(self) -> re.Pattern[str]:
        placeholders = (r"(\w+)" for _ in edges_of(self.n_nodes))
        template = self._format(placeholders)
        return re.compile(template.replace("|", r"\|").replace("+\\|", r"\+\|"))

    @cached_property
    def _populations(self) -> dict[str, NDArray[np.int64]]:
        import numpy as np

        connected, trimmed = [], []
        for index in range(len(self)):
            cell = self.cell(self.architecture(index).spec)
            live = live_edges(cell, self.n_nodes)
            if any(live):
                connected.append(index)
            if list(live) == [operation != "none" for operation in cell]:
                trimmed.append(index)
        return {
            "all": np.arange(len(self), dtype=np.int64),
            "connected": np.array(connected, dtype=np.int64),
            "trimmed": np.array(trimmed, dtype=np.int64),
        }
