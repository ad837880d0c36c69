"""Gradients of each image alone, by the definition: one network pass for each.

For networks that promise nothing. Whatever holds the images, tokens or channels inside
the network, a minibatch of one image has no other image in it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

import torch
from torch import Tensor

from zcbench.errors import Undefined
from zcbench.evidence.clock import Clock
from zcbench.evidence.per_image_pass import (
    MOST_NUMBERS,
    PerImagePass,
    check_varying,
)
from zcbench.evidence.records import SignAgreement, TangentKernel
from zcbench.evidence.subject import LOSSES, Subject, check_labels
from zcbench.seeding import reseed


def each_image(
    subject: Subject, needs: frozenset[type], clock: Clock
) -> PerImagePass | OneByOne:
    """The fast pass where module hooks see the whole network, else the plain one."""
    if subject.plain:
        return PerImagePass(subject, needs, clock)
    return OneByOne(subject, clock)


class OneByOne:
    """The records that `zcbench.evidence.per_image_pass.PerImagePass` makes faster.

    Args:
        subject: the network and its minibatch.
        clock: gets the seconds of per_image_loss and per_image_logits.
    """

    def __init__(self, subject: Subject, clock: Clock) -> None:
        self._subject, self._clock = subject, clock

    def sign_agreement(self) -> SignAgreement:
        """Σ over weights of abs(Σ_n sign g_n)."""
        weights = self._subject.weights
        signs = [torch.zeros_like(w) for w in weights]
        with self._clock.time("per_image_loss"):
            for grads in self._gradients(weights, self._loss):
                for total, grad in zip(signs, grads, strict=True):
                    # The sign of what is no number would be 0.
                    total += torch.where(grad.isnan(), grad, grad.sign())
        agreement = sum(float(s.double().abs().sum()) for s in signs)
        return SignAgreement(agreement, sum(s.numel() for s in signs))

    def tangent_kernel(self) -> TangentKernel:
        """J Jᵀ, as many layers at once as memory is meant for."""
        x = self._subject.batch.x
        kernel = torch.zeros(len(x), len(x), dtype=torch.float64, device=x.device)
        with self._clock.time("per_image_logits"):
            for weights in in_parts(self._subject.weights, len(x)):
                rows = torch.stack(list(map(flat, self._gradients(weights, _sum))))
                kernel += (rows @ rows.T).to(kernel.dtype)
        return TangentKernel(kernel)

    def loss_gradients(self, visit: Callable[[int, Tensor], None]) -> None:
        """Each layer's, in order; as many at once as memory is meant for."""
        n, number = len(self._subject.batch.x), 0
        for weights in in_parts(self._subject.weights, n):
            layers = [w.new_zeros(n, *w.shape) for w in weights]
            for image, grads in enumerate(self._gradients(weights, self._loss)):
                for layer, grad in zip(layers, grads, strict=True):
                    layer[image] = grad
            while layers:
                visit(number, layers.pop(0))
                number += 1

    def _loss(self, logits: Tensor, y: Tensor) -> Tensor:
        check_labels(logits, self._subject.batch)
        return LOSSES[self._subject.batch.loss](logits, y)

    def _gradients(
        self,
        weights: Sequence[Tensor],
        output_of: Callable[[Tensor, Tensor], Tensor],
    ) -> Iterator[tuple[Tensor, ...]]:
        """Of each image, zeros where nothing flows back."""
        for logits, label in logits_alone(self._subject):
            output = output_of(logits, label)
            if not output.requires_grad:
                raise Undefined("the logits do not depend on any weight")
            yield torch.autograd.grad(output, weights, materialize_grads=True)


def logits_alone(
    subject: Subject, images: int | None = None
) -> Iterator[tuple[Tensor, Tensor]]:
    """Logits [1, classes] and label [1] of each of the first images, of all by default.

    Raises:
        Undefined: an image alone gives no logits, or those of all are rounding.
    """
    batch, seen = subject.batch, []
    reseed(subject.seed)
    for x, y in zip(batch.x[:images, None], batch.y[:images, None], strict=True):
        logits = subject.network(x)
        if not isinstance(logits, Tensor) or logits.dim() != 2 or len(logits) != 1:
            raise Undefined("one image does not give logits [1, classes]")
        yield logits, y
        seen.append(logits.detach())
    check_varying(torch.cat(seen), batch)


def flat(gradients: Sequence[Tensor]) -> Tensor:
    """One row of all numbers."""
    return torch.cat([gradient.flatten() for gradient in gradients])


def in_parts(weights: Sequence[Tensor], n_images: int) -> Iterator[list[Tensor]]:
    """Weights whose gradients for all images are held together."""
    part: list[Tensor] = []
    for weight in weights:
        held = sum(w.numel() for w in part) + weight.numel()
        if part and held * n_images > 2 * MOST_NUMBERS:
            yield part
            part = []
        part.append(weight)
    yield part


def _sum(logits: Tensor, _: Tensor) -> Tensor:
    return logits.sum()
