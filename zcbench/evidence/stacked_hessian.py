"""w · (H g) of every network of a stack: what GraSP needs.

The tangents and their adjoint of `zcbench.evidence.hessian_product`, where the formulas
stand. The direction g differs between networks, the weights w do not.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.autograd.function import once_differentiable

from zcbench.evidence.hessian_product import BatchNormTangent
from zcbench.networks.stacked import Rules, StackedNetwork
from zcbench.networks.stacked_layers import StackedBatchNorm, StackedLayer, StackedReLU


@dataclass
class StackedCrossing:
    """What the minibatch pass saw at one module, as far as it is needed.

    Attributes:
        input: its input.
        output: its output.
        delta: gradient of the loss with respect to the output; None if none came.
    """

    input: Tensor | None
    output: Tensor | None
    delta: Tensor | None = None


def second_derivative(
    network: StackedNetwork,
    images: Tensor,
    grads: Mapping[StackedLayer, Tensor],
    crossings: Mapping[nn.Module, StackedCrossing],
    logits: Tensor,
) -> Tensor:
    """Σ w · (H g) of each network, [P].

    Args:
        network: the stack.
        images: what it saw; only the shape matters. [N, P·C, H, W]
        grads: g of every layer. [G, C_out, C_in, k, k]
        crossings: of every module, from the forward and the loss backward.
        logits: of that forward. [N, P, n_classes]
    """
    scale = logits.new_zeros(network.n_networks, requires_grad=True)
    moved = network(torch.zeros_like(images), _Tangents(grads, crossings, scale))
    p, change = logits.softmax(2), moved.detach()
    adjoint = p * (change - (p * change).sum(2, keepdim=True)) / len(p)
    (total,) = torch.autograd.grad(moved, scale, adjoint)
    return total


class _Tangents(Rules):
    """Every module maps the derivative of its input to that of its output."""

    dead = False

    def __init__(
        self,
        grads: Mapping[StackedLayer, Tensor],
        crossings: Mapping[nn.Module, StackedCrossing],
        scale: Tensor,
    ) -> None:
        self.grads, self.crossings, self.scale = grads, crossings, scale

    def layer(self, layer: StackedLayer, x: Tensor) -> Tensor:
        crossing = self.crossings[layer]
        if crossing.delta is None:  # the loss sees it in no network
            return torch.zeros_like(crossing.output)  # type: ignore[arg-type]
        out: Tensor = _LayerTangent.apply(  # type: ignore[no-untyped-call]
            self.scale, layer, crossing, self.grads[layer], x
        )
        return out

    def batchnorm(self, norm: StackedBatchNorm, x: Tensor) -> Tensor:
        crossing = self.crossings[norm]
        if crossing.delta is None:
            return torch.zeros_like(x)
        out: Tensor = BatchNormTangent.apply(norm, crossing, x)  # type: ignore[no-untyped-call]
        return out

    def relu(self, relu: StackedReLU, x: Tensor) -> Tensor:
        mask = self.crossings[relu].output
        return torch.ops.aten.threshold_backward(x, mask, 0)  # type: ignore[no-any-return]


class _LayerTangent(torch.autograd.Function):
    """ż = w ẋ + g x; backward a_x = wᵀ a_z + gᵀ δ_z, and each network's share."""

    @staticmethod
    def forward(
        ctx: Any,
        scale: Tensor,
        layer: StackedLayer,
        crossing: StackedCrossing,
        grads: Tensor,
        change: Tensor,
    ) -> Tensor:
        """Arguments as `_Tangents` gives them; change is ẋ."""
        assert crossing.input is not None  # noqa: S101 - only ReLUs note no input
        moved: Tensor = layer(change, layer.weight)
        moved = moved + layer.forward_each(crossing.input, grads)
        ctx.layer, ctx.crossing, ctx.grads = layer, crossing, grads
        ctx.n_networks = len(scale)
        ctx.moved = moved.detach()  # itself would be a cycle that is never freed
        return moved

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, adjoint: Tensor) -> tuple[Tensor | None, ...]:
        """Adjoint a_z → a_x and the shares of the result."""
        layer, crossing, grads = ctx.layer, ctx.crossing, ctx.grads
        adjoint = adjoint.contiguous()
        products = crossing.output * adjoint + ctx.moved * crossing.delta
        if layer.bias is not None:
            offset = layer.bias.repeat(len(layer.members))
            products = products - offset[:, None, None] * adjoint
        share = products.reshape(len(products), len(layer.members), -1).sum((0, 2))
        share = share - grads.flatten(1).square().sum(1)
        shares = share.new_zeros(ctx.n_networks).index_add_(0, layer.index, share)
        before = None
        if ctx.needs_input_grad[-1]:
            before = layer.input_gradient(adjoint, crossing.input)
            before += layer.input_gradient_each(crossing.delta, crossing.input, grads)
        return shares, None, None, None, before
