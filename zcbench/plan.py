"""From the annotations of proxies to the minimal set of passes. No torch here."""

from __future__ import annotations

import inspect
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import get_type_hints

from zcbench.errors import UsageError
from zcbench.evidence.records import FreshNetwork
from zcbench.evidence.table import RECORDS
from zcbench.types import Proxy


def cost_class(proxy: Proxy) -> str:
    """What a proxy costs: none, forward, backward, training, or its own affair.

    >>> from zcbench.proxies import PROXIES
    >>> [cost_class(PROXIES.get(name)) for name in ("params", "nwot", "snip")]
    ['none', 'forward', 'backward']
    """
    if proxy.costly:
        return "training"
    needs = evidence_of(proxy)
    if FreshNetwork in needs:
        return "own"
    if {name for record in needs for name in RECORDS[record].passes} <= {
        "structure",
        "dataflow",
    }:
        return "none"
    forward_only = all(RECORDS[record].forward_only for record in needs)
    return "forward" if forward_only else "backward"


@dataclass(frozen=True, slots=True)
class Plan:
    """What to run for a set of proxies.

    Attributes:
        proxies: the proxies.
        needs: proxy id → evidence types, in the order of the function's parameters.
    """

    proxies: tuple[Proxy, ...]
    needs: Mapping[str, tuple[type, ...]]

    @property
    def records(self) -> frozenset[type]:
        """Every record type that must be made."""
        records = {record for needs in self.needs.values() for record in needs}
        while more := {b for r in records if (b := RECORDS[r].requires)} - records:
            records |= more
        return frozenset(records)

    @property
    def users(self) -> Mapping[str, tuple[str, ...]]:
        """Pass → ids of the proxies that share it, in the order of running."""
        order = dict.fromkeys(
            name for making in RECORDS.values() for name in making.passes
        )
        users = {
            name: tuple(p.name for p in self.proxies if name in self.passes_of(p.name))
            for name in order
        }
        return {name: ids for name, ids in users.items() if ids}

    @property
    def passes(self) -> tuple[str, ...]:
        """Names of the passes, in the order of running."""
        return tuple(self.users)

    def passes_of(self, proxy: str) -> tuple[str, ...]:
        """Names of the passes that one proxy needs."""
        names = (
            name for record in self.needs[proxy] for name in RECORDS[record].passes
        )
        return tuple(dict.fromkeys(names))


def make_plan(proxies: Sequence[Proxy]) -> Plan:
    """Plan for some proxies.

    Raises:
        UsageError: a proxy asks for something that is not evidence.
    """
    return Plan(tuple(proxies), {p.name: evidence_of(p) for p in proxies})


def evidence_of(proxy: Proxy) -> tuple[type, ...]:
    """Evidence types that a proxy's arguments are annotated with.

    A parameter, which has a default, is no evidence; a value of it may ask for another
    record (`Proxy.evidence`).

    Raises:
        UsageError: an argument has no annotation, or one that is not evidence.
    """
    function, name = proxy.function, proxy.name
    known = ", ".join(record.__name__ for record in RECORDS)
    try:
        hints = get_type_hints(function)
        for said in proxy.settings:
            hints |= proxy.evidence.get(said, {})
    except NameError as error:
        raise UsageError(
            f"The annotations of proxy {name!r} cannot be read: {error}.",
            "Import the evidence types at the top of the file.",
        ) from error
    needs = []
    for parameter in inspect.signature(function).parameters:
        if parameter in proxy.defaults:
            continue
        if hints.get(parameter) not in RECORDS:
            raise UsageError(
                f"Parameter {parameter!r} of proxy {name!r} is not annotated with "
                "an evidence type.",
                f"Evidence types are {known}.",
            )
        needs.append(hints[parameter])
    return tuple(needs)
