"""One forward over the minibatch for a whole stack, and the backwards from it.

As `zcbench.evidence.minibatch_pass` for one network. The loss is the sum of every
network's mean cross-entropy, so that one backward gives each its own gradients. Weights
take no part in autograd: a layer's gradients come from its input and the gradient of
its output, when the loss backward passes it.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import torch
from torch import Tensor, nn

from zcbench.evidence.clock import Clock
from zcbench.evidence.minibatch_pass import (
    NO_GRADIENT_NUMBER,
    is_rounding,
    row_correlation,
)
from zcbench.evidence.passes import Record, attempt_each, positions
from zcbench.evidence.records import (
    ActivationKernel,
    ActivationPatterns,
    ChannelSaliency,
    Gradients,
    HessianGradient,
    InputCorrelation,
)
from zcbench.evidence.relu_codes import Patterns, agreement
from zcbench.evidence.stacked_hessian import (
    StackedCrossing,
    second_derivative,
)
from zcbench.evidence.subject import (
    StackedSubject,
    stacked_losses,
    summing_dtype,
)
from zcbench.evidence.watched_forward import NO_NUMBER
from zcbench.networks.stacked import Rules, StackedNetwork
from zcbench.networks.stacked_layers import StackedBatchNorm, StackedLayer, StackedReLU

LOSS = frozenset({Gradients, ChannelSaliency, HessianGradient})
"""Records of the loss backward."""


class StackedMinibatchPass:
    """Holds the graph of one forward while backwards are taken from it.

    Args:
        subject: the stack and its minibatch.
        needs: record types that will be asked for.
        clock: gets the seconds of forward, relu_codes, relu_patterns,
            channel_saliency, loss_backward, hessian_product and input_backward.
    """

    def __init__(
        self, subject: StackedSubject, needs: frozenset[type], clock: Clock
    ) -> None:
        network, batch = subject.network, subject.batch
        self.network, self.batch, self.clock = network, batch, clock
        self._notes = _Notes(network, len(batch.x), needs, clock)
        self._rules = _Forward(self._notes)
        self._graph_readers = len(needs & {Gradients, InputCorrelation})
        with clock.time("forward"):
            self.images = network.images(batch.x)
            self.images.requires_grad_(InputCorrelation in needs)
            self.logits: Tensor = network(self.images, self._rules)

    def activation_kernel(self) -> list[ActivationKernel]:
        """What the forward's ReLU codes add up to."""
        with self.clock.time("relu_codes"):
            kernels = self._notes.codes.kernels().cpu()
        return self._of_numbers(lambda p: ActivationKernel(kernels[p]))

    def activation_patterns(self) -> list[ActivationPatterns]:
        """What the forward's ReLU codes are, unit by unit."""
        with self.clock.time("relu_patterns"):
            return self._of_numbers(self._notes.patterns.record)

    def _of_numbers(self, make: Callable[[int], Record]) -> list[Record]:
        """Records by position of the networks whose outputs are numbers."""
        wrong = self.logits.isnan().any(2).any(0)
        return of_numbers(make, self.network.n_networks, wrong)

    def gradients(self) -> list[Gradients]:
        """Loss backward; fills saliency and crossings on its way."""
        loss = stacked_losses(self.logits, self.batch).sum() / len(self.batch.x)
        with self.clock.time("loss_backward"):
            self._notes.listening = True
            self._backward(loss)
            self._notes.listening = False
            self.grads = {layer: self._grads(layer) for layer in self.network.layers}
            held = {
                layer: grads.reshape(-1, *layer.shape).cpu()
                for layer, grads in self.grads.items()
            }
        grads = self.network.split(held)
        return [
            Gradients(weights, tuple(each))
            for weights, each in zip(self.network.weights(), grads, strict=True)
        ]

    def _grads(self, layer: StackedLayer) -> Tensor:
        grads = self._notes.grads.pop(layer, None)
        if grads is None:  # a dead one
            return layer.weight.new_zeros(len(layer.members), *layer.weight.shape)
        return grads

    def channel_saliency(self) -> list[ChannelSaliency]:
        """What the loss backward left."""
        layers = self.network.layers
        with self.clock.time("channel_saliency"):
            channels = self.network.split(
                {layer: self._saliency(layer).cpu() for layer in layers}
            )
        fan_in = self.network.split({n: [n.fan_in] * len(n.members) for n in layers})
        return [
            ChannelSaliency(tuple(saliency), tuple(weights))
            for saliency, weights in zip(channels, fan_in, strict=True)
        ]

    def _saliency(self, layer: StackedLayer) -> Tensor:
        saliency = self._notes.saliency.pop(layer, None)
        if saliency is None:
            shape = len(layer.members), layer.shape[0]
            return layer.weight.new_zeros(shape, dtype=torch.float64)
        return saliency

    def hessian_gradient(self) -> list[HessianGradient]:
        """Second derivative along the weights and along the gradient."""
        crossings, self._notes.crossings = self._notes.crossings, {}
        with self.clock.time("hessian_product"):
            products = second_derivative(
                self.network, self.images, self.grads, crossings, self.logits.detach()
            ).tolist()
        return [HessianGradient(product) for product in products]

    def input_correlation(self) -> list[InputCorrelation]:
        """Input backward, reduced to the correlation between images."""
        n, p, n_classes = self.logits.shape
        with self.clock.time("input_backward"):
            jacobian = self._backward(self.logits.sum())
            rows = jacobian.reshape(n, p, -1).transpose(0, 1).double()
            lost = positions(rows.isnan().any(2).any(1))
            for row, logits in zip(rows, self.logits.unbind(1), strict=True):
                if is_rounding(row, self.batch.x, logits):
                    row.zero_()
            correlations = row_correlation(rows).cpu()
        labels = tuple(self.batch.y.tolist())
        return attempt_each(
            lambda p: InputCorrelation(correlations[p], labels, n_classes),
            self.network.n_networks,
            lost,
            NO_GRADIENT_NUMBER,
        )

    def _backward(self, output: Tensor) -> Tensor:
        """Backward through all of the graph; gradient with respect to the images."""
        self._graph_readers -= 1
        ends = list(self._rules.roots)
        if self.images.requires_grad:
            ends.append(self.images)
        *_, grad = torch.autograd.grad(
            output,
            ends,
            retain_graph=self._graph_readers > 0,
            allow_unused=True,
        )
        return torch.zeros_like(self.images) if grad is None else grad


class _Forward(Rules):
    """Runs the networks in train mode and shows every layer to the notes."""

    def __init__(self, notes: _Notes) -> None:
        self.notes = notes
        self.dead = notes.reads_codes
        self.roots: list[Tensor] = []
        """Outputs of layers where the graph begins."""

    def layer(self, layer: StackedLayer, x: Tensor) -> Tensor:
        out: Tensor = layer(x)
        if self.notes.backwards and torch.is_grad_enabled():
            if not out.requires_grad:
                self.roots.append(out.requires_grad_(True))
            self.notes.watch_layer(layer, x, out)
        return out

    def batchnorm(self, norm: StackedBatchNorm, x: Tensor) -> Tensor:
        out: Tensor = norm(x)
        self.notes.watch_batchnorm(norm, x, out)
        return out

    def relu(self, relu: StackedReLU, x: Tensor) -> Tensor:
        out: Tensor = relu(x)
        self.notes.watch_relu(relu, out)
        return out


class _Notes:
    """What forward and loss backward leave behind. Holds no graph: see `_Saliency`."""

    def __init__(
        self,
        network: StackedNetwork,
        n_images: int,
        needs: frozenset[type],
        clock: Clock,
    ) -> None:
        codes = {ActivationKernel, ActivationPatterns}
        self.backwards = bool(needs - codes)
        self.reads_codes = bool(needs & codes)
        device = network.layers[0].weight.device
        self.codes = _CodeAgreement(network, n_images)
        counted = network.n_networks if ActivationPatterns in needs else 0
        self.patterns = Patterns(n_images, device, counted)
        self.grads: dict[StackedLayer, Tensor] = {}
        self.saliency: dict[StackedLayer, Tensor] = {}
        self.crossings: dict[nn.Module, StackedCrossing] = {}
        self.listening = False
        self._needs = needs
        self._clock = clock

    def watch_layer(self, layer: StackedLayer, x: Tensor, out: Tensor) -> None:
        if not self._needs & LOSS:
            return
        crossing = StackedCrossing(x.detach(), out.detach())
        if HessianGradient in self._needs:
            self.crossings[layer] = crossing
        out.register_hook(partial(self._at_layer, layer, crossing))  # type: ignore[no-untyped-call]

    def watch_batchnorm(self, norm: StackedBatchNorm, x: Tensor, out: Tensor) -> None:
        if HessianGradient in self._needs and torch.is_grad_enabled():
            crossing = self.crossings[norm] = StackedCrossing(x.detach(), None)
            if out.requires_grad:
                out.register_hook(partial(self._at_batchnorm, crossing))  # type: ignore[no-untyped-call]

    def watch_relu(self, relu: StackedReLU, out: Tensor) -> None:
        if ActivationKernel in self._needs:
            with self._clock.time("relu_codes"):
                self.codes.add(relu, codes_of_each(relu, out))
        if ActivationPatterns in self._needs:
            with self._clock.time("relu_patterns"):
                self.patterns.add(codes_of_each(relu, out), relu.members)
        if HessianGradient in self._needs and torch.is_grad_enabled():
            self.crossings[relu] = StackedCrossing(None, out.detach())

    @torch.no_grad()
    def _at_layer(
        self, layer: StackedLayer, crossing: StackedCrossing, delta: Tensor
    ) -> None:
        if not self.listening:
            return
        assert crossing.input is not None and crossing.output is not None  # noqa: S101, PT018
        delta = delta.detach().contiguous()
        self.grads[layer] = layer.weight_gradient(delta, crossing.input)
        if HessianGradient in self._needs:
            crossing.delta = delta
        if ChannelSaliency in self._needs:
            with self._clock.time("channel_saliency"):
                n, members = len(delta), len(layer.members)
                product = (crossing.output * delta).reshape(
                    n, members, *layer.shape[:1], -1
                )
                self.saliency[layer] = product.sum(3).double().square().mean(0) / 2

    def _at_batchnorm(self, crossing: StackedCrossing, delta: Tensor) -> None:
        if self.listening:
            crossing.delta = delta.detach().contiguous()


def codes_of_each(relu: StackedReLU, out: Tensor) -> Tensor:
    """Codes [G, N, units] float32 of a ReLU, from its output [N, G·C, H, W]."""
    rows = out.detach().reshape(len(out), len(relu.members), -1)
    return (rows > 0).transpose(0, 1).to(torch.float32)


def of_numbers(
    make: Callable[[int], Record], n_networks: int, wrong: Tensor
) -> list[Record]:
    """Records by position; [P] says whose outputs are no numbers.

    The code of what is no number would say that it is not positive.
    """
    return attempt_each(make, n_networks, positions(wrong), NO_NUMBER)


class _CodeAgreement:
    """Sums b bᵀ over the ReLUs of each network, b [N, units] its codes."""

    def __init__(self, network: StackedNetwork, n_images: int) -> None:
        device = network.layers[0].weight.device
        dtype = summing_dtype(device)
        shape = (network.n_networks, n_images, n_images)
        self.both_on = torch.zeros(shape, dtype=dtype, device=device)
        self.units = [0] * network.n_networks

    def add(self, relu: StackedReLU, codes: Tensor) -> None:
        """Count the codes [G, N, units] of a ReLU."""
        # Sums of zeros and ones: exact in float32 below 2²⁴ units a layer.
        both = codes @ codes.transpose(1, 2)
        self.both_on.index_add_(0, relu.index, both.to(self.both_on.dtype))
        for p in relu.members:
            self.units[p] += codes.shape[2]

    def kernels(self) -> Tensor:
        """Units that are both on or both off in each network, [P, N, N]."""
        units = torch.tensor(self.units).to(self.both_on)
        return agreement(self.both_on, units[:, None, None])
