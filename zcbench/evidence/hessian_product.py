"""The second derivative that GraSP needs: w · (H g) for H = ∂²L/∂w², g = ∂L/∂w.

With D = g · ∂/∂w the derivative along g, and w · ∂/∂w the derivative along a common
scaling s of all weights, it is ∂(D L)/∂s. The loss backward has left what both need:
every layer's input x and output z, and δ = ∂L/∂z. So one forward carries D alone
(ż = w ẋ + g x), and one backward carries a = ∂(D L)/∂z, which obeys the chain rule of
δ with a source at every layer that is not linear in (x, w):

    layer         z = w x         a_x = wᵀ a_z + gᵀ δ_z
    BatchNorm     y = γ r c + β   a_z = J a_y + ∂(δ_y · J ż)/∂z
    ReLU          y = z [z > 0]   a_z = a_y [z > 0]
    cross-entropy                 a = (diag p − p pᵀ) ż / N

The layer's share of the result is z · a_z + ż · δ_z − g · g. No gradient of a weight is
taken and no value is computed again: it costs less than half of a backward through the
backward (docs/performance.md).

The shortcut of scale invariance (w · (H g) = −‖g‖² for a layer before BatchNorm) is
not taken: BatchNorm's ε breaks it by 1e-4 to 6e-3 of the score on NAS-Bench-201, where
large terms cancel.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.autograd.function import once_differentiable
from torch.nn.modules.conv import _ConvNd
from torch.utils.hooks import RemovableHandle

from zcbench.evidence.subject import Subject


def carries_derivatives(subject: Subject) -> bool:
    """Whether `by_tangents` is exact for this network and its loss.

    A network promises by a true attribute ``linear_outside_layers`` that it uses each
    of its convolutions, linear layers, BatchNorm2d and ReLU modules at most once in a
    forward, and that everything it does outside them is linear.
    """
    promised = bool(getattr(subject.network, "linear_outside_layers", False))
    return promised and subject.plain and subject.batch.loss == "cross_entropy"


@dataclass
class Crossing:
    """What the minibatch pass saw at one module.

    Attributes:
        input: its input.
        output: its output.
        delta: gradient of the loss with respect to the output; None if none came.
    """

    input: Tensor
    output: Tensor
    delta: Tensor | None = None


class Tape:
    """Notes inputs, outputs and their gradients during the minibatch pass.

    It holds no graph: see `zcbench.evidence.minibatch_pass._Saliency` for why.
    """

    def __init__(self) -> None:
        self.crossings: dict[nn.Module, Crossing] = {}
        self.listening = False

    def watch(self, network: nn.Module) -> list[RemovableHandle]:
        """Hooks for one forward; the caller removes them."""
        return [
            module.register_forward_hook(self._note)
            for module in network.modules()
            if isinstance(module, (_ConvNd, nn.Linear, nn.BatchNorm2d, nn.ReLU))
        ]

    def _note(
        self, module: nn.Module, inputs: tuple[Tensor, ...], output: Tensor
    ) -> None:
        crossing = Crossing(inputs[0].detach(), output.detach())
        self.crossings[module] = crossing
        if output.requires_grad and not isinstance(module, nn.ReLU):
            output.register_hook(partial(self._add, crossing))  # type: ignore[no-untyped-call]

    def _add(self, crossing: Crossing, grad: Tensor) -> None:
        if self.listening:
            crossing.delta = grad.detach()


def by_tangents(
    subject: Subject, grads: Sequence[Tensor], tape: Tape, logits: Tensor
) -> float:
    """Σ w · (H g) by one forward of D and one backward of its adjoint.

    Args:
        subject: a network that `carries_derivatives`.
        grads: g for each of the subject's layers.
        tape: filled by a forward and the loss backward.
        logits: of that forward. [N, n_classes]
    """
    scale = logits.new_zeros((), requires_grad=True)
    still = torch.zeros_like(subject.batch.x)
    directions = dict(zip(subject.layers, grads, strict=True))
    with _tangent_rules(directions, tape, scale):
        moved: Tensor = subject.network(still)
    if not moved.requires_grad:
        return 0.0
    p, change = logits.detach().softmax(1), moved.detach()
    adjoint = p * (change - (p * change).sum(1, keepdim=True)) / len(p)
    (total,) = torch.autograd.grad(moved, scale, adjoint)
    return float(total)


def by_double_backward(
    weights: Sequence[Tensor], grads: Sequence[Tensor], *, retain_graph: bool
) -> float:
    """Σ w · (H g) by a backward through the gradient, for any network.

    Args:
        weights: the weights.
        grads: their gradients, made with ``create_graph``.
        retain_graph: whether another backward will follow.
    """
    inner = sum((g * g.detach()).sum() for g in grads if g.requires_grad)
    if not isinstance(inner, Tensor) or not inner.requires_grad:
        return 0.0
    products = torch.autograd.grad(
        inner, weights, retain_graph=retain_graph, allow_unused=True
    )
    return sum(
        float((w.detach() * product).double().sum())
        for w, product in zip(weights, products, strict=True)
        if product is not None
    )


@contextmanager
def _tangent_rules(
    directions: dict[nn.Module, Tensor], tape: Tape, scale: Tensor
) -> Iterator[None]:
    """Let every module map the derivative of its input to that of its output."""
    changed = []
    try:
        for module, crossing in tape.crossings.items():
            rule = _rule(module, crossing, directions.get(module), scale)
            module.forward = rule
            changed.append(module)
        yield
    finally:
        for module in changed:
            del module.forward


def _rule(
    module: nn.Module, crossing: Crossing, direction: Tensor | None, scale: Tensor
) -> Callable[[Tensor], Tensor]:
    if isinstance(module, nn.ReLU):
        return partial(_through_relu, crossing)
    if crossing.delta is None:  # the loss does not see it
        return partial(_constant, crossing)
    if isinstance(module, nn.BatchNorm2d):
        return partial(BatchNormTangent.apply, module, crossing)
    return partial(_LayerTangent.apply, scale, module, crossing, direction)


def _constant(crossing: Crossing, _: Tensor) -> Tensor:
    return crossing.output.new_zeros(()).expand_as(crossing.output)


def _through_relu(crossing: Crossing, change: Tensor) -> Tensor:
    if not change.requires_grad:
        return _constant(crossing, change)
    return torch.ops.aten.threshold_backward(change, crossing.output, 0)  # type: ignore[no-any-return]


class _LayerTangent(torch.autograd.Function):
    """ż = w ẋ + g x; backward a_x = wᵀ a_z + gᵀ δ_z, and the layer's share."""

    @staticmethod
    def forward(
        ctx: Any,
        scale: Tensor,  # noqa: ARG004 - its gradient collects the shares
        module: nn.Module,
        crossing: Crossing,
        grad: Tensor,
        change: Tensor,
    ) -> Tensor:
        """Arguments as `_rule` gives them; change is ẋ."""
        weight: Tensor = module.weight  # type: ignore[assignment]
        moved = _forward(module, weight, change)
        moved += _forward(module, grad, crossing.input)
        ctx.module, ctx.crossing, ctx.grad = module, crossing, grad
        ctx.moved = moved.detach()  # itself would be a cycle that is never freed
        return moved

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, adjoint: Tensor) -> tuple[Tensor | None, ...]:
        """Adjoint a_z → a_x and the share of the result."""
        module, crossing, grad = ctx.module, ctx.crossing, ctx.grad
        value = crossing.output
        if module.bias is not None:
            value = value - module.bias.reshape(-1, *[1] * (value.dim() - 2))
        share = (value * adjoint).sum() + (ctx.moved * crossing.delta).sum()
        share -= grad.square().sum()
        before = None
        if ctx.needs_input_grad[-1]:
            before = _backward(module, module.weight, crossing.input, adjoint)
            before += _backward(module, grad, crossing.input, crossing.delta)
        return share, None, None, None, before


def _forward(module: nn.Module, weight: Tensor, x: Tensor) -> Tensor:
    """A layer without its bias, with another weight."""
    if isinstance(module, _ConvNd):
        return module._conv_forward(x, weight, None)
    return F.linear(x, weight)


def _backward(module: nn.Module, weight: Tensor, x: Tensor, delta: Tensor) -> Tensor:
    """Gradient with respect to a layer's input x, with another weight."""
    weight = weight.to(delta.dtype)  # under autocast delta has the lower one
    if isinstance(module, nn.Linear):
        return delta @ weight
    before: Tensor = torch.ops.aten.convolution_backward(
        delta,
        x,
        weight,
        None,
        module.stride,
        module.padding,
        module.dilation,
        False,
        [0] * (x.dim() - 2),
        module.groups,
        [True, False, False],
    )[0]
    return before


class BatchNormTangent(torch.autograd.Function):
    """ẏ = J ż for y = γ r c + β with c = z − mean, r = (mean c² + ε)^−½, per channel.

    J is symmetric, so that PyTorch's fused backward kernel serves both ways, and it
    returns Σ ż ŷ and Σ ż (ŷ = r c) on its way. With ċ and δ_c the centred ż and δ_y,
    and means over images and pixels:

        ∂(δ_y · J ż)/∂z = −γ r² (ŷ (δ_c·ċ − 3 (δ_c·ŷ)(ċ·ŷ)) + δ_c (ċ·ŷ) + ċ (δ_c·ŷ))
    """

    @staticmethod
    def forward(
        ctx: Any, module: nn.BatchNorm2d, crossing: Crossing, change: Tensor
    ) -> Tensor:
        """Arguments as `_rule` gives them; change is ż."""
        z = crossing.input
        # The fused forward gives mean and r sooner than torch.var_mean.
        _, mean, r = torch.native_batch_norm(
            z, module.weight, module.bias, None, None, True, 0.0, module.eps
        )
        ctx.module, ctx.crossing, ctx.change = module, crossing, change
        ctx.mean, ctx.r = mean, r
        moved, ctx.total_of_products, ctx.total = _jacobian(module, z, mean, r, change)
        return moved

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, adjoint: Tensor) -> tuple[Tensor | None, ...]:
        """Adjoint a_y → a_z."""
        module, z, delta = ctx.module, ctx.crossing.input, ctx.crossing.delta
        change, mean, r = ctx.change, ctx.mean, ctx.r
        before = _jacobian(module, z, mean, r, adjoint)[0]
        count = z.numel() // z.shape[1]
        change_mean = ctx.total / count
        change_y = ctx.total_of_products / count
        delta_mean = delta.mean((0, 2, 3))
        delta_y = (_channel_mean(delta, z) - delta_mean * mean) * r
        both = _channel_mean(delta, change) - delta_mean * change_mean
        factor = -r.square() if module.weight is None else -module.weight * r.square()
        of_y = factor * (both - 3 * delta_y * change_y)
        of_delta, of_change = factor * change_y, factor * delta_y
        before.addcmul_(z, _spread(of_y * r))
        before.addcmul_(delta, _spread(of_delta))
        before.addcmul_(change, _spread(of_change))
        before -= _spread(
            of_y * r * mean + of_delta * delta_mean + of_change * change_mean
        )
        return None, None, before


def _jacobian(
    module: nn.BatchNorm2d, z: Tensor, mean: Tensor, r: Tensor, change: Tensor
) -> tuple[Tensor, Tensor, Tensor]:
    """(J ż, Σ ż ŷ, Σ ż) of a BatchNorm at z; the sums are per channel."""
    terms: tuple[Tensor, Tensor, Tensor] = torch.ops.aten.native_batch_norm_backward(
        change, z, module.weight, None, None, mean, r, True, module.eps, [True] * 3
    )
    return terms


def _channel_mean(a: Tensor, b: Tensor) -> Tensor:
    """Mean over images and pixels of a · b → [C]."""
    return (a * b).mean((0, 2, 3))


def _spread(channel: Tensor) -> Tensor:
    return channel[:, None, None]
