"""How far the passes of one network are from what the machine allows.

    python scripts/measure_floor.py --n 12 --out results/benchmark/floor

Counts the floating-point operations and the bytes that each pass of a network asks for,
measures how fast this machine does convolutions, matrix products and copies of such
sizes, and sets the time that follows beside the measured one. The passes of the suite,
of all proxies, and a plain training step of the literal network. Writes OUT.json and
OUT.md.
"""

from __future__ import annotations

import argparse
import json
import math
import sys
import time
from collections import Counter
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from benchmark_proxies import machine
from measure_launches import Count
from torch.utils.flop_counter import FlopCounterMode

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "tests"))

from networks import TinyNetwork

import zcbench
from zcbench.engine.process import keep_freed_memory
from zcbench.engine.sample import sample
from zcbench.evidence.clock import Clock
from zcbench.evidence.passes import make_records
from zcbench.evidence.subject import make_subject
from zcbench.minibatch import open_source
from zcbench.plan import make_plan
from zcbench.proxies import PROXIES

CPU = torch.device("cpu")
STEP, SUITE, ALL = "plain training step", "the suite", "all proxies"
NEEDS = {
    SUITE: make_plan(PROXIES.select("suite")).records,
    ALL: make_plan(PROXIES.select("all")).records,
}
AMOUNTS = ("GFLOP", "GB", "seconds")


def of_gradients(
    delta: Sequence[int], _: Sequence[int], weight: Sequence[int], *rest: Any, **__: Any
) -> int:
    """Operations of the gradients of a convolution: each takes those of the forward.

    torch's own count takes a grouped convolution, such as all images at once, for a
    dense one in the gradient of the weight.
    """
    wanted = sum(rest[-1][:2])  # of input and weight
    return 2 * math.prod(delta) * math.prod(weight[1:]) * wanted


GROUPED = {torch.ops.aten.convolution_backward: of_gradients}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--n", type=int, default=12, help="architectures")
    parser.add_argument("--task", default="cifar10")
    parser.add_argument("--batch-size", type=int, default=64)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--out", type=Path, default=Path("results/benchmark/floor"))
    options = parser.parse_args()
    torch.set_num_threads(1)
    keep_freed_memory()
    found = {"rates": rates(options.batch_size), **work(options)}
    report = {
        "options": {k: str(v) for k, v in vars(options).items() if k != "out"},
        "machine": machine(1),
        **found,
    }
    options.out.parent.mkdir(parents=True, exist_ok=True)
    text = json.dumps(report, indent=1)
    options.out.with_suffix(".json").write_text(text + "\n", encoding="utf-8")
    page = describe(report)
    options.out.with_suffix(".md").write_text(page, encoding="utf-8")
    print(page)


def rates(batch_size: int) -> dict[str, float]:
    """Operations and bytes per second, the best of several tries, on one thread."""
    square = torch.randn(1024, 1024)
    speed = {
        "matrix product 1024, GFLOP/s": 2e-9 * 1024**3 / best(lambda: square @ square)
    }
    for channels, size in ((16, 32), (32, 16), (64, 8)):
        shape = (batch_size, channels, size, size)
        x = torch.randn(shape).contiguous(memory_format=torch.channels_last)
        w = torch.randn(channels, channels, 3, 3)
        w = w.contiguous(memory_format=torch.channels_last)
        work = 2e-9 * x.numel() * channels * 9
        seconds = best(lambda x=x, w=w: F.conv2d(x, w, padding=1))
        speed[f"convolution 3×3, {channels} channels, GFLOP/s"] = work / seconds
    for megabytes in (4, 256):
        source = torch.randn(megabytes * 2**18)
        target = torch.empty_like(source)
        moved = 2e-9 * source.numel() * 4
        seconds = best(lambda s=source, t=target: t.copy_(s))
        speed[f"copy of {megabytes} MiB, GB/s"] = moved / seconds
    return speed


def best(action: Callable[[], object], tries: int = 30) -> float:
    """Seconds of the fastest of some calls."""
    action()
    fastest = float("inf")
    for _ in range(tries):
        start = time.perf_counter()
        action()
        fastest = min(fastest, time.perf_counter() - start)
    return fastest


def work(options: argparse.Namespace) -> dict[str, dict[str, float]]:
    """GFLOP, GB and seconds of each pass of one network: means over a sample."""
    space = zcbench.load_space("nb201")
    batch = open_source("builtin", space.tasks[options.task]).batch(
        options.batch_size, seed=options.seed
    )
    chosen = sample(space, options.n, seed=options.seed, population="all")
    totals = {amount: Counter() for amount in AMOUNTS}
    passes_of(space, chosen[0], options.task, batch, time.perf_counter)
    for index in chosen:
        flops = FlopCounterMode(display=False, custom_mapping=GROUPED)
        count = Count()
        modes: dict[str, tuple[AbstractContextManager, Callable[[], float]]] = {
            "GFLOP": (flops, lambda f=flops: f.get_total_flops() / 1e9),
            "GB": (count, lambda c=count: c.bytes / 1e9),
            "seconds": (nullcontext(), time.perf_counter),
        }
        for amount, (mode, now) in modes.items():
            with mode:
                amounts = passes_of(space, index, options.task, batch, now)
            totals[amount].update({k: v / len(chosen) for k, v in amounts.items()})
    return {amount: dict(total) for amount, total in totals.items()}


def passes_of(
    space: Any, index: int, task: str, batch: zcbench.Batch, now: Callable[[], float]
) -> dict[str, float]:
    """Of each pass of all proxies, of the suite as a whole, and of a training step."""
    arch = space.architecture(index)
    spent = {}
    for name, needs in NEEDS.items():
        clock = Clock(CPU, now)
        make_records(make_subject(space.build(arch, task), batch, 0), needs, clock)
        spent[name] = sum(clock.seconds.values())
    literal = TinyNetwork(arch.spec, space.tasks[task].n_classes)
    clocked = Clock(CPU, now)
    with clocked.time(STEP):
        F.cross_entropy(literal(batch.x), batch.y).backward()
    return {**clock.seconds, **spent, **clocked.seconds}


def describe(report: dict[str, Any]) -> str:
    rate, options = report["rates"], report["options"]
    fastest = max(value for name, value in rate.items() if "GFLOP" in name)
    copy = max(value for name, value in rate.items() if "GB/s" in name)
    step = report["seconds"][STEP]
    names = sorted(report["seconds"], key=report["seconds"].get)
    rows = []
    for name in names:
        gflop, gb, seconds = (report[amount].get(name, 0.0) for amount in AMOUNTS)
        floor = gflop / fastest + gb / copy
        over = f"{seconds / floor:.1f}" if floor else "–"
        rows.append(
            f"| {name} | {gflop:.1f} | {gb:.2f} | {1e3 * floor:.0f} | "
            f"{1e3 * seconds:.0f} | {over} | {floor / step:.2f} | "
            f"{seconds / step:.2f} |"
        )
    return "\n".join(
        [
            "## The floor",
            "",
            "| measured rate | |",
            "| --- | ---: |",
            *(f"| {name} | {value:.1f} |" for name, value in rate.items()),
            "",
            "| pass | GFLOP | GB | floor, ms | measured, ms | over the floor "
            "| floor, steps | measured, steps |",
            "| --- " + "| ---: " * 7 + "|",
            *rows,
            "",
            f"Floor: the operations at {fastest:.0f} GFLOP/s, then the bytes at "
            f"{copy:.0f} GB/s. A step is a forward and a loss backward of the plain, "
            f"contiguous network. Mean over {options['n']} random NAS-Bench-201 "
            f"architectures, {options['task']}, batch size {options['batch_size']}, "
            f"float32, one thread, {report['machine']['cpu']}, torch "
            f"{report['machine']['torch']}. "
            f"Made by `python scripts/measure_floor.py --n {options['n']}`.",
            "",
        ]
    )


if __name__ == "__main__":
    main()
