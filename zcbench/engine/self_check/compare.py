"""How far a record lies from the exact one, and how far it may."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from zcbench.evidence.passes import Missing, arithmetic, attempt
from zcbench.evidence.records import FreshNetwork
from zcbench.evidence.streams import Activations, ImageGradients
from zcbench.evidence.table import RECORDS, RUN_WHEN_READ
from zcbench.types import Precision

FORMULA = 1e-2
"""What a proxy on the device may make of the same evidence."""
Numbers = Mapping[str, tuple[Tensor, ...]]
"""Field of a record → its tensors, on the CPU in float64."""


@dataclass(frozen=True, slots=True)
class Checked:
    """One record of one way of calculating.

    Attributes:
        difference: relative, the largest of all fields and networks; None if the record
            could not be made there.
        allowed: how large it may be.
        said: why the record could not be made.
    """

    difference: float | None
    allowed: float
    said: str = ""

    @property
    def agrees(self) -> bool:
        """Whether the record is as it must be."""
        return self.difference is not None and self.difference <= self.allowed

    def __str__(self) -> str:
        if self.difference is None:
            return f"not made: {self.said}"
        return f"relative difference {self.difference:.2g}, allowed {self.allowed:.2g}"


def allowed(record: type, dtype: torch.dtype, precision: Precision) -> float:
    """Relative difference that a record may have, of weights of a type."""
    double, single, low = RECORDS[record].bounds
    if dtype == torch.float64:
        return double
    return single if precision == "float32" else low


def numbers_of(record: Any) -> Numbers | Missing:
    """What a record holds, to be compared with another of its type.

    A `FreshNetwork` is what its forward and backward give, a record of layers the
    mean and the norm of each layer.
    """
    if isinstance(record, Missing):
        return record
    if type(record) in RUN_WHEN_READ:
        of = _of_network if isinstance(record, FreshNetwork) else _of_layers
        found: Numbers | Missing = attempt(lambda: of(record))
        return found
    return {
        field.name: _tensors(getattr(record, field.name))
        for field in dataclasses.fields(record)
    }


def _tensors(value: Any) -> tuple[Tensor, ...]:
    if isinstance(value, Tensor):
        return (value.detach().cpu().double(),)
    if isinstance(value, tuple) and value and isinstance(value[0], Tensor):
        return tuple(tensor.detach().cpu().double() for tensor in value)
    return (torch.tensor(value, dtype=torch.float64).reshape(-1),)


def _of_network(record: FreshNetwork) -> Numbers:
    """Outputs, and gradients of the loss, in the arithmetic that proxies get."""
    batch, network = record.batch, record.network
    parameters = [p for p in network.parameters() if p.requires_grad]
    with torch.enable_grad(), arithmetic("float32", batch.x.device):
        outputs = network(batch.x)
        loss = record.loss(outputs, batch.y)
        grads: Sequence[Tensor | None] = (
            torch.autograd.grad(loss, parameters, allow_unused=True)
            if loss.requires_grad
            else [None] * len(parameters)
        )
    zeros = (torch.zeros_like(p) for p in parameters)
    found = (z if g is None else g for g, z in zip(grads, zeros, strict=True))
    return {"outputs": _tensors(outputs), "grads": _tensors(tuple(found))}


def _of_layers(record: Activations | ImageGradients) -> Numbers:
    """The means over images, and the norms: a whole layer is not kept."""

    def reduced(_: str, value: Tensor) -> tuple[Tensor, Tensor]:
        value = value.cpu().double()
        return value.mean(0), value.norm()

    means, norms = zip(*record.map(reduced), strict=True)
    return {"means": means, "norms": (torch.stack(norms),)}


def on_the_cpu(record: Any) -> Any:
    """The same record there, its tensors in float64."""
    if isinstance(record, Missing) or type(record) in RUN_WHEN_READ:
        return record
    moved = {}
    for field in dataclasses.fields(record):
        value = getattr(record, field.name)
        several = isinstance(value, tuple) and value and isinstance(value[0], Tensor)
        if several or isinstance(value, Tensor):
            tensors = _tensors(value)
            moved[field.name] = tensors if several else tensors[0]
    return dataclasses.replace(record, **moved)


def difference(found: Numbers | Missing, exact: Numbers | Missing) -> float | None:
    """Relative difference of two records of one type, the largest of their fields.

    None if only one of them could be made.
    """
    if isinstance(exact, Missing):  # not defined for this network, or for nobody
        return 0.0 if isinstance(found, Missing) else None
    if isinstance(found, Missing):
        return None
    return max((_field(found[name], exact[name]) for name in exact), default=0.0)


def sizes(numbers: Numbers | Missing) -> Numbers | Missing:
    """The norms of a field's tensors in their place.

    In bfloat16 the gradients of a deep network point elsewhere, by flipped ReLUs, and
    only their lengths say anything.
    """
    if isinstance(numbers, Missing):
        return numbers
    return {
        name: (torch.tensor([float(t.norm()) for t in tensors], dtype=torch.float64),)
        for name, tensors in numbers.items()
    }


_SMALLEST_SHARE = 0.1


def _field(found: Sequence[Tensor], exact: Sequence[Tensor]) -> float:
    """‖a − b‖ / ‖b‖, the largest of the tensors.

    ‖b‖ is at least a tenth of that of the field's largest tensor: rounding does not
    shrink with a gradient that nearly cancels.
    """
    if [t.shape for t in found] != [t.shape for t in exact]:
        return 1.0
    floor = _SMALLEST_SHARE * max((_norm(b) for b in exact), default=0.0)
    return max(
        (_relative(a, b, floor) for a, b in zip(found, exact, strict=True)), default=0.0
    )


def _relative(found: Tensor, exact: Tensor, floor: float) -> float:
    same = (found == exact) | (found.isnan() & exact.isnan())
    if bool(same.all()):
        return 0.0
    errors = torch.where(same, 0.0, found - exact)
    scale = max(_norm(exact), floor)
    if not scale or not bool(errors.isfinite().all()):  # only one of them is a number
        return 1.0
    return float(errors.norm()) / scale


def _norm(tensor: Tensor) -> float:
    return float(tensor[tensor.isfinite()].norm())
