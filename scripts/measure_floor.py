"""How far all proxies on one network are from what the machine allows.

    python scripts/measure_floor.py --n 12 --out results/benchmark/floor

Counts the floating-point operations and the bytes that the passes of a network ask for,
measures how fast this machine does convolutions, matrix products and copies of such
sizes, and sets the time that follows beside the measured one. Writes OUT.json and
OUT.md.
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from benchmark_proxies import machine
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves
from torch.utils.flop_counter import FlopCounterMode

import zcbench
from zcbench.engine.process import keep_freed_memory
from zcbench.engine.sample import sample
from zcbench.evaluate import evaluate
from zcbench.minibatch import open_source
from zcbench.plan import make_plan
from zcbench.proxies import PROXIES

PLAN = make_plan(PROXIES.select("all"))


class Traffic(TorchDispatchMode):
    """Sums the bytes of all tensors that operations read and write, views left out."""

    def __init__(self) -> None:
        super().__init__()
        self.total = 0

    def __torch_dispatch__(
        self, func: Any, types: Any, args: Any = (), kwargs: Any = None
    ) -> Any:
        out = func(*args, **(kwargs or {}))
        if not func.is_view:
            tensors = [
                t for t in tree_leaves((args, kwargs, out)) if torch.is_tensor(t)
            ]
            distinct = {t.data_ptr(): t.numel() * t.element_size() for t in tensors}
            self.total += sum(distinct.values())
        return out


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


def work(options: argparse.Namespace) -> dict[str, float]:
    """GFLOP, GB and seconds of one network with all proxies: means over a sample."""
    space = zcbench.load_space("nb201")
    batch = open_source("builtin", space.tasks[options.task]).batch(
        options.batch_size, seed=options.seed
    )
    total = {"GFLOP": 0.0, "GB": 0.0, "seconds": 0.0}
    chosen = sample(space, options.n, seed=options.seed, population="all")

    def run(index: int) -> float:
        network = space.build(space.architecture(index), options.task)
        return evaluate(network, batch, PLAN).seconds["total"]

    run(chosen[0])
    for index in chosen:
        counter, traffic = FlopCounterMode(display=False), Traffic()
        with counter:
            run(index)
        with traffic:
            run(index)
        total["GFLOP"] += counter.get_total_flops() / 1e9 / len(chosen)
        total["GB"] += traffic.total / 1e9 / len(chosen)
        total["seconds"] += min(run(index) for _ in range(3)) / len(chosen)
    return total


def describe(report: dict[str, Any]) -> str:
    rate, options = report["rates"], report["options"]
    fastest = max(value for name, value in rate.items() if "GFLOP" in name)
    copy = max(value for name, value in rate.items() if "GB/s" in name)
    compute, memory = report["GFLOP"] / fastest, report["GB"] / copy
    rows = [f"| {name} | {value:.1f} |" for name, value in rate.items()]
    return "\n".join(
        [
            "## The floor",
            "",
            "| measured rate | |",
            "| --- | ---: |",
            *rows,
            "",
            "| one network, all proxies | |",
            "| --- | ---: |",
            f"| operations, GFLOP | {report['GFLOP']:.1f} |",
            f"| bytes read and written by its operations, GB | {report['GB']:.2f} |",
            f"| time of the operations at {fastest:.0f} GFLOP/s | "
            f"{1e3 * compute:.0f} ms |",
            f"| time of the bytes at {copy:.0f} GB/s | {1e3 * memory:.0f} ms |",
            f"| floor: both, one after the other | {1e3 * (compute + memory):.0f} ms |",
            f"| measured | {1e3 * report['seconds']:.0f} ms |",
            f"| measured over floor | {report['seconds'] / (compute + memory):.2f} |",
            "",
            f"Mean over {options['n']} random NAS-Bench-201 architectures, "
            f"{options['task']}, batch size {options['batch_size']}, float32, one "
            f"thread, {report['machine']['cpu']}, torch {report['machine']['torch']}. "
            f"Made by `python scripts/measure_floor.py --n {options['n']}`.",
            "",
        ]
    )


if __name__ == "__main__":
    main()
