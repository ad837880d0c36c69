"""Parameters, multiply-accumulates and layers on a path: two images, no training."""

from __future__ import annotations

import math
from functools import partial

import torch
from torch import Tensor, nn
from torch.func import functional_call

from zcbench.errors import Undefined
from zcbench.evidence.layout import Layout, Probe
from zcbench.evidence.records import Parameters, Structure
from zcbench.evidence.subject import StackedSubject, Subject
from zcbench.networks.stacked import Rules
from zcbench.networks.stacked_layers import StackedBatchNorm, StackedLayer
from zcbench.seeding import generator, normal, uniform

_Calls = list[tuple[int, Tensor]]
"""(number of the layer, its output) for every call of a layer."""


def measure_parameters(subject: Subject) -> Parameters:
    """What the network consists of."""
    weights = (layer.weight.detach() for layer in subject.layers)  # type: ignore[operator]
    return Parameters(subject.n_params, tuple(weights))


def measure_structure(subject: Subject) -> Structure:
    """Forward and backward of two random images with a hook on every layer.

    A layer lies on a path when its output differs between the two images and the
    logits have a gradient with respect to it. So a cut edge counts as cut, also where
    a network writes it as a multiplication by zero. In float64: without batch
    statistics a gradient can get smaller than float32's smallest number on its way.
    """
    if not subject.plain:
        return _from_probe(subject)
    network, layers = subject.network, subject.layers
    device = subject.batch.x.device
    if device.type == "mps":  # has no float64
        device = torch.device("cpu")
    calls: _Calls = []
    hooks = [
        layer.register_forward_hook(partial(_note, calls, number))
        for number, layer in enumerate(layers)
    ]
    network.eval()  # two images are too few for batch statistics
    try:
        images = _two_images(subject.batch.x.shape[1:], device)
        logits: Tensor = functional_call(network, _doubled(network, device), (images,))
    finally:
        for hook in hooks:
            hook.remove()
        network.train()
    return Structure(
        n_params=subject.n_params,
        macs=sum(_macs(layers[number], output) for number, output in calls),
        n_layers=_count_on_path(logits, calls),
        weights=tuple(w.detach() for w in subject.weights),
    )


def _from_probe(subject: Subject) -> Structure:
    """From what a probe with generic weights saw.

    Raises:
        Undefined: there is no layer, or one is used in a way that was not seen.
    """
    weights, probe = subject.weights, subject.probe
    if not isinstance(probe.logits, Tensor):
        raise Undefined("the network does not give one tensor of outputs")
    single = [s for s in probe.one if s.call is not None]
    numbers = {s.call.number for s in single if s.call}
    _check_seen(probe, numbers)
    macs = sum(
        s.call.macs(s.value)
        for s in single
        if s.call is not None and s.call.number is not None
    )
    others = probe.products_of_one + sum(
        s.call.macs(s.value)
        for s in single
        if s.call is not None and s.call.number is None
    )
    if others:
        subject.remarks[Structure] = (
            f"{others:,} multiply-accumulates outside convolution and linear modules "
            "(as in attention) are not counted"
        )
    alike = len(probe.one) == len(probe.three)  # unlike those that loop over images
    alone = [s.value for s in probe.one] if alike else [None] * len(probe.three)
    calls = [
        (s.call.number, s.value)
        for one, s, (_, layout) in zip(alone, probe.three, probe.layouts, strict=True)
        if s.call is not None
        and s.call.number is not None
        and _depends_on_images(one, s.value, layout)
    ]
    on_path = _reaching(probe.logits, calls)
    weights = tuple(w.detach() for w in weights)
    return Structure(subject.n_params, macs, on_path, weights)


def _depends_on_images(
    one: Tensor | None, three: Tensor, layout: Layout | None
) -> bool:
    """Whether a layer is fed by them; one of positions alone, say, is not."""
    if layout is not None:
        return _varies(layout.apart(three, 3))
    return one is None or not torch.equal(one, three)  # of other shapes, too


def _varies(outputs: Tensor) -> bool:
    return not torch.equal(outputs[0], outputs[1])


def _check_seen(probe: Probe, numbers: set[int | None]) -> None:
    values: list[Tensor] = [layer.weight for layer in probe.layers]  # type: ignore[misc]
    grads = torch.autograd.grad(
        probe.logits.square().sum(), values, retain_graph=True, allow_unused=True
    )
    for number, grad in enumerate(grads):
        if grad is not None and bool(grad.any()) and number not in numbers:
            raise Undefined("a layer's weight is used in a way that is not seen")


def _two_images(image_shape: tuple[int, ...], device: torch.device) -> Tensor:
    shape = (2, *image_shape)
    images = normal(shape, "structure", shape)
    return images.to(device, torch.float64)


def _doubled(network: nn.Module, device: torch.device) -> dict[str, Tensor]:
    """Parameters and buffers in float64; the weights need gradients as before."""
    return {
        name: tensor.detach()
        .to(device, torch.float64 if tensor.is_floating_point() else tensor.dtype)
        .requires_grad_(tensor.requires_grad)
        for name, tensor in (*network.named_parameters(), *network.named_buffers())
    }


def _note(
    calls: _Calls, number: int, _layer: nn.Module, _inputs: object, output: Tensor
) -> None:
    calls.append((number, output))


def _macs(layer: nn.Module, output: Tensor) -> int:
    """Each output value takes one multiplication per weight of its channel."""
    weight: Tensor = layer.weight  # type: ignore[assignment]
    return output[0].numel() * weight[0].numel()


def _count_on_path(logits: Tensor, calls: _Calls) -> int:
    return _reaching(logits, [(n, out) for n, out in calls if _varies(out)])


def _reaching(logits: Tensor, calls: _Calls) -> int:
    varying = [(n, out) for n, out in calls if out.requires_grad]
    if not varying or not logits.requires_grad:
        return 0
    # Random slopes: a sum of logits could cancel.
    slopes = uniform(tuple(logits.shape), "structure", "slopes")
    grads = torch.autograd.grad(
        (logits * slopes.to(logits)).sum(),
        [out for _, out in varying],
        allow_unused=True,
    )
    return len(
        {
            number
            for (number, _), grad in zip(varying, grads, strict=True)
            if grad is not None and bool(grad.any())
        }
    )


def stacked_structure(subject: StackedSubject) -> list[Structure]:
    """Forward and backward of two random images in float64, for every network."""
    network, x = subject.network, subject.batch.x
    rules = _TwoImages()
    logits = network(network.images(_two_images(x.shape[1:], x.device)), rules)
    on_path = _members_on_path(logits, rules.outputs)
    counts = network.split(on_path)
    macs = network.split(rules.macs)
    return [
        Structure(every.n_params, sum(macs[p]), sum(counts[p]), every.weights)
        for p, every in enumerate(stacked_parameters(subject))
    ]


def stacked_parameters(subject: StackedSubject) -> list[Parameters]:
    """What every network consists of."""
    network = subject.network
    totals = [0] * network.n_networks
    for members, n_parameters in (
        *((layer.members, layer.n_parameters) for layer in network.layers),
        *((norm.members, norm.n_parameters) for norm in network.batchnorms),
    ):
        for p in members:
            totals[p] += n_parameters
    return list(map(Parameters, totals, network.weights()))


class _TwoImages(Rules):
    """Fixed statistics, as two images are too few; float64, as gradients get tiny."""

    def __init__(self) -> None:
        self.outputs: dict[StackedLayer, Tensor] = {}
        self.macs: dict[StackedLayer, list[int]] = {}

    def layer(self, layer: StackedLayer, x: Tensor) -> Tensor:
        bias = None if layer.bias is None else layer.bias.double()
        out: Tensor = layer(x, layer.weight.double(), bias)
        if torch.is_grad_enabled():
            self.outputs[layer] = out if out.requires_grad else out.requires_grad_(True)
        each = out[0].numel() // len(layer.members) * layer.fan_in
        self.macs[layer] = [each] * len(layer.members)
        return out

    def batchnorm(self, norm: StackedBatchNorm, x: Tensor) -> Tensor:
        out: Tensor = x / math.sqrt(1 + norm.eps)
        return out


def _members_on_path(
    logits: Tensor, outputs: dict[StackedLayer, Tensor]
) -> dict[StackedLayer, list[int]]:
    """For each layer and member, 1 if the output varies and reaches the logits."""
    n_classes = logits.shape[2]
    slopes = torch.rand((2, n_classes), generator=generator("structure", "slopes"))
    grads = torch.autograd.grad(
        (logits * slopes.to(logits)[:, None]).sum(),
        list(outputs.values()),
        allow_unused=True,
    )
    on_path = {}
    for (layer, out), grad in zip(outputs.items(), grads, strict=True):
        members = len(layer.members)
        varies = (out[0] != out[1]).view(members, -1).any(1)
        if grad is not None:
            reaches = (grad != 0).view(2, members, -1).any(2).any(0)
            on_path[layer] = (varies & reaches).long().tolist()
    return on_path
