"""Networks made of cells, after the NAS-Bench-201 skeleton (Dong & Yang 2020).

State-dict names are the benchmark's, so that its trained checkpoints load. Two things
are done once that the benchmark's own code repeats, without changing any value or any
gradient that reaches an output:

- a node's ReLU is computed once for all the convolutions that read it. The module
  says in `multiplicity` how many ReLUs of the published network it stands for;
- operations whose result reaches no output run without gradients: nothing can flow
  back to them. They do run, because some proxies look at every operation.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence

import torch
from torch import Tensor, nn

from zcbench.networks.cell_graph import Cell, edges_of, reachable
from zcbench.networks.initialise import Conv2d, Linear
from zcbench.types import Task

_KERNELS = {"nor_conv_1x1": 1, "nor_conv_3x3": 3}


class SharedReLU(nn.ReLU):
    """One ReLU that stands for several with the same input.

    Args:
        multiplicity: how many ReLUs of the published network it stands for.
    """

    def __init__(self, multiplicity: int) -> None:
        super().__init__()
        self.multiplicity = multiplicity


class AveragePool(nn.AvgPool2d):
    """Mean over 3×3 pixels, which the published network wraps in a module."""

    published_modules = 2


class Rectified(nn.Module):
    """An operation on what a ReLU gives, which its node computes once for all."""


class ConvBN(Rectified):
    """Convolution and BatchNorm under the published names ``op.1`` and ``op.2``.

    Attributes:
        published_modules: how many modules of the published network give its output:
            ``op`` and what holds it.
    """

    published_modules = 2

    def __init__(self, c_in: int, c_out: int, kernel: int, stride: int = 1) -> None:
        super().__init__()
        conv = Conv2d(c_in, c_out, kernel, stride, kernel // 2, bias=False)
        self.op = nn.ModuleDict({"1": conv, "2": nn.BatchNorm2d(c_out)})

    def forward(self, rectified: Tensor) -> Tensor:
        """[N, C_in, H, W] after its ReLU → [N, C_out, H / stride, W / stride]."""
        out: Tensor = self.op["2"](self.op["1"](rectified))
        return out


class CellModule(nn.Module):
    """One cell: each node is the sum of its incoming edges.

    Args:
        cell: the operations in string order.
        n_nodes: number of nodes.
        c_in: channels of the first node.
        c_out: channels of all others.
        stride: of the edges that leave the first node.
    """

    def __init__(
        self, cell: Cell, n_nodes: int, c_in: int, c_out: int, stride: int = 1
    ) -> None:
        super().__init__()
        self.c_out, self.stride = c_out, stride
        self.edges = edges_of(n_nodes)
        self.operations = cell
        self.n_nodes = n_nodes
        self.useful_nodes = reachable(cell, n_nodes)[1]
        self.layers = nn.ModuleList(
            self.layer(operation, c_out if source else c_in, 1 if source else stride)
            for (source, _), operation in zip(self.edges, cell, strict=True)
        )
        readers = [0] * n_nodes
        for (source, _), layer in zip(self.edges, self.layers, strict=True):
            readers[source] += isinstance(layer, Rectified)
        self.relus = nn.ModuleDict(
            {str(n): SharedReLU(count) for n, count in enumerate(readers) if count}
        )

    def layer(self, operation: str, c_in: int, stride: int) -> nn.Module:
        """What an edge does."""
        if operation in _KERNELS:
            return ConvBN(c_in, self.c_out, _KERNELS[operation], stride)
        if operation == "avg_pool_3x3":
            return AveragePool(3, stride=1, padding=1, count_include_pad=False)
        return nn.Identity()

    def forward(self, x: Tensor) -> Tensor:
        """[N, C_in, H, W] → value of the last node, [N, C_out, H', W']."""
        nodes = [x]
        rectified: dict[int, Tensor] = {}
        for target in range(1, self.n_nodes):
            useful = target in self.useful_nodes
            with torch.set_grad_enabled(torch.is_grad_enabled() and useful):
                terms = self._incoming(target, nodes, rectified)
                nodes.append(_sum(terms) if terms else self._zeros(x))
        return nodes[-1]

    def _zeros(self, x: Tensor) -> Tensor:
        """Value of a node that no edge enters."""
        size = (-(-side // self.stride) for side in x.shape[2:])
        return x.new_zeros(len(x), self.c_out, *size)

    def _incoming(
        self, target: int, nodes: list[Tensor], rectified: dict[int, Tensor]
    ) -> list[Tensor]:
        terms = []
        for (source, to), operation, layer in zip(
            self.edges, self.operations, self.layers, strict=True
        ):
            if to != target or operation == "none":
                continue
            value = nodes[source]
            if isinstance(layer, Rectified):
                if source not in rectified:
                    # With gradients, whichever edge asks first: a later one may need
                    # them.
                    with torch.set_grad_enabled(value.requires_grad):
                        rectified[source] = self.relus[str(source)](value)
                value = rectified[source]
            terms.append(layer(value))
        return terms


def _sum(terms: list[Tensor]) -> Tensor:
    total = terms[0]
    for term in terms[1:]:
        total = total + term
    return total


class ResidualBlock(nn.Module):
    """Two ReLU-convolution-BatchNorm of 3×3, the first with stride, and a shortcut."""

    def __init__(self, c_in: int, c_out: int, stride: int = 2) -> None:
        super().__init__()
        self.relu_a = nn.ReLU()
        self.conv_a = ConvBN(c_in, c_out, 3, stride)
        self.relu_b = nn.ReLU()
        self.conv_b = ConvBN(c_out, c_out, 3)
        self.downsample = self.shortcut(c_in, c_out, stride)

    def shortcut(self, c_in: int, c_out: int, stride: int) -> nn.Module:
        """Pooled, and a 1×1 convolution."""
        return nn.Sequential(nn.AvgPool2d(stride), Conv2d(c_in, c_out, 1, bias=False))

    def forward(self, x: Tensor) -> Tensor:
        """[N, C_in, H, W] → [N, C_out, H / stride, W / stride]."""
        inner = self.conv_a(self.relu_a(x))
        out: Tensor = self.downsample(x) + self.conv_b(self.relu_b(inner))
        return out


class Skeleton(nn.Module):
    """Stem, cells, classifier, under the published names.

    Args:
        c_in: channels of the stem's output.
        cells: the cells with the residual blocks between them.
        c_out: channels of the last one's output.
        task: gives the input channels and the number of classes.
    """

    linear_outside_layers = True
    """Sums, pooling and flattening: see `zcbench.evidence.hessian_product`."""

    def __init__(
        self, c_in: int, cells: Iterable[nn.Module], c_out: int, task: Task
    ) -> None:
        super().__init__()
        self.stem = nn.Sequential(
            Conv2d(task.input_shape[0], c_in, 3, padding=1, bias=False),
            nn.BatchNorm2d(c_in),
        )
        self.cells = nn.ModuleList(cells)
        self.lastact = nn.Sequential(nn.BatchNorm2d(c_out), nn.ReLU())
        self.global_pooling = nn.AdaptiveAvgPool2d(1)
        self.classifier = Linear(c_out, task.n_classes)

    def forward(self, x: Tensor) -> Tensor:
        """[N, C, H, W] images → [N, n_classes] logits."""
        x = self.stem(x)
        for cell in self.cells:
            x = cell(x)
        x = self.global_pooling(self.lastact(x)).flatten(1)
        logits: Tensor = self.classifier(x)
        return logits


def in_stages(
    stages: Sequence[int], depth: int, make: Callable[[int], nn.Module]
) -> list[nn.Module]:
    """Cells with a residual block between stages.

    Args:
        stages: channels of each.
        depth: cells in each.
        make: makes a cell of so many channels.
    """
    cells: list[nn.Module] = []
    for stage, channels in enumerate(stages):
        if stage:
            cells.append(ResidualBlock(stages[stage - 1], channels))
        cells += [make(channels) for _ in range(depth)]
    return cells


def thin(cell: Cell, n_nodes: int) -> nn.Module:
    """One cell of one channel without a stem: [N, 1, H, W] → the same."""
    module = CellModule(cell, n_nodes, 1, 1)
    return nn.Sequential(module, nn.BatchNorm2d(1), nn.ReLU())


class CellNetwork(Skeleton):
    """Stages of equal cells with residual blocks between.

    Args:
        cell: the operations in string order.
        n_nodes: number of nodes of a cell.
        task: gives the input channels and the number of classes.
        stages: channels of each stage.
        depth: cells in each stage.
    """

    def __init__(
        self,
        cell: Cell,
        n_nodes: int,
        task: Task,
        stages: tuple[int, ...],
        depth: int,
    ) -> None:
        cells = in_stages(stages, depth, lambda c: CellModule(cell, n_nodes, c, c))
        super().__init__(stages[0], cells, stages[-1], task)
        self._cell = cell, n_nodes

    def thin(self) -> nn.Module:
        """What TE-NAS counts linear regions in; a network without has none."""
        return thin(*self._cell)
