"""How a run goes, on stderr: a bar on a terminal, a few plain lines elsewhere."""

from __future__ import annotations

import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from zcbench.engine.observer import Observer, Outcome, duration
from zcbench.errors import count, visible

if TYPE_CHECKING:
    from collections.abc import Callable

_LINE_SECONDS = 30.0
_FEWEST, _SHARE = 30, 0.2
"""Networks before a first look, and their share of all."""
_WORTH = 15.0
"""Seconds of work after a first look, below which there is none."""


class TerminalObserver(Observer):
    """Says on stderr how a run goes.

    Args:
        clock: seconds, increasing.
        unit: what it counts.
        aim: what is done to them.
        look: what can be told of a run directory before it is complete.
    """

    def __init__(
        self,
        clock: Callable[[], float] = time.monotonic,
        unit: str = "network",
        aim: str = "to score",
        look: Callable[[Path], str] | None = None,
    ) -> None:
        self._clock, self._unit, self._aim = clock, unit, aim
        self._look, self._path = look, Path()
        self._bar: Any = None
        self._total = self._n_done = self._before = self._n_failed = 0
        self._began = self._said = clock()

    def message(self, text: str) -> None:
        """One line."""
        click.echo(f"zcbench: {visible(text)}", err=True)

    def opened(self, path: Path) -> None:
        """Where a first look is taken."""
        self._path = path

    def start(self, total: int, done: int) -> None:
        """Announce the work."""
        there = f", {done:,} of them already done" if done else ""
        self.message(f"{count(total, self._unit)} {self._aim}{there}")
        self.count(total, done)

    def count(self, total: int, done: int) -> None:
        """Begin to count, without a word."""
        self._total, self._n_done, self._before = total, done, done
        self._began = self._said = self._clock()
        if sys.stderr.isatty() and done < total:
            from tqdm import tqdm

            self._bar = tqdm(total=total, initial=done, unit=self._unit, smoothing=0.1)

    def advance(self, failed: int) -> None:
        """Count one more."""
        self._n_done += 1
        self._n_failed += failed
        if self._bar is not None:
            if failed:
                self._bar.set_postfix_str(f"{self._n_failed:,} failed", refresh=False)
            self._bar.update()
        elif self._clock() - self._said >= _LINE_SECONDS:
            self._said = self._clock()
            self.message(f"{self._n_done:,}/{self._total:,} done")
        if self._look is not None and self._is_time():
            told, self._look = self._look(self._path), None
            if self._bar is not None:
                self._bar.clear()
            self.message(f"a first look, {self._n_done:,} of {self._total:,} done:")
            click.echo(told, err=True)

    def _is_time(self) -> bool:
        """Whether enough is done to look at, and enough is left to be worth it."""
        new, left = self._n_done - self._before, self._total - self._n_done
        if new < 1 or self._n_done < max(_FEWEST, _SHARE * self._total):
            return False
        return (self._clock() - self._began) / new * left > _WORTH

    def finish(self) -> None:
        """Close the bar."""
        if self._bar is not None:
            self._bar.close()
            self._bar = None

    def conclude(self, outcome: Outcome) -> None:
        """Say what the run did."""
        seconds = self._clock() - self._began
        if not outcome.evaluated:
            self.message("nothing was missing")
            return
        failed = f", {count(outcome.failed, 'score')} without a value"
        self.message(
            f"{count(outcome.evaluated, 'network')} scored in {duration(seconds)}"
            f"{failed if outcome.failed else ''}"
        )


def steps(total: int, unit: str) -> Callable[[], None]:
    """What is to be called after each step of a command that prints at its end."""
    observer = TerminalObserver(unit=unit)
    observer.count(total, 0)
    left = iter(range(total - 1, -1, -1))

    def done() -> None:
        observer.advance(0)
        if next(left) == 0:
            observer.finish()

    return done
