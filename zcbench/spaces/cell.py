"""Spaces of cells: a small directed graph with one operation on every edge.

Index of an architecture: its operations in string order, read as a number in base
``len(operations)``, first edge most significant.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from functools import cached_property
from typing import TYPE_CHECKING, ClassVar

from zcbench.errors import DataError
from zcbench.networks.cell_graph import (
    Cell,
    edges_of,
    function_of,
    live_edges,
)
from zcbench.spaces.base import SpaceBase, check_name, digits_of
from zcbench.types import Architecture, Task

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray
    from torch import nn

    from zcbench.networks.stacked import StackedNetwork


class CellSpace(SpaceBase):
    """All cells of `n_nodes` nodes over some operations.

    Populations: ``connected`` has those with a path from input to output, ``trimmed``
    those without an operation that cannot matter; every other cell computes the same
    function as one of these, and the empty cell stands for all that are not connected.

    Attributes:
        operations: names in the order of the index's digits.
        n_nodes: nodes of a cell.
        stages: channels of each stage of the network.
        depth: cells in each stage.
    """

    operations: ClassVar[tuple[str, ...]]
    n_nodes: ClassVar[int]
    stages: ClassVar[tuple[int, ...]]
    depth: ClassVar[int]
    populations = ("all", "connected", "trimmed")

    def __len__(self) -> int:
        return int(len(self.operations) ** len(edges_of(self.n_nodes)))

    def _spec(self, index: int) -> str:
        digits = digits_of(index, len(self.operations), len(edges_of(self.n_nodes)))
        return self._format(self.operations[digit] for digit in digits)

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
            raise self._refusal(spec)
        for operation in match.groups():
            if operation not in self.operations:
                raise DataError(
                    f"{spec[:200]!r} has the unknown operation {operation[:40]!r}.",
                    f"Operations are {', '.join(self.operations)}.",
                )
        return match.groups()

    @property
    def _form(self) -> str:
        example = self._format([self.operations[1]] * len(edges_of(self.n_nodes)))
        return f"One looks like {example}."

    def function_class(self, arch: Architecture) -> str:
        """Equal for cells that compute the same: see `function_of`."""
        return function_of(self.cell(arch.spec), self.n_nodes)

    def size(self, arch: Architecture, task: str) -> tuple[int, int]:
        """As in every space; an operation adds the same whatever the others are."""
        none = [self.operations[0]] * len(edges_of(self.n_nodes))
        sizes = [self._size_of(none, task)]
        for edge, operation in enumerate(self.cell(arch.spec)):
            alone = [*none[:edge], operation, *none[edge + 1 :]]
            sizes.append(self._size_of(alone, task))
        params, macs = (sum(column) for column in zip(*sizes, strict=True))
        spare = len(none)  # counts of the network without the operations
        return params - spare * sizes[0][0], macs - spare * sizes[0][1]

    def _size_of(self, cell: Sequence[str], task: str) -> tuple[int, int]:
        spec = self._format(cell)
        if (spec, task) not in self._sizes:
            self._sizes[spec, task] = super().size(self.parse(spec), task)
        return self._sizes[spec, task]

    @cached_property
    def _sizes(self) -> dict[tuple[str, str], tuple[int, int]]:
        return {}

    def _network(self, spec: str, task: Task) -> nn.Module:
        from zcbench.networks.cell import CellNetwork

        cell = self.cell(spec)
        return CellNetwork(cell, self.n_nodes, task, self.stages, self.depth)

    def stack(
        self,
        architectures: Sequence[Architecture],
        task: str,
        *,
        seed: int = 0,
        repeat: int = 0,
    ) -> StackedNetwork:
        """The networks that `build` gives, as one: see `zcbench.networks.stacked`.

        Raises:
            UsageError: there is no such task.
        """
        check_name(self, "dataset", task)
        cells = [self.cell(arch.spec) for arch in architectures]
        return self._stacked(cells, self.tasks[task], seed, repeat)

    def _stacked(
        self, cells: Sequence[Cell], task: Task, seed: int, repeat: int
    ) -> StackedNetwork:
        from zcbench.networks.cell_stack import StackedCellNetwork

        skeleton = self.n_nodes, task, self.stages, self.depth
        return StackedCellNetwork(cells, *skeleton, seed=seed, repeat=repeat)

    def _format(self, operations: Iterable[str]) -> str:
        remaining = iter(operations)
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
    def _members(self) -> dict[str, NDArray[np.int64]]:
        import numpy as np

        connected, trimmed = [], []
        for index in range(len(self)):
            cell = self.cell(self._spec(index))
            live = live_edges(cell, self.n_nodes)
            if any(live):
                connected.append(index)
            if list(live) == [operation != "none" for operation in cell]:
                trimmed.append(index)
        return {
            "connected": np.array(connected, dtype=np.int64),
            "trimmed": np.array(trimmed, dtype=np.int64),
        }
