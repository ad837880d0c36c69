"""References of the proxies that differentiate with respect to the images."""

from __future__ import annotations

import math

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from reference.common import private_copy


def _jacobian(
    net: nn.Module, x: Tensor, dtype: torch.dtype
) -> tuple[NDArray[np.floating], int]:
    """J [N, CHW] = ∂(Σ all logits of the batch)/∂x in train mode, and the classes.

    BatchNorm couples the images: row n holds what image n does to every logit.
    """
    net = private_copy(net, dtype)
    images = x.to(dtype).clone().requires_grad_(True)
    logits = net(images)
    logits.sum().backward()
    gradient = torch.zeros_like(images) if images.grad is None else images.grad
    return gradient.flatten(1).numpy(), logits.shape[1]


def _has_constant_row(j: NDArray[np.floating]) -> bool:
    return any(np.ptp(row) == 0 for row in j)


def jacov(net: nn.Module, x: Tensor, y: Tensor, dtype: torch.dtype) -> float:
    """−Σ (log(v + k) + 1/(v + k)), v the eigenvalues of corrcoef(J) (Mellor 2020, v1).

    k = 1e-5. A constant row has no correlation: NaN.
    """
    j, _ = _jacobian(net, x, dtype)
    if _has_constant_row(j):
        return math.nan
    k = 1e-5
    eigenvalues = np.linalg.eigvalsh(np.corrcoef(j))
    return -sum(math.log(v + k) + 1 / (v + k) for v in eigenvalues.tolist())


def epe_nas(net: nn.Module, x: Tensor, y: Tensor, dtype: torch.dtype) -> float:
    """Class-wise correlation of J (Lopes 2021).

    For each class c present, s_c = Σ log(|corrcoef(J of its images)| + k), k = 1e-5,
    over all n_c² entries of the matrix: both triangles and the diagonal of ones. One
    image has the correlation matrix (1). Then, C being the width of the classifier,

    - C ≤ 100: Σ_c |s_c|;
    - C > 100: with t_c = s_c / n_c, Σ_c Σ_d |t_c − t_d| / (number of classes), of the
      classes with two images and more; NaN where there is one such class.
    """
    j, n_classes = _jacobian(net, x, dtype)
    if _has_constant_row(j):
        return math.nan
    k = 1e-5
    scores, sizes = [], []
    for label in sorted(set(y.tolist())):
        rows = j[y.numpy() == label]
        correlation = np.atleast_2d(np.corrcoef(rows))
        scores.append(sum(math.log(abs(r) + k) for r in correlation.flat))
        sizes.append(len(rows))
    if n_classes <= 100:
        return sum(abs(s) for s in scores)
    t = [s / size for s, size in zip(scores, sizes, strict=True) if size > 1]
    return sum(abs(a - b) for a in t for b in t) / len(t) if len(t) > 1 else math.nan
