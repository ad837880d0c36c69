"""TransNAS-Bench-101 (Duan et al. 2021): 4,096 cells, 3,256 skeletons, seven tasks.

A string such as ``64-41414-1_02_333`` has the channels after the stem, a digit a layer
(1 plain, 2 doubles the channels, 3 halves height and width, 4 both), and the cell: the
operations of edges 0→1; 0→2, 1→2; 0→3, 1→3, 2→3. A skeleton ends in ``basic``: two
residual blocks a layer.

Class_scene, class_object, room_layout (nine real numbers) and jigsaw (nine tiles of an
image, see `zcbench.networks.transnas.tiles`) are whole. Of segmentsemantic, normal and
autoencoder the encoder alone is built, with its features averaged over the maps: it has
no loss.
"""

from __future__ import annotations

import itertools
import re
from collections.abc import Iterable, Sequence
from functools import cached_property, partial
from typing import TYPE_CHECKING

from zcbench.networks.cell_graph import Cell, function_of
from zcbench.spaces.base import SpaceBase
from zcbench.spaces.cell import CellSpace
from zcbench.types import Architecture, Task

if TYPE_CHECKING:
    from torch import nn

    from zcbench.networks.stacked import StackedNetwork
    from zcbench.networks.transnas import Block, Encoder

_SHAPE = (3, 256, 256)
_ENCODER = "encoder alone"
TASKS = {
    task.name: task
    for task in (
        Task("class_scene", _SHAPE, 63),
        Task("class_object", _SHAPE, 100),
        Task("room_layout", _SHAPE, 9, "mse", "negative_loss"),
        Task("jigsaw", _SHAPE, 1000),
        Task("segmentsemantic", _SHAPE, 0, "none", part=_ENCODER),
        Task("normal", _SHAPE, 0, "none", "ssim", _ENCODER),
        Task("autoencoder", _SHAPE, 0, "none", "ssim", _ENCODER),
    )
}
_CODE = "41414"
"""A digit a layer, the same for all cells."""
_MICRO = re.compile(f"64-{_CODE}-([0-3])_([0-3])([0-3])_([0-3])([0-3])([0-3])")


class TransNASMicro(CellSpace):
    """TransNAS-Bench-101: cells of 6 edges with 4 operations, seven tasks."""

    name = "transnas_micro"
    tasks = TASKS
    operations = ("none", "skip_connect", "nor_conv_1x1", "nor_conv_3x3")
    n_nodes = 4
    _form = "One has six digits 0 to 3, as 64-41414-1_02_333."

    def cell(self, spec: str) -> tuple[str, ...]:
        """The operations of an architecture string, in string order.

        Raises:
            DataError: the string is not an architecture of this space.
        """
        match = _MICRO.fullmatch(spec)
        if match is None:
            raise self._refusal(spec)
        return tuple(self.operations[int(digit)] for digit in match.groups())

    def function_class(self, arch: Architecture) -> str:
        """Equal for cells that compute the same: see `function_of`.

        Where a cell changes shape, an identity that leaves its input is an operation.
        """
        cell = self.cell(arch.spec)
        changing = tuple(
            "reduce" if operation == "skip_connect" and edge in (0, 1, 3) else operation
            for edge, operation in enumerate(cell)
        )
        return " ".join(function_of(one, self.n_nodes) for one in (cell, changing))

    def _network(self, spec: str, task: Task) -> nn.Module:
        from zcbench.networks.cell import thin
        from zcbench.networks.transnas import MicroCell

        cell = self.cell(spec), self.n_nodes
        network = _network(_CODE, partial(MicroCell, *cell), task)
        network.thin = partial(thin, *cell)
        return network

    @property
    def stacked_tasks(self) -> list[str]:
        """All but jigsaw, whose layers are used nine times."""
        return [name for name in self.tasks if name != "jigsaw"]

    def _stacked(
        self, cells: Sequence[Cell], task: Task, seed: int, repeat: int
    ) -> StackedNetwork:
        from zcbench.networks.transnas import StackedMicro

        return StackedMicro(_CODE, cells, self.n_nodes, task, seed=seed, repeat=repeat)

    def _format(self, operations: Iterable[str]) -> str:
        a, b, c, d, e, f = (self.operations.index(one) for one in operations)
        return f"64-41414-{a}_{b}{c}_{d}{e}{f}"


class TransNASMacro(SpaceBase):
    """TransNAS-Bench-101: skeletons of 4 to 6 layers, seven tasks.

    All codes that double the channels once to three times and halve height and width
    once to four times, in the order of their strings.
    """

    name = "transnas_macro"
    tasks = TASKS
    _form = "One has four to six digits 1 to 4, as 64-12341-basic."

    def _index(self, spec: str) -> int:
        return self._indices[spec]

    def _network(self, spec: str, task: Task) -> nn.Module:
        from zcbench.networks.transnas import BasicBlock

        return _network(spec.split("-")[1], BasicBlock, task)

    @cached_property
    def _specs(self) -> tuple[str, ...]:
        codes = (
            "".join(digits)
            for layers in (4, 5, 6)
            for digits in itertools.product("1234", repeat=layers)
        )
        return tuple(sorted(f"64-{code}-basic" for code in codes if _allowed(code)))

    @cached_property
    def _indices(self) -> dict[str, int]:
        return {spec: index for index, spec in enumerate(self._specs)}


def _allowed(code: str) -> bool:
    doubled = sum(code.count(digit) for digit in "24")
    halved = sum(code.count(digit) for digit in "34")
    return 1 <= doubled <= 3 and 1 <= halved <= 4


def _network(code: str, block: Block, task: Task) -> Encoder:
    from zcbench.networks.transnas import Encoder, Jigsaw, Predictor

    if task.loss == "none":
        return Encoder(code, block, task)
    return (Jigsaw if task.name == "jigsaw" else Predictor)(code, block, task)
