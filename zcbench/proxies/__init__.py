"""Zero-cost proxies: pure functions from evidence to a number, one file a family."""

from __future__ import annotations

from collections.abc import Callable
from importlib import import_module
from typing import Literal, TypeVar

from zcbench.registry import Registry
from zcbench.types import Proxy

F = TypeVar("F", bound=Callable[..., float])


_FAMILIES = (
    "baselines",
    "gradients",
    "synaptic_flow",
    "input_gradients",
    "activations",
    "random_features",
)
"""Files of this folder, in the order in which lists and tables name proxies."""


def _builtins() -> None:
    for family in _FAMILIES:
        import_module(f"{__name__}.{family}")


PROXIES: Registry[Proxy] = Registry("proxy", "zcbench.proxies", _builtins)


def proxy(
    *,
    reference: str,
    direction: Literal["higher", "lower"] = "higher",
    version: int = 1,
    aliases: tuple[str, ...] = (),
    baseline: bool = False,
    data_independent: bool = False,
    label_free: bool = False,
) -> Callable[[F], F]:
    """Register a function as a proxy; its name is the id, its annotations the needs.

    Args:
        reference: BibTeX key of the paper.
        direction: ``"higher"`` when a higher score claims a better architecture.
        version: raise it when scores change.
        aliases: other names for the command line.
        baseline: True for a trivial one that others are compared with.
        data_independent: True if the images do not matter.
        label_free: True if the labels do not matter.

    Returns:
        A decorator that returns the function unchanged.

    Raises:
        UsageError: the name is taken.
    """

    def register(function: F) -> F:
        entry = Proxy(
            name=function.__name__,
            function=function,
            reference=reference,
            direction=direction,
            version=version,
            aliases=aliases,
            baseline=baseline,
            data_independent=data_independent,
            label_free=label_free or data_independent,
            origin=_origin(function),
        )
        PROXIES.add(entry.name, entry, aliases)
        return function

    return register


def _origin(function: Callable[..., float]) -> str:
    built_in = function.__module__.startswith(f"{__name__}.")
    return "built-in" if built_in else function.__code__.co_filename


PROXIES.names()  # registers the families in their order, whichever is imported first
