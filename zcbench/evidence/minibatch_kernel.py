"""Tangent kernel through the minibatch's BatchNorm (TE-NAS, Chen et al. 2021).

Kaiming weights for the backward; a row is the gradient of the sum of an image's logits,
through the statistics of all images, by every tensor called weight, BatchNorm's too.
That is a backward of the whole minibatch for each image: here it has 16, the default of
the authors' code, which takes 72 on NAS-Bench-201 and 14 on DARTS, and one draw of the
weights where they average three.
"""

from __future__ import annotations

import torch
from torch import Tensor

from zcbench.errors import Undefined
from zcbench.evidence.copies import deep_copied
from zcbench.evidence.drawn_weights import draw_weights, fan_out
from zcbench.evidence.one_by_one import flat, in_parts
from zcbench.evidence.records import MinibatchKernel
from zcbench.evidence.subject import Subject
from zcbench.seeding import reseed

IMAGES = 16


def measure_minibatch_kernel(subject: Subject) -> MinibatchKernel:
    """One forward, and a backward for each image, of a copy.

    Raises:
        Undefined: the outputs are no logits, or depend on no weight.
    """
    if subject.batch.loss == "none":
        raise Undefined("a part of a network has no outputs")
    network = deep_copied(subject.network)
    draw_weights(network, fan_out, subject.seed, "ntk")
    named = network.named_parameters()
    weights = [p.requires_grad_(True) for name, p in named if "weight" in name]
    x = subject.batch.x[:IMAGES]
    reseed(subject.seed)
    logits = network(x)
    if not isinstance(logits, Tensor) or logits.dim() != 2 or len(logits) != len(x):
        raise Undefined("the network does not give logits [N, classes]")
    if not logits.requires_grad:
        raise Undefined("the logits do not depend on any weight")
    kernel = torch.zeros(len(x), len(x), dtype=torch.float64)
    for part in in_parts(weights, len(x)):
        by_image = (
            torch.autograd.grad(o, part, retain_graph=True, materialize_grads=True)
            for o in logits.sum(1)
        )
        rows = torch.stack(list(map(flat, by_image)))
        kernel += (rows @ rows.T).double().cpu()
    return MinibatchKernel(kernel)
