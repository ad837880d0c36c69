"""Parameters, multiply-accumulates and layers on a path: two images, no training."""

from __future__ import annotations

from functools import partial

import torch
from torch import Tensor, nn
from torch.func import functional_call

from zcbench.evidence.prepare import Subject
from zcbench.evidence.records import Structure
from zcbench.seeding import generator

_Calls = list[tuple[int, Tensor]]
"""(number of the layer, its output) for every call of a layer."""


def measure_structure(subject: Subject) -> Structure:
    """Forward and backward of two random images with a hook on every layer.

    A layer lies on a path when its output differs between the two images and the
    logits have a gradient with respect to it. So a cut edge counts as cut, also where
    a network writes it as a multiplication by zero. In float64: without batch
    statistics a gradient can get smaller than float32's smallest number on its way.
    """
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


def _two_images(image_shape: tuple[int, ...], device: torch.device) -> Tensor:
    shape = (2, *image_shape)
    images = torch.randn(shape, generator=generator("structure", shape))
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
    varying = [(n, out) for n, out in calls if not torch.equal(out[0], out[1])]
    varying = [(n, out) for n, out in varying if out.requires_grad]
    if not varying or not logits.requires_grad:
        return 0
    # Random slopes: a sum of logits could cancel.
    slopes = torch.rand(logits.shape, generator=generator("structure", "slopes"))
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
