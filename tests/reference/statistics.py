"""References of the proxies that compare gradients of several minibatches or images."""

from __future__ import annotations

import math

import numpy as np
import torch
from torch import Tensor, nn

from reference.common import loss_of, private_copy, weights


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
    return np.stack(rows)


def gradsign_sum(net: nn.Module, x: Tensor, y: Tensor, dtype: torch.dtype) -> float:
    """Σ_w |Σ_n sign g_n| (Zhang & Jia 2022, the paper's formula)."""
    signs = np.sign(_rows(net, x, y, dtype, of="loss"))
    return float(np.abs(signs.sum(0)).sum())


def gradsign(net: nn.Module, x: Tensor, y: Tensor, dtype: torch.dtype) -> float:
    """Mean over all weights of |Σ_n sign g_n| (Zhang & Jia 2022, released code)."""
    total = 0.0
    signs = np.sign(_rows(net, x, y, dtype, of="loss")).T
    for column in signs:
        total += abs(column.sum())
    return total / len(signs)


def _kernel(net: nn.Module, x: Tensor, y: Tensor, dtype: torch.dtype) -> np.ndarray:
    rows = _rows(net, x, y, dtype, of="logits")
    return np.array([[(a * b).sum() for b in rows] for a in rows])


def ntk_cond(net: nn.Module, x: Tensor, y: Tensor, dtype: torch.dtype) -> float:
    """−λ_max / λ_min of Θ (Chen 2021); NaN where Θ is singular to float32."""
    values = np.linalg.eigvalsh(_kernel(net, x, y, dtype))
    if values[0] <= values[-1] * len(x) * 2.0**-23:
        return math.nan
    return -values[-1] / values[0]


def ntk_trace(net: nn.Module, x: Tensor, y: Tensor, dtype: torch.dtype) -> float:
    """√ mean_n Θ_nn (Shu 2022)."""
    kernel = _kernel(net, x, y, dtype)
    return math.sqrt(sum(kernel[n, n] for n in range(len(x))) / len(x))


def knas(net: nn.Module, x: Tensor, y: Tensor, dtype: torch.dtype) -> float:
    """Mean of all entries of Θ (Xu 2021)."""
    return float(sum(map(sum, _kernel(net, x, y, dtype)))) / len(x) ** 2
