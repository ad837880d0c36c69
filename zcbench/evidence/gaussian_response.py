"""Response of the features to a Gaussian change of input (Zen-NAS, Lin et al. 2021)."""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache

import torch
from torch import Tensor, nn
from torch.func import functional_call
from torch.nn.modules.batchnorm import _BatchNorm

from zcbench.errors import Undefined
from zcbench.evidence.copies import copied_network
from zcbench.evidence.prepare import Subject, memory_format
from zcbench.evidence.records import GaussianResponse
from zcbench.evidence.watched_features import watched_features
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
    copied = copied_network(subject.network)
    copied.eval()
    for module in copied.modules():
        if isinstance(module, _BatchNorm):
            module.train()

    def features(_: nn.Module, values: dict[str, Tensor], image: Tensor) -> Tensor:
        tensors = (*copied.named_parameters(), *copied.named_buffers())
        for name, tensor in tensors:
            tensor.copy_(values[name])
        reseed(subject.seed)  # noise that evaluation mode does not turn off
        found = watched_features(copied, image)
        for name, buffer in copied.named_buffers():
            values[name].copy_(buffer)
        return found

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
