"""From bytes to what a network is trained on."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from zcbench.types import Task

_STATISTICS = {
    "cifar10": ((125.3, 123.0, 113.9), (63.0, 62.1, 66.7)),
    "cifar100": ((129.3, 124.1, 112.4), (68.2, 65.4, 70.4)),
    "ImageNet16-120": ((122.68, 116.66, 104.01), (63.22, 61.26, 65.09)),
}
"""Mean and standard deviation per channel in 1/255, as NAS-Bench-201 trains with."""


def statistics(task: Task) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Mean and standard deviation per channel, in 0 to 1: two arrays [C].

    A dataset without known ones gets 0.5 and 0.25.
    """
    channels = task.input_shape[0]
    mean, std = _STATISTICS.get(task.name, ((), ()))
    if len(mean) != channels:
        return np.full(channels, 0.5), np.full(channels, 0.25)
    return np.array(mean) / 255, np.array(std) / 255


def normalise(pixels: NDArray[np.uint8], task: Task) -> NDArray[np.float32]:
    """Images [N, C, H, W] of bytes, shifted and scaled by the dataset's statistics."""
    mean, std = (
        value.astype(np.float32).reshape(-1, 1, 1) for value in statistics(task)
    )
    return (pixels.astype(np.float32) / np.float32(255) - mean) / std
