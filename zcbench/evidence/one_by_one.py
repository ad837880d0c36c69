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
                    if grad is not None:  # the sign of what is no number would be 0
                        total += torch.where(grad.isnan(), grad, grad.sign())
        agreement = sum(float(s.double().abs().sum()) for s in signs)
        return SignAgreement(agreement, sum(s.numel() for s in signs))

    def tangent_kernel(self) -> TangentKernel:
        """J Jᵀ, as many layers at once as memory is meant for."""
        x = self._subject.batch.x
        kernel = torch.zeros(len(x), len(x), dtype=torch.float64, device=x.device)
        with self._clock.time("per_image_logits"):
            for weights in in_parts(self._subject.weights, len(x)):
                rows = torch.stack(
                    [
                        torch.cat(
                            [
                                (torch.zeros_like(w) if g is None else g).flatten()
                                for w, g in zip(weights, grads, strict=True)
                            ]
                        )
                        for grads in self._gradients(weights, _sum)
                    ]
                )
                kernel += (rows @ rows.T).to(kernel.dtype)
        return TangentKernel(kernel)

    def loss_gradients(self, visit: Callable[[int, Tensor], None]) -> None:
        """Each layer's, in order; as many at once as memory is meant for."""
        n, number = len(self._subject.batch.x), 0
        for weights in in_parts(self._subject.weights, n):
            layers = [w.new_zeros(n, *w.shape) for w in weights]
            for image, grads in enumerate(self._gradients(weights, self._loss)):
                for layer, grad in zip(layers, grads, strict=True):
                    if grad is not None:
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
    ) -> Iterator[tuple[Tensor | None, ...]]:
        batch = self._subject.batch
        seen: list[Tensor] = []
        reseed(self._subject.seed)
        for image, label in zip(batch.x, batch.y, strict=True):
            logits = self._subject.network(image[None])
            if not isinstance(logits, Tensor) or logits.dim() != 2 or len(logits) != 1:
                raise Undefined("one image does not give logits [1, classes]")
            output = output_of(logits, label[None])
            if not output.requires_grad:
                raise Undefined("the logits do not depend on any weight")
            yield torch.autograd.grad(output, weights, allow_unused=True)
            seen.append(logits.detach())
        check_varying(torch.cat(seen), batch)


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
