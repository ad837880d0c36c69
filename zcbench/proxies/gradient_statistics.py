"""Proxies of how gradients differ between minibatches or images."""

from __future__ import annotations

import math
from typing import Literal

from zcbench.errors import Undefined
from zcbench.evidence.records import PartGradients, SignAgreement
from zcbench.proxies import proxy


@proxy(reference="li2023zico")
def zico(p: PartGradients) -> float:
    """Σ over layers of log Σ_w mean|g| / std g over minibatches. Higher is better.

    ZiCo (Li et al. 2023): mean and standard deviation (not corrected for their
    number) of each weight's gradient over minibatches, which here are the two halves of
    the one that there is; published with two of 128 images. Weights whose gradients are
    equal in all minibatches do not count, nor do layers of such weights alone.
    """
    total, layers = 0.0, 0
    for grads in p.grads:
        # From the first minibatch: exactly 0 where all are equal. Tensor.std takes 4 to
        # 100 times as long over a first axis.
        distance = grads - grads[0]
        deviation = (distance - distance.mean(0)).square().mean(0).sqrt()
        moving = deviation != 0  # also where it is not a number
        if moving.any():
            ratio = (grads.abs().mean(0) / deviation).masked_fill(~moving, 0)
            total += math.log(float(ratio.double().sum()))
            layers += 1
    if not layers:
        raise Undefined("no gradient differs between the minibatches")
    return total


@proxy(reference="zhang2022gradsign", version=2)
def gradsign(s: SignAgreement, *, part: Literal["mean", "sum"] = "mean") -> float:
    """Mean over weights of abs(Σ_n sign g_n), g_n of image n. Higher is better.

    GradSign (Zhang & Jia 2022), over all weights of convolutions and linear layers at
    once; each image is a minibatch of its own in train mode, as in the authors' code.
    Their paper and two of their three scripts take the sum, which is another order and
    the one that is published: ``gradsign[part=sum]``. A gradient that is zero but for
    rounding has a sign all the same: so it is for what comes before a BatchNorm that is
    averaged at once, as in MobileNets.
    """
    return s.total / (s.n_weights if part == "mean" else 1)
