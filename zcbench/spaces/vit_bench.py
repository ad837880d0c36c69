"""Vision transformers on three tasks, as trained for Auto-Prox (Wei et al. 2024).

Two families: PiT (4,320 networks: channels of a head, MLP ratio, for each of three
stages layers and heads, which never become fewer) and AutoFormer (width, 12 to 14
layers, each with an MLP ratio and heads). A string is the authors' JSON. Our index
counts PiT first, then AutoFormer by depth; within these the choices are digits, in the
order of `_axes`, first most significant.

In the authors' code an AutoFormer's heads share its width, whatever their number; their
channels are not 64 each, as in the first AutoFormer.
"""

from __future__ import annotations

import json
from itertools import combinations_with_replacement
from math import prod
from typing import TYPE_CHECKING, Any

from zcbench.spaces.base import UnlistedSpace
from zcbench.types import Task

if TYPE_CHECKING:
    from torch import nn

_PIT, _DEPTHS = 0, (12, 13, 14)
_GROUPS = (_PIT, *_DEPTHS)
"""PiT, then AutoFormer's depths."""


def _axes(group: int) -> tuple[tuple[Any, ...], ...]:
    """What can be chosen in a group, in the order of `_values`."""
    if group == _PIT:
        layers = (1, 2, 3), (4, 6, 8), (2, 4, 6)
        heads = tuple(combinations_with_replacement((2, 4, 8), 3))
        return (16, 24, 32, 40), (2, 4, 6, 8), *layers, heads
    return (192, 216, 240), *[(3.5, 4.0)] * group, *[(3, 4)] * group


_SIZES = {group: prod(map(len, _axes(group))) for group in _GROUPS}


class ViTBench(UnlistedSpace):
    """Vision transformers of two families on three tasks.

    The populations ``pit`` and ``autoformer`` are the families.
    """

    name = "vit_bench"
    tasks = {
        name: Task(name, (3, 224, 224), classes)
        for name, classes in (("cifar100", 100), ("flowers", 102), ("chaoyang", 4))
    }
    populations = ("trained", "pit", "autoformer")

    def __len__(self) -> int:
        """Number of architectures, of which few are trained."""
        return sum(_SIZES.values())

    def _spec(self, index: int) -> str:
        import numpy as np

        place, group = index, _PIT
        for group in _GROUPS:
            if place < _SIZES[group]:
                break
            place -= _SIZES[group]
        axes = _axes(group)
        digits = np.unravel_index(place, tuple(map(len, axes)))
        values = [axis[digit] for axis, digit in zip(axes, digits, strict=True)]
        return _written(group, values)

    def _index(self, spec: str) -> int:
        """Spaces and the order of keys do not matter."""
        import numpy as np

        group, values = _values(json.loads(spec))
        axes = _axes(group)
        digits = [axis.index(v) for axis, v in zip(axes, values, strict=True)]
        before = sum(_SIZES[other] for other in _GROUPS if other < group)
        place = np.ravel_multi_index(digits, tuple(map(len, axes)))
        return before + int(place)

    def _belongs(self, name: str, spec: str) -> bool:
        family = "pit" if "base_dim" in spec else "autoformer"
        return name in ("trained", family)

    def _network(self, spec: str, task: Task) -> nn.Module:
        from zcbench.networks.vit import AutoFormer, PiT

        of: dict[str, Any] = json.loads(spec)
        heads, ratio = of["num_heads"], of["mlp_ratio"]
        if "base_dim" in of:
            return PiT(task, of["base_dim"], of["depth"], heads, ratio)
        return AutoFormer(task, of["hidden_dim"], heads, ratio)


def _written(group: int, values: list[Any]) -> str:
    """The authors' JSON."""
    first, second, *rest = values
    of: dict[str, Any] = {"base_dim": first, "mlp_ratio": second}
    of |= {"depth": rest[:3], "num_heads": rest[-1]}
    if group != _PIT:
        ratios, heads = values[1 : 1 + group], values[1 + group :]
        of = {"hidden_dim": first, "mlp_ratio": ratios}
        of |= {"depth": group, "num_heads": heads}
    return json.dumps(of, separators=(",", ":"))


def _values(of: dict[str, Any]) -> tuple[int, list[Any]]:
    """Group and what is chosen, the inverse of `_written`."""
    if len(of) != 4:
        raise ValueError("it has other keys")
    if "base_dim" in of:
        head = [of["base_dim"], of["mlp_ratio"]]
        return _PIT, [*head, *of["depth"], tuple(of["num_heads"])]
    group = _DEPTHS[_DEPTHS.index(of["depth"])]
    return group, [of["hidden_dim"], *of["mlp_ratio"], *of["num_heads"]]
