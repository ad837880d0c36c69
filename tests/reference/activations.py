"""References of the proxies that look at activations."""

from __future__ import annotations

import math

import numpy as np
import torch
from torch import Tensor, nn

from reference.common import layers, private_copy


def nwot(net: nn.Module, x: Tensor, y: Tensor, dtype: torch.dtype) -> float:
    """log |det K|, K = Σ_ReLU b bᵀ + (1 − b)(1 − b)ᵀ (Mellor 2021).

    b [N, units] is 1 where the input of the ReLU is positive. Every call of every ReLU
    counts once, on dead branches, too. K is a sum of Gram matrices of whole numbers;
    a rank below N (two images with equal codes everywhere) has no log-det: NaN.
    """
    net = private_copy(net, dtype)
    n = len(x)
    kernel = np.zeros((n, n))

    def add(_: nn.Module, inputs: tuple[Tensor, ...]) -> None:
        b = (inputs[0] > 0).flatten(1).to(dtype)
        agreement = b @ b.T + (1 - b) @ (1 - b).T
        kernel[...] += agreement.double().numpy()

    for module in net.modules():
        if isinstance(module, nn.ReLU):
            module.register_forward_pre_hook(add)  # before an in-place ReLU acts
    with torch.no_grad():
        net(x.to(dtype))
    if np.linalg.matrix_rank(kernel, hermitian=True) < n:
        return math.nan
    return np.linalg.slogdet(kernel)[1]


def _reset(net: nn.Module, generator: torch.Generator) -> None:
    """Weights ~ N(0, 1), biases 0, BatchNorm as new with momentum 0.1."""
    for module in net.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.momentum = 0.1
            module.reset_running_stats()
            nn.init.ones_(module.weight)
            nn.init.zeros_(module.bias)
    for layer in layers(net):
        nn.init.normal_(layer.weight, generator=generator)
        if layer.bias is not None:
            nn.init.zeros_(layer.bias)


def _features(net: nn.Module, x: Tensor) -> Tensor:
    """Input of the global average pooling in a train-mode pass over x."""
    seen: list[Tensor] = []
    pooling = [m for m in net.modules() if isinstance(m, nn.AdaptiveAvgPool2d)][-1]
    handle = pooling.register_forward_pre_hook(lambda _, inputs: seen.append(inputs[0]))
    net(x)
    handle.remove()
    return seen[0]


def _zen_once(
    net: nn.Module, x: Tensor, dtype: torch.dtype, generator: torch.Generator
) -> float:
    net = private_copy(net, dtype)
    with torch.no_grad():
        _reset(net, generator)
        images = torch.randn(x.shape, generator=generator, dtype=dtype)
        noise = torch.randn(x.shape, generator=generator, dtype=dtype)
        before = _features(net, images)
        after = _features(net, images + 0.01 * noise)
        per_image = (before - after).abs().flatten(1).sum(1)
        difference = per_image.mean().item()
    if difference == 0:
        return math.nan
    score = math.log(difference)
    for module in net.modules():
        if isinstance(module, nn.BatchNorm2d):
            score += math.log(math.sqrt(module.running_var.mean().item()))
    return score


def zen_repeats(
    net: nn.Module,
    x: Tensor,
    y: Tensor,
    dtype: torch.dtype = torch.float64,
    repeats: int = 5,
    seed: int = 0,
) -> list[float]:
    """`zen` with that many independent draws; NaN where it is undefined."""
    generator = torch.Generator().manual_seed(seed)
    return [_zen_once(net, x, dtype, generator) for _ in range(repeats)]


def zen(net: nn.Module, x: Tensor, y: Tensor, dtype: torch.dtype) -> float:
    """log E_n Σ_features |f(x) − f(x + 0.01 e)| + Σ_BN log √(mean running_var).

    (Lin 2021.) x and e Gaussian images, f the features before the global pooling,
    weights ~ N(0, 1), BatchNorm in train mode with running statistics started at 0 and
    1 and moved by 0.1 in each of the two passes. One draw, as in the suites. Features
    that do not move at all have no logarithm: NaN.
    """
    return zen_repeats(net, x, y, dtype, repeats=1)[0]
