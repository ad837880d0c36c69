"""How a run goes, on stderr: a bar on a terminal, a few plain lines elsewhere."""

from __future__ import annotations

import sys
import time
from typing import TYPE_CHECKING, Any

import click

from zcbench.engine.observer import Observer, Outcome, duration
from zcbench.errors import count, visible

if TYPE_CHECKING:
    from collections.abc import Callable

_LINE_SECONDS = 30.0


class TerminalObserver(Observer):
    """Says on stderr how a run goes.

    Args:
        clock: seconds, increasing.
        unit: what it counts.
        aim: what is done to them.
    """

    def __init__(
        self,
        clock: Callable[[], float] = time.monotonic,
        unit: str = "network",
        aim: str = "to score",
    ) -> None:
        self._clock, self._unit, self._aim = clock, unit, aim
        self._bar: Any = None
        self._total = self._n_done = self._n_failed = 0
        self._began = self._said = clock()

    def message(self, text: str) -> None:
        """One line."""
        click.echo(f"zcbench: {visible(text)}", err=True)

    def start(self, total: int, done: int) -> None:
        """Announce the work."""
        self._total, self._n_done = total, done
        self._began = self._said = self._clock()
        there = f", {done:,} of them already done" if done else ""
        self.message(f"{count(total, self._unit)} {self._aim}{there}")
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
