"""One forward over the minibatch, and the backwards that start from it.

The forward feeds the ReLU codes (`ActivationKernel`, `ActivationPatterns`), the loss
backward (`Gradients`, `ChannelSaliency`), the Hessian product (`HessianGradient`) and
the input backward (`InputCorrelation`). Each is done at most once, if asked for.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import torch
from torch import Tensor, nn

from zcbench.errors import Undefined
from zcbench.evidence.clock import Clock
from zcbench.evidence.hessian_product import (
    Tape,
    by_double_backward,
    by_tangents,
    carries_derivatives,
)
from zcbench.evidence.records import (
    ActivationKernel,
    ActivationPatterns,
    ChannelSaliency,
    Gradients,
    HessianGradient,
    InputCorrelation,
)
from zcbench.evidence.relu_codes import CodeAgreement, Patterns, codes_of
from zcbench.evidence.subject import LOSSES, Subject, check_labels
from zcbench.evidence.watched_forward import (
    NO_NUMBER,
    WatchedForward,
    remark_dead,
    remark_saturated,
)
from zcbench.seeding import reseed


class MinibatchPass:
    """Holds the graph of one forward while backwards are taken from it.

    Args:
        subject: the network and its minibatch.
        needs: record types that will be asked for.
        clock: gets the seconds of forward, relu_codes, relu_patterns,
            channel_saliency, loss_backward, hessian_product and input_backward.
    """

    def __init__(self, subject: Subject, needs: frozenset[type], clock: Clock) -> None:
        self.subject = subject
        self.needs = needs
        self.clock = clock
        self._codes = CodeAgreement(subject.batch.x.shape[0], subject.batch.x.device)
        self._patterns = Patterns(subject.batch.x.shape[0], subject.batch.x.device)
        self._saliency = _Saliency(clock)
        second = HessianGradient in needs
        short = second and carries_derivatives(subject)
        self._tape = Tape() if short else None
        self._by_graph = second and self._tape is None
        self._graph_readers = len(needs & {Gradients, InputCorrelation})
        self._graph_readers += self._by_graph
        with clock.time("forward"):
            self._forward()

    def _forward(self) -> None:
        network, x = self.subject.network, self.subject.batch.x
        self.x = x.detach().requires_grad_(InputCorrelation in self.needs)
        if not self.subject.plain:
            self.outputs: object = self._watched()
            return
        hooks = []
        if self.needs & {ActivationKernel, ActivationPatterns}:
            hooks += [
                module.register_forward_pre_hook(self._read_codes)
                for module in network.modules()
                if isinstance(module, nn.ReLU)
            ]
        if ChannelSaliency in self.needs:
            hooks += [
                layer.register_forward_hook(partial(self._saliency.watch, number))
                for number, layer in enumerate(self.subject.layers)
            ]
        if self._tape is not None:
            hooks += self._tape.watch(network)
        reseed(self.subject.seed)
        try:
            self.outputs = network(self.x)
        finally:
            for hook in hooks:
                hook.remove()

    def _read_codes(self, module: nn.Module, inputs: tuple[Tensor, ...]) -> None:
        self._add_codes(lambda: inputs[0], getattr(module, "multiplicity", 1))

    def _add_codes(self, value: Callable[[], Tensor], multiplicity: int) -> None:
        if ActivationKernel in self.needs:
            with self.clock.time("relu_codes"):
                codes = codes_of(value())
                self._codes.add(codes, multiplicity)
        if ActivationPatterns in self.needs:
            with self.clock.time("relu_patterns"):
                if ActivationKernel not in self.needs:
                    codes = codes_of(value())
                self._patterns.add(codes, multiplicity=multiplicity)

    def _watched(self) -> object:
        """Forward of a network of which only its calls can be trusted."""
        watched = WatchedForward(self.subject, self.needs, self._add_codes)
        self._watched_forward = watched
        watched.listen_with(self._saliency)
        return watched.outputs(self.x)

    @property
    def logits(self) -> Tensor:
        """Outputs of the forward, [N, n_classes].

        Raises:
            Undefined: they are something else.
        """
        outputs, n = self.outputs, len(self.x)
        if not isinstance(outputs, Tensor):
            kind = type(outputs).__name__
            raise Undefined(
                f"in train mode the network gives a {kind}, not logits [N, classes]"
            )
        if outputs.dim() != 2 or len(outputs) != n:
            shape = list(outputs.shape)
            raise Undefined(f"the network gives {shape}, not logits [{n}, classes]")
        return outputs

    def _loss(self) -> Tensor:
        logits, batch = self.logits, self.subject.batch
        check_labels(logits, batch)
        return LOSSES[batch.loss](logits, batch.y)

    def gradients(self) -> Gradients:
        """Loss backward; fills the channel saliency on its way."""
        weights = self.subject.weights
        loss = self._loss()
        with self.clock.time("loss_backward"):
            self._listen(True)
            grads = self._backward(loss, weights, create_graph=self._by_graph)
            self._listen(False)
        self._grads = grads
        self._grads_seen = tuple(g.detach() for g in grads)
        if not self.subject.plain:
            remark_dead(self.subject, grads)
        return Gradients(
            tuple(w.detach() for w in weights),
            tuple(g.detach() for g in grads),
        )

    def _listen(self, on: bool) -> None:
        """To the loss backward, and to no other."""
        self._saliency.listening = on
        if self._tape is not None:
            self._tape.listening = on

    def channel_saliency(self) -> ChannelSaliency:
        """What the loss backward left; layers it did not reach have zero."""
        weights = self.subject.weights
        if not self.subject.plain:
            self._watched_forward.check(weights, self._grads_seen)
        channels_of = self._saliency.channels
        saliency = []
        for number, (layer, w) in enumerate(
            zip(self.subject.layers, weights, strict=True)
        ):
            channels = getattr(layer, "out_channels", w.shape[0])
            none = w.new_zeros(channels, dtype=torch.float64)
            saliency.append(channels_of.get(number, none))
        fan_in = (
            w.numel() // len(channels)
            for w, channels in zip(weights, saliency, strict=True)
        )
        return ChannelSaliency(tuple(saliency), tuple(fan_in))

    def hessian_gradient(self) -> HessianGradient:
        """Second derivative along the weights and along the gradient."""
        grads, self._grads = self._grads, ()
        tape, self._tape = self._tape, None
        with self.clock.time("hessian_product"):
            if tape is not None:
                product = by_tangents(self.subject, grads, tape, self.logits.detach())
                return HessianGradient(product)
            self._graph_readers -= 1
            keep = self._graph_readers > 0
            weights = self.subject.weights
            return HessianGradient(
                by_double_backward(weights, grads, retain_graph=keep)
            )

    def input_correlation(self) -> InputCorrelation:
        """Input backward, reduced to the correlation between images."""
        with self.clock.time("input_backward"):
            (jacobian,) = self._backward(self.logits.sum(), (self.x,))
            rows = jacobian.detach().flatten(1).double()
            if bool(rows.isnan().any()):
                raise Undefined(NO_GRADIENT_NUMBER)
            if is_rounding(rows, self.x, self.logits):
                rows = torch.zeros_like(rows)
            return InputCorrelation(
                row_correlation(rows),
                self._labels(),
                self.logits.shape[1],
            )

    def _labels(self) -> tuple[int, ...]:
        batch = self.subject.batch
        classes = batch.loss == "cross_entropy"
        return tuple(batch.y.tolist()) if classes else ()

    def activation_kernel(self) -> ActivationKernel:
        """What the forward's ReLU codes add up to."""
        self._check_activations()
        return ActivationKernel(self._codes.kernel())

    def activation_patterns(self) -> ActivationPatterns:
        """What the forward's ReLU codes are, unit by unit."""
        self._check_activations()
        with self.clock.time("relu_patterns"):
            patterns = self._patterns.record()
        if not self.subject.plain:
            remark_saturated(self.subject, patterns)
        return patterns

    def _check_activations(self) -> None:
        if not self.subject.plain:
            self._watched_forward.check_activations()
        elif isinstance(self.outputs, Tensor) and bool(self.outputs.isnan().any()):
            raise Undefined(NO_NUMBER)  # its code would say that it is not positive

    def _backward(
        self, output: Tensor, inputs: tuple[Tensor, ...], *, create_graph: bool = False
    ) -> tuple[Tensor, ...]:
        """Gradients with zeros for what is not reached; frees the graph at the last."""
        self._graph_readers -= 1
        if not output.requires_grad:
            if not self.subject.plain:
                raise Undefined(_NO_GRADIENT)
            return tuple(torch.zeros_like(value) for value in inputs)
        grads = torch.autograd.grad(
            output,
            inputs,
            retain_graph=self._graph_readers > 0,
            create_graph=create_graph,
            allow_unused=True,
        )
        if not self.subject.plain and all(grad is None for grad in grads):
            raise Undefined(_NO_GRADIENT)
        return tuple(
            torch.zeros_like(value) if grad is None else grad
            for grad, value in zip(grads, inputs, strict=True)
        )


class _Saliency:
    """Reduces each layer's output and its gradient during the loss backward.

    Tensor hooks must not refer to what holds the graph: such a cycle runs through
    autograd, where Python's garbage collector cannot follow, and is never freed.
    """

    def __init__(self, clock: Clock) -> None:
        self.channels: dict[int, Tensor] = {}
        self.listening = False
        self._clock = clock

    def watch(
        self, number: int, _layer: nn.Module, _inputs: object, output: Tensor
    ) -> None:
        """Forward hook of a layer."""
        if output.requires_grad:
            output.register_hook(  # type: ignore[no-untyped-call]
                partial(self._add, number, output.detach())
            )

    def _add(self, number: int, activation: Tensor, grad: Tensor) -> None:
        if not self.listening:
            return
        with self._clock.time("channel_saliency"), torch.no_grad():
            product = activation * grad.detach()
            if product.dim() > 2:
                product = product.flatten(2).sum(2)
            self.add(number, product)

    def add(self, number: int, product: Tensor) -> None:
        """Σ_hw a · ∂L/∂a of a layer's channels, [N, C]; a layer used twice adds up."""
        saliency = product.double().square().mean(0) / 2
        self.channels[number] = self.channels.get(number, 0) + saliency


NO_GRADIENT_NUMBER = "the gradient with respect to an image is not a number"
_NO_GRADIENT = "the outputs do not depend on what the gradient is taken of"


_LEAST = 0.1
"""Least ‖J‖ ‖x‖ / ‖outputs − their mean‖ that is no rounding: above 6 on 81 random
networks of nb201, macro and toy, below .002 on those of TransNAS-Bench."""


def is_rounding(jacobian: Tensor, x: Tensor, outputs: Tensor) -> bool:
    """Whether the summed outputs do not depend on the images, only their rounding does.

    So where maps go from BatchNorm to the outputs by averages and linear layers alone:
    its own output adds up to a constant over a minibatch.

    Args:
        jacobian: gradient of the summed outputs. [N, C·H·W]
        x: images. [N, C, H, W]
        outputs: [N, K].
    """
    with torch.no_grad():
        spread = (outputs - outputs.mean(0)).double().norm()
        return bool(jacobian.double().norm() * x.double().norm() < _LEAST * spread)


def row_correlation(rows: Tensor) -> Tensor:
    """Pearson correlation between rows [..., N, D] → [..., N, N]; NaN if constant."""
    centred = rows - rows.mean(-1, keepdim=True)
    norm = centred.norm(dim=-1, keepdim=True)
    constant = (rows == rows[..., :1]).all(-1, keepdim=True)
    unit = torch.where(constant, torch.nan, centred / norm)
    return (unit @ unit.mT).clamp(-1, 1)
