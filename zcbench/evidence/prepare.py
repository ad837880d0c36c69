"""A network made ready for the passes, and the layers that proxies speak of."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm
from torch.nn.modules.conv import _ConvNd

from zcbench.types import Batch


@dataclass(frozen=True)
class Subject:
    """A network that the passes own, with its minibatch.

    Passes leave the weights as they are; only BatchNorm's running statistics move.

    Attributes:
        network: in train mode, no in-place activations, gradients for weights only.
        batch: on the network's device.
        layers: every convolution and linear layer, in order of definition.
        n_params: trainable parameters, counted before anything was frozen.
        seed: for passes that draw their own random numbers.
    """

    network: nn.Module
    batch: Batch
    layers: tuple[nn.Module, ...]
    n_params: int
    seed: int

    @property
    def weights(self) -> tuple[Tensor, ...]:
        """Weight tensor of each layer."""
        return tuple(layer.weight for layer in self.layers)  # type: ignore[misc]

    @property
    def batchnorms(self) -> tuple[_BatchNorm, ...]:
        """Every BatchNorm layer."""
        return tuple(m for m in self.network.modules() if isinstance(m, _BatchNorm))

    @contextmanager
    def without_weight_gradients(self) -> Iterator[None]:
        """Forwards whose backward goes to the input alone."""
        wanted = [weight for weight in self.weights if weight.requires_grad]
        for weight in wanted:
            weight.requires_grad_(False)
        try:
            yield
        finally:
            for weight in wanted:
                weight.requires_grad_(True)


def prepare(network: nn.Module, batch: Batch, seed: int) -> Subject:
    """Make a network ready. The network is the caller's to give away: it is changed.

    Images and weights take the memory format of their device (`memory_format`).
    """
    n_params = sum(p.numel() for p in network.parameters() if p.requires_grad)
    network.train()
    layers = tuple(
        module
        for module in network.modules()
        if isinstance(module, (_ConvNd, nn.Linear)) and not _is_lazy(module)
    )
    network.requires_grad_(False)
    for layer in layers:
        layer.weight.requires_grad_(True)
    for module in network.modules():
        if getattr(module, "inplace", False) is True:
            # An in-place ReLU would overwrite the layer output that Fisher reads.
            module.inplace = False  # type: ignore[assignment]
    if batch.x.dim() == 4:
        form = memory_format(batch.x)
        network.to(memory_format=form)  # type: ignore[call-overload]
        batch = replace(batch, x=batch.x.contiguous(memory_format=form))
    return Subject(network, batch, layers, n_params, seed)


def memory_format(tensor: Tensor) -> torch.memory_format:
    """Channels-last for maps and kernels on a CPU, which convolutions run fastest on.

    It changes the order of summation, so scores carry the usual last-digit differences
    from a contiguous network. On CUDA it must not be used: there the backward of
    average pooling that leaves the padding out is wrong in it, through cuDNN.
    """
    on_cpu = tensor.device.type == "cpu" and tensor.dim() == 4
    return torch.channels_last if on_cpu else torch.contiguous_format


def _is_lazy(module: nn.Module) -> bool:
    return isinstance(module, nn.modules.lazy.LazyModuleMixin)
