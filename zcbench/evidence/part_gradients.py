"""Loss gradients of halves of the minibatch, for what wants several minibatches.

Each half is a minibatch of its own in train mode.
"""

from __future__ import annotations

from dataclasses import replace

import torch
from torch import Tensor

from zcbench.errors import Undefined
from zcbench.evidence.records import PartGradients
from zcbench.evidence.subject import LOSSES, Subject, check_labels
from zcbench.seeding import reseed
from zcbench.types import Batch

PARTS = 2


def measure_part_gradients(subject: Subject) -> PartGradients:
    """One forward and backward for each half, with its own BatchNorm statistics.

    Raises:
        Undefined: a part would hold fewer than two images.
    """
    batch, weights = subject.batch, subject.weights
    if len(batch.x) < 2 * PARTS:
        raise Undefined(f"{len(batch.x)} images do not make {PARTS} minibatches")
    parts = []
    reseed(subject.seed)
    for x, y in zip(batch.x.chunk(PARTS), batch.y.chunk(PARTS), strict=True):
        outputs = subject.network(x)
        if not subject.plain:
            _check(outputs, replace(batch, x=x, y=y))
        loss = LOSSES[batch.loss](outputs, y)
        if loss.requires_grad or not subject.plain:
            parts.append(torch.autograd.grad(loss, weights, allow_unused=True))
    return PartGradients(
        tuple(
            torch.stack([torch.zeros_like(w) if g is None else g for g in grads])
            for w, grads in zip(weights, zip(*parts, strict=True), strict=True)
        )
        if parts
        else ()
    )


def _check(outputs: object, batch: Batch) -> None:
    if not isinstance(outputs, Tensor) or outputs.dim() != 2:
        raise Undefined("in train mode the network does not give logits [N, classes]")
    check_labels(outputs, batch)
    if not outputs.requires_grad:
        raise Undefined("the logits do not depend on any weight")
