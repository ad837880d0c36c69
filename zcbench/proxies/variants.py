"""Proxies with other values of their parameters: ``swap[weights=own]``.

A parameter of a proxy is one of its function's that has a default. Its annotation says
what values it takes: `float`, `int`, `bool`, `str`, or a `Literal` of words.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable
from contextlib import suppress
from dataclasses import replace
from typing import Any, Literal, get_args, get_origin, get_type_hints

from zcbench.errors import UsageError
from zcbench.types import Proxy, settings

_TEXT = re.compile(r"(\w+)\s*=\s*([\w.+-]+)")


def variant(proxy: Proxy, text: str) -> Proxy:
    """A proxy with other values of its parameters.

    Args:
        proxy: as it was registered.
        text: what stands behind its name: ``"[mu=1,sigma=2]"``.

    Returns:
        The proxy under a name that tells what is not default, in the order of the
        function's parameters; the proxy itself where everything is.

    Raises:
        UsageError: it has no such parameter, or the parameter takes no such value.
    """
    known, given = proxy.defaults, {}
    for part in re.split(r"\s*,\s*", text.removeprefix("[").removesuffix("]").strip()):
        match = _TEXT.fullmatch(part)
        if not text.endswith("]") or match is None:
            raise UsageError(
                f"{proxy.name}{text} is not a name of a proxy.",
                f"Write {proxy.name}[parameter=value], or several with commas.",
            )
        name, value = match.groups()
        if name not in known:
            has = ", ".join(known) or "none"
            raise UsageError(
                f"The proxy {proxy.name} has no parameter {name!r}.", f"It has {has}."
            )
        given[name] = _read(proxy, name, value)
    changed = {n: given[n] for n in known if n in given and given[n] != known[n]}
    if not changed:
        return proxy
    return replace(
        proxy,
        name=f"{proxy.name}[{','.join(settings(changed))}]",
        aliases=(),
        parameters=changed,
    )


def _read(proxy: Proxy, name: str, text: str) -> Any:
    """Value of a parameter as its annotation has it."""
    kind = None
    with suppress(NameError):  # the plan says what is wrong with such annotations
        kind = get_type_hints(proxy.function).get(name)
    if get_origin(kind) is Literal:
        values = {str(value): value for value in get_args(kind)}
        known = ", ".join(values)
    elif kind is bool:
        values, known = {"true": True, "false": False}, "true, false"
    else:
        value = _number(kind, text) if kind in (int, float) else text
        values = {} if value is None else {text: value}
        known = "whole numbers" if kind is int else "numbers"
    if text not in values:
        raise UsageError(
            f"{name}={text} is no value of {proxy.name}'s parameter.", f"Takes {known}."
        )
    return values[text]


def _number(kind: Callable[[str], float], text: str) -> float | None:
    try:
        value = kind(text)
    except ValueError:
        return None
    return value if math.isfinite(value) else None
