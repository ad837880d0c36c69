"""Empirical Fisher information of a network's outputs (VKDNW, Týbl & Neumann 2025).

F = mean over images of Jᵀ (diag p − p pᵀ) J, J [classes, weights] the derivative of the
logits by the first weight of each of the first parameter tensors, p the softmax. As in
the authors' code: Gaussian images, Kaiming weights without biases, evaluation mode, p
mixed with 5% of the uniform. (Their Cholesky factor L of the middle matrix stands as
Lᵀ L where the formula has L Lᵀ; here it is the formula.)

The first weight of a tensor moves one channel of its module's output, so that the
gradient of that channel gives a row of J for every image: one backward for each class.
"""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.modules.conv import _ConvNd, _ConvTransposeNd

from zcbench.errors import Undefined
from zcbench.evidence.copies import deep_copied
from zcbench.evidence.drawn_weights import (
    NORMS,
    DrawnWeights,
    draw_weights,
    fan_in,
)
from zcbench.evidence.gaussian_response import gaussian
from zcbench.evidence.spectra import (
    FisherSpectrum,
)
from zcbench.evidence.stacked_gradients import ByLayer, Module, of_network
from zcbench.evidence.subject import StackedSubject, Subject
from zcbench.networks.stacked import StackedNetwork
from zcbench.networks.stacked_layers import StackedBatchNorm, StackedLayer
from zcbench.seeding import reseed

TENSORS = 128
"""The first parameter tensors, of each of which one weight counts."""
GRADIENTS = 640
"""Classes times images: 64 images of ten classes, as published, fewer of more."""
SMOOTHING = 0.05
"""Share of the uniform distribution in p."""


def measure_fisher_spectrum(subject: Subject) -> FisherSpectrum:
    """One forward, and a backward for each class, of a copy.

    Raises:
        Undefined: a parameter tensor is used outside of modules that are seen, images
            are not first, or the outputs are no logits.
    """
    network = deep_copied(subject.network).eval()
    names = [name for name, _ in network.named_parameters()]
    draw_weights(network, fan_in, subject.seed, "kaiming")
    network.requires_grad_(False)
    x = subject.batch.x
    with torch.no_grad():
        classes = network(x[:2])
    if not isinstance(classes, Tensor) or classes.dim() != 2 or classes.shape[1] < 2:
        raise Undefined("the network does not give logits [N, classes]")
    n = min(len(x), -(-GRADIENTS // classes.shape[1]))
    images = gaussian("fisher", (n, *x.shape[1:]), subject.seed).to(x.device, x.dtype)
    images = images.clone().requires_grad_(True)  # others read the same numbers
    columns = _Columns(images, names[:TENSORS])
    hooks = columns.watch(network)
    reseed(subject.seed)
    try:
        logits = network(images)
    finally:
        for hook in hooks:
            hook.remove()
    jacobian = columns.jacobian(logits)
    deciles = _deciles(logits.detach().double().cpu(), jacobian)
    return FisherSpectrum(deciles, len(names))


class _Columns:
    """Derivatives of a logit by the first weight of each tensor, for every image."""

    def __init__(self, images: Tensor, names: list[str]) -> None:
        self._n, self.leaves = len(images), [images]
        self._columns: dict[str, Tensor | None] = dict.fromkeys(names)

    def watch(self, network: nn.Module) -> list[torch.utils.hooks.RemovableHandle]:
        """Hooks on the modules that own the tensors."""
        hooks = []
        for prefix, module in network.named_modules():
            for kind, action in _actions(module).items():
                name = f"{prefix}.{kind}".lstrip(".")
                if name in self._columns:
                    hook = partial(self._note, name, action)
                    hooks.append(module.register_forward_hook(hook))
        return hooks

    def _note(
        self,
        name: str,
        action: Callable[[nn.Module, Tensor, Tensor], Tensor],
        module: nn.Module,
        inputs: tuple[Tensor, ...],
        output: Tensor,
    ) -> Tensor:
        if len(output) != self._n:
            raise Undefined("a module does not keep the images apart")
        if torch.is_grad_enabled() and not output.requires_grad:
            # Nothing of the images comes here, but its bias may reach the logits.
            output = output.detach().requires_grad_(True)
            self.leaves.append(output)
        if self._columns[name] is None:
            self._columns[name] = output.new_zeros(self._n)
        axis = output.dim() - 1 if isinstance(module, nn.Linear | nn.LayerNorm) else 1
        if output.requires_grad:
            first = output.detach().narrow(axis, 0, 1)
            # A copy: what comes next may write into the output.
            moved = action(module, inputs[0].detach(), first).clone()
            output.register_hook(partial(self._add, name, axis, moved))  # type: ignore[no-untyped-call]
        return output

    def _add(self, name: str, axis: int, moved: Tensor, grad: Tensor) -> None:
        column = self._columns[name]
        if column is not None:
            products = grad.detach().narrow(axis, 0, 1) * moved
            self._columns[name] = column + products.flatten(1).sum(1)

    def jacobian(self, logits: Tensor) -> Tensor:
        """Derivative of the logits [N, c] by every weight, [N, c, weights] float64.

        Raises:
            Undefined: a tensor was not seen in use.
        """
        rows = []
        for logit in logits.sum(0):
            for name, column in self._columns.items():
                if column is None:
                    raise Undefined(
                        f"the parameter {name} is used outside of convolution, linear "
                        "and normalisation modules"
                    )
                self._columns[name] = torch.zeros_like(column)
            if logit.requires_grad:
                torch.autograd.grad(
                    logit, self.leaves, retain_graph=True, allow_unused=True
                )
            columns = [c for c in self._columns.values() if c is not None]
            rows.append(torch.stack(columns, 1))
        return torch.stack(rows, 1).double().cpu()


def _actions(
    module: nn.Module,
) -> dict[str, Callable[[nn.Module, Tensor, Tensor], Tensor]]:
    """Parameter → what its first weight adds to the first channel of the output."""
    actions: dict[str, Callable[[nn.Module, Tensor, Tensor], Tensor]] = {}
    if isinstance(module, _ConvNd) and not isinstance(module, _ConvTransposeNd):
        actions["weight"] = _of_convolution
    elif isinstance(module, nn.Linear):
        actions["weight"] = lambda _, value, __: value[..., :1]
    elif isinstance(
        module, NORMS
    ):  # at weight 1 and bias 0 the output is what it scales
        actions["weight"] = lambda _, __, first: first
    else:
        return {}
    actions["bias"] = lambda _, __, first: torch.ones_like(first)
    return {
        kind: act for kind, act in actions.items() if getattr(module, kind) is not None
    }


def _of_convolution(module: Any, value: Tensor, first: Tensor) -> Tensor:
    """The first channel of the input, where the kernel's first place meets it."""
    kernel = torch.zeros_like(module.weight[:1, :1])
    kernel.view(-1)[0] = 1
    convolve = {3: F.conv1d, 4: F.conv2d, 5: F.conv3d}[first.dim()]
    padding = module.padding
    if module.padding_mode != "zeros" or isinstance(padding, str):
        pads = module._reversed_padding_repeated_twice
        mode = "constant" if module.padding_mode == "zeros" else module.padding_mode
        value, padding = F.pad(value, pads, mode=mode), 0
    added: Tensor = convolve(
        value[:, :1], kernel, None, module.stride, padding, module.dilation
    )
    return added


def _deciles(logits: Tensor, jacobian: Tensor) -> tuple[float, ...]:
    """Of the eigenvalues of F, the first to the ninth."""
    p = logits.softmax(1) * (1 - SMOOTHING) + SMOOTHING / logits.shape[1]
    mean = (p[..., None] * jacobian).sum(1, keepdim=True)
    rows = (p.sqrt()[..., None] * (jacobian - mean)).flatten(0, 1)
    fisher = rows.T @ rows / len(logits)
    if not bool(fisher.isfinite().all()):
        return (math.nan,) * 9
    values = torch.linalg.eigvalsh(fisher).clamp(min=0)
    tenths = torch.arange(1, 10, dtype=torch.float64) / 10
    return tuple(torch.quantile(values, tenths).tolist())


def stacked_fisher_spectrum(subject: StackedSubject) -> list[FisherSpectrum]:
    """The same of every network of a stack."""
    network, x = subject.network, subject.batch.x
    n = min(len(x), -(-GRADIENTS // network.n_classes))
    images = gaussian("fisher", (n, *x.shape[1:]), subject.seed).to(x.device, x.dtype)
    rules = ByLayer(_Evaluating(fan_in, subject.seed, "kaiming"))
    logits = network(network.images(images), rules)
    columns = _StackedColumns(network)
    for number in range(network.n_classes):
        keep = number < network.n_classes - 1
        rules.backward(logits[:, :, number].sum(), columns.add, keep=keep)
    outputs = logits.detach().double().cpu()
    jacobians = columns.jacobians((n, network.n_classes))
    return [
        FisherSpectrum(_deciles(outputs[:, p], jacobian), columns.n_tensors[p])
        for p, jacobian in enumerate(jacobians)
    ]


class _Evaluating(DrawnWeights):
    """BatchNorm as new, in evaluation mode."""

    dead, constants = False, True

    def batchnorm(self, norm: StackedBatchNorm, x: Tensor) -> Tensor:
        return x / math.sqrt(1 + norm.eps)


class _StackedColumns:
    """Derivatives of a logit by the first weight of each network's first tensors."""

    def __init__(self, network: StackedNetwork) -> None:
        self.n_tensors = list(map(len, network.tensors))
        self._tensors = [tensors[:TENSORS] for tensors in network.tensors]
        self._columns: dict[tuple[Module, str], list[Tensor]] = defaultdict(list)

    def add(self, module: Module, value: Tensor, delta: Tensor) -> None:
        """Of a `ByLayer`: [N, G], of one logit after the other."""
        delta, moved = (_first_channels(module, maps) for maps in (delta, value))
        if isinstance(module, StackedLayer):
            moved = module.first_weight(moved)
        for kind, added in (("weight", delta * moved), ("bias", delta)):
            self._columns[module, kind].append(added.sum((2, 3)))

    def jacobians(self, shape: tuple[int, int]) -> Iterator[Tensor]:
        """Of each network [N, c, weights] float64; 0 where nothing flows back."""
        columns = {
            tensor: torch.stack(by_class, 1).cpu().double().unbind(2)
            for tensor, by_class in self._columns.items()
        }
        none = torch.zeros(shape, dtype=torch.float64)
        for p, tensors in enumerate(self._tensors):
            yield torch.stack(of_network(p, tensors, columns, none), 2)


def _first_channels(module: Module, maps: Tensor) -> Tensor:
    """[N, G·C, H, W] → [N, G, H, W]."""
    n, _, *size = maps.shape
    return maps.reshape(n, len(module.members), -1, *size)[:, :, 0]
