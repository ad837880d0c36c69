"""Response of the features to a Gaussian change of input (Zen-NAS, Lin et al. 2021)."""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.func import functional_call
from torch.nn.modules.batchnorm import _BatchNorm

from zcbench.errors import Undefined
from zcbench.evidence.copies import deep_copied
from zcbench.evidence.records import GaussianResponse
from zcbench.evidence.subject import StackedSubject, Subject, memory_format
from zcbench.evidence.watch import NORMALISATIONS, LayerCall, Watch
from zcbench.networks.stacked import Rules
from zcbench.networks.stacked_layers import StackedBatchNorm, StackedLayer
from zcbench.seeding import normal, reseed

STEP = 0.01
"""Length of the input's change (the authors' mixup_gamma)."""


@torch.no_grad()
def measure_gaussian_response(subject: Subject) -> GaussianResponse:
    """Two forwards with standard Gaussian weights, BatchNorm in train mode.

    Raises:
        Undefined: the network has no 4-dimensional features before its logits, or no
            layer whose weights could be Gaussian.
    """
    x = subject.batch.x
    _ = subject.weights
    values = _gaussian_tensors(subject)
    features = _features if subject.plain else _watched(subject)
    base = gaussian("input", tuple(x.shape), subject.seed)
    change = gaussian("change", tuple(x.shape), subject.seed)
    responses = []
    for image in (base, base + STEP * change):
        image = image.to(x.device, x.dtype, memory_format=memory_format(x))
        responses.append(features(subject.network, values, image))
    difference = (responses[0] - responses[1]).abs().flatten(1).sum(1)
    names = {module: name for name, module in subject.network.named_modules()}
    return GaussianResponse(
        float(difference.double().mean()),
        tuple(
            float(values[f"{names[bn]}.running_var"].mean())
            for bn in subject.batchnorms
            if bn.running_var is not None
        ),
    )


def _watched(
    subject: Subject,
) -> Callable[[nn.Module, dict[str, Tensor], Tensor], Tensor]:
    """Features by calls, of a copy without dropout, whose masks would differ.

    A copy, since `functional_call` leaves a module that two names share changed.
    """
    copied = deep_copied(subject.network)
    copied.eval()
    for module in copied.modules():
        if isinstance(module, _BatchNorm):
            module.train()

    def features(_: nn.Module, values: dict[str, Tensor], image: Tensor) -> Tensor:
        tensors = (*copied.named_parameters(), *copied.named_buffers())
        for name, tensor in tensors:
            tensor.copy_(values[name])
        reseed(subject.seed)  # noise that evaluation mode does not turn off
        maps = _features_by_calls(copied, image)
        for name, buffer in copied.named_buffers():
            values[name].copy_(buffer)
        return maps

    return features


def _gaussian_tensors(subject: Subject) -> dict[str, Tensor]:
    """Gaussian weights, zero biases, normalisation layers as new."""
    values: dict[str, Tensor] = {}
    layers = {id(layer.weight) for layer in subject.layers}
    modules = dict(subject.network.named_modules())
    held = set()  # a tensor that several modules share is drawn once
    for prefix, module in modules.items():
        tensors = [
            *module.named_parameters(prefix, recurse=False),
            *module.named_buffers(prefix, recurse=False),
        ]
        for name, tensor in tensors:
            if id(tensor) in held:
                continue
            held.add(id(tensor))
            kind = name.rpartition(".")[2]
            if id(tensor) in layers:
                drawn = gaussian(name, tuple(tensor.shape), subject.seed)
                values[name] = drawn.to(
                    tensor.device,
                    tensor.dtype,
                    memory_format=memory_format(tensor),
                )
            elif kind == "bias" or kind in ("running_mean", "num_batches_tracked"):
                values[name] = torch.zeros_like(tensor)
            elif kind == "running_var" or isinstance(module, _NORMALISATION):
                values[name] = torch.ones_like(tensor)
            else:
                values[name] = tensor.detach().clone()
    return values


_NORMALISATION = (_BatchNorm, nn.GroupNorm, nn.LayerNorm)


@lru_cache(maxsize=1024)  # every network of a run draws the same ones
def gaussian(name: str, shape: tuple[int, ...], seed: int) -> Tensor:
    """Standard Gaussian numbers for the tensor of that name; not to be written to."""
    return normal(shape, seed, "zen", name)


def _features(network: nn.Module, values: dict[str, Tensor], x: Tensor) -> Tensor:
    """Input of the last global pooling; else the last 4-dimensional output."""
    pooled: list[Tensor] = []
    maps: list[Tensor] = []

    def note(module: nn.Module, inputs: tuple[Tensor, ...], output: object) -> None:
        if isinstance(module, nn.AdaptiveAvgPool2d):
            pooled[:] = inputs[:1]
        elif isinstance(output, Tensor) and output.dim() == 4:
            maps[:] = [output]

    leaves = [m for m in network.modules() if next(m.children(), None) is None]
    hooks = [module.register_forward_hook(note) for module in leaves]
    try:
        functional_call(network, values, (x,))
    finally:
        for hook in hooks:
            hook.remove()
    if not (pooled or maps):
        raise Undefined("the network has no feature maps")
    return (pooled or maps)[0]


_POOLS = frozenset(
    {"adaptive_avg_pool2d", "adaptive_max_pool2d", "avg_pool2d", "max_pool2d"}
)
_MEANS = frozenset({"mean", "amax", "sum"})


def _features_by_calls(network: nn.Module, x: Tensor) -> Tensor:
    """Input of the last global pooling; else the last feature map [N, C, H, W].

    Global pooling is a pooling to 1×1, or a mean over height and width. A layer with
    several places an image after it makes it no global pooling of the features.

    Raises:
        Undefined: there are tokens or vectors, no feature maps, before the logits; or
            layers other than BatchNorm normalise, for which zen has no term.
    """
    finder = _Finder(len(x))
    with Watch(on_layer=finder.layer, on_call=finder.call):
        network(x)
    if finder.normalised:
        raise Undefined(
            f"it normalises by {finder.normalised}, zen's term is BatchNorm's"
        )
    features = finder.pooled if finder.pooled is not None else finder.last
    if features is None:
        raise Undefined("the network has no feature maps")
    return features


class _Finder:
    def __init__(self, n_images: int) -> None:
        self._n = n_images
        self.pooled: Tensor | None = None
        self.last: Tensor | None = None
        self.normalised = ""

    def layer(self, call: LayerCall, output: Tensor) -> Tensor:
        if call.places(output) > self._n:
            self.pooled = None
            self.last = output if output.dim() == 4 else None
        return output

    def call(self, name: str, args: tuple[Any, ...], output: object) -> None:
        value = args[0] if args else None
        if not isinstance(value, Tensor) or not isinstance(output, Tensor):
            return
        if name in NORMALISATIONS - {"batch_norm"}:
            self.normalised = name
        if value.dim() != 4:
            return
        # Gating by squeeze and excitation pools, too: a layer that follows undoes it.
        if _is_global(name, value, output):
            self.pooled = value
        elif (
            self.last is not None
            and self.pooled is None
            and output.dim() == 4
            and output.shape[1] == self.last.shape[1]
            and len(output) == self._n
        ):
            self.last = output


def _is_global(name: str, value: Tensor, output: Tensor) -> bool:
    places = value.shape[2] * value.shape[3]
    if name in _POOLS:
        adaptive = name.startswith("adaptive")  # also of small images' last 1×1 maps
        one = output.dim() == 4 and output[0, 0].numel() == 1
        return one and (places > 1 or adaptive)
    if name not in _MEANS or output.dim() == 0 or len(output) != len(value):
        return False
    per_image = value[0].numel() // max(1, output[0].numel())
    first = per_image == places and output.shape[1:2] == value.shape[1:2]
    last = value.shape[1] * value.shape[2] == per_image
    return (per_image > 1 or places == 1) and (
        first or (last and output.shape[-1] == value.shape[-1])
    )


@torch.no_grad()
def stacked_gaussian_response(subject: StackedSubject) -> list[GaussianResponse]:
    """The same of every network of a stack."""
    network, x, seed = subject.network, subject.batch.x, subject.seed
    base = gaussian("input", tuple(x.shape), seed)
    change = gaussian("change", tuple(x.shape), seed)
    rules = _GaussianWeights(seed)
    responses = []
    for images in (base, base + STEP * change):
        network(network.images(images.to(x.device, x.dtype)), rules)
        responses.append(rules.last)
    moved = (responses[0] - responses[1]).abs()
    each = moved.reshape(len(x), network.n_networks, -1).sum(2)
    differences = each.double().mean(0).tolist()
    means = {
        norm: rules.variances[norm].reshape(-1, norm.channels).mean(1).tolist()
        for norm in network.batchnorms
    }
    variances = network.split(means)
    return [
        GaussianResponse(difference, tuple(variance))
        for difference, variance in zip(differences, variances, strict=True)
    ]


class _GaussianWeights(Rules):
    """Gaussian weights, no bias; BatchNorm keeps its running variances."""

    def __init__(self, seed: int) -> None:
        self.last: Tensor
        self.variances: dict[StackedBatchNorm, Tensor] = {}
        self._seed = seed

    def layer(self, layer: StackedLayer, x: Tensor) -> Tensor:
        drawn = gaussian(f"{layer.name}.weight", layer.shape, self._seed)
        out: Tensor = layer(x, drawn.reshape(layer.weight.shape).to(layer.weight))
        return out

    def batchnorm(self, norm: StackedBatchNorm, x: Tensor) -> Tensor:
        if norm not in self.variances:
            self.variances[norm] = torch.ones_like(norm.weight)
        return F.batch_norm(
            x,
            torch.zeros_like(norm.bias),  # running means: nobody asks for them
            self.variances[norm],
            norm.weight,
            norm.bias,
            training=True,
            momentum=norm.momentum,
            eps=norm.eps,
        )

    def features(self, x: Tensor) -> Tensor:
        self.last = x
        return x
