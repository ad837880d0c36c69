"""What a run says on stderr while it goes."""

from __future__ import annotations

import io
import sys
from pathlib import Path

import pytest

from zcbench.cli.progress import TerminalObserver, steps
from zcbench.engine.observer import Outcome


class Clock:
    now = 0.0

    def __call__(self) -> float:
        return self.now


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def test_plain_lines_at_start_and_end_and_every_half_minute(
    capsys: pytest.CaptureFixture[str],
) -> None:
    clock = Clock()
    observer = TerminalObserver(clock)
    observer.start(1100, 100)
    for second in range(1, 91):
        clock.now = float(second)
        observer.advance(failed=second % 2)
    observer.finish()
    observer.conclude(Outcome(Path("x"), total=1100, evaluated=1000, failed=45))
    out, err = capsys.readouterr()
    assert out == ""
    assert err.splitlines() == [
        "zcbench: 1,100 networks to score, 100 of them already done",
        "zcbench: 130/1,100 done",
        "zcbench: 160/1,100 done",
        "zcbench: 190/1,100 done",
        "zcbench: 1,000 networks scored in 1.5 min, 45 scores without a value",
    ]


def test_nothing_to_do(capsys: pytest.CaptureFixture[str]) -> None:
    observer = TerminalObserver(Clock())
    observer.start(1, 1)
    observer.finish()
    observer.conclude(Outcome(Path("x"), total=1, evaluated=0, failed=0))
    assert capsys.readouterr().err.splitlines() == [
        "zcbench: 1 network to score, 1 of them already done",
        "zcbench: nothing was missing",
    ]


def test_a_bar_on_a_terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    terminal = Terminal()
    monkeypatch.setattr(sys, "stderr", terminal)
    observer = TerminalObserver(Clock())
    observer.start(10, 4)
    observer.advance(failed=0)
    observer.advance(failed=3)
    observer.finish()
    said = terminal.getvalue()
    assert "| 6/10 [" in said
    assert "3 failed" in said


def test_steps_say_nothing_at_once_and_a_line_now_and_then(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    done = steps(3, "trial")
    done()
    assert capsys.readouterr() == ("", "")
    monkeypatch.setattr("zcbench.cli.progress._LINE_SECONDS", 0.0)
    done()
    assert capsys.readouterr() == ("", "zcbench: 2/3 done\n")
