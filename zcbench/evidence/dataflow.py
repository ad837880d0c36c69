"""The graph of a network's operations, by following one image through it.

Operations are convolutions, linear layers, poolings and identities. An edge goes from
one to the next that reads its output, whatever activation, normalisation or sum lies
between. What gives zeros (a cut edge that is written as a multiplication by zero),
depends on no image or reaches no output is left out.

The average degree counts channels, as NASGraph does (Huang et al. 2024): a convolution
joins every channel that it reads to every channel that it makes, others join channels
one to one. NASGraph draws weights to see which channels answer to which; here all that
can answer do.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.modules.conv import _ConvNd
from torch.nn.modules.pooling import (
    _AdaptiveAvgPoolNd,
    _AdaptiveMaxPoolNd,
    _AvgPoolNd,
    _MaxPoolNd,
)
from torch.overrides import TorchFunctionMode

from zcbench.evidence.copies import cast, deep_copied
from zcbench.evidence.modes import doubled
from zcbench.evidence.records import Dataflow
from zcbench.evidence.subject import Subject
from zcbench.evidence.watch import RELUS
from zcbench.seeding import reseed, uniform

_POOLINGS = (_AvgPoolNd, _MaxPoolNd, _AdaptiveAvgPoolNd, _AdaptiveMaxPoolNd)
_INPUT = -1


@dataclass(frozen=True)
class _Operation:
    """A call of a module.

    Attributes:
        module: which.
        sources: numbers of the operations that it reads.
        channels: of its output.
    """

    module: nn.Module
    sources: frozenset[int]
    channels: int

    @property
    def fan_in(self) -> int:
        """Channels of a source that one of its own is joined to, over theirs."""
        if isinstance(self.module, _ConvNd):
            return int(self.module.weight.shape[1])
        return self.module.in_features if isinstance(self.module, nn.Linear) else 1


@torch.no_grad()
def measure_dataflow(subject: Subject) -> Dataflow:
    """One forward of one random image, float64, evaluation mode."""
    device = subject.batch.x.device
    if device.type == "mps":  # has no float64
        device = torch.device("cpu")
    network = cast(deep_copied(subject.network).to(device), torch.float64).eval()
    shape = (1, *subject.batch.x.shape[1:])
    image = uniform(shape, "dataflow").double().to(device)
    trace = _Trace()
    hooks = trace.watch(network)
    reseed(subject.seed)
    try:
        with doubled(), trace:
            _mark(image, {_INPUT})
            outputs = network(image)
    finally:
        for hook in hooks:
            hook.remove()
    kept = _on_paths(trace.operations, _marks([outputs]))
    count = partial(_count, list(kept.values()))
    return Dataflow(
        count(_ConvNd),
        count(nn.Identity),
        count(_POOLINGS),
        trace.relus,
        _degree(kept, subject.batch.x.shape[1]),
    )


class _Trace(TorchFunctionMode):
    """Notes on every tensor which operations it comes from."""

    def __init__(self) -> None:
        super().__init__()
        self.operations: list[_Operation] = []
        self.relus = 0
        self._times = 1

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
        sources = _marks([*args, *kwargs.values()])
        if name in RELUS:
            self.relus += self._times
            # Without its sign: units that are dead cut no edge. In place or not.
            args = (args[0].abs(), *args[1:]) if args else args
        output = func(*args, **kwargs)
        made = args[0] if name == "__setitem__" else output
        if sources:
            with torch._C.DisableTorchFunction():
                for tensor in _tensors([made]):
                    _mark(tensor, sources if bool(tensor.any()) else set())
        return output

    def watch(self, network: nn.Module) -> list[torch.utils.hooks.RemovableHandle]:
        """Hooks on operations, and on ReLUs that stand for several."""
        hooks = []
        for module in network.modules():
            if isinstance(module, (_ConvNd, nn.Linear, nn.Identity, *_POOLINGS)):
                hooks.append(module.register_forward_hook(self._operation))
            elif hasattr(module, "multiplicity"):
                hooks.append(module.register_forward_pre_hook(self._enter))
                hooks.append(module.register_forward_hook(self._leave))
        return hooks

    def _enter(self, module: nn.Module, _: object) -> None:
        self._times = int(module.multiplicity)  # type: ignore[arg-type]

    def _leave(self, *_: object) -> None:
        self._times = 1

    def _operation(
        self, module: nn.Module, inputs: tuple[Any, ...], output: Any
    ) -> Any:
        if not isinstance(output, Tensor):
            return None
        with torch._C.DisableTorchFunction():
            output = output.view_as(output)  # an identity hands on what it gets
            sources = frozenset(_marks(list(inputs)))
            if bool(output.any()) and sources:
                axis = -1 if isinstance(module, nn.Linear) else min(1, output.dim() - 1)
                size = output.shape[axis]
                _mark(output, {len(self.operations)})
                self.operations.append(_Operation(module, sources, size))
        return output


def _tensors(values: Iterable[Any]) -> Iterator[Tensor]:
    """Those among them, in lists and tuples too."""
    for value in values:
        if isinstance(value, Tensor):
            yield value
        elif isinstance(value, list | tuple):
            yield from _tensors(value)
        elif isinstance(value, dict):
            yield from _tensors(value.values())


def _mark(tensor: Tensor, sources: set[int]) -> None:
    tensor._zcbench_sources = sources  # type: ignore[attr-defined]


def _marks(values: Iterable[Any]) -> set[int]:
    marks: set[int] = set()
    for tensor in _tensors(values):
        marks |= getattr(tensor, "_zcbench_sources", set())
    return marks


def _on_paths(
    operations: Sequence[_Operation], last: set[int]
) -> dict[int, _Operation]:
    """Those that reach the output: number → operation."""
    wanted, kept = set(last), {}
    for number in reversed(range(len(operations))):
        if number in wanted:
            kept[number] = operations[number]
            wanted |= operations[number].sources
    return kept


def _count(
    operations: Sequence[_Operation], kind: type[nn.Module] | tuple[type, ...]
) -> int:
    return sum(isinstance(operation.module, kind) for operation in operations)


def _degree(kept: Mapping[int, _Operation], image_channels: int) -> float:
    """2 · edges / channels."""
    edges = sum(
        operation.channels * operation.fan_in * len(operation.sources)
        for operation in kept.values()
    )
    channels = sum(operation.channels for operation in kept.values()) + image_channels
    return 2 * edges / channels
