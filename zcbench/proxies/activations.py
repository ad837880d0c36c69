"""Proxies of the ReLU codes of the minibatch."""

from __future__ import annotations

import math
from statistics import fmean
from typing import Literal

from zcbench.errors import Undefined
from zcbench.evidence.records import (
    ActivationKernel,
    ActivationPatterns,
    DrawnPatterns,
    LinearRegions,
    Parameters,
)
from zcbench.proxies import proxy


@proxy(reference="mellor2021neural", aliases=("naswot",), label_free=True)
def nwot(a: ActivationKernel) -> float:
    """Log det K, K the agreement of ReLU codes (Mellor et al. 2021). Higher is better.

    K [N, N] = Σ over ReLU layers of b bᵀ + (1 − b)(1 − b)ᵀ, b [N, units] the codes of
    the ReLU's input. Every ReLU counts, also on dead branches, as in the suites; the
    authors' code counts only those that a backward pass reaches. Undefined where two
    images have equal codes throughout (K is singular), or there is no ReLU.
    """
    import torch

    if not a.kernel.diagonal().any():
        raise Undefined("the network has no ReLU")
    kernel = a.kernel.cpu().double()
    eigenvalues = torch.linalg.eigvalsh(kernel)
    largest = float(eigenvalues[-1])
    if float(eigenvalues[0]) <= largest * len(kernel) * torch.finfo(torch.float64).eps:
        raise Undefined("the kernel of activation codes is singular")
    return float(eigenvalues.log().sum())


@proxy(
    reference="chen2021neural",
    version=2,
    label_free=True,
    evidence={"network=full": {"a": ActivationKernel}},
)
def lin_regions(
    a: LinearRegions, *, network: Literal["thin", "full"] = "thin"
) -> float:
    """Number of different ReLU codes among images (TE-NAS). Higher is better.

    Chen et al. 2021 count the linear regions that 3,000 crops of 1×3×3 pixels fall
    into, in one cell of one channel with Kaiming weights; mean over three draws.
    Undefined for networks that cannot be built so thin: others than those of cells.
    ``lin_regions[network=full]`` counts in the network itself, among the images of the
    minibatch: it cannot exceed their number, which nearly all networks reach.
    """
    del network  # says which record this is
    if isinstance(a, LinearRegions):
        return fmean(a.regions)
    same = a.kernel == a.kernel.diagonal()[:, None]
    if not a.kernel.diagonal().any():
        raise Undefined("the network has no ReLU")
    return float((1 / same.double().sum(1)).sum().round())


Weights = Literal["gaussian", "own"]
_OWN = {"weights=own": {"a": ActivationPatterns}}


@proxy(reference="peng2024swap", version=2, label_free=True, evidence=_OWN)
def swap(a: DrawnPatterns, *, weights: Weights = "gaussian") -> float:
    """Number of different sample-wise activation patterns. Higher is better.

    The pattern of a ReLU unit says for which images it is on; counted over all units of
    all ReLU modules (Peng et al. 2024). Weights are standard Gaussian, the images 16,
    and the score is the mean over 32 draws, as in the authors' code.
    ``swap[weights=own]``: the network's own initialisation, once, all images.
    """
    del weights  # says which record this is
    return _mean_distinct(a)


def _mean_distinct(a: DrawnPatterns | ActivationPatterns) -> float:
    return fmean(a.distinct if isinstance(a, DrawnPatterns) else (a.distinct,))


MU = 800.0
"""Thousands of parameters; the middle of the range on NAS-Bench-201."""
SIGMA = 800.0**2


@proxy(reference="peng2024swap", version=2, label_free=True, evidence=_OWN)
def reg_swap(
    a: DrawnPatterns,
    s: Parameters,
    *,
    mu: float = MU,
    sigma: float = SIGMA,
    weights: Weights = "gaussian",
) -> float:
    """SWAP · exp(−(p − μ)² / σ), p thousands of parameters. Higher is better.

    The regularised SWAP of Peng et al. 2024. μ and σ are to be chosen for the
    size that one wants; the authors publish none for NAS-Bench-201. Here μ = 800, the
    middle of the range of that space, and σ = 800², not tuned on any accuracy: outside
    that range the factor is near 0 and the score says size alone: it is undefined
    farther than 3 √σ from μ. Others: ``reg_swap[mu=500,sigma=90000]``.
    """
    del weights  # says which record this is
    thousands = s.n_params / 1000
    if (thousands - mu) ** 2 > 9 * sigma:
        raise Undefined(
            f"its constants are for networks of some {mu:,.0f} thousand parameters, "
            f"this one has {thousands:,.0f}"
        )
    return _mean_distinct(a) * math.exp(-((thousands - mu) ** 2) / sigma)
