"""From numbers to places on an axis, and the frame of a figure with two."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

from zcbench.report.figures.drawing import SMALL, Drawing


@dataclass(frozen=True, slots=True)
class Scale:
    """A linear or logarithmic axis.

    Attributes:
        low: number at its beginning.
        high: number at its end; larger.
        start: place of the beginning, in pixels.
        end: place of the end.
        log: whether equal ratios have equal lengths.
    """

    low: float
    high: float
    start: float
    end: float
    log: bool = False

    def __call__(self, value: float) -> float:
        """Place of a number; at the nearer end if it lies outside."""
        low, high, at = self.low, self.high, min(max(value, self.low), self.high)
        if self.log:
            low, high, at = math.log(low), math.log(high), math.log(at)
        return self.start + (at - low) / (high - low) * (self.end - self.start)

    def ticks(self, most: int = 8) -> list[float]:
        """Round numbers on the axis, about as many as asked for."""
        return _decades(self.low, self.high) if self.log else self._round(most)

    def _round(self, most: int) -> list[float]:
        step = _step((self.high - self.low) / most)
        first = math.ceil(self.low / step - 1e-9)
        last = math.floor(self.high / step + 1e-9)
        return [round(i * step, 12) for i in range(first, last + 1)]


def spread(low: float, high: float, start: float, end: float) -> Scale:
    """A linear axis from one round number to another that holds these.

    >>> scale = spread(0.13, 0.78, 0, 100)
    >>> scale.low, scale.high, scale.ticks(5)
    (0.0, 0.8, [0.0, 0.2, 0.4, 0.6, 0.8])
    """
    if not high - low > 1e-9 * max(1.0, abs(high)):
        low, high = low - 0.5, high + 0.5
    step = _step((high - low) / 4)
    low = math.floor(low / step + 1e-9) * step
    high = math.ceil(high / step - 1e-9) * step
    return Scale(round(low, 12), round(high, 12), start, end)


def decades(low: float, high: float, start: float, end: float) -> Scale:
    """A logarithmic axis that holds these with some room, low above 0.

    >>> decades(0.9, 300, 0, 100).ticks()
    [1.0, 10.0, 100.0]
    """
    room = max(1.6, (high / low) ** 0.08)
    return Scale(low / room, high * room, start, end, log=True)


def _step(least: float) -> float:
    """The round number not below one: 1, 2 or 5 times a power of ten."""
    power = 10.0 ** math.floor(math.log10(least) + 1e-9)
    return next(k * power for k in (1, 2, 5, 10) if k * power >= least * (1 - 1e-9))


def _decades(low: float, high: float) -> list[float]:
    powers = range(math.floor(math.log10(low)), math.ceil(math.log10(high)) + 1)
    whole = [10.0**k for k in powers if low <= 10.0**k <= high]
    if len(whole) > 2:
        return whole
    steps = (m * 10.0**k for k in powers for m in (1, 2, 5))
    return [tick for tick in steps if low <= tick <= high]


def draw_axes(
    drawing: Drawing,
    across: Scale,
    up: Scale,
    words: Callable[[float], str],
    labels: tuple[str, str],
) -> None:
    """Draw both axes, with lines at their round numbers.

    Args:
        drawing: where.
        across: from left to right.
        up: from the bottom to the top.
        words: how a number on that one reads.
        labels: what the two show.
    """
    left, right, bottom, top = across.start, across.end, up.start, up.end
    for tick in across.ticks():
        x = across(tick)
        drawing.line(x, bottom, x, top, "faint")
        drawing.text(x, bottom + 14, f"{tick:,g}", "muted", SMALL, "middle")
    for tick in up.ticks():
        y = up(tick)
        drawing.line(left, y, right, y, "faint")
        drawing.text(left - 6, y + 4, words(tick), "muted", SMALL, "end")
    drawing.frame(left, top, right - left, bottom - top)
    middle = (left + right) / 2, (bottom + top) / 2
    drawing.text(middle[0], bottom + 32, labels[0], "muted", SMALL, "middle")
    drawing.text(14, middle[1], labels[1], "muted", SMALL, "middle", upwards=True)
