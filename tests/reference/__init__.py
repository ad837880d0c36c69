"""Literal float64 references for every proxy: the formula and nothing else.

`reference("snip")(net, x, y)` works on a deep copy in train mode and gives the value
of the published definition, or None where the definition yields no finite number.
Written from the formulas alone, each with its own passes; independent of
`zcbench.evidence` and `zcbench.proxies`, which are tested against these.

Everywhere: the weights are those of conv and linear layers (no bias, no BatchNorm),
L is the mean cross-entropy of the batch, and parameters take part frozen or not.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor, nn

from reference.activations import nwot, zen, zen_repeats
from reference.baselines import flops, l2_norm, n_layers, params
from reference.features import (
    az_expressivity,
    az_progressivity,
    az_trainability,
    gennas,
    lin_regions,
    lin_regions_full,
    meco,
    meco_gaussian,
    nngp,
    reg_swap,
    reg_swap_own,
    swap,
    swap_own,
)
from reference.gradients import fisher, grad_norm, grasp, plain, snip, synflow
from reference.inputs import epe_nas, jacov
from reference.spectra import (
    avg_degree,
    dextr,
    dextr_svd,
    epsinas,
    meco_opt,
    n_relus,
    near,
    op_balance,
    vkdnw,
    vkdnw_entropy,
    wrcor,
    wrcor_unweighted,
)
from reference.statistics import (
    gradsign,
    gradsign_sum,
    knas,
    knas_kernel,
    ntk_cond,
    ntk_cond_image,
    ntk_trace,
    zico,
)
from reference.transformers import (
    activation_distance,
    dss,
    head_confidence,
    softmax_confidence,
    w_pca,
)

REFERENCES: dict[str, Callable[..., float]] = {
    "params": params,
    "flops": flops,
    "n_layers": n_layers,
    "l2_norm": l2_norm,
    "plain": plain,
    "snip": snip,
    "grad_norm": grad_norm,
    "fisher": fisher,
    "grasp": grasp,
    "synflow": synflow,
    "jacov": jacov,
    "epe_nas": epe_nas,
    "nwot": nwot,
    "zen": zen,
    "lin_regions": lin_regions,
    "swap": swap,
    "reg_swap": reg_swap,
    "zico": zico,
    "gradsign": gradsign,
    "ntk_cond": ntk_cond,
    "ntk_trace": ntk_trace,
    "knas": knas,
    "meco": meco,
    "az_expressivity": az_expressivity,
    "az_progressivity": az_progressivity,
    "az_trainability": az_trainability,
    "near": near,
    "dextr_svd": dextr_svd,
    "dextr": dextr,
    "meco_opt": meco_opt,
    "wrcor": wrcor,
    "wrcor_unweighted": wrcor_unweighted,
    "dss": dss,
    "head_confidence": head_confidence,
    "softmax_confidence": softmax_confidence,
    "activation_distance": activation_distance,
    "w_pca": w_pca,
    "vkdnw": vkdnw,
    "vkdnw_entropy": vkdnw_entropy,
    "epsinas": epsinas,
    "avg_degree": avg_degree,
    "n_relus": n_relus,
    "op_balance": op_balance,
    "nngp": nngp,
    "gennas": gennas,
}
VARIANTS: dict[str, Callable[..., float]] = {
    "lin_regions[network=full]": lin_regions_full,
    "ntk_cond[kernel=image]": ntk_cond_image,
    "knas[of=kernel]": knas_kernel,
    "swap[weights=own]": swap_own,
    "reg_swap[weights=own]": reg_swap_own,
    "gradsign[part=sum]": gradsign_sum,
    "meco[image=gaussian]": meco_gaussian,
}
"""Those with other values of their parameters."""
COSTLY = ("vkdnw", "vkdnw_entropy", "nngp", "gennas")
"""Compared on fewer and smaller networks."""


def reference(name: str) -> Callable[..., float | None]:
    """Function (net, x, y, dtype=torch.float64) → value, or None if not finite."""
    function = {**REFERENCES, **VARIANTS}[name]

    def value(
        net: nn.Module, x: Tensor, y: Tensor, dtype: torch.dtype = torch.float64
    ) -> float | None:
        number = float(function(net, x, y, dtype))
        return number if abs(number) < float("inf") else None  # NaN fails, too

    return value


__all__ = ["COSTLY", "REFERENCES", "VARIANTS", "reference", "zen_repeats"]
