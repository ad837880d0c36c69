"""Torch as derivatives in float64 of other people's networks need it."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any
from unittest.mock import patch

import torch
from torch import Tensor
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.overrides import TorchFunctionMode
from torch.utils import checkpoint


class Doubled(TorchFunctionMode):
    """Keeps float64 where a network asks for float32 in its forward."""

    def __torch_function__(
        self,
        func: Callable[..., Any],
        types: Sequence[type],
        args: tuple[Any, ...] = (),
        kwargs: Mapping[str, Any] | None = None,
    ) -> Any:
        del types
        if func is Tensor.float:
            return args[0].double()
        if func is Tensor.__deepcopy__:  # its memo holds all that is copied so far
            return func(*args, **kwargs or {})
        if len(args) == 1 and not kwargs and isinstance(args[0], Tensor):
            return func(*args)  # half of all calls: nothing to keep or to raise
        name, kwargs = getattr(func, "__name__", ""), dict(kwargs or {})
        found: set[torch.dtype] = set()
        args, kwargs = _kept(args, found), _kept(kwargs, found)
        # What a network makes in its forward, or holds without registering it.
        mixed = torch.float64 in found and torch.float32 in found
        if mixed and not _writes(name, kwargs):
            args, kwargs = _raised(args), _raised(kwargs)
        return func(*args, **kwargs)


_DOUBLE: Mapping[Any, Any] = {
    torch.float32: torch.float64,
    torch.complex64: torch.complex128,
    torch.FloatTensor: torch.DoubleTensor,
    "torch.FloatTensor": "torch.DoubleTensor",
}


_NAMES = (torch.dtype, str, type(torch.FloatTensor))


def _kept(value: Any, found: set[torch.dtype]) -> Any:
    """Arguments with float64 for float32; notes what the tensors among them are."""
    if isinstance(value, Tensor):
        found.add(value.dtype)
        return value
    if type(value) in (tuple, list):
        return type(value)(_kept(v, found) for v in value)
    if type(value) is dict:
        return {key: _kept(v, found) for key, v in value.items()}
    if isinstance(value, _NAMES):
        return _DOUBLE.get(value, value)
    return value


def _raised(value: Any) -> Any:
    """Arguments with float64 tensors for float32 ones."""
    if isinstance(value, Tensor):
        with torch._C.DisableTorchFunction():
            return value.double() if value.dtype == torch.float32 else value
    if type(value) in (tuple, list):
        return type(value)(_raised(v) for v in value)
    if type(value) is dict:
        return {key: _raised(v) for key, v in value.items()}
    return value


def _writes(name: str, kwargs: Mapping[str, Any]) -> bool:
    """Whether a function writes into its first argument, or into an ``out``."""
    special = name == "__setitem__" or name.startswith("__i")
    in_place = name.endswith("_") and not name.endswith("__")
    return special or in_place or bool(kwargs.get("inplace")) or "out" in kwargs


@contextmanager
def default_dtype(dtype: torch.dtype) -> Iterator[None]:
    """What torch makes floating point tensors of that are not said to be others."""
    before = torch.get_default_dtype()
    torch.set_default_dtype(dtype)
    try:
        yield
    finally:
        torch.set_default_dtype(before)


@contextmanager
def as_written() -> Iterator[None]:
    """Functions that a network compiled run as they are written, to be watched."""
    if "torch._dynamo" not in sys.modules:  # nothing was; importing it takes seconds
        yield
        return
    with torch.compiler.set_stance("force_eager"):
        yield


@contextmanager
def doubled() -> Iterator[None]:
    """A network in float64, whatever its forward makes or asks for."""
    with default_dtype(torch.float64), Doubled():
        yield


@contextmanager
def differentiable() -> Iterator[None]:
    """Attention by its formula, and no checkpoints: both stand in derivatives' way."""

    class Direct:
        @staticmethod
        def apply(function: Callable[..., Any], _: object, *args: Any) -> Any:
            return function(*args)

    with (
        sdpa_kernel(SDPBackend.MATH),
        patch.object(checkpoint, "CheckpointFunction", Direct),
    ):
        yield
