"""References of the proxies that look at the network, not at its gradients."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from reference.common import layers, private_copy, weights


def params(net: nn.Module, x: Tensor, y: Tensor, dtype: torch.dtype) -> float:
    """Number of trainable parameters, all of them."""
    return sum(p.numel() for p in net.parameters() if p.requires_grad)


def flops(net: nn.Module, x: Tensor, y: Tensor, dtype: torch.dtype) -> float:
    """Multiply-accumulates of conv and linear layers for one image.

    Conv: output pixels × output channels × (input channels / groups) × kernel area.
    Linear: inputs × outputs. Biases and everything else are not counted; every layer
    of the network is, whether or not its output reaches the classifier.
    """
    net = private_copy(net, dtype).eval()
    counts = []

    def count(layer: nn.Module, _: object, output: Tensor) -> None:
        if isinstance(layer, nn.Linear):
            counts.append(layer.in_features * layer.out_features)
        else:
            _, c_out, height, width = output.shape
            kernel = layer.kernel_size[0] * layer.kernel_size[1]
            fan_in = layer.in_channels // layer.groups * kernel
            counts.append(height * width * c_out * fan_in)

    for layer in layers(net):
        layer.register_forward_hook(count)
    with torch.no_grad():
        net(x[:1].to(dtype))
    return sum(counts)


def n_layers(net: nn.Module, x: Tensor, y: Tensor, dtype: torch.dtype) -> float:
    """Number of conv and linear layers on a path from the input to the output.

    A layer hangs on the input if its output changes with the images; it leads to the
    output if a random sum of logits has a gradient there that is not exactly zero.
    In eval mode, where BatchNorm is a plain scale and cannot cancel either.
    """
    net = private_copy(net, dtype).eval()
    outputs: dict[nn.Module, list[Tensor]] = {layer: [] for layer in layers(net)}

    def keep(layer: nn.Module, _: object, output: Tensor) -> None:
        output.retain_grad()
        outputs[layer].append(output)

    for layer in outputs:
        layer.register_forward_hook(keep)
    generator = torch.Generator().manual_seed(0)
    images = x[:4].to(dtype)
    others = torch.randn(images.shape, generator=generator, dtype=dtype)
    logits = net(images)
    net(others)
    (
        logits * torch.randn(logits.shape, generator=generator, dtype=dtype)
    ).sum().backward()

    count = 0
    for first, second in outputs.values():
        hangs_on_input = not torch.equal(first, second)
        leads_to_output = first.grad is not None and bool((first.grad != 0).any())
        count += hangs_on_input and leads_to_output
    return count


def l2_norm(net: nn.Module, x: Tensor, y: Tensor, dtype: torch.dtype) -> float:
    """Σ_layers ‖w‖₂ over conv and linear layers (Abdelfattah 2021)."""
    net = private_copy(net, dtype)
    return sum(w.square().sum().sqrt().item() for w in weights(net))
