"""Gradients of every network's weights, made when a backward of the stack comes by.

A layer's follow from its input and the gradient of its output, a BatchNorm's from its
output: weights take no part in autograd, so that networks can share them.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from functools import partial

import torch
from torch import Tensor

from zcbench.errors import Undefined
from zcbench.evidence.clock import Clock
from zcbench.evidence.loss_gradients import ENTRIES, IMAGES, PARTS, TENSORS
from zcbench.evidence.passes import Missing, Record
from zcbench.evidence.per_image_pass import MOST_NUMBERS, check_varying
from zcbench.evidence.records import (
    FirstGradients,
    Gradients,
    PartGradients,
    SignAgreement,
    TangentKernel,
)
from zcbench.evidence.stacked_alone import ImagesAlone
from zcbench.evidence.stacked_minibatch import StackedMinibatchPass
from zcbench.evidence.subject import (
    StackedSubject,
    check_labels,
    stacked_losses,
    summing_dtype,
)
from zcbench.networks.stacked import Rules, StackedNetwork
from zcbench.networks.stacked_layers import StackedBatchNorm, StackedLayer

Module = StackedLayer | StackedBatchNorm
Visit = Callable[[Module, Tensor, Tensor], None]
"""Takes a module, its value and the gradient of its output [N, G·C, H, W]. The value is
a layer's input, or what a BatchNorm gives before its weight and bias."""


class ByLayer(Rules):
    """Shows what backwards bring to each layer and BatchNorm.

    Args:
        run: calculates.
    """

    def __init__(self, run: Rules) -> None:
        self._run, self.dead, self.constants = run, run.dead, run.constants
        self._roots: list[Tensor] = []
        self._told = _Told()

    def layer(self, layer: StackedLayer, x: Tensor) -> Tensor:
        """Convolution or linear layer."""
        return self._shown(layer, x.detach(), self._run.layer(layer, x))

    def batchnorm(self, norm: StackedBatchNorm, x: Tensor) -> Tensor:
        """BatchNorm."""
        out = self._run.batchnorm(norm, x)
        return self._shown(norm, out.detach(), out)

    def _shown(self, module: Module, value: Tensor, out: Tensor) -> Tensor:
        if torch.is_grad_enabled():
            if not out.requires_grad:
                self._roots.append(out.requires_grad_(True))
            out.register_hook(partial(self._told.tell, module, value))  # type: ignore[no-untyped-call]
        return out

    def backward(self, output: Tensor, visit: Visit, *, keep: bool = False) -> None:
        """Show the gradients of a sum.

        Args:
            output: the sum, a scalar.
            visit: told of each module, the last first.
            keep: whether another backward will follow.
        """
        self._told.visit = visit
        try:
            torch.autograd.grad(
                output, self._roots, retain_graph=keep, allow_unused=True
            )
        finally:  # it may hold what holds the graph, which nobody would free
            self._told.visit = None


class _Told:
    """What tensor hooks hold: nothing of the graph."""

    visit: Visit | None = None

    @torch.no_grad()
    def tell(self, module: Module, value: Tensor, delta: Tensor) -> None:
        if self.visit is not None:
            self.visit(module, value, delta.detach().contiguous())


class StackedPerImagePass:
    """As `zcbench.evidence.per_image_pass.PerImagePass`, for a stack.

    Args:
        subject: the stack and its minibatch.
        needs: record types that will be asked for.
        clock: gets the seconds of per_image_forward, per_image_loss and
            per_image_logits.
    """

    def __init__(
        self, subject: StackedSubject, needs: frozenset[type], clock: Clock
    ) -> None:
        self._network, self._batch, self._clock = subject.network, subject.batch, clock
        self._alone, self._n = ImagesAlone(), len(subject.batch.x)
        self._rules = ByLayer(self._alone)
        self._both = {SignAgreement, TangentKernel} <= needs
        with clock.time("per_image_forward"):
            images = self._network.images(subject.batch.x)
            self._logits: Tensor = self._network(images, self._rules)
        outputs = self._logits.detach().cpu()
        self._varying = self._alone.of_each(
            lambda p: check_varying(outputs[:, p], subject.batch), outputs.shape[1]
        )

    def sign_agreement(self) -> list[SignAgreement | Missing]:
        """Backward from the sum over images of the loss of each."""
        network, totals = self._network, self._zeros()

        def add(gradients: Tensor, members: Tensor) -> None:
            signs = gradients.sign().sum(0).abs().sum(1)
            totals.index_add_(0, members, signs.to(totals.dtype))

        check_labels(self._logits[:, 0], self._batch)
        losses = stacked_losses(self._logits, self._batch)
        with self._clock.time("per_image_loss"):
            self._backward(losses.sum(), add, keep=self._both)
        # The sign of what is no number would be 0.
        totals[losses.detach().sum(0).isnan()] = torch.nan
        agreement = totals.tolist()
        sizes = {n: [n.weight.numel()] * len(n.members) for n in network.layers}
        n_weights = list(map(sum, network.split(sizes)))
        return self._of_each(lambda p: SignAgreement(agreement[p], n_weights[p]))

    def tangent_kernel(self) -> list[TangentKernel | Missing]:
        """Backward from the sum of all logits of all images."""
        kernels = self._zeros(self._n, self._n)

        def add(gradients: Tensor, members: Tensor) -> None:
            rows = gradients.transpose(0, 1)
            kernels.index_add_(0, members, (rows @ rows.mT).to(kernels.dtype))

        with self._clock.time("per_image_logits"):
            self._backward(self._logits.sum(), add)
        return self._of_each(lambda p: TangentKernel(kernels[p]))

    def _zeros(self, *shape: int) -> Tensor:
        dtype = summing_dtype(self._logits.device)
        return self._logits.new_zeros(self._network.n_networks, *shape, dtype=dtype)

    def _backward(
        self,
        output: Tensor,
        add: Callable[[Tensor, Tensor], None],
        *,
        keep: bool = False,
    ) -> None:
        """Hand on [N, G, weights of a layer] and the positions of G networks."""

        def visit(layer: Module, value: Tensor, delta: Tensor) -> None:
            if isinstance(layer, StackedLayer):
                most = max(1, MOST_NUMBERS // (self._n * layer.weight.numel()))
                for members, grads in layer.image_gradients(delta, value, most):
                    add(grads.flatten(2), members)

        if not all(self._varying):
            self._rules.backward(output, visit, keep=keep)

    def _of_each(self, make: Callable[[int], Record]) -> list[Record | Missing]:
        return [none or make(p) for p, none in enumerate(self._varying)]


def stacked_first_gradients(subject: StackedSubject) -> list[FirstGradients]:
    """As `zcbench.evidence.loss_gradients.measure_first_gradients`."""
    network, batch = subject.network, subject.batch
    batch = replace(batch, x=batch.x[:IMAGES], y=batch.y[:IMAGES])
    alone, first = ImagesAlone(), _FirstEntries(network)
    rules = ByLayer(alone)
    logits = network(network.images(batch.x), rules)
    check_labels(logits[:, 0], batch)
    rules.backward(stacked_losses(logits, batch).sum(), first.add)
    logits = logits.detach().cpu()

    def record(p: int) -> FirstGradients:
        check_varying(logits[:, p], batch)
        return FirstGradients(first.entries(p, len(batch.x)))

    return alone.of_each(record, network.n_networks)


class _FirstEntries:
    """Gradients of each image by the first entries of each network's first tensors."""

    def __init__(self, network: StackedNetwork) -> None:
        self._tensors = [
            [tensor for tensor in tensors if _entries(*tensor) >= ENTRIES][:TENSORS]
            for tensors in network.tensors
        ]
        self._wanted = {tensor for tensors in self._tensors for tensor in tensors}
        self._grads: dict[tuple[Module, str], Sequence[Tensor]] = {}

    def add(self, module: Module, value: Tensor, delta: Tensor) -> None:
        """Of a `ByLayer`."""
        for kind in ("weight", "bias"):
            if (module, kind) in self._wanted:
                of = _of_weight if kind == "weight" else _of_bias
                grads = of(module, value, delta)[..., :ENTRIES]
                self._grads[module, kind] = grads.cpu().double().unbind(1)

    def entries(self, p: int, n: int) -> Tensor:
        """Of a network, [tensors, N, 50]; 0 where nothing flows back.

        Raises:
            Undefined: it has no such tensor.
        """
        if not self._tensors[p]:
            raise Undefined(f"no parameter has {ENTRIES} entries")
        none = torch.zeros(n, ENTRIES, dtype=torch.float64)
        return torch.stack(of_network(p, self._tensors[p], self._grads, none))


def of_network(
    p: int,
    tensors: Sequence[tuple[Module, str]],
    values: Mapping[tuple[Module, str], Sequence[Tensor]],
    none: Tensor,
) -> list[Tensor]:
    """What tensors of a network have; `none` where nothing flows back.

    Args:
        p: the network's position.
        tensors: module and kind of each.
        values: of each tensor, one for each member of its module.
        none: for those that have none.
    """
    return [values[t][t[0].members.index(p)] if t in values else none for t in tensors]


def _entries(module: Module, kind: str) -> int:
    whole = isinstance(module, StackedLayer) and kind == "weight"
    return module.weight.numel() if whole else module.channels


def _of_weight(module: Module, value: Tensor, delta: Tensor) -> Tensor:
    """[N, G, as many weights as it takes]."""
    if isinstance(module, StackedBatchNorm):
        return _of_bias(module, value, delta * value)
    n, channels = len(delta), -(-ENTRIES // module.fan_in)
    each = delta.reshape(n, len(module.members), -1, *delta.shape[2:])
    some = each[:, :, :channels].flatten(1, 2)
    grads = [g for _, g in module.image_gradients(some, value, len(module.members))]
    return torch.cat(grads, 1).flatten(2)


def _of_bias(module: Module, _: Tensor, delta: Tensor) -> Tensor:
    """[N, G, C]."""
    return delta.sum((2, 3)).reshape(len(delta), len(module.members), -1)


def stacked_part_gradients(subject: StackedSubject) -> list[PartGradients]:
    """As `zcbench.evidence.loss_gradients.measure_part_gradients`."""
    batch, parts = subject.batch, []
    if len(batch.x) < 2 * PARTS:
        raise Undefined(f"{len(batch.x)} images do not make {PARTS} minibatches")
    for x, y in zip(batch.x.chunk(PARTS), batch.y.chunk(PARTS), strict=True):
        part = replace(subject, batch=replace(batch, x=x, y=y))
        held = StackedMinibatchPass(part, frozenset({Gradients}), Clock(x.device))
        parts.append([record.grads for record in held.gradients()])
    return [
        PartGradients(tuple(map(torch.stack, zip(*grads, strict=True))))
        for grads in zip(*parts, strict=True)
    ]
