"""Outputs of a network whose weights are all one number (Gracheva et al. 2023)."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from zcbench.errors import Undefined
from zcbench.evidence.copies import cast, deep_copied
from zcbench.evidence.spectra import (
    ConstantWeights,
)
from zcbench.evidence.subject import Subject
from zcbench.seeding import reseed

WEIGHTS = (1e-7, 1.0)
"""Those that the authors take for NAS-Bench-201."""


@torch.no_grad()
def measure_constant_weights(subject: Subject) -> ConstantWeights:
    """Two forwards of the minibatch, BatchNorm in train mode, biases zero.

    In float32 whatever the network is in: with weights of 1e-7 the outputs of deep
    cells pass its smallest number, and where they do is part of the published scores.

    Raises:
        Undefined: all outputs are one number, or not a number.
    """
    with torch._C.DisableTorchFunction():  # modes that keep float64
        return _measured(subject)


def _measured(subject: Subject) -> ConstantWeights:
    network = cast(deep_copied(subject.network), torch.float32)
    images = subject.batch.x.to(torch.float32)
    scaled = []
    for weight in WEIGHTS:
        for module in network.modules():
            _fill(module, weight)
        reseed(subject.seed)
        outputs = network(images)
        if not isinstance(outputs, Tensor):
            raise Undefined("the network does not give one tensor of outputs")
        scaled.append(_scaled(outputs.flatten().double()))
    both = torch.stack(scaled)
    # The least of each is 0, and left out as in the authors' code.
    both = torch.where(both == 0, torch.nan, both)
    difference = (both[0] - both[1]).abs().nanmean()
    return ConstantWeights(float(difference), float(both.nanmean()))


def _fill(module: nn.Module, weight: float) -> None:
    bias, weights = getattr(module, "bias", None), getattr(module, "weight", None)
    if isinstance(bias, Tensor):
        bias.zero_()
    if isinstance(weights, Tensor):
        weights.fill_(weight)


def _scaled(outputs: Tensor) -> Tensor:
    low, high = outputs.min(), outputs.max()
    if not bool(high > low) or not bool((high - low).isfinite()):
        raise Undefined("with constant weights all outputs are the same number")
    return (outputs - low) / (high - low)
