"""Loss gradients of the parts of a minibatch, for what wants several minibatches."""

from __future__ import annotations

import torch

from zcbench.errors import Undefined
from zcbench.evidence.loss import LOSSES
from zcbench.evidence.prepare import Subject
from zcbench.evidence.records import PartGradients

PARTS = 2


def measure_part_gradients(subject: Subject) -> PartGradients:
    """One forward and backward for each half, with its own BatchNorm statistics.

    Raises:
        Undefined: a part would hold fewer than two images.
    """
    batch, weights = subject.batch, subject.weights
    if len(batch.x) < 2 * PARTS:
        raise Undefined(f"{len(batch.x)} images do not make {PARTS} minibatches")
    found = []
    for x, y in zip(batch.x.chunk(PARTS), batch.y.chunk(PARTS), strict=True):
        loss = LOSSES[batch.loss](subject.network(x), y)
        if loss.requires_grad:
            found.append(torch.autograd.grad(loss, weights, allow_unused=True))
    return PartGradients(
        tuple(
            torch.stack([torch.zeros_like(w) if g is None else g for g in grads])
            for w, grads in zip(weights, zip(*found, strict=True), strict=True)
        )
        if found
        else ()
    )
