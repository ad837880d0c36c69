"""Does a device calculate what the CPU does? Asked before anything is scored there.

`check.py` compares every record that a plan makes, on the device in the precision of
the run and on the CPU in float64, for a few networks (docs/precision.md).

Here are the ways of calculating on a device, the fastest first.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Literal

import torch

from zcbench.types import Precision

SWITCH = "ZCBENCH_SELF_CHECK"
"""Environment variable: ``always`` checks the CPU, too."""
Way = Literal["as asked", "cuDNN off", "float64"]


def is_needed(device: torch.device | str) -> bool:
    """Whether a device has to be checked: all but the CPU."""
    return torch.device(device).type != "cpu" or os.environ.get(SWITCH) == "always"


def ways_on(device: torch.device, dtype: torch.dtype) -> tuple[Way, ...]:
    """What can be tried there. Memory is contiguous on all but the CPU, anyway."""
    ways: list[Way] = ["as asked"]
    if device.type == "cuda":
        ways.append("cuDNN off")
    if dtype != torch.float64 and device.type != "mps":  # which has no float64
        ways.append("float64")
    return tuple(ways)


def arithmetic_of(
    way: Way, dtype: torch.dtype, precision: Precision
) -> tuple[torch.dtype, Precision]:
    """Type of weights and images, and what the passes may round to."""
    return (torch.float64, "float32") if way == "float64" else (dtype, precision)


@contextmanager
def taking(way: Way) -> Iterator[None]:
    """Without cuDNN, if the way is that."""
    cudnn = torch.backends.cudnn
    before = cudnn.enabled
    cudnn.enabled = before and way != "cuDNN off"
    try:
        yield
    finally:
        cudnn.enabled = before
