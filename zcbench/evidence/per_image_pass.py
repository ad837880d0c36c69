"""Gradients of each image alone: one forward for all, two backwards, never all at once.

The rule for BatchNorm, one for all proxies that read this: an image is a minibatch of
its own. It takes its statistics over the height and width of that image, as in code
that hands a network one image after the other (Zhang & Jia 2022, GradSign). So the
images do not mix, one forward of all of them is the same as one after the other, and
the gradient of a layer's weight for every image follows from the layer's input and the
gradient of its output. Each is reduced at once: what is held is [images, weights of one
layer] at most.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn import grad as weight_gradients
from torch.nn.modules.batchnorm import _BatchNorm
from torch.nn.modules.conv import _ConvNd, _ConvTransposeNd

from zcbench.errors import Undefined
from zcbench.evidence.clock import Clock
from zcbench.evidence.records import SignAgreement, TangentKernel
from zcbench.evidence.subject import LOSSES, Subject, check_labels
from zcbench.seeding import reseed
from zcbench.types import Batch

MOST_NUMBERS = 2**26
"""Gradients that are held at once; a larger layer is taken in parts of its outputs."""
ONE_VALUE = "BatchNorm has one value per channel in an image, and cannot normalise it"
_WEIGHT_GRADIENT: dict[int, Callable[..., Tensor]] = {
    3: weight_gradients.conv1d_weight,
    4: weight_gradients.conv2d_weight,
    5: weight_gradients.conv3d_weight,
}
"""By the dimensions of the input."""


class PerImagePass:
    """Holds the graph of one forward, each image alone, for two backwards.

    Args:
        subject: the network and its minibatch.
        needs: record types that will be asked for.
        clock: gets the seconds of per_image_forward, per_image_loss and
            per_image_logits.

    Raises:
        Undefined: BatchNorm has one value per channel, or a layer mixes images.
    """

    def __init__(self, subject: Subject, needs: frozenset[type], clock: Clock) -> None:
        self._subject = subject
        self._clock = clock
        self._readers = len(needs & {SignAgreement, TangentKernel})
        self._gradients = _Gradients(len(subject.batch.x))
        with clock.time("per_image_forward"):
            self._forward()

    def _forward(self) -> None:
        network = self._subject.network
        self._x = self._subject.batch.x.detach().requires_grad_(True)
        hooks = [
            layer.register_forward_hook(partial(self._gradients.watch, number))
            for number, layer in enumerate(self._subject.layers)
        ]
        reseed(self._subject.seed)
        try:
            with (
                self._subject.without_weight_gradients(),
                each_image_alone(self._subject.batchnorms),
            ):
                self._logits: Tensor = network(self._x)
        finally:
            for hook in hooks:
                hook.remove()
        check_varying(self._logits, self._subject.batch)

    def sign_agreement(self) -> SignAgreement:
        """Backward from the sum over images of the loss of each."""
        total = 0.0

        def add(_: int, gradients: Tensor) -> None:
            nonlocal total
            total += float(gradients.sign().sum(0).abs().sum())

        with self._clock.time("per_image_loss"):
            loss = self._loss()
            self._backward(loss, add)
        if bool(loss.isnan()):  # the sign of what is no number would be 0
            total = math.nan
        return SignAgreement(total, sum(w.numel() for w in self._subject.weights))

    def tangent_kernel(self) -> TangentKernel:
        """Backward from the sum of all logits of all images."""
        n, device = len(self._x), self._x.device
        kernel = torch.zeros(n, n, dtype=torch.float64, device=device)

        def add(_: int, gradients: Tensor) -> None:
            kernel.add_((gradients @ gradients.T).to(kernel.dtype))

        with self._clock.time("per_image_logits"):
            self._backward(self._logits.sum(), add)
        return TangentKernel(kernel)

    def loss_gradients(self, visit: Callable[[int, Tensor], None]) -> None:
        """Give each layer's number and gradients [N, *shape of the weight] of the loss.

        The last layer comes first, those that do not reach the output at the end.
        """
        n, left = len(self._x), dict(enumerate(self._subject.weights))

        def whole(number: int, gradients: Tensor) -> None:
            visit(number, gradients.reshape(n, *left.pop(number).shape))

        self._backward(self._loss(), whole, in_parts=False)
        for number, weight in left.items():
            visit(number, weight.new_zeros(n, *weight.shape))

    def _loss(self) -> Tensor:
        """Sum over images of the loss of each."""
        batch = self._subject.batch
        check_labels(self._logits, batch)
        return LOSSES[batch.loss](self._logits, batch.y) * len(batch.x)

    def _backward(
        self,
        output: Tensor,
        reduce: Callable[[int, Tensor], None],
        *,
        in_parts: bool = True,
    ) -> None:
        self._readers -= 1
        if not output.requires_grad:
            return
        with self._gradients.going_to(reduce, in_parts):
            torch.autograd.grad(
                output, self._x, retain_graph=self._readers > 0, allow_unused=True
            )


_LEAST = 1e-5
"""Least share of the outputs that differs between images and is no rounding."""


def check_varying(outputs: Tensor, batch: Batch) -> None:
    """Make sure that images alone differ by more than rounding, or not at all.

    Where maps go from BatchNorm to the outputs by averages and linear layers alone,
    nothing is left of an image that is normalised by its own statistics.

    Args:
        outputs: of each image alone. [N, K]
        batch: the images.

    Raises:
        Undefined: they differ by rounding, or are those of a part of a network.
    """
    check_loss(batch)
    check_spread(outputs)


def check_spread(outputs: Tensor) -> None:
    """The same of outputs [N, K], whatever they are."""
    outputs = outputs.detach().double()
    spread = (outputs - outputs.mean(0)).norm()
    if 0 < spread < _LEAST * outputs.norm():
        raise Undefined("outputs of images alone differ by rounding: BatchNorm is last")


def check_loss(batch: Batch) -> None:
    """Raise `Undefined` if the images are those of a part of a network."""
    if batch.loss == "none":
        raise Undefined("a part of a network has no outputs")


class _Gradients:
    """Makes each layer's gradients per image when a backward comes by.

    Like `zcbench.evidence.minibatch_pass._Saliency` it must not refer to what holds the
    graph.
    """

    def __init__(self, n_images: int) -> None:
        self._n = n_images
        self._uses: Counter[int] = Counter()
        self._held: dict[int, Tensor] = {}
        self._left: Counter[int] = Counter()
        self._in_parts = True
        self._reduce: Callable[[int, Tensor], None] | None = None

    def watch(
        self, number: int, layer: nn.Module, inputs: tuple[Tensor, ...], output: Tensor
    ) -> None:
        """Forward hook of a layer."""
        value = inputs[0].detach()
        if len(value) != self._n or len(output) != self._n:
            raise Undefined("a layer does not keep the images apart")
        if isinstance(layer, _ConvTransposeNd):
            raise Undefined("gradients per image are not made for transposed layers")
        if output.requires_grad:
            self._uses[number] += 1
            output.register_hook(  # type: ignore[no-untyped-call]
                partial(self._add, number, layer, value)
            )

    @contextmanager
    def going_to(
        self, reduce: Callable[[int, Tensor], None], in_parts: bool
    ) -> Iterator[None]:
        """Give `reduce` number and gradients [N, weights] of a layer, or part of it."""
        self._reduce, self._in_parts = reduce, in_parts
        self._left = self._uses.copy()
        yield
        while self._held:  # a use of the layer that does not reach the output
            reduce(*self._held.popitem())
        self._reduce = None

    @torch.no_grad()
    def _add(self, number: int, layer: nn.Module, value: Tensor, grad: Tensor) -> None:
        if self._reduce is None:
            return
        with torch.autocast(grad.device.type, enabled=False):
            parts = _by_image(layer, value, grad.detach())
            if self._uses[number] == 1 and self._in_parts:
                for part in parts:
                    self._reduce(number, part)
                return
            # A layer that is used twice adds up before it is reduced.
            whole = torch.cat(list(parts), dim=1)
            if number in self._held:
                whole += self._held.pop(number)
            self._left[number] -= 1
            if self._left[number]:
                self._held[number] = whole
            else:
                self._reduce(number, whole)


def _by_image(layer: nn.Module, value: Tensor, grad: Tensor) -> Iterator[Tensor]:
    """∂/∂w of each image, [N, weights], in parts of whole output channels."""
    weight: Tensor = layer.weight  # type: ignore[assignment]
    # In the weight's own arithmetic: grouped gradients are not made in bfloat16.
    value, grad = value.to(weight.dtype), grad.to(weight.dtype)
    most = max(1, MOST_NUMBERS // (len(value) * weight[0].numel()))
    if not isinstance(layer, _ConvNd):
        if grad.dim() == 2:  # one vector for each image, not a row of tokens
            grad, value = grad[:, None], value[:, None]
        rows, columns = grad.flatten(1, -2), value.flatten(1, -2)
        for some in torch.split(rows, most, dim=2):
            yield torch.einsum("nto,nti->noi", some, columns).flatten(1)
        return
    if layer.groups > 1:  # channels of one group belong together
        yield _convolution(layer, value, grad, layer.groups)
        return
    for some in torch.split(grad, most, dim=1):
        yield _convolution(layer, value, some, 1)


def _convolution(layer: _ConvNd, value: Tensor, grad: Tensor, groups: int) -> Tensor:
    """All images as groups of one convolution, whose weight has all their gradients."""
    n, c_out = grad.shape[:2]
    padding = layer.padding
    if isinstance(padding, str) or layer.padding_mode != "zeros":
        mode = "constant" if layer.padding_mode == "zeros" else layer.padding_mode
        value = F.pad(value, layer._reversed_padding_repeated_twice, mode=mode)
        padding = (0,) * (value.dim() - 2)
    size = (n * c_out, *layer.weight.shape[1:])
    gradients = _WEIGHT_GRADIENT[value.dim()](
        value.reshape(1, -1, *value.shape[2:]),
        size,
        grad.reshape(1, -1, *grad.shape[2:]),
        stride=layer.stride,
        padding=padding,
        dilation=layer.dilation,
        groups=n * groups,
    )
    return gradients.reshape(n, -1)


@contextmanager
def each_image_alone(batchnorms: tuple[_BatchNorm, ...]) -> Iterator[None]:
    """BatchNorm with the statistics of each image, for the time of a forward."""
    for module in batchnorms:
        module.__dict__["forward"] = partial(_normalise_alone, module)
    try:
        yield
    finally:
        for module in batchnorms:
            del module.__dict__["forward"]


def _normalise_alone(module: _BatchNorm, x: Tensor) -> Tensor:
    if math.prod(x.shape[2:]) == 1:
        raise Undefined(ONE_VALUE)
    # A group for every channel: the statistics of one channel of one image.
    return F.group_norm(x, x.shape[1], module.weight, module.bias, module.eps)
