"""Names of architectures as files write them: strings, or NASLib's indices."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from zcbench.spaces.base import Space
    from zcbench.types import Architecture

_NASLIB_OPERATIONS = (
    "skip_connect",
    "none",
    "nor_conv_3x3",
    "nor_conv_1x1",
    "avg_pool_3x3",
)
_NASLIB_ORDER = (0, 1, 3, 2, 4, 5)
"""Place in NASLib's indices of each edge in string order: it sorts by source."""
_INDICES = re.compile(r"[(\[]?\d+(, ?\d+){5}[)\]]?")


def read_name(space: Space, written: str) -> Architecture:
    """Architecture of a string of the space or, on nb201, NASLib's six indices.

    Raises:
        DataError: it is neither.
    """
    if space.name == "nb201" and _INDICES.fullmatch(written):
        numbers = [int(n) for n in re.findall(r"\d+", written)]
        if max(numbers) < len(_NASLIB_OPERATIONS):
            return space.parse(_from_naslib(numbers))
    return space.parse(written)


def _from_naslib(indices: Sequence[int]) -> str:
    """String of NASLib's indices of operations on NAS-Bench-201.

    >>> _from_naslib([4, 0, 3, 1, 4, 2])
    '|avg_pool_3x3~0|+|skip_connect~0|none~1|+|nor_conv_1x1~0|avg_pool_3x3~1|nor_conv_3x3~2|'
    """
    names = [_NASLIB_OPERATIONS[indices[place]] for place in _NASLIB_ORDER]
    a, b, c, d, e, f = names
    return f"|{a}~0|+|{b}~0|{c}~1|+|{d}~0|{e}~1|{f}~2|"
