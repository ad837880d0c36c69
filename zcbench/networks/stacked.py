"""Stacked networks: P networks of one skeleton side by side as channels.

A feature map is [N, P·C, H, W], network after network. An operation that only some
networks have works on their G maps, [N, G·C, H, W]. Weights depend on (seed, repeat,
parameter name) alone, so that all networks that have a layer have the same weights in
it: its forward is one ordinary convolution of N·G images, the same memory seen as
[N·G, C, H, W]. What differs between networks, such as the gradients, goes through
grouped convolutions. BatchNorm, ReLU and pooling see every channel alone in any case.

For devices that one network leaves idle: zcbench/engine/evaluator.py scores a stack,
zcbench/evidence/table.py says which records it gives. A space takes part by its method
`stack` (zcbench/spaces/base.py); that of the cell spaces is in cell_stack.py.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from functools import cached_property
from math import prod
from typing import Any, Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

Kind = Literal["pooling", "identity", "container"]


class StackedLayer(nn.Module):
    """A convolution that some networks have; a linear layer is one of 1×1 maps.

    Args:
        name: of the one network's layer, as its state dict has it.
        members: positions of the networks that have it, ascending.
        weight: of the one network. [C_out, C_in, k, k] or [C_out, C_in]
        bias: of the one network. [C_out]
        stride: the convolution's; its padding is half its kernel.
    """

    index: Tensor
    weight: Tensor
    bias: Tensor | None

    def __init__(
        self,
        name: str,
        members: Sequence[int],
        weight: Tensor,
        bias: Tensor | None = None,
        stride: int = 1,
    ) -> None:
        super().__init__()
        self.name = name
        self.members = tuple(members)
        self.shape = tuple(weight.shape)
        self.channels = weight.shape[0]
        self.fan_in = weight[0].numel()
        self.n_parameters = weight.numel() + (0 if bias is None else bias.numel())
        self.stride = stride
        kernel = weight.shape[2] if weight.dim() == 4 else 1
        self.padding = kernel // 2
        self._pointwise = kernel == 1 and stride == 1
        self.register_buffer("index", torch.tensor(self.members), persistent=False)
        kernels = weight if weight.dim() == 4 else weight[:, :, None, None]
        self.register_buffer("weight", kernels, persistent=False)
        self.register_buffer("bias", bias, persistent=False)

    def forward(
        self, x: Tensor, weight: Tensor | None = None, bias: Tensor | None = None
    ) -> Tensor:
        """All members by one weight.

        Args:
            x: [N, G·C_in, H, W].
            weight: instead of the layer's own with its bias. [C_out, C_in, k, k]
            bias: [C_out]

        Returns:
            [N, G·C_out, H / stride, W / stride].
        """
        if weight is None:
            weight, bias = self.weight, self.bias
        out = F.conv2d(self._apart(x), weight, bias, self.stride, self.padding)
        return self._together(out)

    def forward_each(self, x: Tensor, weights: Tensor) -> Tensor:
        """Every member by a weight of its own, without bias.

        Args:
            x: [N, G·C_in, H, W].
            weights: [G, C_out, C_in, k, k].
        """
        if self._pointwise:
            return self._columns(weights.flatten(2) @ self._rows(x), x)
        groups = len(self.members)
        return F.conv2d(
            x, weights.flatten(0, 1), None, self.stride, self.padding, groups=groups
        )

    def input_gradient(self, delta: Tensor, x: Tensor) -> Tensor:
        """Gradient with respect to the input of `forward`.

        Args:
            delta: with respect to its output. [N, G·C_out, H', W']
            x: its input; only the shape matters. [N, G·C_in, H, W]
        """
        grad = self._backward(self._apart(delta), self._apart(x), self.weight, 1, 0)
        return self._together(grad, len(x))

    def input_gradient_each(self, delta: Tensor, x: Tensor, weights: Tensor) -> Tensor:
        """The same for `forward_each`."""
        if self._pointwise:
            turned = weights.flatten(2).transpose(1, 2)
            return self._columns(turned @ self._rows(delta), x)
        groups = len(self.members)
        return self._backward(delta, x, weights.flatten(0, 1), groups, 0)

    def weight_gradient(self, delta: Tensor, x: Tensor) -> Tensor:
        """Gradient of each member's own loss with respect to its weight.

        Args:
            delta: with respect to the output. [N, G·C_out, H', W']
            x: the input. [N, G·C_in, H, W]

        Returns:
            [G, C_out, C_in, k, k].
        """
        groups = len(self.members)
        if self._pointwise:
            products = self._rows(delta) @ self._rows(x).transpose(2, 3)
            return products.sum(0)[..., None, None]
        like = self.weight.expand(groups, *self.weight.shape).flatten(0, 1)
        grads = self._backward(delta, x, like, groups, 1)
        return grads.reshape(groups, *self.weight.shape)

    def image_gradients(
        self, delta: Tensor, x: Tensor, most: int
    ) -> Iterator[tuple[Tensor, Tensor]]:
        """The same for each image alone, of some members after the other.

        Args:
            delta: with respect to the output. [N, G·C_out, H', W']
            x: the input. [N, G·C_in, H, W]
            most: members at once.

        Yields:
            Positions of the networks [g], and [N, g, C_out, C_in, k, k].
        """
        n, c_in = len(x), self.weight.shape[1]
        c_out = delta.shape[1] // len(self.members)
        for start in range(0, len(self.members), most):
            index = self.index[start : start + most]
            here = slice(start * c_out, (start + most) * c_out)
            some = delta[:, here].reshape(1, -1, *delta.shape[2:])
            value = x[:, start * c_in : (start + most) * c_in]
            value = value.reshape(1, -1, *x.shape[2:])
            groups = n * len(index)
            like = self.weight.new_empty(()).expand(
                groups * c_out, *self.weight.shape[1:]
            )
            grads = self._backward(some, value, like, groups, 1)
            yield index, grads.reshape(n, len(index), c_out, *self.weight.shape[1:])

    def first_weight(self, x: Tensor) -> Tensor:
        """What the first weight adds to the first channel of the output, at weight 1.

        Args:
            x: the first channel of each member's input. [N, G, H, W]

        Returns:
            [N, G, H / stride, W / stride].
        """
        kernel = torch.zeros_like(self.weight[:1, :1])
        kernel[0, 0, 0, 0] = 1
        apart = x.flatten(0, 1)[:, None]
        added = F.conv2d(apart, kernel, None, self.stride, self.padding)
        return added.reshape(*x.shape[:2], *added.shape[2:])

    def _backward(
        self, delta: Tensor, x: Tensor, weight: Tensor, groups: int, which: int
    ) -> Tensor:
        """Gradient with respect to input (0) or weight (1)."""
        grad: Tensor = torch.ops.aten.convolution_backward(
            delta,
            x,
            weight,
            None,
            [self.stride] * 2,
            [self.padding] * 2,
            [1, 1],
            False,
            [0, 0],
            groups,
            [which == 0, which == 1, False],
        )[which]
        return grad

    def _apart(self, maps: Tensor) -> Tensor:
        """[N, G·C, H, W] → [N·G, C, H, W]."""
        n, channels, *size = maps.shape
        groups = len(self.members)
        return maps.reshape(n * groups, channels // groups, *size)

    def _together(self, maps: Tensor, n: int | None = None) -> Tensor:
        """[N·G, C, H, W] → [N, G·C, H, W]."""
        n = n or len(maps) // len(self.members)
        return maps.reshape(n, -1, *maps.shape[2:])

    def _rows(self, maps: Tensor) -> Tensor:
        """[N, G·C, H, W] → [N, G, C, H·W]."""
        return maps.reshape(len(maps), len(self.members), -1, prod(maps.shape[2:]))

    @staticmethod
    def _columns(rows: Tensor, like: Tensor) -> Tensor:
        """[N, G, C, H·W] → [N, G·C, H, W]."""
        return rows.reshape(len(like), -1, *like.shape[2:])


class StackedBatchNorm(nn.Module):
    """BatchNorm at initialisation, weight 1 and bias 0, of some networks.

    Args:
        members: positions of the networks that have it, ascending.
        channels: C of each.
    """

    weight: Tensor
    bias: Tensor
    momentum = 0.1
    eps = 1e-5

    def __init__(self, members: Sequence[int], channels: int) -> None:
        super().__init__()
        self.members = tuple(members)
        self.channels = channels
        self.n_parameters = 2 * channels
        n = len(self.members) * channels
        self.register_buffer("weight", torch.ones(n), persistent=False)
        self.register_buffer("bias", torch.zeros(n), persistent=False)

    def forward(self, x: Tensor) -> Tensor:
        """Normalise [N, G·C, H, W] by its own statistics."""
        return F.batch_norm(x, None, None, self.weight, self.bias, True, 0.0, self.eps)


class StackedReLU(nn.Module):
    """ReLU of some networks.

    Args:
        members: positions of the networks that have it, ascending.
    """

    index: Tensor

    def __init__(self, members: Sequence[int]) -> None:
        super().__init__()
        self.members = tuple(members)
        self.register_buffer("index", torch.tensor(self.members), persistent=False)

    def forward(self, x: Tensor) -> Tensor:
        """[N, G·C, H, W] → the same shape."""
        return F.relu(x)


class Rules:
    """What a pass does at each layer of a stack; this one just runs the networks.

    Attributes:
        dead: whether operations are run that lie on no path from input to output. No
            gradient goes through them in any case.
        constants: whether gradients go through operations on zeros that reach the
            output: of their biases some are left.
    """

    dead = True
    constants = False

    def layer(self, layer: StackedLayer, x: Tensor) -> Tensor:
        """Convolution or linear layer."""
        out: Tensor = layer(x)
        return out

    def batchnorm(self, norm: StackedBatchNorm, x: Tensor) -> Tensor:
        """BatchNorm."""
        out: Tensor = norm(x)
        return out

    def relu(self, relu: StackedReLU, x: Tensor) -> Tensor:
        """ReLU."""
        out: Tensor = relu(x)
        return out

    def block(self, block: nn.Module, number: int, x: Tensor) -> Tensor:
        """A cell or residual block, numbered from 0, of [N, P·C, H, W]."""
        del number
        out: Tensor = block(x, self)
        return out

    def output(
        self, x: Tensor, members: Sequence[int], kind: Kind, times: int = 1
    ) -> Tensor:
        """What modules give that are none of these.

        Args:
            x: [N, G·C, H, W], or the logits [N, P·n_classes].
            members: positions of the networks that have them.
            kind: of the modules; a container gives what its last module gives.
            times: how many modules of the published network give the same.
        """
        del members, kind, times
        return x

    def features(self, x: Tensor) -> Tensor:
        """Maps [N, P·C, H, W] that go into the global pooling."""
        return x


class StackedNetwork(nn.Module):
    """P networks of one space, at initialisation.

    A space makes a subclass whose `forward` goes through the skeleton once. Everything
    but layers, BatchNorms and ReLUs must be linear and treat each network and image
    alone; each of these modules is used at most once. Modules are defined in the order
    in which the one network defines them. Operations on no path from input to output
    are modules of their own, left out or run without gradients as the rules say.

    Args:
        n_networks: P.
        n_classes: outputs of each network.
    """

    def __init__(self, n_networks: int, n_classes: int) -> None:
        super().__init__()
        self.n_networks = n_networks
        self.n_classes = n_classes

    def forward(self, images: Tensor, rules: Rules) -> Tensor:
        """[N, P·C, H, W], an image for each network, → logits [N, P, n_classes]."""
        raise NotImplementedError

    @cached_property
    def layers(self) -> tuple[StackedLayer, ...]:
        """Every layer, in order of definition."""
        return tuple(m for m in self.modules() if isinstance(m, StackedLayer))

    @cached_property
    def tensors(self) -> tuple[tuple[StackedLayer | StackedBatchNorm, str], ...]:
        """Every weight and bias by its module, in order of definition."""
        return tuple(
            (module, kind)
            for module in self.modules()
            if isinstance(module, StackedLayer | StackedBatchNorm)
            for kind in ("weight", "bias")
            if getattr(module, kind) is not None
        )

    @cached_property
    def batchnorms(self) -> tuple[StackedBatchNorm, ...]:
        """Every BatchNorm, in order of definition."""
        return tuple(m for m in self.modules() if isinstance(m, StackedBatchNorm))

    def images(self, x: Tensor) -> Tensor:
        """The same images for each network: [N, C, H, W] → [N, P·C, H, W]."""
        return x.repeat(1, self.n_networks, 1, 1)

    def head(self, x: Tensor, layer: StackedLayer, rules: Rules) -> Tensor:
        """Global pooling and the linear layer: [N, P·C, H, W] → [N, P, n_classes]."""
        everyone = range(self.n_networks)
        pooled = F.adaptive_avg_pool2d(rules.features(x), 1)
        logits = rules.layer(layer, rules.output(pooled, everyone, "pooling"))
        logits = rules.output(logits.flatten(1), everyone, "container")
        return logits.reshape(len(x), self.n_networks, -1)

    def split(self, values: Mapping[Any, Iterable[Any]]) -> list[list[Any]]:
        """For each network, the values of its modules in the order of the mapping.

        Args:
            values: layer or BatchNorm → a value for each of its members.
        """
        networks: list[list[Any]] = [[] for _ in range(self.n_networks)]
        for module, each in values.items():
            for p, value in zip(module.members, each, strict=True):
                networks[p].append(value)
        return networks

    def weights(self) -> list[tuple[Tensor, ...]]:
        """For each network, its layers' weights on the CPU, as the one has them."""
        shared = {
            layer: [layer.weight.reshape(layer.shape).cpu()] * len(layer.members)
            for layer in self.layers
        }
        return [tuple(weights) for weights in self.split(shared)]
