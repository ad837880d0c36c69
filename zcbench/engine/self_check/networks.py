"""Which networks and images a device is checked with."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import nn
from torch.utils._python_dispatch import TorchDispatchMode

from zcbench.seeding import generator
from zcbench.spaces.base import Space, build_network
from zcbench.types import Architecture, Batch, Task

N_IMAGES = 16
_N_CANDIDATES = 24
_AT_LEAST = 3


def networks_of(space: Space, task: str) -> list[Architecture]:
    """A few architectures that have every operation of a sample between them.

    An operation is a function of torch that a forward or backward calls, with the
    numbers that it gets if it is a convolution or a pooling: so plug-in spaces are
    covered, too. Networks of which gradients reach more come first.
    """
    draw = generator("self check", space.name)
    number = min(_N_CANDIDATES, len(space))
    indices = torch.randint(len(space), (number,), generator=draw).tolist()
    batch = images(space.tasks[task])
    candidates = [
        (arch, *found)
        for arch in map(space.architecture, dict.fromkeys(indices))
        if (found := _operations(space, arch, task, batch))
    ]
    chosen: list[Architecture] = []
    covered: set[str] = set()
    for arch, operations, _ in sorted(candidates, key=lambda one: -one[2]):
        if len(chosen) < _AT_LEAST or operations - covered:
            chosen.append(arch)
            covered |= operations
    return chosen


def images(task: Task) -> Batch:
    """A minibatch of noise, with labels."""
    draw = generator("self check", task.name)
    x = torch.randn(N_IMAGES, *task.input_shape, generator=draw)
    if task.loss == "mse":
        size = (N_IMAGES, task.n_classes)[: 1 + (task.n_classes > 1)]
        return Batch(x, torch.randn(size, generator=draw), "mse")
    classes = max(1, task.n_classes)
    labels = torch.randint(classes, (N_IMAGES,), generator=draw)
    return Batch(x, labels, task.loss)


def _operations(
    space: Space, arch: Architecture, task: str, batch: Batch
) -> tuple[set[str], int] | None:
    """Those of a network, and how many tensors its gradient reaches.

    None for a network that fails, which the run will say.
    """
    seen = _Seen()
    try:
        network = build_network(space, arch, task)
        x = batch.x[:2].clone().requires_grad_(True)
        with torch.enable_grad(), seen:
            network(x).square().sum().backward()
    except Exception:  # whatever a network raises
        return None
    tensors = (x, *network.parameters())
    return seen.operations, sum(
        t.grad is not None and bool(t.grad.any()) for t in tensors
    )


def without_noise(network: nn.Module) -> nn.Module:
    """Every dropout and stochastic depth with probability 0."""
    for module in network.modules():
        kind = type(module).__name__
        for name in ("p", "drop_prob", "dropout"):
            drops = "Drop" in kind or kind == "StochasticDepth" or name == "dropout"
            if drops and isinstance(getattr(module, name, None), float):
                setattr(module, name, 0.0)
    return network


class _Seen(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """Notes the operations that are called under it."""

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.operations: set[str] = set()

    def __torch_dispatch__(
        self,
        func: Any,
        types: Sequence[type],
        args: tuple[Any, ...] = (),
        kwargs: dict[str, Any] | None = None,
    ) -> Any:
        del types
        name = str(func)
        if "conv" in name or "pool" in name:
            weights = [tuple(a.shape[2:]) for a in args[1:2] if hasattr(a, "shape")]
            numbers = [a for a in args if not isinstance(a, torch.Tensor)]
            name = f"{name} {weights} {numbers}"
        self.operations.add(name)
        return func(*args, **(kwargs or {}))
