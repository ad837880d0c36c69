"""Curvature of the outputs along a circle of inputs (Dextr)."""

from __future__ import annotations

import torch
from torch import Tensor

from zcbench.errors import Undefined
from zcbench.evidence.per_image_pass import check_spread
from zcbench.evidence.spectra import (
    OutputCurvature,
)
from zcbench.evidence.stacked_alone import ImagesAlone
from zcbench.evidence.subject import StackedSubject, Subject
from zcbench.networks.stacked_layers import StackedBatchNorm, StackedLayer, StackedReLU
from zcbench.seeding import generator, normal, reseed

COORDINATES = 10
"""Outputs that are looked at, drawn with repetition."""


def measure_output_curvature(subject: Subject) -> OutputCurvature:
    """Extrinsic curvature at θ = 0 of x(θ) = u cos θ + v sin θ.

    u and v are an orthonormal basis of a random plane, the network is in train mode;
    κ = |v|⁻³ √(|v|² |a|² − (v·a)²), v and a the first and second derivative of the
    outputs by θ. One point, as in the authors' experiments.

    Raises:
        Undefined: the outputs do not move along the circle, or by rounding only.
    """
    x, seed = subject.batch.x, subject.seed
    u, v = _plane(x, seed)
    angle = torch.zeros((), dtype=x.dtype, device=x.device, requires_grad=True)
    reseed(seed)
    with subject.without_weight_gradients():
        outputs = subject.network(u * angle.cos() + v * angle.sin())
    if not isinstance(outputs, Tensor) or not outputs.requires_grad:
        raise Undefined(_STILL)
    outputs = outputs.reshape(-1)
    chosen = _coordinates(len(outputs), seed)
    ones = torch.ones(COORDINATES, dtype=x.dtype, device=x.device, requires_grad=True)
    speed = _along((outputs[chosen.to(x.device)] * ones).sum(), angle)
    velocity = _along(speed, ones).detach().double()
    acceleration = _along(_along(speed, angle), ones).detach().double()
    curvature = _curvature(velocity, acceleration)
    if subject.batchnorms:  # else nothing takes the image out again
        check_spread(torch.stack([outputs.detach(), _at(subject, v)]))
    return OutputCurvature(curvature)


@torch.no_grad()
def _at(subject: Subject, image: Tensor) -> Tensor:
    """Outputs for an image alone."""
    reseed(subject.seed)
    outputs: Tensor = subject.network(image)
    return outputs.reshape(-1)


def _plane(x: Tensor, seed: int) -> tuple[Tensor, Tensor]:
    """Orthonormal u and v of the shape of one image, [1, …]."""
    plane, _ = torch.linalg.qr(normal((x[0].numel(), 2), seed, "circle").double())
    u, v = (side.reshape(1, *x.shape[1:]).to(x) for side in plane.T)
    return u, v


def _coordinates(n_outputs: int, seed: int) -> Tensor:
    random = generator(seed, "coordinates", n_outputs)
    return torch.randint(0, n_outputs, (COORDINATES,), generator=random)


def _curvature(velocity: Tensor, acceleration: Tensor) -> float:
    """κ; raises `Undefined` of what stands still."""
    square = velocity.square().sum()
    if not float(square):
        raise Undefined(_STILL)
    mixed = (velocity * acceleration).sum()
    bend = (square * acceleration.square().sum() - mixed.square()).clamp(min=0)
    return float(square ** (-3 / 2) * bend.sqrt())


_STILL = "the outputs do not change along a circle of inputs"


def _along(value: Tensor, by: Tensor) -> Tensor:
    """Derivative that can be derived again; zero where there is none."""
    if not value.requires_grad:
        return torch.zeros_like(by)
    (grad,) = torch.autograd.grad(value, by, create_graph=True, allow_unused=True)
    return torch.zeros_like(by) if grad is None else grad


@torch.no_grad()
def stacked_output_curvature(subject: StackedSubject) -> list[OutputCurvature]:
    """The same of every network of a stack, by derivatives that go forward.

    As three images run the value, the first and the second derivative by θ: all that is
    linear treats them alike, BatchNorm and ReLU have rules.
    """
    network, x = subject.network, subject.batch.x
    u, v = _plane(x, subject.seed)
    rules = _Derivatives()
    jets = network(network.images(torch.cat([u, v, -u])), rules)  # at θ = 0
    chosen = _coordinates(jets.shape[2], subject.seed)
    _, velocity, acceleration = jets.cpu()[:, :, chosen].double()
    outputs = network(network.images(torch.cat([u, v])), ImagesAlone()).cpu()

    def record(p: int) -> OutputCurvature:
        curvature = _curvature(velocity[p], acceleration[p])
        check_spread(outputs[:, p])
        return OutputCurvature(curvature)

    return rules.of_each(record, network.n_networks)


class _Derivatives(ImagesAlone):
    """Value, first and second derivative: [3, G·C, H, W]."""

    def layer(self, layer: StackedLayer, x: Tensor) -> Tensor:
        out: Tensor = layer(x, layer.weight)
        if layer.bias is not None:
            out[0] += layer.bias.repeat(len(layer.members))[:, None, None]
        return out

    def relu(self, relu: StackedReLU, x: Tensor) -> Tensor:
        del relu
        return x * (x[0] > 0)

    def normalise(self, norm: StackedBatchNorm, x: Tensor) -> Tensor:
        """Maps s · d and derivatives, d centred and s = (var + ε)^(−1/2)."""
        d, d1, d2 = x - x.mean((2, 3), keepdim=True)
        size = (1, 2)
        var = d.square().mean(size, keepdim=True) + norm.eps
        var1 = 2 * (d * d1).mean(size, keepdim=True)
        var2 = 2 * (d1.square() + d * d2).mean(size, keepdim=True)
        s = var.rsqrt()
        s1 = -(s**3) * var1 / 2
        s2 = 3 * s**5 * var1.square() / 4 - s**3 * var2 / 2
        return torch.stack([d * s, d1 * s + d * s1, d2 * s + 2 * d1 * s1 + d * s2])
