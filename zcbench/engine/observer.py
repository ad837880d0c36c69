"""What a caller is told of a run. Imports nothing heavy: the command line uses it."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path


class Observer:
    """Is told how a run goes. This one does nothing; override what you need."""

    def message(self, text: str) -> None:
        """Something the user should know, one line."""

    def opened(self, path: Path) -> None:
        """Scores will go to this run directory."""

    def start(self, total: int, done: int) -> None:
        """The run covers `total` networks, `done` of them complete already."""

    def advance(self, failed: int) -> None:
        """One more network is stored; `failed` of its scores have no value."""

    def finish(self) -> None:
        """No more networks will come, whatever the reason."""


@dataclass(frozen=True, slots=True)
class Outcome:
    """What a run did.

    Attributes:
        path: the run directory.
        total: networks that the configuration covers.
        evaluated: networks scored by this call.
        failed: scores without a value among those.
    """

    path: Path
    total: int
    evaluated: int
    failed: int


def duration(seconds: float) -> str:
    """Seconds as people say them.

    >>> duration(4.26), duration(90), duration(8000)
    ('4.3 s', '1.5 min', '2.2 h')
    """
    if seconds < 60:
        return f"{seconds:.1f} s"
    if seconds < 3600:
        return f"{seconds / 60:.1f} min"
    return f"{seconds / 3600:.1f} h"
