"""The second derivative that GraSP needs: w · (H g) for H = ∂²L/∂w², g = ∂L/∂w.

It is the mixed derivative ∂²/∂s∂t of L(w + s w + t g) at s = t = 0, so one forward that
carries four parts answers it: the value, its two first derivatives and the mixed one.
They ride along as a batch of four times the size; whatever is linear (sums of branches,
pooling, flattening) needs no change, and only convolutions, linear layers, BatchNorm
and ReLU get a rule here. Against a backward through the backward this takes about half
the time (docs/performance.md) and keeps no graph.

The shortcut of scale invariance (w · (H g) = −‖g‖² for a layer before BatchNorm) is
not taken: BatchNorm's ε breaks it by 1e-4 to 6e-3 of the score on NAS-Bench-201, where
large terms cancel.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import partial

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.modules.conv import _ConvNd

from zcbench.evidence.prepare import Subject

Layer = Callable[[Tensor, Tensor, Tensor | None], Tensor]


def carries_derivatives(network: nn.Module) -> bool:
    """Whether the four-part forward is exact for this network.

    A network promises by a true attribute ``linear_outside_layers`` that everything it
    does outside convolutions, linear layers, BatchNorm2d and ReLU modules is linear and
    treats every image alone. For others, `by_double_backward` serves.
    """
    return bool(getattr(network, "linear_outside_layers", False))


@torch.no_grad()
def by_four_part_forward(subject: Subject, grads: Sequence[Tensor]) -> float:
    """Σ w · (H g) by one forward of value, ∂s, ∂t and ∂s∂t.

    Args:
        subject: the network, of the kind that `carries_derivatives`.
        grads: g for each of the subject's layers.
    """
    x, y = subject.batch.x, subject.batch.y
    zeros = torch.zeros_like(x)
    parts = torch.cat([x, zeros, zeros, zeros])
    with _four_part_rules(subject, grads):
        value, ds, dt, dsdt = subject.network(parts).double().chunk(4)
    p = value.softmax(1)
    # Cross-entropy: gradient p − e_y, Hessian diag(p) − p pᵀ.
    slope = p - F.one_hot(y, p.shape[1])
    bend = (ds * p * dt).sum(1) - (ds * p).sum(1) * (p * dt).sum(1)
    return float(((slope * dsdt).sum(1) + bend).mean())


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
    if not isinstance(inner, Tensor):
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
def _four_part_rules(subject: Subject, grads: Sequence[Tensor]) -> Iterator[None]:
    """Give every layer its rule, and take it away again."""
    directions = dict(zip(subject.layers, grads, strict=True))
    changed = []
    try:
        for module in subject.network.modules():
            rule = _rule_for(module, directions)
            if rule is not None:
                module.forward = rule
                changed.append(module)
        yield
    finally:
        for module in changed:
            del module.forward


def _rule_for(
    module: nn.Module, directions: dict[nn.Module, Tensor]
) -> Callable[[Tensor], Tensor] | None:
    if isinstance(module, _ConvNd):
        layer: Layer = module._conv_forward
        return partial(_through_layer, layer, module, directions[module])
    if isinstance(module, nn.Linear):
        return partial(_through_layer, F.linear, module, directions[module])
    if isinstance(module, nn.BatchNorm2d):
        return partial(_through_batchnorm, module)
    if isinstance(module, nn.ReLU):
        return _through_relu
    return None


def _through_layer(
    layer: Layer, module: nn.Module, grad: Tensor, parts: Tensor
) -> Tensor:
    """Z = w x + b, its weight moving by s w + t g."""
    weight: Tensor = module.weight  # type: ignore[assignment]
    n = len(parts) // 4
    out = layer(parts, weight, None)
    by_grad = layer(parts[: 2 * n], grad, None)
    z, ds, dt, dsdt = _parts(out)
    ds += z
    dsdt += dt  # ∂t moved by s w, before g x joins it
    out[2 * n :] += by_grad
    if module.bias is not None:
        z += module.bias.reshape(-1, *[1] * (z.dim() - 2))  # type: ignore[operator]
    return out


def _through_relu(parts: Tensor) -> Tensor:
    out = torch.empty_like(parts)
    z, *_ = _parts(parts)
    for part, result in zip(_parts(parts), _parts(out), strict=True):
        torch.ops.aten.threshold_backward.grad_input(part, z, 0, grad_input=result)
    return out


def _through_batchnorm(module: nn.BatchNorm2d, parts: Tensor) -> Tensor:
    """BatchNorm y = γ r c + β with c = z − mean, r = (mean c² + ε)^−½, all per channel.

    Its Jacobian is symmetric, so PyTorch's fused backward kernel is also the forward
    derivative, and it returns Σ ż and Σ ż ŷ on the way.
    """
    out = torch.empty_like(parts)
    z, ds, dt, dsdt = _parts(parts)
    y, y_s, y_t, y_st = _parts(out)
    value, mean, r = torch.native_batch_norm(
        z, module.weight, module.bias, None, None, True, 0.0, module.eps
    )
    y.copy_(value)

    def derivative(change: Tensor, result: Tensor) -> tuple[Tensor, Tensor]:
        moved, corr, total = torch.ops.aten.native_batch_norm_backward(
            change, z, module.weight, None, None, mean, r, True, module.eps, [True] * 3
        )
        result.copy_(moved)
        return corr / count, total / count

    count = z.numel() // z.shape[1]
    corr_s, mean_s = derivative(ds, y_s)
    corr_t, mean_t = derivative(dt, y_t)
    derivative(dsdt, y_st)
    # ṙ / r, and what r̈ / r has beyond the part that z̈ brings: v̇ = 2 mean(c ċ).
    rho_s, rho_t = -r * corr_s, -r * corr_t
    cross = _channel_mean(ds, dt) - mean_s * mean_t
    bend = rho_s * rho_t - r.square() * cross
    # γ r̈ c + γ ṙ_t ċ_s + γ ṙ_s ċ_t, with γ r ċ = ẏ − ρ (y − β).
    y_st.addcmul_(y_s, _spread(rho_t)).addcmul_(y_t, _spread(rho_s))
    y_st.addcmul_(y, _spread(bend))
    if module.bias is not None:
        y_st.sub_(_spread(bend * module.bias))
    return out


def _parts(stacked: Tensor) -> list[Tensor]:
    return list(stacked.chunk(4))


def _channel_mean(a: Tensor, b: Tensor) -> Tensor:
    """Mean over images and pixels of a · b → [C]."""
    return (a * b).mean((0, 2, 3))


def _spread(channel: Tensor) -> Tensor:
    return channel[:, None, None]
