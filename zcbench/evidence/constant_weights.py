"""Outputs of a network whose weights are all one number (Gracheva et al. 2023)."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from zcbench.errors import Undefined, out_of_memory
from zcbench.evidence.copies import cast, deep_copied
from zcbench.evidence.modes import default_dtype, doubled
from zcbench.evidence.passes import attempt
from zcbench.evidence.spectra import (
    ConstantWeights,
)
from zcbench.evidence.subject import StackedSubject, Subject
from zcbench.networks.stacked import Rules
from zcbench.networks.stacked_layers import StackedBatchNorm, StackedLayer
from zcbench.seeding import reseed

WEIGHTS = (1e-7, 1.0)
"""Those that the authors take for NAS-Bench-201."""

_LEAST = 1e-5
"""Up to here outputs differ by rounding: all classes are alike."""

_ROUNDING = 1e-3
"""Outputs that shrink below this share in float64 are rounding."""


@torch.no_grad()
def measure_constant_weights(subject: Subject) -> ConstantWeights:
    """Two forwards of the minibatch, BatchNorm in train mode, biases zero.

    In float32 whatever the network is in: with weights of 1e-7 the outputs of deep
    cells pass its smallest number, and where they do is part of the published scores.

    A third in float64, with weights of 1, tells what is only rounding.

    Raises:
        Undefined: all outputs are one number but for rounding, or not a number.
    """
    outputs = []
    # Not in the modes that keep float64.
    with torch._C.DisableTorchFunction(), default_dtype(torch.float32):
        network = cast(deep_copied(subject.network), torch.float32)
        images = subject.batch.x.to(torch.float32)
        for weight in WEIGHTS:
            for module in network.modules():
                _fill(module, weight)
            reseed(subject.seed)
            outputs.append(network(images))
            if not isinstance(outputs[-1], Tensor):
                raise Undefined("the network does not give one tensor of outputs")

    def again() -> Tensor:
        reseed(subject.seed)
        exact: Tensor = cast(network, torch.float64)(images.double())
        return exact

    return _compared(_in_float64(again), outputs)


def _in_float64(forward: Callable[[], Tensor]) -> Tensor | None:
    """Outputs in float64; None of a network or a device that has no such arithmetic."""
    try:
        with doubled():
            return forward()
    except Exception as error:
        if out_of_memory(error):
            raise
        return None


def _compared(exact: Tensor | None, outputs: Sequence[Tensor]) -> ConstantWeights:
    """Outputs of the network with each of the weights; with the last in float64."""
    both = torch.stack([_scaled(each.flatten().double()) for each in outputs])
    # A sum over what LayerNorm gives is 0: float32 leaves outputs of rounding alone.
    # Ranges are compared, as dropout can draw another mask in another precision.
    if exact is not None and _range(exact) < _ROUNDING * _range(outputs[-1]):
        raise Undefined("with constant weights the outputs are nothing but rounding")
    # The authors leave out what is exactly 0. Rounding decides which outputs of the
    # least image are: others in each engine.
    both = torch.where(both <= _LEAST, torch.nan, both)
    difference = (both[0] - both[1]).abs().nanmean()
    return ConstantWeights(float(difference), float(both.nanmean()))


def _range(outputs: Tensor) -> float:
    return float(outputs.max() - outputs.min())


def _fill(module: nn.Module, weight: float) -> None:
    bias, weights = getattr(module, "bias", None), getattr(module, "weight", None)
    if isinstance(bias, Tensor):
        bias.zero_()
    if isinstance(weights, Tensor):
        weights.fill_(weight)


def _scaled(outputs: Tensor) -> Tensor:
    low, high = outputs.min(), outputs.max()
    rounding = _LEAST * outputs.abs().max()
    if not bool(high - low > rounding) or not bool((high - low).isfinite()):
        raise Undefined("with constant weights all outputs are the same number")
    return (outputs - low) / (high - low)


@torch.no_grad()
def stacked_constant_weights(subject: StackedSubject) -> list[ConstantWeights]:
    """The same of every network of a stack."""
    network = subject.network
    images = network.images(subject.batch.x.to(torch.float32))
    outputs = [network(images, _Constant(weight)).unbind(1) for weight in WEIGHTS]
    all_exact = _in_float64(lambda: network(images.double(), _Constant(WEIGHTS[-1])))
    n = network.n_networks
    exact = [None] * n if all_exact is None else all_exact.unbind(1)
    return [
        attempt(partial(_compared, *both))
        for both in zip(exact, zip(*outputs, strict=True), strict=True)
    ]


class _Constant(Rules):
    """All weights are one number, no biases."""

    def __init__(self, weight: float) -> None:
        self._weight = weight

    def layer(self, layer: StackedLayer, x: Tensor) -> Tensor:
        weight = torch.full_like(layer.weight, self._weight, dtype=x.dtype)
        out: Tensor = layer(x, weight)
        return out

    def batchnorm(self, norm: StackedBatchNorm, x: Tensor) -> Tensor:
        weight = torch.full_like(norm.weight, self._weight, dtype=x.dtype)
        none = torch.zeros_like(weight)
        return F.batch_norm(x, None, None, weight, none, True, 0.0, norm.eps)
