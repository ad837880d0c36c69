"""Zero-cost proxies: pure functions from evidence to a number, one file a family."""

from __future__ import annotations

import inspect
import re
from collections.abc import Callable, Mapping
from functools import partial
from importlib import import_module
from typing import Literal, TypeVar

from zcbench.aggregates import AGGREGATES
from zcbench.errors import UsageError
from zcbench.proxies.variants import variant
from zcbench.registry import Registry
from zcbench.types import Proxy

F = TypeVar("F", bound=Callable[..., float])


_FAMILIES = (
    "baselines",
    "gradients",
    "input_gradients",
    "activations",
    "random_features",
    "gradient_statistics",
    "kernels",
    "features",
    "spectra",
    "graphs",
    "transformers",
    "training",
)
"""Files of this folder, in the order in which lists and tables name proxies."""


def _builtins() -> None:
    for family in _FAMILIES:
        import_module(f"{__name__}.{family}")


SUITE = (
    *("params", "flops", "n_layers", "l2_norm", "plain", "snip", "grad_norm"),
    *("fisher", "grasp", "synflow", "jacov", "epe_nas", "nwot", "zen"),
)
"""The thirteen of NAS-Bench-Suite-Zero (Krishnakumar et al. 2022), and n_layers."""


FAST = (
    *("params", "flops", "n_layers", "l2_norm", "plain", "snip", "grad_norm"),
    *("fisher", "synflow", "jacov", "epe_nas", "nwot", "lin_regions", "meco"),
)
"""What one forward of the minibatch, two backwards and small inputs give."""


def _is_part(parts: tuple[str, ...], proxy: Proxy) -> bool:
    return proxy.name in parts


SETS: Mapping[str, Callable[[Proxy], bool]] = {
    "all": lambda proxy: proxy.in_all,
    "transformers": lambda proxy: proxy.apart == "transformers",
    "partial": lambda proxy: proxy.apart == "partial",
    "suite": lambda proxy: proxy.name in SUITE,
    "fast": lambda proxy: proxy.name in FAST,
    "baselines": lambda proxy: proxy.baseline,
    **{
        name: partial(_is_part, aggregate.parts)
        for name, aggregate in AGGREGATES.items()
    },
}
"""Names that stand for several proxies, on the command line and elsewhere.

That of an aggregate stands for its parts, which are what there is to run.
"""
PROXIES: Registry[Proxy] = Registry(
    "proxy", "zcbench.proxies", _builtins, SETS, variant
)


def proxy(
    *,
    reference: str,
    direction: Literal["higher", "lower"] = "higher",
    version: int = 1,
    aliases: tuple[str, ...] = (),
    baseline: bool = False,
    data_independent: bool = False,
    label_free: bool = False,
    costly: bool = False,
    apart: str = "",
    evidence: Mapping[str, Mapping[str, type]] | None = None,
) -> Callable[[F], F]:
    """Register a function as a proxy; its name is the id, its annotations the needs.

    What has a default is a parameter, which users may set by name: ``swap[mu=1]``.

    Args:
        reference: BibTeX key of the paper.
        direction: ``"higher"`` when a higher score claims a better architecture.
        version: raise it when scores change.
        aliases: other names for the command line.
        baseline: True for a trivial one that others are compared with.
        data_independent: True if the images do not matter.
        label_free: True if the labels do not matter.
        costly: True if it takes many training steps: it is left out of ``all``.
        apart: ``"transformers"`` or ``"partial"``: it is in that set, and left out of
            ``all``.
        evidence: for parameters that change what the function reads:
            ``{"image=gaussian": {"c": ChannelCorrelation}}``.

    Returns:
        A decorator that returns the function unchanged.

    Raises:
        UsageError: the name is taken, or something is not what it should be.
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
            costly=costly,
            apart=apart,
            evidence=evidence or {},
            origin=_origin(function),
        )
        _check(entry)
        PROXIES.add(entry.name, entry, aliases)
        return function

    return register


_NAME = re.compile(r"[^\s,:+]+")
"""What a name may be where names stand in a list, as on the command line."""


def _check(entry: Proxy) -> None:
    """Raise `UsageError` unless a proxy has traits that everything can rely on."""
    aliases, version = entry.aliases, entry.version
    parameters = inspect.signature(entry.function).parameters.values()
    several = isinstance(aliases, tuple | list)
    sound = {
        f"the name {entry.name!r}: a name has no space, comma, colon or plus": bool(
            _NAME.fullmatch(entry.name)
        ),
        f"the name {entry.name!r}: brackets are for parameters": (
            not set("[]") & set(entry.name)
        ),
        f"the direction {entry.direction!r}: it is 'higher' or 'lower'": (
            entry.direction in ("higher", "lower")
        ),
        f"the version {version!r}: it is a whole number of at least 1": (
            type(version) is int and version >= 1
        ),
        f"the aliases {aliases!r}: they are a tuple of names": several
        and all(isinstance(a, str) and _NAME.fullmatch(a) for a in aliases),
        f"the reference {entry.reference!r}: it is the BibTeX key of a paper": (
            isinstance(entry.reference, str)
        ),
        "no annotated parameter: its annotations are the evidence that it asks for": (
            any(p.annotation is not p.empty for p in parameters)
        ),
        f"evidence for {entry.evidence!r}: it is for values of its parameters": all(
            said.partition("=")[0] in entry.defaults for said in entry.evidence
        ),
    }
    for problem, fine in sound.items():
        if not fine:
            raise UsageError(f"The proxy {entry.name!r} has {problem}.")


def _origin(function: Callable[..., float]) -> str:
    built_in = function.__module__.startswith(f"{__name__}.")
    return "built-in" if built_in else function.__code__.co_filename


PROXIES.names()  # registers the families in their order, whichever is imported first
