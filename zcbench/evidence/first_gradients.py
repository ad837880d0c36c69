"""First entries of the loss gradients of single images (KNAS, Xu et al. 2021).

The authors' configurations have minibatches of one image, of which they take fifty: so
here each of the first fifty images is a minibatch of its own, in train mode.
"""

from __future__ import annotations

from dataclasses import replace

import torch

from zcbench.errors import Undefined
from zcbench.evidence.copies import deep_copied
from zcbench.evidence.one_by_one import logits_alone
from zcbench.evidence.records import FirstGradients
from zcbench.evidence.subject import LOSSES, Subject, check_labels

IMAGES, ENTRIES, TENSORS = 50, 50, 11


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
