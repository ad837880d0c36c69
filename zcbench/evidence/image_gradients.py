"""Gradients of each image alone: those of a layer's weight, and the first of a network.

The first entries of the first tensors are what KNAS (Xu et al. 2021) reads: the
authors' configurations have minibatches of one image, of which they take fifty, so here
it is each of the first fifty images.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from itertools import islice

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn import grad as weight_gradients
from torch.nn.modules.batchnorm import _BatchNorm
from torch.nn.modules.conv import _ConvNd, _ConvTransposeNd

from zcbench.errors import Undefined
from zcbench.evidence.records import FirstGradients

MOST_NUMBERS = 2**26
"""Gradients that are held at once; a larger layer is taken in parts of its outputs."""
_WEIGHT_GRADIENT: dict[int, Callable[..., Tensor]] = {
    3: weight_gradients.conv1d_weight,
    4: weight_gradients.conv2d_weight,
    5: weight_gradients.conv3d_weight,
}
"""By the dimensions of the input."""

IMAGES, ENTRIES, TENSORS = 50, 50, 11
NO_TENSOR = f"no parameter has {ENTRIES} entries"


def first_tensors(network: nn.Module) -> list[Tensor]:
    """The first eleven parameters with fifty entries and more, of whatever modules."""
    large = (p for p in network.parameters() if p.numel() >= ENTRIES)
    return list(islice(large, TENSORS))


class FirstEntries:
    """Their gradients by each image, made when a backward comes by.

    Args:
        network: None for one of which nobody asks for them.
    """

    def __init__(self, network: nn.Module | None) -> None:
        self._tensors = first_tensors(network) if network else []
        self._owners = owners(network) if network else {}
        self._gradients: dict[int, Tensor] = {}
        self._shown = False

    @property
    def seen(self) -> bool:
        """Whether every one is the weight or bias of one layer or BatchNorm."""
        return all(len(self._owners.get(id(t), ())) == 1 for t in self._tensors)

    def watch(self) -> list[torch.utils.hooks.RemovableHandle]:
        """Forward hooks on what has them."""
        return [
            module.register_forward_hook(partial(self._note, id(tensor), kind))
            for tensor in self._tensors
            for module, kind in self._owners[id(tensor)]
        ]

    def _note(
        self,
        tensor: int,
        kind: str,
        module: nn.Module,
        inputs: tuple[Tensor, ...],
        output: Tensor,
    ) -> None:
        if output.requires_grad:
            add = partial(self._add, tensor, kind, module, inputs[0].detach())
            output.register_hook(add)  # type: ignore[no-untyped-call]

    @contextmanager
    def shown(self) -> Iterator[None]:
        """Look at the gradients of a backward."""
        self._shown = True
        yield
        self._shown = False

    @torch.no_grad()
    def _add(
        self, tensor: int, kind: str, module: nn.Module, value: Tensor, grad: Tensor
    ) -> None:
        if not self._shown:
            return
        with torch.autocast(grad.device.type, enabled=False):
            made = _MAKERS[kind](module, value[:IMAGES], grad.detach()[:IMAGES])
        self._gradients[tensor] = self._gradients.get(tensor, 0) + made[:, :ENTRIES]

    def record(self, x: Tensor) -> FirstGradients:
        """What was seen; 0 where nothing flows back.

        Args:
            x: the images.

        Raises:
            Undefined: there is no such tensor.
        """
        if not self._tensors:
            raise Undefined(NO_TENSOR)
        none = x.new_zeros(len(x[:IMAGES]), ENTRIES)
        entries = [self._gradients.get(id(t), none) for t in self._tensors]
        return FirstGradients(torch.stack(entries).double().cpu())


def owners(network: nn.Module) -> dict[int, list[tuple[nn.Module, str]]]:
    """Parameter of a layer or BatchNorm, by its id → modules that have it, its name."""
    of: dict[int, list[tuple[nn.Module, str]]] = {}
    for module in network.modules():
        layer = isinstance(module, (_ConvNd, nn.Linear, _BatchNorm))
        if layer and not isinstance(module, _ConvTransposeNd):
            for kind, parameter in module.named_parameters(recurse=False):
                of.setdefault(id(parameter), []).append((module, kind))
    return of


def _of_weight(module: nn.Module, value: Tensor, grad: Tensor) -> Tensor:
    """[N, as many weights as it takes]."""
    if isinstance(module, _BatchNorm):
        alone = F.group_norm(value, value.shape[1], eps=module.eps)
        return _of_bias(module, value, grad * alone)
    weight: Tensor = module.weight  # type: ignore[assignment]
    channels = -(-ENTRIES // weight[0].numel())
    if isinstance(module, nn.Linear):
        grad = grad[..., :channels]
    elif module.groups == 1:
        grad = grad[:, :channels]
    return torch.cat(list(by_image(module, value, grad)), 1)


def _of_bias(module: nn.Module, _: Tensor, grad: Tensor) -> Tensor:
    """[N, C]."""
    if isinstance(module, nn.Linear):
        return grad.flatten(1, -2).sum(1) if grad.dim() > 2 else grad
    return grad.flatten(2).sum(2)


_MAKERS: dict[str, Callable[[nn.Module, Tensor, Tensor], Tensor]] = {
    "weight": _of_weight,
    "bias": _of_bias,
}


def by_image(layer: nn.Module, value: Tensor, grad: Tensor) -> Iterator[Tensor]:
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
