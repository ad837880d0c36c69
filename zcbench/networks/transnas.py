"""Networks of TransNAS-Bench-101 (Duan et al. 2021): layers of two cells or blocks.

The head is global average pooling and a linear layer; the decoders of the dense tasks
are not built. As in `zcbench.networks.cell`, a node's ReLU is computed once for all
that read it. State-dict names are our own: no trained weights are published.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from zcbench.networks.cell import CellModule, ConvBN, Rectified
from zcbench.networks.initialise import Conv2d, Linear
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


class BasicBlock(nn.Module):
    """Two ReLU-convolution-BatchNorm of 3×3 and a shortcut, 1×1 where shape changes."""

    def __init__(self, c_in: int, c_out: int, stride: int) -> None:
        super().__init__()
        self.relu_a, self.relu_b = nn.ReLU(), nn.ReLU()
        self.conv_a = ConvBN(c_in, c_out, 3, stride)
        self.conv_b = ConvBN(c_out, c_out, 3)
        self.downsample: nn.Module = nn.Identity()
        if stride != 1 or c_in != c_out:
            self.downsample = nn.Sequential(
                Conv2d(c_in, c_out, 1, stride, bias=False), nn.BatchNorm2d(c_out)
            )

    def forward(self, x: Tensor) -> Tensor:
        """[N, C_in, H, W] → [N, C_out, H / stride, W / stride]."""
        inner = self.conv_a(self.relu_a(x))
        out: Tensor = self.downsample(x) + self.conv_b(self.relu_b(inner))
        return out


class Encoder(nn.Module):
    """Stem, and layers of two blocks each.

    Args:
        code: a digit a layer: 1 plain, 2 doubles the channels, 3 halves height and
            width, 4 does both; a layer's first block does it.
        block: makes the blocks.
        task: gives the input channels.
    """

    linear_outside_layers = True
    """Sums, pooling, padding: see `zcbench.evidence.hessian_product`."""

    def __init__(self, code: str, block: Block, task: Task) -> None:
        super().__init__()
        self.stem = nn.Sequential(
            Conv2d(task.input_shape[0], BASE // 2, 3, 2, 1, bias=False),
            nn.BatchNorm2d(BASE // 2),
            nn.ReLU(),
            Conv2d(BASE // 2, BASE, 3, 2, 1, bias=False),
            nn.BatchNorm2d(BASE),
        )
        self.layers = nn.Sequential()
        self.channels = BASE
        for digit in code:
            c_in, self.channels = self.channels, self.channels * (1 + (digit in "24"))
            first = block(c_in, self.channels, 1 + (digit in "34"))
            second = block(self.channels, self.channels, 1)
            self.layers.append(nn.Sequential(first, second))
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
