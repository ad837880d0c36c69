"""Curvature of the outputs along a circle of inputs (Dextr)."""

from __future__ import annotations

import torch
from torch import Tensor

from zcbench.errors import Undefined
from zcbench.evidence.spectra import (
    OutputCurvature,
)
from zcbench.evidence.subject import Subject
from zcbench.seeding import generator, normal, reseed

COORDINATES = 10
"""Outputs that are looked at, drawn with repetition."""


def measure_output_curvature(subject: Subject) -> OutputCurvature:
    """Extrinsic curvature at θ = 0 of x(θ) = u cos θ + v sin θ.

    u and v are an orthonormal basis of a random plane, the network is in train mode;
    κ = |v|⁻³ √(|v|² |a|² − (v·a)²), v and a the first and second derivative of the
    outputs by θ. One point, as in the authors' experiments.

    Raises:
        Undefined: the outputs do not move along the circle.
    """
    x, seed = subject.batch.x, subject.seed
    shape = tuple(x.shape[1:])
    plane, _ = torch.linalg.qr(normal((x[0].numel(), 2), seed, "circle").double())
    u, v = (side.reshape(1, *shape).to(x) for side in plane.T)
    angle = torch.zeros((), dtype=x.dtype, device=x.device, requires_grad=True)
    reseed(seed)
    with subject.without_weight_gradients():
        outputs = subject.network(u * angle.cos() + v * angle.sin())
    if not isinstance(outputs, Tensor) or not outputs.requires_grad:
        raise Undefined(_STILL)
    outputs = outputs.reshape(-1)
    random = generator(seed, "coordinates", len(outputs))
    chosen = torch.randint(0, len(outputs), (COORDINATES,), generator=random)
    ones = torch.ones(COORDINATES, dtype=x.dtype, device=x.device, requires_grad=True)
    speed = _along((outputs[chosen.to(x.device)] * ones).sum(), angle)
    velocity = _along(speed, ones).detach().double()
    acceleration = _along(_along(speed, angle), ones).detach().double()
    square = velocity.square().sum()
    if not float(square):
        raise Undefined(_STILL)
    mixed = (velocity * acceleration).sum()
    bend = (square * acceleration.square().sum() - mixed.square()).clamp(min=0)
    return OutputCurvature(float(square ** (-3 / 2) * bend.sqrt()))


_STILL = "the outputs do not change along a circle of inputs"


def _along(value: Tensor, by: Tensor) -> Tensor:
    """Derivative that can be derived again; zero where there is none."""
    if not value.requires_grad:
        return torch.zeros_like(by)
    (grad,) = torch.autograd.grad(value, by, create_graph=True, allow_unused=True)
    return torch.zeros_like(by) if grad is None else grad
