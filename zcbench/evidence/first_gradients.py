"""First entries of the loss gradients of single images (KNAS, Xu et al. 2021).

The authors' configurations have minibatches of one image, of which they take fifty: so
here each of the first fifty images is a minibatch of its own, in train mode.
"""

from __future__ import annotations

import torch
from torch import Tensor

from zcbench.errors import Undefined
from zcbench.evidence.copies import deep_copied
from zcbench.evidence.per_image_pass import check_varying
from zcbench.evidence.records import FirstGradients
from zcbench.evidence.subject import LOSSES, Subject, check_labels
from zcbench.seeding import reseed

IMAGES, ENTRIES, TENSORS = 50, 50, 11


def measure_first_gradients(subject: Subject) -> FirstGradients:
    """One forward and backward for each image, of a copy.

    The tensors are the first eleven parameters with fifty entries and more, biases and
    BatchNorm's among them; one that nothing flows back to has gradient 0.

    Raises:
        Undefined: an image alone does not give logits, or they are rounding, or there
            is no such tensor.
    """
    network, batch = deep_copied(subject.network), subject.batch
    tensors = [p for p in network.parameters() if p.numel() >= ENTRIES][:TENSORS]
    if not tensors:
        raise Undefined(f"no parameter has {ENTRIES} entries")
    for tensor in tensors:
        tensor.requires_grad_(True)
    images, seen = [], []
    reseed(subject.seed)
    for x, y in zip(batch.x[:IMAGES, None], batch.y[:IMAGES, None], strict=True):
        logits = network(x)
        if not isinstance(logits, Tensor) or logits.dim() != 2 or len(logits) != 1:
            raise Undefined("one image does not give logits [1, classes]")
        check_labels(logits, batch)
        seen.append(logits.detach())
        loss = LOSSES[batch.loss](logits, y)
        grads: tuple[Tensor | None, ...] = (None,) * len(tensors)
        if loss.requires_grad:
            grads = torch.autograd.grad(loss, tensors, allow_unused=True)
        pairs = zip(tensors, grads, strict=True)
        images.append(torch.stack([_first(t if g is None else g, g) for t, g in pairs]))
    check_varying(torch.cat(seen), batch)
    return FirstGradients(torch.stack(images, dim=1).double().cpu())


def _first(like: Tensor, gradient: Tensor | None) -> Tensor:
    first = like.detach().flatten()[:ENTRIES]
    return torch.zeros_like(first) if gradient is None else first
