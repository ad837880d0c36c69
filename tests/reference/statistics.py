"""References of the proxies that compare gradients of several minibatches or images."""

from __future__ import annotations

import functools
import math

import numpy as np
import torch
from torch import Tensor, nn

from reference.common import loss_of, private_copy, weights
from reference.features import with_drawn_weights


def zico(net: nn.Module, x: Tensor, y: Tensor, dtype: torch.dtype) -> float:
    """Σ_layers log Σ_w mean_b |g| / std_b g over the two halves (Li 2023)."""
    half = (len(x) + 1) // 2
    if len(x) < 4:
        return math.nan
    found = []
    for part in (slice(None, half), slice(half, None)):
        copied = private_copy(net, dtype)
        loss_of(copied, x[part].to(dtype), y[part]).backward()
        grads = [w.grad for w in weights(copied)]
        found.append([None if g is None else g.flatten().tolist() for g in grads])
    total, layers = 0.0, 0
    for first, second in zip(*found, strict=True):
        if first is None:
            continue
        ratios = 0.0
        for a, b in zip(first, second, strict=True):
            mean = (a + b) / 2
            deviation = math.sqrt(((a - mean) ** 2 + (b - mean) ** 2) / 2)
            if deviation > 0:
                ratios += (abs(a) + abs(b)) / 2 / deviation
        if ratios > 0:
            total += math.log(ratios)
            layers += 1
    return total if layers else math.nan


@functools.lru_cache(maxsize=2)  # five references read them, of the same network
def _rows(net: nn.Module, x: Tensor, y: Tensor, dtype: torch.dtype, *, of: str):
    """Gradient of each image's loss or summed logits, alone in train mode, [N, W]."""
    rows = []
    for n in range(len(x)):
        copied = private_copy(net, dtype)
        image, label = x[n : n + 1].to(dtype), y[n : n + 1]
        out = loss_of(copied, image, label) if of == "loss" else copied(image).sum()
        out.backward()
        rows.append(
            np.concatenate(
                [
                    (torch.zeros_like(w) if w.grad is None else w.grad)
                    .flatten()
                    .numpy()
                    for w in weights(copied)
                ]
            )
        )
    stacked = np.stack(rows)
    stacked.flags.writeable = False
    return stacked


def gradsign_sum(net: nn.Module, x: Tensor, y: Tensor, dtype: torch.dtype) -> float:
    """Σ_w |Σ_n sign g_n| (Zhang & Jia 2022, the paper's formula)."""
    signs = np.sign(_rows(net, x, y, dtype, of="loss"))
    return float(np.abs(signs.sum(0)).sum())


def gradsign(net: nn.Module, x: Tensor, y: Tensor, dtype: torch.dtype) -> float:
    """Mean over all weights of |Σ_n sign g_n| (Zhang & Jia 2022, released code)."""
    signs = np.sign(_rows(net, x, y, dtype, of="loss"))
    return float(np.abs(signs.sum(0)).sum()) / signs.shape[1]


def _kernel(net: nn.Module, x: Tensor, y: Tensor, dtype: torch.dtype) -> np.ndarray:
    rows = _rows(net, x, y, dtype, of="logits")
    return np.array([[(a * b).sum() for b in rows] for a in rows])


def ntk_cond(net: nn.Module, x: Tensor, y: Tensor, dtype: torch.dtype) -> float:
    """−λ_max / λ_min of Θ of 16 images, Kaiming fan-out, train mode (Chen 2021)."""
    fan_out = lambda s: math.sqrt(2 / (s[0] * math.prod(s[2:])))  # noqa: E731
    net = with_drawn_weights(net, fan_out, "ntk")
    for parameter in net.parameters():
        parameter.requires_grad_(True)
    logits = net(x[:16].to(dtype))
    rows = []
    for n in range(len(logits)):
        net.zero_grad()
        logits[n].sum().backward(retain_graph=True)
        named = net.named_parameters()
        grads = [p.grad for name, p in named if "weight" in name and p.grad is not None]
        rows.append(torch.cat([g.flatten() for g in grads]).clone().numpy())
    return _condition(np.array([[(a * b).sum() for b in rows] for a in rows]))


def ntk_cond_image(net: nn.Module, x: Tensor, y: Tensor, dtype: torch.dtype) -> float:
    """−λ_max / λ_min of Θ, each image alone."""
    return _condition(_kernel(net, x, y, dtype))


def _condition(kernel: np.ndarray) -> float:
    """NaN where Θ is singular to float32."""
    values = np.linalg.eigvalsh(kernel)
    if values[0] <= values[-1] * len(kernel) * 2.0**-23:
        return math.nan
    return -values[-1] / values[0]


def ntk_trace(net: nn.Module, x: Tensor, y: Tensor, dtype: torch.dtype) -> float:
    """√ mean_n Θ_nn (Shu 2022)."""
    kernel = _kernel(net, x, y, dtype)
    return math.sqrt(sum(kernel[n, n] for n in range(len(x))) / len(x))


def knas(net: nn.Module, x: Tensor, y: Tensor, dtype: torch.dtype) -> float:
    """Σ of centred products of two halves' gradients / 2500 (Xu 2021, its code)."""
    images = []
    for n in range(min(50, len(x))):
        copied = private_copy(net, dtype)
        loss_of(copied, x[n : n + 1].to(dtype), y[n : n + 1]).backward()
        chosen = [p for p in copied.parameters() if p.numel() >= 50][:11]
        images.append(
            [
                [0.0] * 50 if p.grad is None else p.grad.flatten()[:50].tolist()
                for p in chosen
            ]
        )
    half, total = len(images) // 2, 0.0
    if half < 2 or not images[0]:
        return math.nan
    for tensor in range(len(images[0])):
        for entry in range(50):
            values = [image[tensor][entry] for image in images]
            one, two = values[:half], values[half : 2 * half]
            means = sum(one) / half, sum(two) / half
            pairs = zip(one, two, strict=True)
            total += sum((a - means[0]) * (b - means[1]) for a, b in pairs) / 2500
    return total


def knas_kernel(net: nn.Module, x: Tensor, y: Tensor, dtype: torch.dtype) -> float:
    """Mean of all entries of Θ."""
    return float(sum(map(sum, _kernel(net, x, y, dtype)))) / len(x) ** 2
