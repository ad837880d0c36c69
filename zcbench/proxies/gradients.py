"""Proxies of the loss gradient at initialisation.

L is the mean cross-entropy of the minibatch (in a regression the mean squared error), w
a weight of a convolution or linear layer, g = ∂L/∂w. BatchNorm and biases never count.
Since L is a mean, scores do not grow with the batch; splitting a batch and adding the
gradients up would change them. Synaptic flow is the gradient of another loss, without
data.
"""

from __future__ import annotations

import math

from zcbench.errors import Undefined
from zcbench.evidence.records import (
    ChannelSaliency,
    Gradients,
    HessianGradient,
    SynapticFlow,
)
from zcbench.proxies import proxy


@proxy(reference="abdelfattah2021zero")
def plain(g: Gradients) -> float:
    """Σ w · g, signed. Higher is better (it correlates negatively on NAS-Bench-201)."""
    return sum(
        float((w * d).double().sum()) for w, d in zip(g.weights, g.grads, strict=True)
    )


@proxy(reference="lee2019snip")
def snip(g: Gradients) -> float:
    """Σ abs(w · g) over weights (Lee et al. 2019, eq. 3). Higher is better.

    Not divided by its sum over the network, which would make it 1.
    """
    return sum(
        float((w * d).abs().sum()) for w, d in zip(g.weights, g.grads, strict=True)
    )


@proxy(reference="abdelfattah2021zero")
def grad_norm(g: Gradients) -> float:
    """Σ over layers of ‖g‖₂. Higher is better."""
    return sum(float(d.norm()) for d in g.grads)


@proxy(reference="turner2020blockswap")
def fisher(c: ChannelSaliency) -> float:
    """Σ over channels of ½ mean_n (Σ_hw a · ∂L/∂a)², once per weight. Higher is better.

    a [N, C, H, W] is the output of a convolution or linear layer. Each channel counts
    once per weight it owns (fan-in), as in the suites' code; the paper leaves it open.
    """
    return sum(
        float(saliency.sum()) * fan_in
        for saliency, fan_in in zip(c.saliency, c.fan_in, strict=True)
    )


@proxy(reference="wang2020picking")
def grasp(h: HessianGradient) -> float:
    """−Σ w · (H g), H the Hessian of L (Wang et al. 2020, eq. 8). Higher is better.

    Sign as in the suites; no temperature on the logits. Heavy-tailed.
    """
    return 0.0 - h.weight_product


@proxy(reference="tanaka2020pruning", data_independent=True)
def synflow(s: SynapticFlow) -> float:
    """Log Σ abs(w) · ∂R/∂abs(w) (Tanaka et al. 2020). Higher is better.

    R is the sum of outputs for one all-ones image, every parameter absolute, BatchNorm
    removed. The logarithm keeps 1e65 readable and changes no rank. Undefined where
    nothing flows (a disconnected cell), which is no low score but none at all.
    """
    total = sum(s.flow)
    if total <= 0:
        raise Undefined("no flow from input to output")
    return math.log(total)
