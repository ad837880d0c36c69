"""Synaptic flow (Tanaka et al. 2020): one all-ones image, absolute weights, float64."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn
from torch.func import functional_call
from torch.nn.modules.batchnorm import _BatchNorm

from zcbench.errors import Undefined
from zcbench.evidence.copies import cast, deep_copied
from zcbench.evidence.modes import doubled
from zcbench.evidence.records import SynapticFlow
from zcbench.evidence.subject import StackedSubject, Subject, layers_of
from zcbench.evidence.watch import NORMALISATIONS, Watch, first_argument
from zcbench.networks.stacked import Rules
from zcbench.networks.stacked_layers import StackedBatchNorm, StackedLayer
from zcbench.seeding import reseed


def measure_synaptic_flow(subject: Subject) -> SynapticFlow:
    """Forward and backward of one image through the linearised network.

    float64 because the flow of a deep cell passes float32's largest number. A device
    without float64 (MPS) hands this pass to the CPU.
    """
    network = subject.network
    device = subject.batch.x.device
    if device.type == "mps":
        device = torch.device("cpu")
    if not subject.plain:
        return _watched(subject, device)
    values = {
        name: tensor.detach().to(device, torch.float64).abs()
        if tensor.is_floating_point()
        else tensor.detach().to(device)
        for name, tensor in _named_tensors(network)
    }
    names = {module: name for name, module in network.named_modules()}
    weights = [
        values[f"{names[layer]}.weight"].requires_grad_(True)
        for layer in subject.layers
    ]
    ones = torch.ones_like(subject.batch.x[:1], dtype=torch.float64, device=device)
    with _without_batchnorm(network):
        output: Tensor = functional_call(network, values, (ones,)).sum()
    return _flow(output, weights)


def _watched(subject: Subject, device: torch.device) -> SynapticFlow:
    """The same by calls: every normalisation hands its input on, in any module.

    LayerNorm and its kin would make the flow independent of the weights before them,
    as BatchNorm does. In evaluation mode, which has no dropout.

    Raises:
        Undefined: there is no layer, no one output, or no number without LayerNorm:
            attention's logits then grow from layer to layer.
    """
    if not subject.layers:
        raise Undefined("the network has no convolution or linear modules")
    network = cast(deep_copied(subject.network).to(device), torch.float64)
    network.eval()
    layers = layers_of(network)
    pointers = {layer.weight.data_ptr() for layer in layers}  # type: ignore[operator]
    removed: set[str] = set()

    def hand_on(name: str, *args: Any, **kwargs: Any) -> Tensor:
        value = first_argument(args, kwargs)
        of_weight = value.data_ptr() in pointers
        removed.add("the standardisation of weights" if of_weight else name)
        return value

    with torch.no_grad():
        for parameter in network.parameters():
            if parameter.is_floating_point() or parameter.is_complex():
                parameter.copy_(parameter.abs())
    rules = {name: partial(hand_on, name) for name in NORMALISATIONS}
    shape = (1, *subject.batch.x.shape[1:])
    ones = torch.ones(shape, dtype=torch.float64, device=device)
    reseed(subject.seed)
    with doubled(), Watch(rules=rules):
        output = network(ones)
    if not isinstance(output, Tensor):
        raise Undefined("the network does not give one tensor of outputs")
    others = removed - {"batch_norm"}
    if others:
        subject.remarks[SynapticFlow] = f"takes {', '.join(sorted(others))} out, too"
    weights: list[Tensor] = [layer.weight for layer in layers]  # type: ignore[misc]
    record = _flow(output.sum(), weights)
    if others and math.isnan(sum(record.flow)):  # as through attention's softmax
        raise Undefined(f"without {', '.join(sorted(others))} its flow is no number")
    return record


def _flow(output: Tensor, weights: Sequence[Tensor]) -> SynapticFlow:
    if not output.requires_grad:
        return SynapticFlow(tuple(0.0 for _ in weights))
    grads = torch.autograd.grad(output, weights, allow_unused=True)
    return SynapticFlow(
        tuple(
            0.0 if grad is None else float((weight.detach() * grad).sum())
            for weight, grad in zip(weights, grads, strict=True)
        )
    )


def _named_tensors(network: nn.Module) -> Iterator[tuple[str, Tensor]]:
    """Parameters and buffers, those of BatchNorm left out."""
    for prefix, module in network.named_modules():
        if not isinstance(module, _BatchNorm):
            yield from module.named_parameters(prefix, recurse=False)
            yield from module.named_buffers(prefix, recurse=False)


@contextmanager
def _without_batchnorm(network: nn.Module) -> Iterator[None]:
    """Every BatchNorm replaced by the identity, and put back."""
    taken = [
        (parent, name, child)
        for parent in network.modules()
        for name, child in parent.named_children()
        if isinstance(child, _BatchNorm)
    ]
    identity = nn.Identity()
    try:
        for parent, name, _ in taken:
            setattr(parent, name, identity)
        yield
    finally:
        for parent, name, child in taken:
            setattr(parent, name, child)


def stacked_synaptic_flow(subject: StackedSubject) -> list[SynapticFlow]:
    """The same of every network of a stack.

    What flows through a layer z = w x is Σ_w w · ∂R/∂w = Σ_z z · ∂R/∂z: no gradient of
    a weight is needed.
    """
    network = subject.network
    ones = torch.ones_like(subject.batch.x[:1], dtype=torch.float64)
    rules = _Absolute()
    logits = network(network.images(ones), rules)
    through = rules.through
    grads = torch.autograd.grad(logits.sum(), list(through.values()), allow_unused=True)
    flows = {layer: [0.0] * len(layer.members) for layer in network.layers}
    for (layer, out), grad in zip(through.items(), grads, strict=True):
        if grad is not None:
            flows[layer] = _sums(out.detach() * grad, layer).tolist()
    return [SynapticFlow(tuple(flow)) for flow in network.split(flows)]


class _Absolute(Rules):
    """Absolute weights and biases, no BatchNorm."""

    dead = False

    def __init__(self) -> None:
        self.through: dict[StackedLayer, Tensor] = {}
        """Output of each layer before its bias."""

    def layer(self, layer: StackedLayer, x: Tensor) -> Tensor:
        out: Tensor = layer(x, layer.weight.double().abs())
        if not out.requires_grad:
            out.requires_grad_(True)
        self.through[layer] = out
        if layer.bias is None:
            return out
        bias = layer.bias.double().abs().repeat(len(layer.members))
        return out + bias[:, None, None]

    def batchnorm(self, _norm: StackedBatchNorm, x: Tensor) -> Tensor:
        return x


def _sums(products: Tensor, layer: StackedLayer) -> Tensor:
    """[1, G·C, H, W] → [G]."""
    return products.reshape(len(layer.members), -1).sum(1)
