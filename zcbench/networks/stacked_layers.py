"""Layers, BatchNorms and ReLUs of several networks: see `zcbench.networks.stacked`."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from math import prod

import torch
import torch.nn.functional as F
from torch import Tensor, nn


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
