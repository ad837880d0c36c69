"""Which axis of a network's tensors holds the images, found by trying.

Tokens first, windows folded into the images, height and width before the channels: the
first axis is not the images' in every network. So every layer and activation is
watched in evaluation mode with three images and with the first of them alone. Where
one axis grows threefold and its first image's values are the same, it is the images'.
"""

from __future__ import annotations

import math
from collections import Counter
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _NormBase

from zcbench.errors import Undefined
from zcbench.evidence.copies import cast, deep_copied
from zcbench.evidence.modes import differentiable, doubled
from zcbench.evidence.watch import CountedRelus, LayerCall, Watch
from zcbench.seeding import normal, reseed, uniform


@dataclass(frozen=True, slots=True)
class Layout:
    """Where the images are in one tensor.

    Attributes:
        axis: the axis.
        fold: how many places of it belong to one image.
        major: True if an image's places follow one another.
    """

    axis: int
    fold: int
    major: bool

    def apart(self, value: Tensor, n_images: int) -> Tensor:
        """The tensor as [n_images, fold, the other axes in their order].

        Raises:
            Undefined: it does not hold that many images.
        """
        value = value.movedim(self.axis, 0)
        if len(value) != n_images * self.fold:
            raise Undefined("which axis holds the images could not be found out")
        if self.major:
            return value.reshape(n_images, self.fold, *value.shape[1:])
        return value.reshape(self.fold, n_images, *value.shape[1:]).transpose(0, 1)


@dataclass
class Seen:
    """One layer's or activation's call."""

    kind: str
    call: LayerCall | None
    value: Tensor


class Probe:
    """A network with generic weights in float64, seen with one image and with three.

    Generic weights, since a gamma, gate or head that starts at zero hides what is
    behind it, and structure does not depend on where training starts. BatchNorm has
    the statistics that go with them, since what grows from layer to layer ends in a
    saturated softmax, which has no gradient.

    Args:
        network: the network; it is copied.
        image_shape: of one image.
        device: where to run.
    """

    def __init__(
        self, network: nn.Module, image_shape: tuple[int, ...], device: torch.device
    ) -> None:
        from zcbench.evidence.subject import layers_of

        network = cast(deep_copied(network).to(device), torch.float64)
        network.eval()
        _draw(network)
        self.layers = layers_of(network)
        shape = (3, *image_shape)
        images = normal(shape, "structure", shape)
        images = images.to(device, torch.float64)
        _normalise(network, images)
        self.products = 0
        self.logits: Any = None
        self.one = self._run(network, images[:1])
        self.products_of_one, self.products = self.products, 0
        self.three = self._run(network, images)
        seen = sum(s.kind == "relu" for s in self.three)
        self.hidden_relus = self._relus.count - seen
        self.layouts = self._layouts()

    def _run(self, network: nn.Module, images: Tensor) -> list[Seen]:
        seen: list[Seen] = []

        def on_layer(call: LayerCall, output: Tensor) -> Tensor:
            seen.append(Seen("layer", call, output))
            return output.clone()  # what follows may write into it

        def on_activation(kind: str, value: Tensor) -> None:
            seen.append(Seen(kind, None, value.detach().clone()))

        def on_call(name: str, args: tuple[Any, ...], output: Any) -> None:
            self.products += products(name, args, output)

        watch = Watch(self.layers, on_layer, on_activation, on_call)
        reseed(0)  # noise that evaluation mode does not turn off
        self._relus = CountedRelus()
        seeing = watch.seeing(network)
        with doubled(), differentiable(), self._relus, seeing as watched:
            self.logits = watched(images)
        return seen

    def _layouts(self) -> list[tuple[str, Layout | None]]:
        if [s.kind for s in self.one] != [s.kind for s in self.three]:
            return [(s.kind, None) for s in self.three]
        return [
            (s.kind, _layout(s.value.detach(), t.value.detach()))
            for s, t in zip(self.one, self.three, strict=True)
        ]

    def layout(self, event: int, kind: str) -> Layout:
        """Layout of the call of that number, which has to be of that kind.

        Raises:
            Undefined: it is not known.
        """
        known, layout = (
            self.layouts[event] if event < len(self.layouts) else (kind, None)
        )
        if layout is None or known != kind:
            raise Undefined("which axis holds the images could not be found out")
        return layout


def _draw(network: nn.Module) -> None:
    """Weights of variance 2 / fan-in, small biases, scales between a half and 1.5."""
    with torch.no_grad():
        for name, parameter in network.named_parameters():
            value: Tensor = parameter
            if parameter.is_complex():
                value = torch.view_as_real(parameter)
            elif not value.is_floating_point():  # indices, say
                continue
            shape, identity = tuple(value.shape), ("structure", name)
            if value.dim() > 1 or name.endswith("bias"):
                scale = (2 / value[0].numel()) ** 0.5 if value.dim() > 1 else 0.1
                value.copy_(normal(shape, *identity) * scale)
            else:
                value.copy_(uniform(shape, *identity) + 0.5)


def _normalise(network: nn.Module, images: Tensor) -> None:
    """Give BatchNorm the statistics of these images; as new where there are none."""
    modules = [m for m in network.modules() if isinstance(m, _NormBase)]
    for module in modules:
        module.reset_running_stats()
        module.momentum = 1.0
        module.train()
    try:
        if modules:
            with torch.no_grad(), doubled():
                network(images.clone())
    except Exception:  # such as one value per channel
        for module in modules:
            module.reset_running_stats()
    for module in modules:
        module.eval()


def _layout(one: Tensor, three: Tensor) -> Layout | None:
    """None unless one axis alone holds three times as much, with the same values."""
    if one.dim() != three.dim():
        return None
    grown = [d for d in range(one.dim()) if three.shape[d] == 3 * max(1, one.shape[d])]
    same = [d for d in range(one.dim()) if three.shape[d] == one.shape[d]]
    if len(grown) != 1 or len(same) != one.dim() - 1:
        return None
    tolerance = 1e-6 * float(one.abs().max()) if one.numel() else 0.0
    for major in (True, False):
        layout = Layout(grown[0], one.shape[grown[0]], major)
        mine = layout.apart(three, 3)[0]
        if torch.allclose(mine, one.movedim(grown[0], 0), rtol=1e-6, atol=tolerance):
            return layout
    return None


_MATRIX = frozenset(
    {"matmul", "__matmul__", "__rmatmul__", "bmm", "mm", "mv", "baddbmm", "addmm"}
)
_ADDED = frozenset({"baddbmm", "addmm"})
"""Those whose first argument is added."""
_RECURRENT = frozenset({"lstm", "gru", "rnn_tanh", "rnn_relu"})


def products(name: str, args: tuple[Any, ...], output: Any) -> int:
    """Of one call of a torch function.

    Args:
        name: of the function.
        args: its arguments, in the order of its signature.
        output: what it gave.
    """
    if name in _MATRIX and isinstance(output, Tensor):
        second = name in _ADDED or name == "__rmatmul__"
        factor: Tensor = args[1 if second else 0]
        return output.numel() * factor.shape[-1]
    if name == "einsum" and isinstance(output, Tensor):
        return output.numel() * _summed(*args)
    if name == "scaled_dot_product_attention":
        q, k, v = args[:3]
        pairs: int = q[..., 0].numel() * k.shape[-2]
        depth: int = q.shape[-1] + v.shape[-1]
        return pairs * depth
    if name in _RECURRENT:
        weights = next((a for a in args if isinstance(a, list)), [])
        steps: int = args[0][..., 0].numel()
        matrices: int = sum(w.numel() for w in weights if w.dim() == 2)
        return steps * matrices
    return 0


def _summed(equation: object, *operands: Any) -> int:
    """Product of the sizes of what an einsum sums over; 1 if it is not written out."""
    if not isinstance(equation, str):
        return 1
    if len(operands) == 1 and isinstance(operands[0], list | tuple):
        operands = tuple(operands[0])
    left, arrow, right = equation.replace(" ", "").partition("->")
    sizes: dict[str, int] = {}
    for letters, operand in zip(left.split(","), operands, strict=False):
        before, _, after = letters.partition("...")
        sizes.update(zip(before, operand.shape, strict=False))
        if after:
            sizes.update(zip(after, operand.shape[-len(after) :], strict=True))
    if not arrow:
        times = Counter(left)
        right = "".join(letter for letter in sizes if times[letter] == 1)
    return math.prod(size for letter, size in sizes.items() if letter not in right)
