"""Sees what a network computes by the tensors of its calls, not by its modules.

A module hook misses a layer that is used without being called (``F.conv2d(x,
conv.weight)``, ``conv.forward``, attention's output projection), and a module that
replaces another one replaces what its subclass adds. A `Watch` stands between the
network and torch's functions instead.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import partial
from typing import Any
from unittest.mock import patch

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode
from torch.utils._python_dispatch import TorchDispatchMode

CONVOLUTIONS = frozenset({"conv1d", "conv2d", "conv3d"})
TRANSPOSED = frozenset(f"conv_transpose{d}d" for d in (1, 2, 3))
LAYERS = CONVOLUTIONS | TRANSPOSED | {"linear"}
RELUS = frozenset({"relu", "relu_", "relu6"})
SMOOTH = frozenset(
    {
        *("gelu", "silu", "hardswish", "mish", "elu", "leaky_relu", "prelu"),
        *("rrelu", "selu", "celu", "softplus"),
    }
)
"""Activations whose input has a sign that means something."""
NORMALISATIONS = frozenset(
    {"batch_norm", "layer_norm", "group_norm", "instance_norm", "rms_norm"}
)
_CHANNELS_FIRST = frozenset(
    {
        *("batch_norm", "group_norm", "instance_norm", "max_pool2d", "avg_pool2d"),
        *("adaptive_avg_pool2d", "adaptive_max_pool2d", "interpolate"),
        *("max_pool2d_with_indices", "boolean_dispatch"),
    }
)
_ELEMENTWISE = (
    RELUS
    | SMOOTH
    | {
        *("hardtanh", "hardsigmoid", "sigmoid", "tanh", "dropout", "dropout2d"),
        *("add", "add_", "__add__", "__iadd__", "__radd__", "sub", "__sub__"),
        *("mul", "mul_", "__mul__", "__imul__", "__rmul__", "div", "__truediv__"),
        *("clone", "contiguous", "detach", "cat", "__getitem__", "to"),
    }
)
"""What leaves every axis where it is, as long as their number stays the same."""

_SHUFFLES = frozenset({"view", "reshape", "transpose"})
_PARTS = frozenset({"chunk", "split", "tensor_split"})


class Watch(TorchFunctionMode):
    """Reports the layers and activations of one forward.

    Args:
        layers: modules whose weights count; a call belongs to the layer that owns its
            weight, or inside whose forward it is made with a weight of that shape.
        on_layer: (call, output) → what the network gets as the output.
        on_activation: (``"relu"`` or the name of another activation, its input).
        on_call: (name of the function, arguments, output) of every call; arguments by
            keyword follow in the order of the signature.
        rules: name of a function → what is done instead of it.
    """

    def __init__(
        self,
        layers: Sequence[nn.Module] = (),
        on_layer: Callable[[LayerCall, Tensor], Tensor] | None = None,
        on_activation: Callable[[str, Tensor], None] | None = None,
        on_call: Callable[[str, tuple[Any, ...], Any], None] | None = None,
        rules: Mapping[str, Callable[..., Any]] | None = None,
    ) -> None:
        super().__init__()
        self._layers = layers
        self._numbers = {id(layer.weight): n for n, layer in enumerate(layers)}
        self._inside: list[int] = []
        self._on_layer, self._on_activation = on_layer, on_activation
        self._on_call, self._rules = on_call, rules or {}

    @contextmanager
    def seeing(self, network: nn.Module) -> Iterator[nn.Module]:
        """The network, called under this watch; hooks are gone afterwards."""
        hooks = []
        for number, layer in enumerate(self._layers):
            enter, leave = partial(self._enter, number), self._leave
            hooks.append(layer.register_forward_pre_hook(enter))
            hooks.append(layer.register_forward_hook(leave, always_call=True))
        try:
            with self:
                yield network
        finally:
            for hook in hooks:
                hook.remove()

    def _enter(self, number: int, *_: object) -> None:
        self._inside.append(number)

    def _leave(self, *_: object) -> None:
        self._inside.pop()

    def __torch_function__(
        self,
        func: Callable[..., Any],
        types: Sequence[type],
        args: tuple[Any, ...] = (),
        kwargs: Mapping[str, Any] | None = None,
    ) -> Any:
        del types
        kwargs = kwargs or {}
        name = getattr(func, "__name__", "")
        if func is F.multi_head_attention_forward:
            # Its own dispatch would end in here again, and hide what it calls.
            unseen = patch.object(F, "has_torch_function", lambda _: False)
            with unseen, self:
                return func(*args, **kwargs)
        if name in self._rules:
            return self._rules[name](*args, **kwargs)
        kind = _activation(name, args, kwargs)
        if kind and self._on_activation is not None:
            with torch._C.DisableTorchFunction():  # of other modes, too
                self._on_activation(kind, first_argument(args, kwargs))
        call = self._call(name, args, kwargs) if name in LAYERS else None
        output = func(*args, **kwargs)
        args = (*args, *_in_order(kwargs))
        if name in _PARTS:
            for part in output:
                _place_channels("__getitem__", args, part)
        if isinstance(output, Tensor):
            _place_channels(name, args, output)
            if call is not None and self._on_layer is not None:
                output = self._on_layer(call, output)
                _place_channels(name, args, output)
        if self._on_call is not None:
            self._on_call(name, args, output)
        return output

    def _call(
        self, name: str, args: tuple[Any, ...], kwargs: Mapping[str, Any]
    ) -> LayerCall:
        names = ("input", "weight", "bias")
        given = dict(zip(names, args, strict=False)) | dict(kwargs)
        weight: Tensor = given["weight"]
        number = self._numbers.get(id(weight))
        derived = False
        if number is None and self._inside:
            inside = self._inside[-1]
            derived = self._layers[inside].weight.shape == weight.shape
            number = inside if derived else None
        return LayerCall(
            name, number, given["input"], weight, given.get("bias"), derived
        )


class CountedRelus(TorchDispatchMode):
    """Counts every ReLU that is computed, also where no function of torch is called.

    Attributes:
        count: how many there were.
    """

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.count = 0

    def __torch_dispatch__(
        self,
        func: Any,
        types: Sequence[type],
        args: tuple[Any, ...] = (),
        kwargs: Mapping[str, Any] | None = None,
    ) -> Any:
        del types
        kwargs = kwargs or {}
        name = func.overloadpacket.__name__
        self.count += _activation(name, args, kwargs) == "relu"
        return func(*args, **kwargs)


class LayerCall:
    """One use of a convolution or linear layer.

    Attributes:
        name: of torch's function.
        number: of the layer, or None if no layer owns the weight.
        input: what it is applied to.
        weight: the weight.
        bias: the bias, if any.
        derived: True if the weight is made from the layer's own in its forward.
    """

    __slots__ = ("bias", "derived", "input", "name", "number", "weight")

    def __init__(
        self,
        name: str,
        number: int | None,
        value: Tensor,
        weight: Tensor,
        bias: Tensor | None,
        derived: bool,
    ) -> None:
        self.name, self.number, self.input = name, number, value
        self.weight, self.bias, self.derived = weight, bias, derived

    @property
    def channel_axis(self) -> int:
        """Axis of the output's channels."""
        return -1 if self.name == "linear" else 1 - self.weight.dim()

    def macs(self, output: Tensor) -> int:
        """Multiply-accumulates: one for each weight of an output's channel."""
        value = self.input if self.name in TRANSPOSED else output
        return value.numel() * self.weight[0].numel()

    def places(self, output: Tensor) -> int:
        """Values in one channel of the output, all images together."""
        return output.numel() // output.shape[self.channel_axis]


def channel_axis(value: object) -> int | None:
    """Axis of the channels of what a watched network made, where that is known."""
    return getattr(value, "_zcbench_channels", None)


def _place_channels(name: str, args: tuple[Any, ...], output: Tensor) -> None:
    axis = None
    if name in CONVOLUTIONS | TRANSPOSED | _CHANNELS_FIRST:
        axis = 1
    elif name in ("linear", "layer_norm", "rms_norm"):
        axis = output.dim() - 1
    elif name in _ELEMENTWISE:
        values = args[0] if args and isinstance(args[0], list | tuple) else args
        known = [
            channel_axis(value)
            for value in values
            if isinstance(value, Tensor) and value.dim() == output.dim()
        ]
        axis = next((place for place in known if place is not None), None)
    elif name == "permute" and channel_axis(args[0]) is not None:
        order = args[1] if isinstance(args[1], list | tuple) else args[1:]
        axis = [d % output.dim() for d in order].index(channel_axis(args[0]))
    elif name in _SHUFFLES and channel_axis(args[0]) == 1:
        axis = 1 if _shuffles_channels(name, args, output) else None
    if axis is not None:
        output._zcbench_channels = axis  # type: ignore[attr-defined]


_ORDER = ("input", "self", "query", "key", "value", "other", "mat2")


def _in_order(kwargs: Mapping[str, Any]) -> list[Any]:
    place = {name: number for number, name in enumerate(_ORDER)}
    return [kwargs[k] for k in sorted(kwargs, key=lambda k: place.get(k, len(place)))]


def _shuffles_channels(name: str, args: tuple[Any, ...], output: Tensor) -> bool:
    """Whether the images, height and width stay: what is between them are channels."""
    value: Tensor = args[0]
    if name == "transpose":
        return all(0 < d % output.dim() < output.dim() - 2 for d in args[1:3])
    kept = value.shape[-2:] == output.shape[-2:] and output.dim() > 3
    return kept and len(value) == len(output)


def _activation(name: str, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> str:
    if name in RELUS:
        return "relu"
    if name in ("hardtanh", "hardtanh_"):  # how ReLU6 is written
        low = args[1] if len(args) > 1 else kwargs.get("min_val", -1.0)
        return "relu" if low == 0 else ""
    plain = name.rstrip("_")
    return plain if plain in SMOOTH else ""


def first_argument(args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> Tensor:
    """What a function is applied to, by position or by the name that torch gives it."""
    value: Tensor = args[0] if args else kwargs["input"]
    return value
