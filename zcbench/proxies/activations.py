"""Proxies of the ReLU codes of the minibatch."""

from __future__ import annotations

from zcbench.errors import Undefined
from zcbench.evidence.records import ActivationKernel
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

    kernel = a.kernel.cpu().double()
    eigenvalues = torch.linalg.eigvalsh(kernel)
    largest = float(eigenvalues[-1])
    if float(eigenvalues[0]) <= largest * len(kernel) * torch.finfo(torch.float64).eps:
        raise Undefined("the kernel of activation codes is singular")
    return float(eigenvalues.log().sum())
