"""Between the maps of all networks and those of the members of an operation.

Each backward allocates one tensor for all members together; autograd's own rule for
`index_select` would fill one of full size for every operation.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable


def take(maps: Tensor, n_networks: int, members: Sequence[Tensor]) -> list[Tensor]:
    """Maps of some networks, for several operations that read the same maps.

    Args:
        maps: [N, P·C, H, W].
        n_networks: P.
        members: for each operation, positions of its networks. [G]

    Returns:
        For each operation, [N, G·C, H, W].
    """
    if not members:
        return []
    parts: tuple[Tensor, ...] = _Take.apply(maps, n_networks, *members)  # type: ignore[no-untyped-call]
    return list(parts)


def add_up(
    parts: Sequence[Tensor], members: Sequence[Tensor], like: Tensor, n_networks: int
) -> Tensor:
    """Sum of what operations give; zero for networks that are in none of them.

    Args:
        parts: for each operation, [N, G·C, H, W].
        members: for each operation, positions of its networks. [G]
        like: maps of the result's shape. [N, P·C, H, W]
        n_networks: P.
    """
    if not parts:
        return torch.zeros_like(like)
    total: Tensor = _AddUp.apply(  # type: ignore[no-untyped-call]
        like.shape, n_networks, tuple(members), *parts
    )
    return total


class _Take(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any, maps: Tensor, n_networks: int, *members: Tensor
    ) -> tuple[Tensor, ...]:
        ctx.set_materialize_grads(False)
        ctx.shape, ctx.n_networks, ctx.members = maps.shape, n_networks, members
        return tuple(_select(maps, n_networks, index) for index in members)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *grads: Tensor | None) -> tuple[Tensor | None, ...]:
        none = (None,) * (1 + len(ctx.members))
        there = [
            (g, i) for g, i in zip(grads, ctx.members, strict=True) if g is not None
        ]
        if not there:
            return None, *none
        total = there[0][0].new_zeros(ctx.shape)
        for grad, index in there:
            _add(total, ctx.n_networks, index, grad)
        return total, *none


class _AddUp(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any,
        shape: torch.Size,
        n_networks: int,
        members: tuple[Tensor, ...],
        *parts: Tensor,
    ) -> Tensor:
        ctx.n_networks, ctx.members = n_networks, members
        total = parts[0].new_zeros(shape)
        for part, index in zip(parts, members, strict=True):
            _add(total, n_networks, index, part)
        return total

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
        grads = (
            _select(grad, ctx.n_networks, index) if needed else None
            for index, needed in zip(ctx.members, ctx.needs_input_grad[3:], strict=True)
        )
        return None, None, None, *grads


def _select(maps: Tensor, n_networks: int, index: Tensor) -> Tensor:
    n, _, *size = maps.shape
    chosen = maps.reshape(n, n_networks, -1).index_select(1, index)
    return chosen.reshape(n, -1, *size)


def _add(total: Tensor, n_networks: int, index: Tensor, part: Tensor) -> None:
    n = len(total)
    total.view(n, n_networks, -1).index_add_(1, index, part.reshape(n, len(index), -1))
