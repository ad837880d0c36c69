"""Copies of other people's networks, which may hold what torch does not copy."""

from __future__ import annotations

import copy
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, TypeVar
from unittest.mock import patch

import torch
from torch import Tensor, nn

from zcbench.errors import Undefined

T = TypeVar("T")
_as_torch_does = Tensor.__deepcopy__


def deep_copied(thing: T) -> T:
    """A deep copy; tensors that were computed from others lose what made them.

    Old weight norm and pruning keep the weight that they made as an attribute, and some
    networks the features of their last forward: torch copies leaves of a graph only.
    """
    with patch.object(Tensor, "__deepcopy__", _copied_tensor):
        return copy.deepcopy(thing)


@contextmanager
def left_alone(network: nn.Module, copied: nn.Module) -> Iterator[None]:
    """Refuse calls of the network's own modules, which a copy may hold on to.

    A closure or a weak reference is not copied with the network that holds it. What
    they call would be changed, and has other weights than the copy.
    """
    shared = set(copied.modules())  # by a __deepcopy__ of its own
    hooks = [
        module.register_forward_pre_hook(_refuse, prepend=True)
        for module in network.modules()
        if module not in shared and not isinstance(module, torch.jit.ScriptModule)
    ]
    try:
        yield
    finally:
        for hook in hooks:
            hook.remove()


def _refuse(*_: object) -> None:
    raise Undefined("a copy of the network calls the network itself, by a closure")


def _copied_tensor(tensor: Tensor, memo: dict[int, Any]) -> Tensor:
    if tensor.is_leaf:
        found: Tensor = _as_torch_does(tensor, memo)  # type: ignore[no-untyped-call]
        return found
    memo[id(tensor)] = copied = tensor.detach().clone()
    return copied


def cast(network: nn.Module, dtype: torch.dtype) -> nn.Module:
    """Parameters and buffers in a precision, in place; complex ones stay complex."""
    complexes = {torch.float64: torch.complex128, torch.float32: torch.complex64}

    def converted(value: Tensor) -> Tensor:
        if value.is_complex():
            return value.to(complexes[dtype])
        return value.to(dtype) if value.is_floating_point() else value

    network._apply(converted)  # type: ignore[no-untyped-call]
    return network
