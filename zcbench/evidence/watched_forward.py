"""The minibatch forward of a network that promises nothing, seen by its calls."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any, Protocol

import torch
from torch import Tensor

from zcbench.errors import Undefined
from zcbench.evidence.records import (
    ActivationKernel,
    ActivationPatterns,
    ChannelSaliency,
    Gradients,
    HessianGradient,
    PartGradients,
)
from zcbench.evidence.subject import Subject
from zcbench.evidence.watch import LayerCall, Watch
from zcbench.seeding import reseed
from zcbench.types import NOT_RANKED

if TYPE_CHECKING:
    from torch import nn

NO_NUMBER = "an activation is not a number"
_SMALL = 1e-3
"""Share of the terms that may be missing from a sum before it is called incomplete."""


class Saliency(Protocol):
    """What adds up the saliency of a layer's channels."""

    listening: bool

    def add(self, number: int, product: Tensor) -> None:
        """Take Σ_hw a · ∂L/∂a [N, C] of a use of a layer."""


class WatchedForward:
    """Codes of ReLUs and saliency of layers, wherever the images and channels are.

    Args:
        subject: network and minibatch.
        needs: record types that will be asked for.
        add_codes: takes the input of a ReLU, the images first, and how often it counts.
    """

    def __init__(
        self,
        subject: Subject,
        needs: frozenset[type],
        add_codes: Callable[[Callable[[], Tensor], int], None],
    ) -> None:
        self._subject, self._needs = subject, needs
        self._add_codes = add_codes
        self._saliency: Saliency | None = None
        self._events = 0
        self._sums: dict[int, list[float]] = {}
        self._derived: set[int] = set()
        self._activations: Counter[str] = Counter()
        self._fault: Undefined | None = None
        self._saliency_fault: Undefined | None = None

    def listen_with(self, saliency: Saliency) -> None:
        """Where the channels' saliency goes during the loss backward."""
        self._saliency = saliency

    def outputs(self, x: Tensor) -> object:
        """Forward of the minibatch."""
        located = {ActivationKernel, ActivationPatterns, ChannelSaliency}
        if self._needs & located:
            self._subject.locate_images()  # a watch sees nothing inside another
        watch = Watch(self._subject.layers, self._on_layer, self._on_activation)
        reseed(self._subject.seed)
        with watch.seeing(self._subject.network) as network:
            outputs: object = network(x)
        return outputs

    def _on_activation(self, kind: str, value: Tensor) -> None:
        self._events += 1
        self._activations[kind] += 1
        wanted = self._needs & {ActivationKernel, ActivationPatterns}
        if kind != "relu" or not wanted or self._fault:
            return
        try:
            layout = self._subject.layout(self._events - 1, kind)
            apart = layout.apart(value.detach(), len(self._subject.batch.x))
            if bool(apart.isnan().any()):
                raise Undefined(NO_NUMBER)
        except Undefined as error:
            self._fault = error
            return
        self._add_codes(lambda: apart.flatten(1), 1)

    def check_activations(self) -> None:
        """Raise `Undefined` without ReLU codes, and remark on other activations."""
        if self._fault:
            raise self._fault
        self._subject.check_relus()
        relus, total = self._activations["relu"], self._activations.total()
        others = [name for name in self._activations if name != "relu"]
        if not relus:
            what = f": its activations are {', '.join(others)}" if others else ""
            raise Undefined(f"the network has no ReLU{what}")
        if others:
            remark = (
                f"sees the {relus} ReLU of {total} activations, not {', '.join(others)}"
            )
            if 2 * relus < total:
                remark = NOT_RANKED + remark
            for record in (ActivationKernel, ActivationPatterns):
                self._subject.remarks[record] = remark

    def _on_layer(self, call: LayerCall, output: Tensor) -> Tensor:
        self._events += 1
        if ChannelSaliency not in self._needs or self._saliency is None:
            return output
        if call.number is None or not output.requires_grad:
            return output
        if call.derived:
            self._derived.add(call.number)
        try:
            layout = self._subject.layout(self._events - 1, "layer")
            layout.apart(output.detach(), len(self._subject.batch.x))
        except Undefined as error:
            self._saliency_fault = error
            return output
        add = partial(_add, self._saliency, self._sums, call.number, output.detach())
        axis = call.channel_axis
        bias = None if call.bias is None else call.bias.detach()
        n = len(self._subject.batch.x)
        output.register_hook(partial(add, layout, axis, bias, n))  # type: ignore[no-untyped-call]
        return output.clone()  # what follows may write into it

    def check(self, weights: Sequence[Tensor], grads: Sequence[Tensor]) -> None:
        """Make sure that every use of every layer was seen.

        Σ a · ∂L/∂a over what was seen, biases left out, equals Σ w · ∂L/∂w.

        Raises:
            Undefined: a layer is used in a way that was not seen.
        """
        if self._saliency_fault:
            raise self._saliency_fault
        for number, (w, g) in enumerate(zip(weights, grads, strict=True)):
            if number in self._derived:
                continue
            total, size = self._sums.get(number, [0.0, 0.0])
            right = float((w.detach() * g).double().sum())
            size += float((w.detach() * g).double().abs().sum())
            unseen = number not in self._sums and bool(g.any())
            if unseen or abs(total - right) > _SMALL * size + 1e-30:
                name = _name_of(self._subject.network, self._subject.layers[number])
                raise Undefined(f"layer {name} is used in a way that is not seen")


def _add(
    saliency: Saliency,
    sums: dict[int, list[float]],
    number: int,
    activation: Tensor,
    layout: Any,
    channel_axis: int,
    bias: Tensor | None,
    n_images: int,
    grad: Tensor,
) -> None:
    """Tensor hook of a layer's output; it must not hold what holds the graph."""
    if not saliency.listening:
        return
    with torch.no_grad():
        grad = grad.detach()
        channel_axis %= activation.dim()
        product = activation * grad
        spread = [1] * activation.dim()
        spread[channel_axis] = -1
        part = product if bias is None else product - bias.view(spread) * grad
        sums_of_layer = sums.setdefault(number, [0.0, 0.0])
        sums_of_layer[0] += float(part.double().sum())
        sums_of_layer[1] += float(part.double().abs().sum())
        if layout.axis == channel_axis:
            return
        last = product.movedim(channel_axis, -1)
        axis = layout.axis - (channel_axis < layout.axis)
        apart = type(layout)(axis, layout.fold, layout.major).apart(last, n_images)
        saliency.add(number, apart.flatten(1, -2).sum(1))


def _name_of(network: nn.Module, layer: nn.Module) -> str:
    names: dict[nn.Module, str] = {m: name for name, m in network.named_modules()}
    return names[layer]


def remark_saturated(subject: Subject, patterns: ActivationPatterns) -> None:
    """Remark on a number of patterns that no network could exceed."""
    n, units = len(subject.batch.x), patterns.units
    what = f"patterns that {n} images can make"
    if patterns.distinct < min(units, 2**n):
        return
    if units < 2**n:
        what = "ReLU units have patterns of their own: that counts units"
    said = f"{NOT_RANKED}all {patterns.distinct:,} {what}"
    before = subject.remarks.get(ActivationPatterns)
    subject.remarks[ActivationPatterns] = "; ".join(filter(None, (before, said)))


_OF_GRADIENTS = (Gradients, ChannelSaliency, HessianGradient, PartGradients)


def remark_dead(subject: Subject, grads: Sequence[Tensor]) -> None:
    """Remark on layers without gradient; behind a head of zeros it is all but one."""
    dead = sum(not bool(g.any()) for g in grads)
    if dead:
        remark = f"{dead} of {len(grads)} layers have no gradient at initialisation"
        if dead >= len(grads) - 1 > 0:
            remark = NOT_RANKED + remark
        subject.remarks.update(dict.fromkeys(_OF_GRADIENTS, remark))
