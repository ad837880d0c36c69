"""Search spaces. `load_space("nb201")` gives one."""

from __future__ import annotations

from zcbench.registry import Registry
from zcbench.spaces.base import Space


def _builtins() -> None:
    from zcbench.spaces.darts import Darts
    from zcbench.spaces.fcnet import FCNet
    from zcbench.spaces.macro import NASBenchMacro
    from zcbench.spaces.mnasnet import MnasNetImageNet
    from zcbench.spaces.nats_sss import NATSBenchSize
    from zcbench.spaces.nb101 import NASBench101
    from zcbench.spaces.nb201 import NASBench201
    from zcbench.spaces.torchvision import Torchvision
    from zcbench.spaces.toy import Toy
    from zcbench.spaces.transnas import TransNASMacro, TransNASMicro
    from zcbench.spaces.vit_bench import ViTBench

    for space in (
        NASBench201(),
        NATSBenchSize(),
        NASBenchMacro(),
        TransNASMicro(),
        TransNASMacro(),
        FCNet(),
        NASBench101(),
        MnasNetImageNet(),
        Torchvision(),
        ViTBench(),
        Darts(),
        Toy(),
    ):
        SPACES.add(space.name, space)


SPACES: Registry[Space] = Registry("space", "zcbench.spaces", _builtins)


def load_space(name: str) -> Space:
    """Search space of that name.

    Raises:
        UsageError: there is none.
    """
    return SPACES.get(name)


__all__ = ["SPACES", "Space", "load_space"]
