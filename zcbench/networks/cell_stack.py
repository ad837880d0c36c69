"""The networks of `cell_network`, many at once: see `zcbench.networks.stacked`."""

from __future__ import annotations

from collections.abc import Sequence
from math import prod
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.autograd.function import once_differentiable

from zcbench.networks.cell_graph import Cell, Role, edges_of, roles_of_edges
from zcbench.networks.initialise import drawn
from zcbench.networks.routing import add_up, take
from zcbench.networks.stacked import Rules, StackedNetwork
from zcbench.networks.stacked_layers import StackedBatchNorm, StackedLayer, StackedReLU
from zcbench.types import Task

_KERNELS = {"nor_conv_1x1": 1, "nor_conv_3x3": 3}


class Weights:
    """Layers by their published names, weights as `initialised` draws them."""

    def __init__(self, seed: int, repeat: int) -> None:
        self._identity = seed, repeat

    def layer(
        self,
        name: str,
        members: Sequence[int],
        shape: tuple[int, ...],
        *,
        stride: int = 1,
        bias: bool = False,
    ) -> StackedLayer:
        """A layer of some networks by the name of the one network's."""
        fan_in = prod(shape[1:])
        weight = drawn(*self._identity, f"{name}.weight", shape, fan_in)
        offset = None
        if bias:
            offset = drawn(*self._identity, f"{name}.bias", shape[:1], fan_in)
        return StackedLayer(name, members, weight, offset, stride)


class _ConvBN(nn.Module):
    """ReLU, convolution and BatchNorm of some networks."""

    def __init__(
        self,
        weights: Weights,
        name: str,
        members: Sequence[int],
        shape: tuple[int, ...],
        stride: int = 1,
    ) -> None:
        super().__init__()
        self.relu = StackedReLU(members)
        self.conv = weights.layer(f"{name}.op.1", members, shape, stride=stride)
        self.norm = StackedBatchNorm(members, shape[0])

    def forward(self, x: Tensor, rules: Rules) -> Tensor:
        x = rules.layer(self.conv, rules.relu(self.relu, x))
        out = rules.batchnorm(self.norm, x)
        return rules.output(out, self.norm.members, "container", 2)


class _AveragePool(torch.autograd.Function):
    """3×3 mean over the pixels that exist; its backward needs no map to be kept."""

    @staticmethod
    def forward(_ctx: Any, x: Tensor) -> Tensor:
        return F.avg_pool2d(x, 3, stride=1, padding=1, count_include_pad=False)

    @staticmethod
    @once_differentiable
    def backward(_ctx: Any, grad: Tensor) -> Tensor:
        like = grad  # of the input only the shape matters, and that is the output's
        grads: Tensor = torch.ops.aten.avg_pool2d_backward(
            grad, like, [3, 3], [1, 1], [1, 1], False, False, None
        )
        return grads


class _Reduce(nn.Module):
    """`zcbench.networks.transnas.FactorizedReduce` of some networks."""

    def __init__(
        self,
        weights: Weights,
        name: str,
        members: Sequence[int],
        shape: tuple[int, ...],
        stride: int,
    ) -> None:
        super().__init__()
        self.relu = StackedReLU(members)
        half = (shape[0] // 2, *shape[1:])
        self.here, self.moved = (
            weights.layer(f"{name}.convs.{i}", members, half, stride=stride)
            for i in range(2)
        )
        self.norm = StackedBatchNorm(members, shape[0])

    def forward(self, x: Tensor, rules: Rules) -> Tensor:
        x = rules.relu(self.relu, x)
        moved = F.pad(x, (-1, 1, -1, 1))
        halves = rules.layer(self.here, x), rules.layer(self.moved, moved)
        # Both halves of a network side by side, network after network.
        n, groups = len(x), len(self.norm.members)
        parts = [h.reshape(n, groups, -1, *h.shape[2:]) for h in halves]
        x = torch.cat(parts, dim=2).flatten(1, 2)
        return rules.output(
            rules.batchnorm(self.norm, x), self.norm.members, "container"
        )


class _Operation(nn.Module):
    """One operation on one edge, of networks where it has the same role."""

    index: Tensor

    def __init__(
        self,
        weights: Weights,
        name: str,
        operation: str,
        members: Sequence[int],
        c_in: int,
        c_out: int,
        stride: int,
        *,
        role: Role,
    ) -> None:
        super().__init__()
        self.role, self.members = role, tuple(members)
        self.register_buffer("index", torch.tensor(members), persistent=False)
        self.pool = operation == "avg_pool_3x3"
        self.conv: nn.Module | None = None
        if operation in _KERNELS:
            shape = (c_out, c_in, _KERNELS[operation], _KERNELS[operation])
            self.conv = _ConvBN(weights, name, members, shape, stride)
        elif operation == "skip_connect" and (c_in != c_out or stride != 1):
            shape = (c_out, c_in, 1, 1)
            self.conv = _Reduce(weights, name, members, shape, stride)

    def derived(self, rules: Rules) -> bool:
        """Whether gradients go through it."""
        return self.role == "live" or (rules.constants and self.role == "constant")

    def forward(self, x: Tensor, rules: Rules) -> Tensor:
        if self.conv is not None:
            out: Tensor = self.conv(x, rules)
            return out
        if self.pool:
            pooled: Tensor = _AveragePool.apply(x)  # type: ignore[no-untyped-call]
            return rules.output(pooled, self.members, "pooling", 2)
        return rules.output(x, self.members, "identity")


class StackedCell(nn.Module):
    """The cells at one place of the skeleton, one of each network.

    Args:
        weights: gives its layers.
        name: of the one network's cell, as its state dict has it.
        cells: for each network, the operations in string order.
        n_nodes: number of nodes.
        c_in: channels of the first node.
        c_out: channels of all others.
        stride: of the edges that leave the first node.
    """

    def __init__(
        self,
        weights: Weights,
        name: str,
        cells: Sequence[Cell],
        n_nodes: int,
        c_in: int,
        c_out: int,
        stride: int = 1,
    ) -> None:
        super().__init__()
        self.n_networks, self.n_nodes = len(cells), n_nodes
        self.c_out, self.stride = c_out, stride
        self.operations = nn.ModuleList()  # in order of definition
        self._leaving: list[list[tuple[_Operation, int]]] = [[] for _ in range(n_nodes)]
        roles = [roles_of_edges(cell, n_nodes) for cell in cells]
        for edge, (source, target) in enumerate(edges_of(n_nodes)):
            there = [(c[edge], r[edge]) for c, r in zip(cells, roles, strict=True)]
            for operation, role in sorted(set(there)):
                if operation == "none":
                    continue
                module = _Operation(
                    weights,
                    f"{name}.layers.{edge}",
                    operation,
                    [p for p, kind in enumerate(there) if kind == (operation, role)],
                    c_out if source else c_in,
                    c_out,
                    1 if source else stride,
                    role=role,
                )
                self.operations.append(module)
                self._leaving[source].append((module, target))

    def forward(self, x: Tensor, rules: Rules) -> Tensor:
        """Give the value of the last node, [N, P·C, H, W]."""
        node, like = x, self._shape(x)
        sums: list[list[tuple[Tensor, Tensor]]] = [[] for _ in range(self.n_nodes)]
        for source in range(self.n_nodes - 1):
            if source:
                node = self._sum(sums[source], like)
            leaving = [
                (operation, target)
                for operation, target in self._leaving[source]
                if rules.dead or operation.derived(rules)
            ]
            parts = take(node, self.n_networks, [op.index for op, _ in leaving])
            for (operation, target), part in zip(leaving, parts, strict=True):
                grad = torch.is_grad_enabled() and operation.derived(rules)
                with torch.set_grad_enabled(grad):
                    sums[target].append((operation(part, rules), operation.index))
        out = self._sum(sums[-1], like)
        return rules.output(out, range(self.n_networks), "container")

    def _shape(self, x: Tensor) -> Tensor:
        """Maps of the shape of all nodes but the first."""
        size = (-(-side // self.stride) for side in x.shape[2:])
        return x.new_empty(len(x), self.n_networks * self.c_out, *size)

    def _sum(self, terms: list[tuple[Tensor, Tensor]], like: Tensor) -> Tensor:
        parts, members = [p for p, _ in terms], [m for _, m in terms]
        return add_up(parts, members, like, self.n_networks)


class _ResidualBlock(nn.Module):
    """Two 3×3 convolutions, the first of stride 2, and a pooled 1×1 shortcut."""

    def __init__(
        self, weights: Weights, name: str, members: range, c_in: int, c_out: int
    ) -> None:
        super().__init__()
        first, second = (c_out, c_in, 3, 3), (c_out, c_out, 3, 3)
        self.conv_a = _ConvBN(weights, f"{name}.conv_a", members, first, stride=2)
        self.conv_b = _ConvBN(weights, f"{name}.conv_b", members, second)
        self.downsample = weights.layer(
            f"{name}.downsample.1", members, (c_out, c_in, 1, 1)
        )

    def forward(self, x: Tensor, rules: Rules) -> Tensor:
        """[N, P·C_in, H, W] → [N, P·C_out, H / 2, W / 2]."""
        everyone = self.downsample.members
        inner = self.conv_b(self.conv_a(x, rules), rules)
        pooled = rules.output(F.avg_pool2d(x, 2), everyone, "pooling")
        shortcut = rules.layer(self.downsample, pooled)
        shortcut = rules.output(shortcut, everyone, "container")
        return rules.output(shortcut + inner, everyone, "container")


class StackedCellNetwork(StackedNetwork):
    """Several `CellNetwork` of one task at one initialisation.

    Args:
        cells: for each network, the operations in string order.
        n_nodes: number of nodes of a cell.
        task: gives the input channels and the number of classes.
        stages: channels of each stage.
        depth: cells in each stage.
        seed: seed of the run.
        repeat: which initialisation, from 0.
    """

    def __init__(
        self,
        cells: Sequence[Cell],
        n_nodes: int,
        task: Task,
        stages: tuple[int, ...],
        depth: int,
        *,
        seed: int,
        repeat: int,
    ) -> None:
        super().__init__(len(cells), task.n_classes)
        weights, everyone = Weights(seed, repeat), range(len(cells))
        self.stem = weights.layer(
            "stem.0", everyone, (stages[0], task.input_shape[0], 3, 3)
        )
        self.stem_norm = StackedBatchNorm(everyone, stages[0])
        self.cells = nn.ModuleList()
        for stage, channels in enumerate(stages):
            if stage:
                name = f"cells.{len(self.cells)}"
                self.cells.append(
                    _ResidualBlock(weights, name, everyone, stages[stage - 1], channels)
                )
            for _ in range(depth):
                name = f"cells.{len(self.cells)}"
                self.cells.append(
                    StackedCell(weights, name, cells, n_nodes, channels, channels)
                )
        self._thin = cells, n_nodes, seed, repeat
        self.last_norm = StackedBatchNorm(everyone, stages[-1])
        self.last_relu = StackedReLU(everyone)
        self.classifier = weights.layer(
            "classifier", everyone, (task.n_classes, stages[-1]), bias=True
        )

    def forward(self, images: Tensor, rules: Rules) -> Tensor:
        """[N, P·C, H, W] images → [N, P, n_classes] logits."""
        everyone = range(self.n_networks)
        x = rules.batchnorm(self.stem_norm, rules.layer(self.stem, images))
        x = rules.output(x, everyone, "container")
        for number, cell in enumerate(self.cells):
            x = rules.block(cell, number, x)
        x = rules.relu(self.last_relu, rules.batchnorm(self.last_norm, x))
        x = rules.output(x, everyone, "container")
        return self.head(x, self.classifier, rules)

    def thin(self) -> StackedNetwork:
        """What `CellNetwork.thin` gives for each."""
        return StackedThin(*self._thin)


class StackedThin(StackedNetwork):
    """Several `zcbench.networks.cell.thin`: maps [N, P, H, W], no logits."""

    def __init__(
        self, cells: Sequence[Cell], n_nodes: int, seed: int, repeat: int
    ) -> None:
        super().__init__(len(cells), 0)
        everyone = range(len(cells))
        self.cell = StackedCell(Weights(seed, repeat), "0", cells, n_nodes, 1, 1)
        self.norm, self.last = StackedBatchNorm(everyone, 1), StackedReLU(everyone)

    def forward(self, images: Tensor, rules: Rules) -> Tensor:
        """[N, P, H, W] images → the same."""
        x = rules.block(self.cell, 0, images)
        return rules.relu(self.last, rules.batchnorm(self.norm, x))
