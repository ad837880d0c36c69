"""Seconds of each pass, nested parts taken out of the whole."""

from __future__ import annotations

import time
from collections import defaultdict
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import torch


class Clock:
    """Adds up seconds by name.

    A part timed inside another is counted for itself only. On a GPU, outermost parts
    wait for the device; inner ones count the time to launch their kernels.

    Args:
        device: where the passes run.
        now: gives seconds, or another amount that grows.
    """

    def __init__(
        self, device: torch.device, now: Callable[[], float] = time.perf_counter
    ) -> None:
        self._now = now
        self.seconds: dict[str, float] = defaultdict(float)
        self._device = device
        self._inner: list[float] = []

    @contextmanager
    def time(self, name: str) -> Iterator[None]:
        """Time a block."""
        outermost = not self._inner
        self._inner.append(0.0)
        start = self._now()
        try:
            yield
        finally:
            if outermost and self._device.type == "cuda":
                torch.cuda.synchronize(self._device)
            elapsed = self._now() - start
            self.seconds[name] += elapsed - self._inner.pop()
            if self._inner:
                self._inner[-1] += elapsed
