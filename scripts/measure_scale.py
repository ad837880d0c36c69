"""How far does one run reach? Workers, the driver's ceiling, the store, start-up.

    python scripts/measure_scale.py

Scaling: the same networks by 1, 2, … processes of this machine, and by Ray with as many
workers. Ceiling: the driver of a Ray run with simulated workers that return records of
26 proxies at once, so that what is left is its own work. Store: bytes and seconds for a
record, written, indexed and loaded. Writes scale.json and scale.md. About 5 minutes;
the machine should do nothing else.
"""

from __future__ import annotations

import argparse
import gzip
import json
import os
import platform
import tempfile
import time
from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from typing import Any

import ray

import zcbench
from zcbench.config import RunConfig
from zcbench.engine import execute
from zcbench.engine.executors import ray as on_ray
from zcbench.engine.observer import Observer
from zcbench.engine.stacks import Stack
from zcbench.engine.work import Setup
from zcbench.report.text import markdown_table
from zcbench.store import Record, RunStore, load_run, read_done, read_records

CONFIG = RunConfig(
    space="nb201",
    datasets=("ImageNet16-120",),
    proxies=("suite",),
    minibatch="builtin",
    truth="none",
)
SIMULATED = 128
NB101, GPUS, SUITE, ALL_PROXIES = 423_624, 128, 14, 26


class Clock(Observer):
    """When the first network was done, and when the last."""

    def __init__(self) -> None:
        self.times: list[float] = []

    def start(self, total: int, done: int) -> None:  # noqa: ARG002
        """Begin to count."""
        self.began = time.perf_counter()

    def advance(self, failed: int) -> None:  # noqa: ARG002
        """One more."""
        self.times.append(time.perf_counter())


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--networks", type=int, default=160)
    parser.add_argument("--records", type=int, default=20_000)
    parser.add_argument("--source", type=Path, default=Path("results/nb201-1000"))
    parser.add_argument("-o", "--output", type=Path, default=Path("results/scale"))
    options = parser.parse_args()
    options.output.mkdir(parents=True, exist_ok=True)
    cores = len(os.sched_getaffinity(0))
    found: dict[str, Any] = {
        "cores": cores,
        "scaling": scaling(options.networks, cores),
        "ceiling": ceiling(options.source, options.records),
        "store": store(options.source, options.records),
        "machine": f"{platform.machine()}, Python {platform.python_version()}, "
        f"Ray {ray.__version__}",
        "networks": options.networks,
    }
    path = options.output / "scale.json"
    path.write_text(json.dumps(found, indent=1) + "\n", encoding="utf-8")
    text = in_words(found)
    path.with_suffix(".md").write_text(text, encoding="utf-8", newline="\n")
    print(text)


def scaling(networks: int, cores: int) -> list[dict[str, Any]]:
    """Networks per second once all workers are there, and the wait for the first."""
    rows = []
    workers = sorted({1, *(2**k for k in range(1, 10) if 2**k < cores), cores})
    for executor in ("local", "ray"):
        for count in workers:
            clock = Clock()
            with tempfile.TemporaryDirectory() as folder:
                config = replace(
                    CONFIG,
                    n=networks,
                    executor=executor,
                    workers=count,
                    out=Path(folder) / "run",
                )
                execute(config, clock)
            start = end_of_burst(clock.times, networks // 5)
            spread = clock.times[-1] - clock.times[start]
            rows.append(
                {
                    "executor": executor,
                    "workers": count,
                    "rate": (len(clock.times) - 1 - start) / spread,
                    "first": clock.times[0] - clock.began,
                }
            )
            print(rows[-1], flush=True)
    return rows


def end_of_burst(times: list[float], least: int) -> int:
    """The first network from there on after which nothing came for a moment.

    The networks of a task come together: to count from the middle of them would count
    the rest as if they had needed no time.
    """
    pairs = enumerate(pairwise(times))
    return next(i for i, (a, b) in pairs if i >= least and b - a > 0.02)


def records_of(source: Path, count: int) -> list[Record]:
    """So many records, distinct by their repeat, of what a run holds."""
    real = list(read_records(source))
    return [{**real[i % len(real)], "repeat": i // len(real)} for i in range(count)]


def ceiling(source: Path, count: int) -> dict[str, float]:
    """Records per second that a driver takes from workers that need no time."""
    real = records_of(source, 1)[0]

    def simulated(setup: Setup, chunk: tuple[Stack, ...]) -> list[Record]:
        del setup
        return [
            {**real, "status": {}, "index": item.index, "repeat": item.repeat}
            for stack in chunk
            for item in stack
        ]

    before = on_ray._score, on_ray._slots
    on_ray._score, on_ray._slots = simulated, lambda *_: SIMULATED
    try:
        clock = Clock()
        with tempfile.TemporaryDirectory() as folder:
            config = replace(
                CONFIG,
                n="all",
                repeats=-(-count // 15_625),
                executor="ray",
                out=Path(folder) / "run",
            )
            execute(config, clock)
    finally:
        on_ray._score, on_ray._slots = before
    half = len(clock.times) // 10  # the first tenth starts the workers
    spread = clock.times[-1] - clock.times[half]
    return {"rate": (len(clock.times) - 1 - half) / spread, "records": len(clock.times)}


def store(source: Path, count: int) -> dict[str, float]:
    """Seconds and bytes for each record."""
    records = records_of(source, count)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "run"
        start = time.perf_counter()
        with RunStore(path) as opened:
            opened.write_manifest(manifest_of(source))
            for record in records:
                opened.append(record)
        written = time.perf_counter() - start
        lines = (path / "scores.jsonl").read_bytes()
        start = time.perf_counter()
        read_done(path)
        indexed = time.perf_counter() - start
        start = time.perf_counter()
        load_run(path)
        loaded = time.perf_counter() - start
    return {
        "records": count,
        "bytes": len(lines) / count,
        "packed": len(gzip.compress(lines, 6)) / count,
        "write": written / count,
        "index": indexed / count,
        "load": loaded / count,
    }


def manifest_of(source: Path) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((source / "manifest.json").read_text())
    return found


def in_words(found: dict[str, Any]) -> str:
    rows = []
    for row in found["scaling"]:
        first = next(r for r in found["scaling"] if r["executor"] == "local")
        rows.append(
            (
                row["executor"],
                str(row["workers"]),
                f"{row['rate']:.2f}",
                f"{row['rate'] / first['rate']:.2f}",
                f"{row['first']:.1f}",
            )
        )
    head = ("executor", "workers", "networks/s", "× one", "s until the first")
    scale = markdown_table(head, rows, (False, True, True, True, True))
    kept, most = found["store"], found["ceiling"]["rate"]
    size = NB101 * kept["bytes"] / 1e9
    lines = (
        (
            f"driver, records of {ALL_PROXIES} proxies from {SIMULATED} simulated "
            "workers on this machine",
            f"{most:,.0f} records/s",
        ),
        ("store, appending a record", f"{1e6 * kept['write']:,.0f} µs"),
        ("store, a record", f"{kept['bytes']:,.0f} bytes"),
        ("the same in a gzip file", f"{kept['packed']:,.0f} bytes"),
        ("finding out what is done, a record", f"{1e6 * kept['index']:,.0f} µs"),
        ("`load_run`, a record", f"{1e6 * kept['load']:,.0f} µs"),
    )
    return (
        f"{scale}\n{found['networks']} cells of NAS-Bench-201, ImageNet16-120, batch "
        f"size 64, the {SUITE} proxies of `suite`; {found['cores']} cores.\n\n"
        f"{markdown_table(('what', 'measured'), lines, (False, True))}\n"
        f"So the {NB101:,} cells of NAS-Bench-101 on one dataset are {size:.2f} GB of "
        f"scores, and the driver alone needs {NB101 / most / 60:.1f} minutes for them. "
        f"It keeps {GPUS} GPUs (16 nodes of 8) busy as long as a network takes a GPU "
        f"longer than {1000 * GPUS / most:.0f} ms. To go on, a run reads what is done "
        f"in {NB101 * kept['index']:.0f} s; a report loads all of it in "
        f"{NB101 * kept['load']:.0f} s.\n\n`scripts/measure_scale.py` with zcbench "
        f"{zcbench.__version__}; {found['machine']}.\n"
    )


if __name__ == "__main__":
    main()
