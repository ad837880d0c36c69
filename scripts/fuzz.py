"""Give every reader and command line what nobody meant, and count what happens.

Good files of each kind are damaged by a seed (scripts/mutations.py) and given to the
commands that read them. Each must end with one of its exit codes and, where it fails,
with one sentence: no traceback, no end of the process, no waiting. What carries
checksums (scores, manifests, JSON reports) is read as it was written, or refused, or
its change is said: anything else is a wrong result accepted.

    python scripts/fuzz.py --inputs 20000 --seed 0 -o results/faults/fuzz.md

Commands run in processes of their own, many in each, with a limit of memory and of
seconds an input. What went wrong is kept under --keep. Exits with 1 if anything did.
"""

from __future__ import annotations

import argparse
import contextlib
import importlib
import multiprocessing
import os
import pkgutil
import platform
import random
import resource
import shutil
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from importlib.metadata import version
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import fuzz_files
import fuzz_readers
from mutations import mutated, special

import zcbench

SECONDS = 200
"""For one input; the slowest good one takes about ten on an idle machine."""
MEMORY = 12 << 30
PER_PROCESS = 500
OTHERS = ("sklearn.ensemble", "sklearn.linear_model", "jinja2", "pyarrow.parquet")
READ, REFUSED, TOLD = "read as it is", "refused", "its change is said"
TRACEBACK, WRONG, STUCK = "traceback", "wrong result accepted", "hung or died"
BAD_CODE = "exit code or sentence that is none"
OUTCOMES = (READ, REFUSED, TOLD, TRACEBACK, BAD_CODE, STUCK, WRONG)
FAULTS = OUTCOMES[3:]


def outcome(words: Sequence[str], may_differ: bool) -> tuple[str, Any]:
    """Run a command in this process; what came of it, and the result."""
    import click
    from click.testing import CliRunner

    from zcbench.cli import UNEXPECTED, exit_code_of, main

    if words[0] == fuzz_readers.IMAGES:
        program = click.Command(
            "images",
            callback=lambda: sys.exit(
                exit_code_of(lambda: fuzz_readers.read_images(words[1]))
            ),
        )
        done = CliRunner().invoke(program, [])
    else:
        done = CliRunner().invoke(main, list(words))
    said = done.stderr.splitlines()
    if done.exception is not None and not isinstance(done.exception, SystemExit):
        return TRACEBACK, done
    if any("Traceback" in line or UNEXPECTED in line for line in said):
        return TRACEBACK, done
    if done.exit_code == 1 and may_differ:
        verdicts = ("worse", "gone", "FAIL", "changed", "BROKEN", "missing", "damaged")
        return (READ if any(v in done.stdout for v in verdicts) else BAD_CODE), done
    if done.exit_code == 0:
        return READ, done
    ours = bool(said) and said[-1].startswith(("zcbench: ", "Usage: "))
    return (REFUSED if ours and done.exit_code in (2, 3, 4) else BAD_CODE), done


def try_reader(
    name: str, random: random.Random, good: Path, folder: Path
) -> tuple[str, str]:
    """One damaged input of a reader."""
    reader = fuzz_readers.READERS[name]
    shutil.copytree(good / reader.folder, folder / "in", symlinks=True)
    file = random.choice(reader.files)
    path = folder / "in" / file
    if random.random() < 0.04:
        how = special(random, path)
    else:
        content = mutated(random, path.read_bytes())
        path.write_bytes(content)
        how = f"{len(content)} bytes"
    places = {"i": folder / "in", "g": good, "o": folder / "out"}
    words = random.choice(reader.commands_of(file)).format_map(places).split()
    found, done = outcome(words, may_differ=words[0] in ("compare", "check", "data"))
    if found == READ and reader.check is not None:
        found = {"same": READ, "said": TOLD, "wrong": WRONG}[
            reader.check(good, folder / "in", done.stderr)
        ]
    return found, f"{path.name} ({how}): {' '.join(words)}\n{done.output}"


def try_command(random: random.Random, good: Path, folder: Path) -> tuple[str, str]:
    """One command line with options of its own and values that nobody meant."""
    words = fuzz_readers.command_line(random, good, folder)
    found, done = outcome(words, may_differ=True)
    shown = " ".join(word[:200] for word in words)
    shown = shown.encode(errors="backslashreplace").decode()
    return found, f"{shown}\n{done.output}"


def work(door: Connection, good: Path, jobs: Sequence[tuple[str, int]]) -> None:
    """Do jobs, telling of each before it is begun and when it is done."""
    resource.setrlimit(resource.RLIMIT_AS, (MEMORY, MEMORY))
    for stream in (sys.stdout, sys.stderr):
        os.dup2(os.open(os.devnull, os.O_WRONLY), stream.fileno())
    for name, seed in jobs:
        rng = random.Random(f"{name} {seed}")
        with tempfile.TemporaryDirectory(dir=good.parent) as place:
            folder = Path(place)
            os.chdir(folder)
            if name == "command lines":
                found = try_command(rng, good, folder)
            else:
                found = try_reader(name, rng, good, folder)
            os.chdir("/")
        door.send((name, seed, *found))
    door.send(None)


def run(
    good: Path, jobs: list[tuple[str, int]], keep: Path
) -> Iterator[Counter[tuple[str, str]]]:
    """Outcomes so far, after each process; one that waits or dies is replaced."""
    counts: Counter[tuple[str, str]] = Counter()
    context = multiprocessing.get_context("fork")
    while jobs:
        batch = jobs[:PER_PROCESS]
        here, there = context.Pipe()
        process = context.Process(target=work, args=(there, good, batch))
        process.start()
        there.close()
        n_done = 0
        with contextlib.suppress(EOFError):
            # Twice: time goes on for processes that are stopped.
            while any(here.poll(SECONDS) for _ in range(2)) and (told := here.recv()):
                name, seed, found, text = told
                counts[name, found] += 1
                n_done += 1
                if found in FAULTS:
                    note(keep, f"{name} {seed}: {found}: {text}")
        if n_done < len(batch):
            name, seed = batch[n_done]
            counts[name, STUCK] += 1
            note(keep, f"{name} {seed}: {STUCK}")
            n_done += 1
        process.kill()
        process.join()
        jobs = jobs[n_done:]
        print(f"{counts.total():,} done, {len(jobs):,} to do", file=sys.stderr)
        yield counts


def import_all() -> None:
    """Import here what every process would."""
    for module in pkgutil.walk_packages(zcbench.__path__, "zcbench."):
        if not module.name.endswith("__main__"):
            importlib.import_module(module.name)
    for name in (*OTHERS, "rich.table", "rich.console", "scipy.stats"):
        importlib.import_module(name)


def note(keep: Path, text: str) -> None:
    with keep.open("a", encoding="utf-8", errors="backslashreplace") as stream:
        stream.write(f"{text}\n{'-' * 72}\n")


def markdown(counts: Counter[tuple[str, str]], seed: int, seconds: float) -> str:
    """The counts as a page."""
    told = (
        f"`python scripts/fuzz.py --inputs {counts.total()} --seed {seed}` in "
        f"{seconds:,.0f} s; Python {platform.python_version()}, torch "
        f"{version('torch')}, {platform.machine()}, one process at a time on a busy "
        f"machine.\n\nOf what has checksums, “{READ}” means that every score, setting "
        f"and correlation is the one written; “{TOLD}”, that stderr says that it may "
        "not be. Tables of the user's own have none: a digit changed is another table."
    )
    names = [*fuzz_readers.READERS, "command lines"]
    rows = [[name, *(counts[name, o] for o in OUTCOMES)] for name in names]
    rows.append(["**all**", *(sum(r[i] for r in rows) for i in range(1, 8))])
    lines = [f"| what | inputs | {' | '.join(OUTCOMES)} |"]
    lines.append(f"| --- |{' ---: |' * (len(OUTCOMES) + 1)}")
    for name, *numbers in rows:
        cells = [name, f"{sum(numbers):,}", *(f"{number:,}" for number in numbers)]
        lines.append(f"| {' | '.join(map(str, cells))} |")
    return "# Inputs that nobody meant\n\n" + told + "\n\n" + "\n".join(lines) + "\n"


def main() -> None:
    """Parse, make good files, damage them, report."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--inputs", type=int, default=2000)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--only", help="one reader, by its name in the table")
    parser.add_argument("--keep", type=Path, default=Path("fuzz.log"))
    parser.add_argument("-o", "--output", type=Path)
    options = parser.parse_args()
    os.environ.update(OMP_NUM_THREADS="1", ZCBENCH_CACHE="/nonexistent")
    names = [options.only] if options.only else [*fuzz_readers.READERS, "command lines"]
    jobs = [
        (names[i % len(names)], options.seed * 10**9 + i) for i in range(options.inputs)
    ]
    keep = options.keep.resolve()
    began = time.monotonic()
    with tempfile.TemporaryDirectory() as place:
        good = Path(place) / "good"
        fuzz_files.make_good(good)
        import_all()
        for counts in run(good, jobs, keep):
            page = markdown(counts, options.seed, time.monotonic() - began)
            if options.output:
                options.output.write_text(page, encoding="utf-8")
    print(page)
    sys.exit(any(counts[name, fault] for name in names for fault in FAULTS))


if __name__ == "__main__":
    main()
