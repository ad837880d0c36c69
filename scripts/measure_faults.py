"""Kill runs at random moments, go on with them, and compare with one left in peace.

Every trial is a process that runs the engine on the space toy and is killed with
SIGKILL: at a random time, before, halfway through or after a random operation on a
file, or, in a run with two workers, one of these. The next trial goes on with the
directory. After each kill every line that was whole must still be there and equal to
the undisturbed run; a directory that is complete must equal it altogether.

    python scripts/measure_faults.py --kills 200 --seed 0
    python scripts/measure_faults.py --kills 2000 -o results/faults/kills.md

Needs a system with fork. Prints a JSON summary; exits with 1 if anything was lost.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import mmap
import multiprocessing
import os
import platform
import random
import select
import signal
import sys
import tempfile
import time
import traceback
from collections import Counter
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch

from zcbench.config import RunConfig
from zcbench.engine import run
from zcbench.store import read_records

Scores = dict[tuple[str, int, int], dict[str, Any]]

CONFIG = RunConfig(
    space="toy",
    batch_size=4,
    repeats=2,
    truth="none",
    workers=1,
    minibatch="gaussian",
    device="cpu",
    proxies=("params", "snip"),
)
N_ARCHS = 10
KINDS = (*["time"] * 8, *["file"] * 8, "worker", "driver")
_LONGEST = 60.0  # seconds
PHASES = ("before the first line", "between lines", "inside a write", "at the end")


def scores_of(path: Path) -> tuple[Scores, int]:
    """Scores and status of each key, and how many lines repeat one."""
    found: Scores = {}
    repeated = 0
    for line in read_records(path):
        key = (line["dataset"], line["index"], line["repeat"])
        said = {name: line.get(name, {}) for name in ("arch", "scores", "status")}
        repeated += key in found
        found[key] = said
    return found, repeated


class Files:
    """Counts what a process does to files, and kills it at one of these moments.

    Args:
        phase: one shared byte, the place in `PHASES` where the process is.
        target: which operation to die at, from 0; -1 for none.
        when: ``"before"``, ``"half"`` or ``"after"`` it.
    """

    def __init__(self, phase: mmap.mmap, target: int = -1, when: str = "") -> None:
        self.phase = phase
        self.target = target
        self.when = when
        self.count = 0
        self.owner = os.getpid()
        self._write = os.write

    def install(self) -> None:
        """Watch this process from now on; it is never undone."""
        os.write = self._watched_write  # type: ignore[assignment]
        for module, name in ((os, "fsync"), (os, "ftruncate"), (Path, "replace")):
            setattr(module, name, self._watched(getattr(module, name)))

    def _watched(self, function: Callable[..., Any]) -> Callable[..., Any]:
        def watched(*args: Any) -> Any:
            self._die("before")
            result = function(*args)
            self._die("after")
            self.count += 1
            return result

        return watched

    def _watched_write(self, file: int, data: Any) -> int:
        if bytes(data[:8]) != b'{"space"':  # pipes and locks
            return self._write(file, data)
        self.phase[0] = 2
        self._die("before")
        half = len(data) // 2
        self._write(file, data[:half])
        self._die("half")
        self._write(file, data[half:])
        self._die("after")
        self.count += 1
        self.phase[0] = 1
        return len(data)

    def _die(self, when: str) -> None:
        mine = os.getpid() == self.owner
        if mine and self.count == self.target and when == self.when:
            os.kill(os.getpid(), signal.SIGKILL)


def start(
    config: RunConfig, phase: mmap.mmap, target: int, when: str
) -> tuple[int, int]:
    """Run the engine in a child; its number of file operations ends up in `phase`.

    Gives its pid and a pipe that ends once it and all that it has started are gone.
    """
    phase[:5] = bytes(5)
    alive, kept = os.pipe()
    pid = os.fork()
    if pid:
        os.close(kept)
        return pid, alive
    code = 1
    try:
        files = Files(phase, target, when)
        files.install()
        run(config)
        phase[0] = 3
        phase[1:5] = files.count.to_bytes(4, "little")
        code = 0
    except Exception:
        traceback.print_exc()
    finally:
        os._exit(code)


def children(pid: int) -> list[int]:
    """Processes that a process has started, on Linux."""
    with contextlib.suppress(OSError):
        text = Path(f"/proc/{pid}/task/{pid}/children").read_text()
        return [int(child) for child in text.split()]
    return []


def end(pid: int, alive: int) -> int:
    """Exit code of a child, once all that it has started is gone too.

    Forked workers have its locks, also one that was started just before the kill.
    """
    code = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
    if not select.select([alive], [], [], _LONGEST)[0]:
        raise SystemExit("A worker outlives its driver.")
    os.close(alive)
    return code


class Trials:
    """Kills, and what is left after each of them.

    Args:
        folder: for run directories.
        seed: of the moments.
    """

    def __init__(self, folder: Path, seed: int) -> None:
        self.folder = folder
        self.random = random.Random(seed)
        self.phase = mmap.mmap(-1, 5)
        self.kills: Counter[str] = Counter()
        self.phases: Counter[str] = Counter()
        self.n_torn = self.n_lost = self.n_wrong = self.n_doubled = 0
        self.n_directories = 0
        self.config = replace(CONFIG, archs=folder / "archs")
        (folder / "archs").write_text("".join(f"{i * 2}\n" for i in range(N_ARCHS)))
        run(self._next_directory())  # imports here what every child then has
        self.expected, _ = scores_of(self.path)
        began = time.monotonic()
        if end(*start(self._next_directory(), self.phase, -1, "")):
            raise SystemExit("The undisturbed run failed.")
        self.seconds = time.monotonic() - began
        self.n_operations = int.from_bytes(self.phase[1:5], "little")
        self.n_directories = 0
        self._next_directory()

    def _next_directory(self) -> RunConfig:
        self.n_directories += 1
        self.path = self.folder / f"run-{self.random.random()}"
        self.before: Scores = {}
        self.config = replace(self.config, out=self.path)
        return self.config

    def go(self, n: int) -> None:
        """Kill n times, then let the last directory come to its end."""
        left: list[str] = []
        while self.kills.total() < n:
            left = left or self.random.sample(KINDS, len(KINDS))
            self._trial(left.pop())
        if end(*start(self.config, self.phase, -1, "")):
            self.n_wrong += 1
        self._check_complete()

    def _trial(self, kind: str) -> None:
        config, target, when = self.config, -1, ""
        if kind == "file":
            target = self.random.randrange(self.n_operations)
            when = self.random.choice(("before", "half", "after"))
        if kind in ("worker", "driver"):
            config = replace(config, workers=2)
        pid, alive = start(config, self.phase, target, when)
        orphans: list[int] = []
        victim = pid
        if kind != "file":
            time.sleep(self.random.random() * self.seconds)
            if kind in ("worker", "driver"):
                victim, orphans = self._with_workers(pid, kind)
            # Forked workers hold each other's pipes, so none would see the driver go.
            for process in [victim, *(orphans if victim == pid else [])]:
                with contextlib.suppress(ProcessLookupError):
                    os.kill(process, signal.SIGKILL)
        code = end(pid, alive)
        if code == -signal.SIGKILL or (kind == "worker" and victim != pid):
            self.kills[kind] += 1
            self.phases[PHASES[self.phase[0]]] += 1
            self._check()
        if code == 0:
            self._check_complete()
            self._next_directory()
        elif code != -signal.SIGKILL:  # it could not go on
            self.n_wrong += 1
            self._next_directory()

    def _with_workers(self, pid: int, kind: str) -> tuple[int, list[int]]:
        """Whom to kill once there are workers, and all of them."""
        while not (found := children(pid)) and not has_ended(pid):
            time.sleep(0.002)
        time.sleep(self.random.random() * self.seconds)
        victim = self.random.choice(found) if found and kind == "worker" else pid
        return victim, children(pid) or found

    def _check(self) -> None:
        """Every whole line of before is there, and none differs."""
        file = self.path / "scores.jsonl"
        if not file.exists():
            self.n_lost += len(self.before)
            return
        self.n_torn += not file.read_bytes().endswith(b"\n") and file.stat().st_size > 0
        found, repeated = scores_of(self.path)
        self.n_lost += len(self.before.keys() - found.keys())
        self.n_wrong += sum(said != self.expected[key] for key, said in found.items())
        self.n_doubled += repeated
        self.before = found

    def _check_complete(self) -> None:
        found, repeated = scores_of(self.path)
        self.n_lost += len(self.expected.keys() - found.keys())
        self.n_wrong += found != self.expected
        self.n_doubled += repeated

    def summary(self) -> dict[str, Any]:
        """What happened, in numbers."""
        return {
            "kills": self.kills.total(),
            "of": dict(self.kills),
            "where": {name: self.phases[name] for name in PHASES},
            "torn": self.n_torn,
            "directories": self.n_directories,
            "lines": len(self.expected),
            "lost": self.n_lost,
            "wrong": self.n_wrong,
            "doubled": self.n_doubled,
        }


def has_ended(pid: int) -> bool:
    """Whether a child is done; it can still be waited for."""
    return os.waitid(os.P_PID, pid, os.WEXITED | os.WNOHANG | os.WNOWAIT) is not None


def markdown(summary: dict[str, Any], seed: int, seconds: float) -> str:
    """The summary as a page."""
    rows = [
        ("kills", f"{summary['kills']:,}"),
        *((f"kills of kind {k}", f"{v:,}") for k, v in sorted(summary["of"].items())),
        *((f"killed {k}", f"{v:,}") for k, v in summary["where"].items()),
        ("kills that left a torn last line", f"{summary['torn']:,}"),
        ("run directories brought to their end", f"{summary['directories']:,}"),
        ("lines in each", f"{summary['lines']:,}"),
        ("**lines lost**", f"{summary['lost']:,}"),
        ("**lines doubled**", f"{summary['doubled']:,}"),
        ("**scores that differ from the undisturbed run**", f"{summary['wrong']:,}"),
    ]
    table = "\n".join(f"| {name} | {value} |" for name, value in rows)
    return (
        "# Random kills\n\n"
        f"`python scripts/measure_faults.py --kills {summary['kills']} --seed {seed}`"
        f" in {seconds:.0f} s; Python {platform.python_version()}, torch "
        f"{torch.__version__}, {platform.machine()}.\n\n"
        f"| | |\n|---|---:|\n{table}\n"
    )


def main() -> None:
    """Parse, kill, report."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--kills", type=int, default=200)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("-o", "--output", type=Path)
    options = parser.parse_args()
    torch.set_num_threads(1)
    # Workers start in milliseconds instead of seconds. Safe with one thread and no GPU.
    fork = multiprocessing.get_context("fork")
    multiprocessing.get_context = lambda _=None: fork  # type: ignore[assignment]
    began = time.monotonic()
    with tempfile.TemporaryDirectory() as folder:
        trials = Trials(Path(folder), options.seed)
        trials.go(options.kills)
    summary = trials.summary()
    print(json.dumps(summary))
    if options.output:
        page = markdown(summary, options.seed, time.monotonic() - began)
        options.output.write_text(page, encoding="utf-8")
    sys.exit(any(summary[name] for name in ("lost", "wrong", "doubled")))


if __name__ == "__main__":
    main()
