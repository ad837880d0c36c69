"""Networks of TransNAS-Bench-101 (Duan et al. 2021): layers of two cells or blocks.

The head is global average pooling and a linear layer; the decoders of the dense tasks
are not built. As in `zcbench.networks.cell`, a node's ReLU is computed once for all
that read it. State-dict names are our own: no trained weights are published.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from zcbench.networks.cell import CellModule, Rectified, ResidualBlock
from zcbench.networks.cell_graph import Cell
from zcbench.networks.cell_stack import StackedCell, StackedThin, Weights
from zcbench.networks.initialise import Conv2d, Linear
from zcbench.networks.stacked import Rules, StackedNetwork
from zcbench.networks.stacked_layers import StackedBatchNorm, StackedReLU
from zcbench.types import Task

Block = Callable[[int, int, int], nn.Module]
"""(channels of the input, of the output, stride) → a cell or residual block."""

BASE = 64
"""Channels after the stem."""

_SIDE = 3
_ROW = range(_SIDE)
"""Tiles in a row and in a column of a jigsaw."""


class FactorizedReduce(Rectified):
    """An identity that changes shape: two 1×1 convolutions side by side, BatchNorm.

    The second reads the maps moved by one pixel, zero below and right.
    """

    def __init__(self, c_in: int, c_out: int, stride: int) -> None:
        super().__init__()
        self.convs = nn.ModuleList(
            Conv2d(c_in, c_out // 2, 1, stride, bias=False) for _ in range(2)
        )
        self.bn = nn.BatchNorm2d(c_out)

    def forward(self, rectified: Tensor) -> Tensor:
        """[N, C_in, H, W] after its ReLU → [N, C_out, H / stride, W / stride]."""
        here, moved = self.convs
        halves = [here(rectified), moved(F.pad(rectified, (-1, 1, -1, 1)))]
        out: Tensor = self.bn(torch.cat(halves, dim=1))
        return out


class MicroCell(CellModule):
    """A cell, whose first node's edges change channels and stride."""

    def layer(self, operation: str, c_in: int, stride: int) -> nn.Module:
        """What an edge does."""
        if operation == "skip_connect" and (stride != 1 or c_in != self.c_out):
            return FactorizedReduce(c_in, self.c_out, stride)
        return super().layer(operation, c_in, stride)


class BasicBlock(ResidualBlock):
    """The same, with a shortcut of 1×1 and BatchNorm where the shape changes."""

    def shortcut(self, c_in: int, c_out: int, stride: int) -> nn.Module:
        """The input itself, or a 1×1 convolution and BatchNorm."""
        if stride == 1 and c_in == c_out:
            return nn.Identity()
        return nn.Sequential(
            Conv2d(c_in, c_out, 1, stride, bias=False), nn.BatchNorm2d(c_out)
        )


def shapes_of(code: str) -> list[list[tuple[int, int, int]]]:
    """(channels of the input, of the output, stride) of both blocks of each layer.

    Args:
        code: a digit a layer: 1 plain, 2 doubles the channels, 3 halves height and
            width, 4 does both; a layer's first block does it.
    """
    shapes, channels = [], BASE
    for digit in code:
        c_in, channels = channels, channels * (2 if digit in "24" else 1)
        first = c_in, channels, 2 if digit in "34" else 1
        shapes.append([first, (channels, channels, 1)])
    return shapes


class Encoder(nn.Module):
    """Stem, and layers of two blocks each.

    Args:
        code: see `shapes_of`.
        block: makes the blocks.
        task: gives the input channels.
    """

    linear_outside_layers = True
    """Sums, pooling, padding: see `zcbench.evidence.hessian_product`."""

    thin: Callable[[], nn.Module] | None = None
    """Makes what TE-NAS counts linear regions in, where there is such."""

    def __init__(self, code: str, block: Block, task: Task) -> None:
        super().__init__()
        self.stem = nn.Sequential(
            Conv2d(task.input_shape[0], BASE // 2, 3, 2, 1, bias=False),
            nn.BatchNorm2d(BASE // 2),
            nn.ReLU(),
            Conv2d(BASE // 2, BASE, 3, 2, 1, bias=False),
            nn.BatchNorm2d(BASE),
        )
        shapes = shapes_of(code)
        self.layers = nn.Sequential(
            *(nn.Sequential(*(block(*shape) for shape in pair)) for pair in shapes)
        )
        self.channels = shapes[-1][-1][1]
        self.global_pooling = nn.AdaptiveAvgPool2d(1)

    def forward(self, x: Tensor) -> Tensor:
        """[N, C, H, W] images → features [N, channels]."""
        features: Tensor = self.global_pooling(self.layers(self.stem(x)))
        return features.flatten(1)


class Predictor(Encoder):
    """An encoder and a linear layer, for classes or real numbers."""

    def __init__(self, code: str, block: Block, task: Task) -> None:
        super().__init__(code, block, task)
        self.head = Linear(self.channels, task.n_classes)

    def forward(self, x: Tensor) -> Tensor:
        """[N, C, H, W] images → outputs [N, n_classes]."""
        outputs: Tensor = self.head(super().forward(x))
        return outputs


class Jigsaw(Encoder):
    """One encoder for nine tiles of an image, and a linear layer on all their features.

    Each tile has BatchNorm statistics of its own, as in the benchmark's loop.
    """

    linear_outside_layers = False  # every layer but the last is used nine times
    plain_layers = True

    def __init__(self, code: str, block: Block, task: Task) -> None:
        super().__init__(code, block, task)
        self.head = Linear(_SIDE**2 * self.channels, task.n_classes)

    def forward(self, x: Tensor) -> Tensor:
        """[N, C, H, W] images → logits [N, n_classes]."""
        features = [super(Jigsaw, self).forward(tile) for tile in tiles(x)]
        logits: Tensor = self.head(torch.cat(features, dim=1))
        return logits


def tiles(x: Tensor) -> list[Tensor]:
    """The nine tiles of images: [N, C, H, W] → nine of [N, C, H // 4, W // 4].

    An image is cut into 3×3 fields, and a tile is the middle of one: 64 pixels of 85 if
    the image has 256. (In training tiles are cropped at random, and shuffled.)
    """
    spans = []
    for size in x.shape[2:]:
        field, side = size // _SIDE, size // 4
        start = (field - side) // 2
        spans.append([slice(start + i * field, start + i * field + side) for i in _ROW])
    return [x[:, :, rows, columns] for rows in spans[0] for columns in spans[1]]


class StackedMicro(StackedNetwork):
    """Several `Predictor` made of cells, of one task at one initialisation.

    Args:
        code: see `shapes_of`.
        cells: for each network, the operations in string order.
        n_nodes: number of nodes of a cell.
        task: gives the input channels and the number of classes.
        seed: seed of the run.
        repeat: which initialisation, from 0.
    """

    def __init__(
        self,
        code: str,
        cells: Sequence[Cell],
        n_nodes: int,
        task: Task,
        *,
        seed: int,
        repeat: int,
    ) -> None:
        super().__init__(len(cells), task.n_classes)
        weights, all_of = Weights(seed, repeat), range(len(cells))
        c_in, half = task.input_shape[0], BASE // 2
        self.first = weights.layer("stem.0", all_of, (half, c_in, 3, 3), stride=2)
        self.first_norm = StackedBatchNorm(all_of, half)
        self.relu = StackedReLU(all_of)
        self.second = weights.layer("stem.3", all_of, (BASE, half, 3, 3), stride=2)
        self.second_norm = StackedBatchNorm(all_of, BASE)
        shapes = shapes_of(code)
        self.cells = nn.ModuleList(
            StackedCell(weights, f"layers.{i}.{j}", cells, n_nodes, *shape)
            for i, pair in enumerate(shapes)
            for j, shape in enumerate(pair)
        )
        shape = task.n_classes, shapes[-1][-1][1]
        self.last = weights.layer("head", all_of, shape, bias=True)
        self._thin = cells, n_nodes, seed, repeat

    def forward(self, images: Tensor, rules: Rules) -> Tensor:
        """[N, P·C, H, W] images → [N, P, n_classes] logits."""
        everyone = range(self.n_networks)
        x = rules.batchnorm(self.first_norm, rules.layer(self.first, images))
        x = rules.layer(self.second, rules.relu(self.relu, x))
        x = rules.batchnorm(self.second_norm, x)
        x = rules.output(x, everyone, "container")
        for number, cell in enumerate(self.cells):
            x = rules.block(cell, number, x)
            if number % 2:  # the second of its layer
                x = rules.output(x, everyone, "container")
        x = rules.output(x, everyone, "container")
        return self.head(x, self.last, rules)

    def thin(self) -> StackedNetwork:
        """The thin version of each."""
        return StackedThin(*self._thin)
