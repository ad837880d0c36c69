"""Calls of code of others: guests, which are left nothing to spoil for anyone else."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import fields, is_dataclass
from typing import Any

import torch
from torch import Tensor

from zcbench.errors import CHANGED
from zcbench.evidence.copies import deep_copied
from zcbench.evidence.passes import Missing, attempt
from zcbench.evidence.records import FreshNetwork
from zcbench.seeding import random_state
from zcbench.state import restored


def call_guest(
    function: Callable[..., Any], records: Sequence[Any], seed: int
) -> Any | Missing:
    """Result of a function of others on its own copies of some records.

    What it raises, Ctrl-C apart, is why there is none; so is what it leaves changed of
    its evidence or of the state of the process, which is restored.

    Args:
        function: takes the records.
        records: of any types; only the network of a `FreshNetwork` is to be changed.
        seed: of the random numbers that it finds.
    """
    own = attempt(lambda: deep_copied(list(records)))
    if isinstance(own, Missing):
        return own
    with torch.inference_mode(False), random_state(seed), restored() as changed:
        result = attempt(lambda: function(*own))
    pairs = zip(records, own, strict=True)
    spoiled = [type(before).__name__ for before, now in pairs if not _same(before, now)]
    changed += [f"its evidence ({', '.join(spoiled)})"] if spoiled else []
    if not changed:
        return result
    more = f"; {result.message}" if isinstance(result, Missing) else ""
    return Missing("error", f"{CHANGED}{' and '.join(changed)}{more}")


def _same(before: Any, now: Any) -> bool:
    """Whether a copy still holds what it was made of, bit for bit."""
    if isinstance(before, Tensor):
        return (
            isinstance(now, Tensor)
            and (before.shape, before.dtype) == (now.shape, now.dtype)
            and _same_bits(before.detach(), now.detach())
        )
    if type(before) is not type(now):
        return False
    if isinstance(before, FreshNetwork):
        return _same(before.batch, now.batch)
    if is_dataclass(before):
        names = [field.name for field in fields(before)]
        return all(_same(getattr(before, n), getattr(now, n)) for n in names)
    if isinstance(before, list | tuple):
        return len(before) == len(now) and all(map(_same, before, now))
    if isinstance(before, dict):
        return before.keys() == now.keys() and all(
            _same(before[key], now[key]) for key in before
        )
    if isinstance(before, float | int | str):
        return before == now or before != before
    return True  # an object of a plug-in's own record


def _same_bits(before: Tensor, now: Tensor) -> bool:
    whole = {1: torch.uint8, 2: torch.int16, 4: torch.int32, 8: torch.int64}
    if before.layout == torch.strided and before.element_size() in whole:
        kind = whole[before.element_size()]
        before, now = before.view(kind), now.view(kind)
    return torch.equal(before, now)
