"""Loss gradients of parts of the minibatch, each a minibatch of its own in train mode.

Single images for KNAS (Xu et al. 2021): the authors' configurations have minibatches of
one image, of which they take fifty, so here it is each of the first fifty images.
Halves for what wants several minibatches.
"""

from __future__ import annotations

from dataclasses import replace

import torch
from torch import Tensor

from zcbench.errors import Undefined
from zcbench.evidence.copies import deep_copied
from zcbench.evidence.one_by_one import logits_alone
from zcbench.evidence.records import FirstGradients, PartGradients
from zcbench.evidence.subject import LOSSES, Subject, check_labels
from zcbench.seeding import reseed
from zcbench.types import Batch

IMAGES, ENTRIES, TENSORS = 50, 50, 11
PARTS = 2


def measure_first_gradients(subject: Subject) -> FirstGradients:
    """One forward and backward for each image, of a copy.

    The tensors are the first eleven parameters with fifty entries and more, biases and
    BatchNorm's among them; one that nothing flows back to has gradient 0.

    Raises:
        Undefined: an image alone does not give logits, or they are rounding, or there
            is no such tensor.
    """
    own = replace(subject, network=deep_copied(subject.network))
    tensors = [p for p in own.network.parameters() if p.numel() >= ENTRIES][:TENSORS]
    if not tensors:
        raise Undefined(f"no parameter has {ENTRIES} entries")
    for tensor in tensors:
        tensor.requires_grad_(True)
    images = []
    for logits, label in logits_alone(own, IMAGES):
        check_labels(logits, own.batch)
        loss = LOSSES[own.batch.loss](logits, label)
        grads = tuple(map(torch.zeros_like, tensors))
        if loss.requires_grad:
            grads = torch.autograd.grad(loss, tensors, materialize_grads=True)
        images.append(torch.stack([grad.flatten()[:ENTRIES] for grad in grads]))
    return FirstGradients(torch.stack(images, dim=1).double().cpu())


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
