"""Networks of NAS-Bench-101 (Ying et al. 2019): stem, three stacks of three cells."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from zcbench.networks.initialise import Conv2d, Linear
from zcbench.types import Task

_STEM, _STACKS, _CELLS = 128, 3, 3
"""Channels after the stem, stacks of cells, cells of a stack."""

_KERNELS = {3: 1, 4: 3}
"""Operation → kernel of its convolution."""

Matrix = NDArray[np.bool_]


def channels_of(matrix: Matrix, channels: int) -> list[int]:
    """Channels of each vertex, of a cell that has all its vertices on paths.

    The output's are divided among those it concatenates, the first of which have one
    more where that does not come out even; another vertex has as many as the largest
    that it feeds.

    Args:
        matrix: upper triangular [V, V].
        channels: of the output.
    """
    number = len(matrix)
    of = [0] * (number - 1) + [channels]
    last = [v for v in range(1, number - 1) if matrix[v, -1]]
    for place, vertex in enumerate(last):
        of[vertex] = channels // len(last) + (place < channels % len(last))
    for vertex in reversed(range(1, number - 1)):
        if not matrix[vertex, -1]:
            of[vertex] = max(
                c for c, fed in zip(of, matrix[vertex], strict=True) if fed
            )
    return of


def _conv_bn_relu(c_in: int, c_out: int, kernel: int) -> nn.Sequential:
    conv = Conv2d(c_in, c_out, kernel, padding=kernel // 2, bias=False)
    return nn.Sequential(conv, nn.BatchNorm2d(c_out), nn.ReLU())


class Cell(nn.Module):
    """Vertices that add up what feeds them; the output concatenates, then adds.

    Args:
        matrix: upper triangular [V, V], all vertices on paths.
        operations: of each vertex.
        c_in: channels of the input.
        c_out: channels of the output.
    """

    def __init__(
        self, matrix: Matrix, operations: Sequence[int], c_in: int, c_out: int
    ) -> None:
        super().__init__()
        self.matrix, self.channels = matrix, channels_of(matrix, c_out)
        inner = range(1, len(matrix) - 1)
        self.operations = nn.ModuleDict()
        for vertex in inner:
            c, operation = self.channels[vertex], operations[vertex]
            self.operations[str(vertex)] = (
                _conv_bn_relu(c, c, _KERNELS[operation])
                if operation in _KERNELS
                else nn.MaxPool2d(3, stride=1, padding=1)
            )
        self.projections = nn.ModuleDict(
            {
                str(vertex): _conv_bn_relu(c_in, self.channels[vertex], 1)
                for vertex in (*inner, len(matrix) - 1)
                if matrix[0, vertex]
            }
        )

    def forward(self, x: Tensor) -> Tensor:
        """[N, C_in, H, W] → [N, C_out, H, W]."""
        last = len(self.matrix) - 1
        values = [x]
        for vertex in range(1, last):
            c = self.channels[vertex]
            fed = [values[s][:, :c] for s in range(1, vertex) if self.matrix[s, vertex]]
            value = torch.stack([*fed, *self._projected(x, vertex)]).sum(0)
            values.append(self.operations[str(vertex)](value))
        joined = [values[s] for s in range(1, last) if self.matrix[s, last]]
        whole = [torch.cat(joined, 1)] if joined else []
        return torch.stack([*whole, *self._projected(x, last)]).sum(0)

    def _projected(self, x: Tensor, vertex: int) -> list[Tensor]:
        """The input as a vertex takes it, if it does."""
        name = str(vertex)
        return [self.projections[name](x)] if name in self.projections else []


class Network101(nn.Module):
    """Stem, cells with pooling between the stacks, classifier.

    Args:
        matrix: upper triangular [V, V], all vertices on paths.
        operations: of each vertex.
        task: gives the input channels and the number of classes.
    """

    plain_layers = True
    """See `zcbench.evidence.subject.promises_plain`."""

    def __init__(self, matrix: Matrix, operations: Sequence[int], task: Task) -> None:
        super().__init__()
        self._cell = matrix, operations
        self.stem = _conv_bn_relu(task.input_shape[0], _STEM, 3)
        layers: list[nn.Module] = []
        channels = _STEM
        for stack in range(_STACKS):
            wider = channels * (2 if stack else 1)
            layers += [nn.MaxPool2d(2)] if stack else []
            for cell in range(_CELLS):
                c_in = channels if cell == 0 else wider
                layers.append(Cell(matrix, operations, c_in, wider))
            channels = wider
        self.layers = nn.Sequential(*layers)
        self.pool = nn.AdaptiveAvgPool2d(1)
        self.classifier = Linear(channels, task.n_classes)

    def forward(self, x: Tensor) -> Tensor:
        """[N, C, H, W] images → [N, n_classes] logits."""
        x = self.pool(self.layers(self.stem(x)))
        logits: Tensor = self.classifier(x.flatten(1))
        return logits

    def thin(self) -> nn.Module:
        """One cell, [N, 1, H, W] → [N, C, H, W], of one channel for each vertex.

        TE-NAS counts linear regions in it; that of NAS-Bench-101 is ours. C is the
        number of vertices that the output concatenates, at least 1.
        """
        matrix, operations = self._cell
        return Cell(matrix, operations, 1, max(1, int(matrix[1:, -1].sum())))
