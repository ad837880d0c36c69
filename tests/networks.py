"""The official NAS-Bench-201 network, written out in full: the test suite's own copy.

Independent of `zcbench.spaces`: every operation of the string is a module of its own,
a `none` edge multiplies by zero, every ReLU is computed for itself, nothing is shared
and nothing is trimmed. Slow and plain on purpose; state-dict names are the benchmark's.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

OPERATIONS = (
    "none",
    "skip_connect",
    "nor_conv_1x1",
    "nor_conv_3x3",
    "avg_pool_3x3",
)


def operations_of(spec: str) -> list[list[tuple[str, int]]]:
    """Incoming edges of nodes 1, 2 and 3 as (operation, source node).

    >>> operations_of("|none~0|+|none~0|skip_connect~1|+|none~0|none~1|none~2|")[1]
    [('none', 0), ('skip_connect', 1)]
    """
    nodes = []
    for part in spec.split("+"):
        edges = []
        for edge in part.strip("|").split("|"):
            operation, _, source = edge.partition("~")
            edges.append((operation, int(source)))
        nodes.append(edges)
    return nodes


def spec_of(*names: str) -> str:
    """Architecture string of six operations in string order."""
    a, b, c, d, e, f = names
    return f"|{a}~0|+|{b}~0|{c}~1|+|{d}~0|{e}~1|{f}~2|"


class Zero(nn.Module):
    """The `none` operation: multiplies by zero."""

    def forward(self, x: Tensor) -> Tensor:
        return x * 0.0


class ReLUConvBN(nn.Module):
    """ReLU, convolution without bias, affine BatchNorm; `op.1` is the convolution."""

    def __init__(self, c_in: int, c_out: int, kernel: int, stride: int = 1) -> None:
        super().__init__()
        self.op = nn.Sequential(
            nn.ReLU(inplace=False),
            nn.Conv2d(c_in, c_out, kernel, stride, padding=kernel // 2, bias=False),
            nn.BatchNorm2d(c_out),
        )

    def forward(self, x: Tensor) -> Tensor:
        return self.op(x)


class AveragePool(nn.Module):
    """3×3 mean over the pixels that exist (the border divides by 6 or 4)."""

    def __init__(self) -> None:
        super().__init__()
        self.op = nn.AvgPool2d(3, stride=1, padding=1, count_include_pad=False)

    def forward(self, x: Tensor) -> Tensor:
        return self.op(x)


def make_operation(name: str, channels: int) -> nn.Module:
    if name == "none":
        return Zero()
    if name == "skip_connect":
        return nn.Identity()
    if name == "nor_conv_1x1":
        return ReLUConvBN(channels, channels, 1)
    if name == "nor_conv_3x3":
        return ReLUConvBN(channels, channels, 3)
    if name == "avg_pool_3x3":
        return AveragePool()
    raise ValueError(name)


class InferCell(nn.Module):
    """One cell: node i is the sum of its edges, the output is node 3."""

    def __init__(self, spec: str, channels: int) -> None:
        super().__init__()
        self.layers = nn.ModuleList()
        self.incoming: list[list[tuple[int, int]]] = []  # per node: (layer, source)
        for edges in operations_of(spec):
            node = []
            for operation, source in edges:
                node.append((len(self.layers), source))
                self.layers.append(make_operation(operation, channels))
            self.incoming.append(node)

    def forward(self, x: Tensor) -> Tensor:
        nodes = [x]
        for incoming in self.incoming:
            terms = [self.layers[layer](nodes[source]) for layer, source in incoming]
            total = terms[0]
            for term in terms[1:]:
                total = total + term
            nodes.append(total)
        return nodes[-1]


class ResidualBlock(nn.Module):
    """Halves the resolution, changes the width; the shortcut has no BatchNorm."""

    def __init__(self, c_in: int, c_out: int) -> None:
        super().__init__()
        self.conv_a = ReLUConvBN(c_in, c_out, 3, stride=2)
        self.conv_b = ReLUConvBN(c_out, c_out, 3)
        self.downsample = nn.Sequential(
            nn.AvgPool2d(2, stride=2), nn.Conv2d(c_in, c_out, 1, bias=False)
        )

    def forward(self, x: Tensor) -> Tensor:
        return self.downsample(x) + self.conv_b(self.conv_a(x))


class TinyNetwork(nn.Module):
    """NAS-Bench-201's network around a cell; the official one has C = 16, N = 5.

    Args:
        spec: architecture string.
        n_classes: width of the classifier.
        channels: C, the width of the stem.
        cells: N, cells per stage.
    """

    def __init__(
        self, spec: str, n_classes: int, channels: int = 16, cells: int = 5
    ) -> None:
        super().__init__()
        self.stem = nn.Sequential(
            nn.Conv2d(3, channels, 3, padding=1, bias=False), nn.BatchNorm2d(channels)
        )
        self.cells = nn.ModuleList()
        width = channels
        self.spec = spec
        for stage in range(3):
            if stage:
                self.cells.append(ResidualBlock(width, 2 * width))
                width *= 2
            for _ in range(cells):
                self.cells.append(InferCell(spec, width))
        self.lastact = nn.Sequential(nn.BatchNorm2d(width), nn.ReLU(inplace=True))
        self.global_pooling = nn.AdaptiveAvgPool2d(1)
        self.classifier = nn.Linear(width, n_classes)

    def thin(self) -> nn.Module:
        """TE-NAS' network to count linear regions in: one cell of one channel."""
        return nn.Sequential(InferCell(self.spec, 1), nn.BatchNorm2d(1), nn.ReLU())

    def forward(self, x: Tensor) -> Tensor:
        x = self.stem(x)
        for cell in self.cells:
            x = cell(x)
        x = self.global_pooling(self.lastact(x))
        return self.classifier(torch.flatten(x, 1))
