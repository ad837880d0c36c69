"""References of the proxies that differentiate with respect to weights."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

from reference.common import layers, loss_of, private_copy, weights


def _weights_and_gradients(
    net: nn.Module, x: Tensor, y: Tensor, dtype: torch.dtype
) -> list[tuple[Tensor, Tensor]]:
    """Pairs (w, g = ∂L/∂w); g is zero where L does not depend on w."""
    net = private_copy(net, dtype)
    loss_of(net, x.to(dtype), y).backward()
    return [
        (w.detach(), torch.zeros_like(w) if w.grad is None else w.grad)
        for w in weights(net)
    ]


def plain(net: nn.Module, x: Tensor, y: Tensor, dtype: torch.dtype) -> float:
    """Σ w·g, signed (Abdelfattah 2021)."""
    pairs = _weights_and_gradients(net, x, y, dtype)
    return sum((w * g).sum().item() for w, g in pairs)


def snip(net: nn.Module, x: Tensor, y: Tensor, dtype: torch.dtype) -> float:
    """Σ |w·g| (Lee 2019)."""
    pairs = _weights_and_gradients(net, x, y, dtype)
    return sum((w * g).abs().sum().item() for w, g in pairs)


def grad_norm(net: nn.Module, x: Tensor, y: Tensor, dtype: torch.dtype) -> float:
    """Σ_layers ‖g‖₂ (Abdelfattah 2021)."""
    pairs = _weights_and_gradients(net, x, y, dtype)
    return sum(g.square().sum().sqrt().item() for _, g in pairs)


def fisher(net: nn.Module, x: Tensor, y: Tensor, dtype: torch.dtype) -> float:
    """Σ_channels fan_in · ½ mean_n (Σ_hw a·∂L/∂a)² (Theis 2018, Turner 2020).

    a [N, C, H, W] or [N, C] is the output of a conv or linear layer, bias included;
    fan_in the number of weights that one output channel owns, since the suite spreads
    a channel's value over each of its weights and sums those.
    """
    net = private_copy(net, dtype)
    outputs: list[tuple[nn.Module, Tensor]] = []

    def keep(layer: nn.Module, _: object, output: Tensor) -> None:
        output.retain_grad()
        outputs.append((layer, output))

    for layer in layers(net):
        layer.register_forward_hook(keep)
    loss_of(net, x.to(dtype), y).backward()

    score = 0.0
    for layer, a in outputs:
        if a.grad is None:  # L does not depend on this layer
            continue
        saliency = (
            (a.detach() * a.grad).flatten(2).sum(2)
            if a.dim() > 2
            else (a.detach() * a.grad)
        )  # [N, C]
        per_channel = saliency.square().mean(0) / 2
        fan_in = layer.weight[0].numel()
        score += fan_in * per_channel.sum().item()
    return score


def grasp(net: nn.Module, x: Tensor, y: Tensor, dtype: torch.dtype) -> float:
    """−Σ w·(H g), H the Hessian of L in all weights, no temperature (Wang 2020).

    Double backward: H g is the gradient of gᵀ·(∂L/∂w), its first factor held fixed.
    """
    net = private_copy(net, dtype)
    w = weights(net)
    loss = loss_of(net, x.to(dtype), y)
    g = torch.autograd.grad(loss, w, create_graph=True, allow_unused=True)
    product = sum((d.detach() * d).sum() for d in g if d is not None)
    hg = torch.autograd.grad(product, w, allow_unused=True)
    return -sum(
        (a.detach() * h).sum().item()
        for a, h in zip(w, hg, strict=True)
        if h is not None
    )


class _Nothing(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return x


def _without_batch_norm(module: nn.Module) -> None:
    for name, child in module.named_children():
        if isinstance(child, nn.BatchNorm2d | nn.BatchNorm1d):
            setattr(module, name, _Nothing())
        else:
            _without_batch_norm(child)


def synflow(net: nn.Module, x: Tensor, y: Tensor, dtype: torch.dtype) -> float:
    """log Σ |w|·∂R/∂|w|, R the sum of outputs for one all-ones image (Tanaka 2020).

    Every parameter is replaced by its absolute value and BatchNorm by the identity.
    Zero, as in a disconnected network, has no logarithm: NaN.
    """
    net = private_copy(net, dtype)
    _without_batch_norm(net)
    with torch.no_grad():
        for parameter in net.parameters():
            parameter.copy_(parameter.abs())
    net(torch.ones(1, *x.shape[1:], dtype=dtype)).sum().backward()
    total = 0.0
    for w in weights(net):
        if w.grad is not None:
            total += (w.detach() * w.grad).sum().item()
    return math.log(total) if total > 0 else math.nan
