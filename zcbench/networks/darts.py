"""Networks of two DARTS cells (Liu et al. 2019), as NASLib trains them.

Eight cells, of which the third and the sixth halve the image and double the channels.
As there, and unlike in the DARTS paper's last training, BatchNorm inside of a cell has
no weights, and follows pooling too.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from zcbench.networks.initialise import Conv2d, Linear
from zcbench.types import Task

Pair = tuple[int, int]
"""(input node, operation)."""

_CHANNELS, _STEM, _NODES = 16, 48, 4
"""Channels of a node before the first reduction, of the stem; nodes of a cell."""
_N_CELLS, _REDUCTIONS = 8, (2, 5)


def _relu_conv_bn(
    c_in: int, c_out: int, kernel: int = 1, stride: int = 1, dilation: int = 1
) -> list[nn.Module]:
    """A 1×1 convolution, after a depthwise one where the kernel is larger."""
    padding = dilation * (kernel // 2)
    shape = c_in, c_in, kernel, stride, padding, dilation, c_in
    depthwise = [Conv2d(*shape, bias=False)] if kernel > 1 else []
    pointwise = Conv2d(c_in, c_out, 1, bias=False)
    norm = nn.BatchNorm2d(c_out, affine=kernel == 1)
    return [nn.ReLU(), *depthwise, pointwise, norm]


class FactorizedReduce(nn.Module):
    """Half of the channels see every other pixel, half the pixels between."""

    def __init__(self, c_in: int, c_out: int, *, affine: bool) -> None:
        super().__init__()
        self.relu = nn.ReLU()
        self.conv_1 = Conv2d(c_in, c_out // 2, 1, 2, bias=False)
        self.conv_2 = Conv2d(c_in, c_out // 2, 1, 2, bias=False)
        self.bn = nn.BatchNorm2d(c_out, affine=affine)

    def forward(self, x: Tensor) -> Tensor:
        """[N, C_in, H, W] → [N, C_out, H / 2, W / 2]."""
        x = self.relu(x)
        shifted = F.pad(x[:, :, 1:, 1:], (0, 1, 0, 1))
        out: Tensor = self.bn(torch.cat([self.conv_1(x), self.conv_2(shifted)], 1))
        return out


def operation_of(number: int, channels: int, stride: int) -> nn.Module:
    """Operation on an edge.

    Args:
        number: 0 max and 1 average pooling 3×3, 2 identity, 3 and 4 separable
            convolution 3×3 and 5×5, 5 and 6 the same dilated, once instead of twice.
        channels: of input and output.
        stride: 1, or 2 to halve the image.
    """
    norm = nn.BatchNorm2d(channels, affine=False)
    if number == 0:
        return nn.Sequential(nn.MaxPool2d(3, stride, 1), norm)
    if number == 1:
        pool = nn.AvgPool2d(3, stride, 1, count_include_pad=False)
        return nn.Sequential(pool, norm)
    if number == 2:
        reduce = FactorizedReduce(channels, channels, affine=False)
        return nn.Identity() if stride == 1 else reduce
    kernel = 3 if number % 2 else 5
    if number > 4:
        return nn.Sequential(*_relu_conv_bn(channels, channels, kernel, stride, 2))
    first = _relu_conv_bn(channels, channels, kernel, stride)
    return nn.Sequential(*first, *_relu_conv_bn(channels, channels, kernel))


class Cell(nn.Module):
    """Four nodes that each add up two operations; the output concatenates them.

    Args:
        pairs: two for each node; inputs 0 and 1 are the cells before, 2 to 4 nodes.
        c_before: channels of the cell before last.
        c_last: channels of the last cell.
        channels: of a node.
        reduces: whether it halves the image.
        halves: whether the cell before last has an image twice as large as the last.
    """

    def __init__(
        self,
        pairs: Sequence[Pair],
        c_before: int,
        c_last: int,
        channels: int,
        *,
        reduces: bool,
        halves: bool,
    ) -> None:
        super().__init__()
        self.inputs = [source for source, _ in pairs]
        self.before: nn.Module = nn.Sequential(*_relu_conv_bn(c_before, channels))
        if halves:
            self.before = FactorizedReduce(c_before, channels, affine=True)
        self.last = nn.Sequential(*_relu_conv_bn(c_last, channels))
        self.operations = nn.ModuleList(
            operation_of(number, channels, 2 if reduces and source < 2 else 1)
            for source, number in pairs
        )

    def forward(self, before: Tensor, last: Tensor) -> Tensor:
        """[N, C, H, W] of the two cells before → [N, 4 · channels, H′, W′]."""
        values = [self.before(before), self.last(last)]
        for first in range(0, 2 * _NODES, 2):
            parts = [
                self.operations[place](values[self.inputs[place]])
                for place in (first, first + 1)
            ]
            values.append(parts[0] + parts[1])
        return torch.cat(values[2:], 1)


class DartsNetwork(nn.Module):
    """Stem, eight cells, classifier.

    Args:
        normal: (input node, operation) of a normal cell, two for each node.
        reduction: the same of a cell that reduces.
        task: gives the input channels and the number of classes.
    """

    plain_layers = True
    """See `zcbench.evidence.subject.promises_plain`."""

    def __init__(
        self, normal: Sequence[Pair], reduction: Sequence[Pair], task: Task
    ) -> None:
        super().__init__()
        self.stem = nn.Sequential(
            Conv2d(task.input_shape[0], _STEM, 3, padding=1, bias=False),
            nn.BatchNorm2d(_STEM),
        )
        cells: list[nn.Module] = []
        c_before = c_last = _STEM
        channels = _CHANNELS
        for place in range(_N_CELLS):
            reduces, halves = place in _REDUCTIONS, place - 1 in _REDUCTIONS
            channels *= 2 if reduces else 1
            pairs, shape = (
                reduction if reduces else normal,
                (c_before, c_last, channels),
            )
            cells.append(Cell(pairs, *shape, reduces=reduces, halves=halves))
            c_before, c_last = c_last, _NODES * channels
        self.cells = nn.ModuleList(cells)
        self.pool = nn.AdaptiveAvgPool2d(1)
        self.classifier = Linear(c_last, task.n_classes)

    def forward(self, x: Tensor) -> Tensor:
        """[N, C, H, W] images → [N, n_classes] logits."""
        before = last = self.stem(x)
        for cell in self.cells:
            before, last = last, cell(before, last)
        logits: Tensor = self.classifier(self.pool(last).flatten(1))
        return logits
