"""Search spaces. `load_space("nb201")` gives one."""

from __future__ import annotations

from importlib import import_module

from zcbench.registry import Registry
from zcbench.spaces.base import Space

_BUILT_IN = (
    "nb201:NASBench201",
    "nats_sss:NATSBenchSize",
    "macro:NASBenchMacro",
    "transnas:TransNASMicro",
    "transnas:TransNASMacro",
    "fcnet:FCNet",
    "nb101:NASBench101",
    "mnasnet:MnasNetImageNet",
    "torchvision:Torchvision",
    "vit_bench:ViTBench",
    "darts:Darts",
    "toy:Toy",
)
"""File of this folder and class, in the order in which lists and tables name spaces."""


def _builtins() -> None:
    for place in _BUILT_IN:
        file, _, name = place.partition(":")
        space = getattr(import_module(f"{__name__}.{file}"), name)()
        SPACES.add(space.name, space)


SPACES: Registry[Space] = Registry("space", "zcbench.spaces", _builtins)


def load_space(name: str) -> Space:
    """Search space of that name.

    Raises:
        UsageError: there is none.
    """
    return SPACES.get(name)


__all__ = ["SPACES", "Space", "load_space"]
