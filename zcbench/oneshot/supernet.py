"""A supernet: one network that holds the weights of every architecture of a space."""

from __future__ import annotations

from functools import partial

import torch
from torch import Tensor, nn
from torch.nn.functional import relu

from zcbench.errors import UsageError
from zcbench.networks.cell import ConvBN, Skeleton, in_stages
from zcbench.networks.cell_graph import Cell, edges_of, live_edges
from zcbench.networks.initialise import initialised
from zcbench.spaces import Space
from zcbench.spaces.cell import CellSpace
from zcbench.types import Task

_KERNELS = {"nor_conv_1x1": 1, "nor_conv_3x3": 3}
_FREE = ("none", "skip_connect")


class SharedCell(nn.Module):
    """Every operation on every edge, of which a path runs one each.

    Args:
        operations: names of the operations.
        n_nodes: number of nodes.
        channels: C.
    """

    def __init__(
        self, operations: tuple[str, ...], n_nodes: int, channels: int
    ) -> None:
        super().__init__()
        self.edges = edges_of(n_nodes)
        self.n_nodes = n_nodes
        self.layers = nn.ModuleList(
            nn.ModuleDict(
                {
                    name: ConvBN(channels, channels, _KERNELS[name])
                    for name in operations
                    if name in _KERNELS
                }
            )
            for _ in self.edges
        )
        self.pool = nn.AvgPool2d(3, stride=1, padding=1, count_include_pad=False)
        self.path: Cell = ()

    def forward(self, x: Tensor) -> Tensor:
        """[N, C, H, W] → the same, by `path`; operations that reach nothing rest."""
        nodes = [x, *[torch.zeros_like(x)] * (self.n_nodes - 1)]
        live = live_edges(self.path, self.n_nodes)
        for edge, (source, target) in enumerate(self.edges):
            if live[edge]:
                value = self._operation(edge, nodes[source])
                nodes[target] = nodes[target] + value
        return nodes[-1]

    def _operation(self, edge: int, x: Tensor) -> Tensor:
        name = self.path[edge]
        if name in _KERNELS:
            x = relu(x)
            name_of: nn.ModuleDict = self.layers[edge]  # type: ignore[assignment]
            out: Tensor = name_of[name](x)
            return out
        pooled: Tensor = self.pool(x) if name == "avg_pool_3x3" else x
        return pooled


class Supernet(Skeleton):
    """The skeleton of a space of cells with a shared cell in every place.

    Args:
        space: gives the operations and the number of nodes.
        task: gives the input channels and the number of classes.
        stages: channels of each stage.
        depth: cells in each stage.
    """

    def __init__(
        self, space: CellSpace, task: Task, stages: tuple[int, ...], depth: int
    ) -> None:
        make = partial(SharedCell, space.operations, space.n_nodes)
        super().__init__(stages[0], in_stages(stages, depth, make), stages[-1], task)

    def take(self, path: Cell) -> None:
        """Be the network of this cell from now on."""
        for cell in self.cells:
            if isinstance(cell, SharedCell):
                cell.path = path


def supernet_space(space: Space) -> CellSpace:
    """The space, if its networks are those that a supernet here can hold.

    Raises:
        UsageError: they are not.
    """
    known = {*_KERNELS, *_FREE, "avg_pool_3x3"}
    if (
        isinstance(space, CellSpace)
        and type(space)._network is CellSpace._network
        and known.issuperset(space.operations)
    ):
        return space
    raise UsageError(
        f"There is no supernet of {space.name}: its networks are not cells of "
        f"{', '.join(sorted(known))}.",
        "Give nb201, toy or a space of your own on zcbench.spaces.cell.CellSpace.",
    )


def make_supernet(
    space: CellSpace, task: Task, channels: int, depth: int, seed: int, repeat: int
) -> Supernet:
    """A supernet at initialisation: weights depend on (seed, repeat, name) alone.

    Args:
        space: the space.
        task: what it is trained for.
        channels: of the first stage; the others keep their proportion to it.
        depth: cells in each stage.
        seed: of the run.
        repeat: which supernet, from 0.
    """
    first = space.stages[0]
    stages = tuple(channels * stage // first for stage in space.stages)
    return initialised(lambda: Supernet(space, task, stages, depth), seed, repeat)


def accuracy_of(
    net: Supernet, path: Cell, known: list[Tensor], x: list[Tensor], y: Tensor
) -> float:
    """Percent of validation images that a path gets right with inherited weights.

    Statistics of BatchNorm are those of other paths: they are taken anew first, as the
    mean over some batches of training images (Guo et al. 2020, section 3.4).

    Args:
        net: a trained supernet; its statistics are overwritten.
        path: the architecture's cell.
        known: batches of training images.
        x: batches of validation images.
        y: their labels. [n]

    Returns:
        The accuracy; NaN if an output is not finite.
    """
    net.take(path)
    for module in net.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.reset_running_stats()
            module.momentum = None  # a cumulative mean
    with torch.no_grad():
        net.train()
        for batch in known:
            net(batch)
        net.eval()
        logits = torch.cat([net(batch) for batch in x])
    if not logits.isfinite().all():
        return float("nan")
    return 100 * float((logits.argmax(1) == y).double().mean())
