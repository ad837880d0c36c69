"""Runs the passes that some records need, each once for a network or a stack."""

from __future__ import annotations

import os
from collections.abc import (
    Callable,
    Collection,
    Iterable,
    Iterator,
    Mapping,
    Sequence,
)
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from functools import partial
from importlib import import_module
from operator import methodcaller
from typing import Any, TypeVar

import torch
from torch import Tensor

from zcbench.errors import (
    Undefined,
    UsageError,
    first_line,
    is_users,
    out_of_memory,
    said,
)
from zcbench.evidence.clock import Clock
from zcbench.evidence.modes import default_dtype, differentiable, doubled
from zcbench.evidence.subject import StackedSubject, Subject
from zcbench.evidence.table import RECORDS
from zcbench.state import restored
from zcbench.types import Precision, Status

Record = TypeVar("Record")


@dataclass(frozen=True, slots=True)
class Missing:
    """Why a record could not be made."""

    status: Status
    message: str


def make_records(
    subject: Subject | StackedSubject,
    needs: frozenset[type],
    clock: Clock,
    precision: Precision = "float32",
    made: Callable[[Mapping[type, Any]], None] = lambda _: None,
) -> dict[type, Any]:
    """Make every record of the given types, or a `Missing` in its place.

    Args:
        subject: network or stack with its minibatch, owned by the passes.
        needs: record types, with all that they require (`zcbench.plan.Plan.records`).
        clock: gets the seconds of every pass.
        precision: of the passes over many images; the others stay exact.
        made: is told what there is after each pass.

    Returns:
        Record type → record; of a stack, a list with the record of each network.

    Raises:
        UsageError: the device has no such arithmetic.
    """
    stacked = isinstance(subject, StackedSubject)
    sources: dict[tuple[str, ...], dict[type, list[str]]] = {}
    for record, making in RECORDS.items():
        if record in needs:
            maker = str(making.stacked if stacked else making.maker).split(":")
            sources.setdefault(tuple(maker[:2]), {})[record] = maker[2:]
    records: dict[type, Any] = {}
    with manners(subject):
        for source, steps in sources.items():
            exact = all(RECORDS[record].exact for record in steps)
            rounding = "float32" if exact else precision
            make = _make_held if any(steps.values()) else _make_one
            with arithmetic(rounding, subject.batch.x.device):
                make(records, source, steps, subject, clock)
            made(records)
    return records


_Steps = Mapping[type, Sequence[str]]
"""Record type → method of the held pass, if it has one."""


def _make_one(
    records: dict[type, Any],
    source: tuple[str, ...],
    steps: _Steps,
    subject: Any,
    clock: Clock,
) -> None:
    """Add the record of one call."""
    (record,) = steps

    def make() -> object:
        function = _imported(*source)  # not on the clock
        passes = RECORDS[record].passes
        with clock.time(passes[-1]) if passes else nullcontext():
            return function(subject)

    if source[0].startswith("."):
        records[record] = attempt(make)
        return
    with restored() as changed:  # it is of a plug-in
        records[record] = attempt(make)
    if changed:
        what = f"the making of {record.__name__} changed {' and '.join(changed)}"
        records[record] = Missing("error", what)


def _make_held(
    records: dict[type, Any],
    source: tuple[str, ...],
    steps: _Steps,
    subject: Any,
    clock: Clock,
) -> None:
    """Add the records of one forward, whose graph is held for all of them."""
    held = attempt(lambda: _imported(*source)(subject, frozenset(steps), clock))
    for record, (step,) in steps.items():
        before = records.get(RECORDS[record].requires or record)
        missing = first_missing([held, before])
        records[record] = missing or attempt(partial(methodcaller(step), held))
    if subject.plain:
        return
    del held
    for record in steps:
        # A network may refuse what another record needs, such as images' gradients.
        alone = {r: steps[r] for r in steps if r in (record, RECORDS[record].requires)}
        failed = isinstance(records[record], Missing)
        if failed and records[record].status == "error" and len(alone) < len(steps):
            again: dict[type, Any] = {}
            _make_held(again, source, alone, subject, clock)
            records[record] = again[record]


def _imported(module: str, name: str) -> Callable[..., Any]:
    function: Callable[..., Any] = getattr(
        import_module(module, "zcbench.evidence"), name
    )
    return function


@contextmanager
def manners(subject: Subject | StackedSubject) -> Iterator[None]:
    """What derivatives of other people's networks need."""
    if subject.plain:
        yield
        return
    double = any(p.dtype == torch.float64 for p in subject.network.parameters())
    with differentiable(), doubled() if double else default_dtype(torch.float32):
        yield


_NOT_MADE_FOR = {
    "Expected more than 1 value per channel": "BatchNorm has one value per channel "
    "in an image, and cannot normalise it",
    "derivative for aten::": "the network has a function without second derivative",
    "not implemented the double backward": "the network has a function without second "
    "derivative",
}
"""What torch says of networks that a pass cannot be made for → why."""


def attempt(make: Callable[[], Any]) -> Any:
    """Result of the call, or why there is none; one failure ends nothing else.

    Only Ctrl-C does. A child that a guest forked ends here: it is no second run.
    """
    process = os.getpid()
    try:
        return make()
    except BaseException as error:  # whatever a network or a guest raises
        if is_users(error):
            raise
        return _missing(error)
    finally:
        if os.getpid() != process:
            os._exit(0)


def attempt_each(
    make: Callable[[int], Record],
    n_networks: int,
    lost: Collection[int] = (),
    why: str = "",
) -> list[Record]:
    """A record of each network of a stack, or a `Missing` in its place.

    Args:
        make: of the network at a position.
        n_networks: how many there are.
        lost: positions of those whose record is undefined.
        why: it is.
    """

    def of(p: int) -> Record:
        if p in lost:
            raise Undefined(why)
        return make(p)

    return [attempt(partial(of, p)) for p in range(n_networks)]


def positions(where: Tensor) -> frozenset[int]:
    """Networks of a stack of which something holds, from a mask [P]."""
    return frozenset(where.nonzero()[:, 0].tolist())


def _missing(error: BaseException) -> Missing:
    if isinstance(error, Undefined):
        return Missing("undefined", said(error))
    if out_of_memory(error):
        return Missing("oom", first_line(error))
    for sign, reason in _NOT_MADE_FOR.items():
        if sign in said(error):
            return Missing("undefined", reason)
    return Missing("error", f"{type(error).__name__}: {first_line(error)}")


def first_missing(records: Iterable[Any]) -> Missing | None:
    """The first record that could not be made, if any."""
    return next((r for r in records if isinstance(r, Missing)), None)


def check_arithmetic(precision: Precision, device: torch.device) -> None:
    """Make sure that a device has an arithmetic.

    Raises:
        UsageError: it has not.
    """
    if precision == "tf32" and device.type != "cuda":
        raise UsageError(
            f"tf32 is arithmetic of CUDA devices, and this is {device.type}.",
            "Leave --precision out, or give --precision bf16 or --device cuda.",
        )


@contextmanager
def arithmetic(precision: Precision, device: torch.device) -> Iterator[None]:
    """Let convolutions and linear layers calculate in a precision.

    float32 means full float32: PyTorch's own default lets CUDA convolutions round to
    TensorFloat-32. bf16 is autocast: weights and sums over a minibatch stay float32.

    Args:
        precision: ``"float32"``, ``"tf32"`` or ``"bf16"``.
        device: where the network is.

    Raises:
        UsageError: the device has no such arithmetic.
    """
    check_arithmetic(precision, device)
    rounding = precision == "tf32"
    matmul, cudnn = torch.backends.cuda.matmul, torch.backends.cudnn
    before = matmul.allow_tf32, cudnn.allow_tf32
    matmul.allow_tf32, cudnn.allow_tf32 = rounding, rounding
    try:
        with torch.autocast(device.type, torch.bfloat16, enabled=precision == "bf16"):
            yield
    finally:
        matmul.allow_tf32, cudnn.allow_tf32 = before
