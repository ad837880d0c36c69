"""Which networks are scored at once (``--stack``)."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import TYPE_CHECKING, Literal

from zcbench.engine.work import Setup, WorkItem

if TYPE_CHECKING:
    from zcbench.types import Precision

Stack = tuple[WorkItem, ...]
"""Items of one dataset, repeat and set of proxies."""


def resolve(
    stack: int | Literal["auto"], device: str, precision: Precision
) -> int | Literal["auto"]:
    """What ``auto`` comes to: 1, or on CUDA still ``auto``, as much as memory holds."""
    if stack == "auto" and (not device.startswith("cuda") or precision == "bf16"):
        return 1
    return stack


def stacks_of(
    setup: Setup, items: Iterable[WorkItem], workers: int = 1
) -> Iterator[Stack]:
    """Items in the groups that are scored at once.

    Args:
        setup: what the run has in common.
        items: the work.
        workers: processes that share the device.
    """
    from zcbench.engine.evaluator import can_stack

    size = resolve(setup.stack, setup.device, setup.precision)
    if size == 1:
        return ((item,) for item in items)
    space = setup.load_space()
    groups: dict[tuple[object, ...], list[WorkItem]] = {}
    for item in items:
        key = (item.dataset, item.repeat, item.proxies)
        groups.setdefault(key, []).append(item)
    free = 0
    if size == "auto":
        from zcbench.engine.memory import memory_for_stacks

        free = memory_for_stacks(setup.device) // workers
    cuts = []
    for group in groups.values():
        if not can_stack(space, group[0].dataset, setup.precision):
            cuts.append(_by_number(group, 1))
        elif size == "auto":
            cuts.append(_by_memory(setup, group, free))
        else:
            cuts.append(_by_number(group, size))
    return _in_turn(cuts)


def _by_number(items: Sequence[WorkItem], size: int) -> Iterator[Stack]:
    for start in range(0, len(items), size):
        yield tuple(items[start : start + size])


def _by_memory(setup: Setup, items: Sequence[WorkItem], free: int) -> Iterator[Stack]:
    from zcbench.engine.memory import bytes_of_networks, stacks_that_fit
    from zcbench.plan import make_plan
    from zcbench.proxies import PROXIES

    space = setup.load_space()
    sizes = bytes_of_networks(
        space,
        [space.architecture(item.index) for item in items],
        items[0].dataset,
        setup.batch_size,
        make_plan(PROXIES.select(items[0].proxies)).records,
    )
    for part in stacks_that_fit(sizes, free):
        yield tuple(items[part])


def _in_turn(cuts: Sequence[Iterator[Stack]]) -> Iterator[Stack]:
    """One of each group, then the next: datasets advance together."""
    left = list(cuts)
    while left:
        for cut in list(left):
            stack = next(cut, None)
            if stack is None:
                left.remove(cut)
            else:
                yield stack
