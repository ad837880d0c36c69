"""Proxies of the neural tangent kernel of the images.

Θ = J Jᵀ [N, N], row n of J the gradient of the sum of image n's logits over the weights
of convolutions and linear layers, each image a minibatch of its own. The authors' code
runs BatchNorm over the whole minibatch, which couples the images and takes a backward
for each of them.
"""

from __future__ import annotations

import math

from zcbench.errors import Undefined
from zcbench.evidence.records import TangentKernel
from zcbench.proxies import proxy


@proxy(reference="chen2021neural", label_free=True)
def ntk_cond(t: TangentKernel) -> float:
    """−λ_max / λ_min of Θ (TE-NAS, Chen et al. 2021). Higher is better.

    Undefined where Θ is singular to rounding: fewer weights than images, or images with
    the same gradient.
    """
    import torch

    if not bool(t.kernel.isfinite().all()):
        return math.nan
    eigenvalues = torch.linalg.eigvalsh(t.kernel.cpu())
    smallest, largest = float(eigenvalues[0]), float(eigenvalues[-1])
    if smallest <= largest * len(eigenvalues) * torch.finfo(torch.float32).eps:
        raise Undefined("the tangent kernel is singular")
    return -largest / smallest


@proxy(reference="shu2022nasi", label_free=True)
def ntk_trace(t: TangentKernel) -> float:
    """√ of the mean of Θ's diagonal, the trace norm of NASI. Higher is better.

    Shu et al. 2022 maximise the trace norm of the tangent kernel; the root and
    the mean change no order.
    """
    return float(t.kernel.diagonal().mean().sqrt())


@proxy(reference="xu2021knas", label_free=True)
def knas(t: TangentKernel) -> float:
    """Mean of all entries of Θ (KNAS' mean of the Gram matrix). Higher is better.

    Xu et al. 2021. It is the squared norm of the images' mean gradient.
    """
    return float(t.kernel.mean())
