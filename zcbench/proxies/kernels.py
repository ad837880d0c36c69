"""Proxies of the neural tangent kernel of the images.

Θ = J Jᵀ, row n of J the gradient of the sum of image n's logits. In a `TangentKernel`
each image is a minibatch of its own, in a `MinibatchKernel` BatchNorm couples them.
"""

from __future__ import annotations

import math
from typing import Literal

from zcbench.errors import Undefined
from zcbench.evidence.records import FirstGradients, MinibatchKernel, TangentKernel
from zcbench.proxies import proxy


@proxy(
    reference="chen2021neural",
    version=2,
    label_free=True,
    evidence={"kernel=image": {"t": TangentKernel}},
)
def ntk_cond(
    t: MinibatchKernel, *, kernel: Literal["minibatch", "image"] = "minibatch"
) -> float:
    """−λ_max / λ_min of Θ (TE-NAS, Chen et al. 2021). Higher is better.

    Kaiming weights (fan-out), gradients by all weights, BatchNorm's too, through the
    statistics of the minibatch: 16 images, where the authors have 72 on NAS-Bench-201
    and 14 on DARTS, and one draw, where they have three. ``ntk_cond[kernel=image]``:
    own initialisation, all images, each alone, without BatchNorm's weights. Undefined
    where Θ is singular to rounding: fewer weights than images, or images with the same
    gradient.
    """
    del kernel  # says which record this is
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


@proxy(reference="xu2021knas", version=2, evidence={"of=kernel": {"g": TangentKernel}})
def knas(
    g: FirstGradients, *, of: Literal["gradients", "kernel"] = "gradients"
) -> float:
    """Covariance of gradients of two halves of the images. Higher is better.

    KNAS (Xu et al. 2021) as its code has it: of the first fifty entries of eleven
    tensors, Σ of the centred products of the gradients of images 1–25 and 26–50, each
    image a minibatch of its own, over 2,500. ``knas[of=kernel]``: the mean of all
    entries of Θ, the mean of the Gram matrix that the paper speaks of, which is the
    squared norm of the images' mean gradient.
    """
    del of  # says which record this is
    if isinstance(g, TangentKernel):
        return float(g.kernel.mean())
    half = g.entries.shape[1] // 2
    if half < 2:
        raise Undefined("two halves take four images")
    first, second = g.entries[:, :half], g.entries[:, half : 2 * half]
    products = (first - first.mean(1, keepdim=True)) * second  # centred once is twice
    return float(products.sum()) / 2500
