"""Networks per second and memory when many networks are scored at once.

    python scripts/benchmark_stack.py
    python scripts/benchmark_stack.py --device cuda --stacks 1 16 64 256

Speed: all built-in proxies on random architectures, `--stack` 1 (the one-network
engine) and more, one thread, the fastest of some rounds; on a CPU by the time of the
process, so that others on the machine do not count. A stack is left out that by the
count of `zcbench.engine.memory` does not fit.

Memory: peak resident memory of whole runs of few and of many architectures, cheap
proxies and a small minibatch, each run a process of its own.

Writes OUT.json and OUT.md.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import torch
from benchmark_proxies import machine

import zcbench
from zcbench.engine.evaluator import StackEvaluator
from zcbench.engine.memory import (
    bytes_of_networks,
    largest_stack,
    memory_for_stacks,
)
from zcbench.engine.process import keep_freed_memory
from zcbench.engine.sample import sample
from zcbench.minibatch import open_source
from zcbench.plan import make_plan
from zcbench.proxies import PROXIES

CASES = (("toy", "toy", 64), ("nb201", "ImageNet16-120", 64), ("nb201", "cifar10", 64))
"""Space, task and batch size."""

RUN = """
import json, sys
import zcbench
from zcbench.config import RunConfig
from pathlib import Path
n, stack, proxies, batch_size, out = json.loads(sys.argv[1])
zcbench.run(RunConfig(space="nb201", datasets=("ImageNet16-120",), n=n, stack=stack,
    proxies=proxies, batch_size=batch_size, minibatch="builtin", truth="none",
    workers=1, device="cpu", out=Path(out)))
status = Path("/proc/self/status").read_text()  # rusage would count the parent's, too
print(next(l.split()[1] for l in status.splitlines() if l.startswith("VmHWM")))
"""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--stacks", type=int, nargs="+", default=[1, 4, 16, 64])
    parser.add_argument("--n", type=int, default=16, help="architectures, at least")
    parser.add_argument("--rounds", type=int, default=1, help="the fastest counts")
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--few", type=int, default=100, help="architectures of a run")
    parser.add_argument("--many", default="2000", help="the same; or all")
    parser.add_argument("--memory-proxies", default="params,snip,nwot")
    parser.add_argument("--memory-batch-size", type=int, default=4)
    parser.add_argument("--out", type=Path, default=Path("results/benchmark/stack"))
    options = parser.parse_args()
    report = {
        "options": {k: str(v) for k, v in vars(options).items() if k != "out"},
        "machine": machine(1) | {"device": device_name(options.device)},
        "memory": memory(options),
        "speed": [row for case in CASES for row in speed(case, options)],
    }
    options.out.parent.mkdir(parents=True, exist_ok=True)
    text = json.dumps(report, indent=1)
    options.out.with_suffix(".json").write_text(text + "\n", encoding="utf-8")
    page = describe(report)
    options.out.with_suffix(".md").write_text(page, encoding="utf-8")
    print(page)


def speed(
    case: tuple[str, str, int], options: argparse.Namespace
) -> list[dict[str, object]]:
    """Milliseconds per network of one case, a row for each stack that fits."""
    name, task, batch_size = case
    torch.set_num_threads(1)
    keep_freed_memory()
    space = zcbench.load_space(name)
    plan = make_plan(PROXIES.select("all"))
    batch = open_source("builtin", space.tasks[task]).batch(batch_size, seed=0)
    rows: list[dict[str, object]] = []
    for stack in options.stacks:
        n = max(options.n, stack)
        chosen = (sample(space, n, seed=options.seed, population="all") * n)[:n]
        archs = [space.architecture(index) for index in chosen]
        sizes = bytes_of_networks(space, archs, task, batch_size, plan.records)
        row = {"space": name, "task": task, "batch size": batch_size, "stack": stack}
        if largest_stack(sizes[:stack], memory_for_stacks(options.device)) < (
            min(stack, len(archs))
        ):
            rows.append(row | {"ms": None})
            continue
        evaluator = StackEvaluator(space, task, batch, plan, device=options.device)
        evaluator.most = stack
        evaluator(archs[:stack])
        spent = min(seconds(evaluator, archs) for _ in range(options.rounds))
        if evaluator.most != stack:
            raise SystemExit(f"memory ran out at stack {stack}")
        row |= {"ms": 1000 * spent / n, "networks": n}
        rows.append(row | {"counted MB": sum(sizes) / n / 2**20})
        print(row, file=sys.stderr)
    return rows


def seconds(evaluator: StackEvaluator, archs: list[zcbench.Architecture]) -> float:
    """Of the process on a CPU, of the clock elsewhere; results are on the CPU."""
    cpu = evaluator.device.type == "cpu"
    clock = time.process_time if cpu else time.perf_counter
    start = clock()
    evaluator(archs)
    return clock() - start


def memory(options: argparse.Namespace) -> list[dict[str, object]]:
    """Peak resident memory of runs of few and many architectures."""
    rows = []
    many = options.many if options.many == "all" else int(options.many)
    for stack in (1, 16):
        for n in (options.few, many):
            with tempfile.TemporaryDirectory() as folder:
                proxies = options.memory_proxies.split(",")
                size = options.memory_batch_size
                given = json.dumps([n, stack, proxies, size, f"{folder}/run"])
                found = subprocess.run(
                    [sys.executable, "-c", RUN, given],
                    check=True,
                    capture_output=True,
                    text=True,
                )
            peak = int(found.stdout.split()[-1]) / 1024
            rows.append({"stack": stack, "architectures": n, "peak MB": peak})
            print(rows[-1], file=sys.stderr)
    return rows


def device_name(device: str) -> str:
    return torch.cuda.get_device_name(device) if device.startswith("cuda") else "CPU"


def describe(report: dict) -> str:
    about, options = report["machine"], report["options"]
    where = about["device"] if about["device"] != "CPU" else f"{about['cpu']}, 1 thread"
    n_proxies = len(PROXIES.select("all"))
    alone = {
        (row["space"], row["task"]): row["ms"]
        for row in report["speed"]
        if row["stack"] == 1
    }
    lines = [
        "## Networks scored at once",
        "",
        "| networks | batch size | stack | ms per network | networks per s | over 1 |",
        "| --- | ---: | ---: | ---: | ---: | ---: |",
    ]
    for row in report["speed"]:
        name = (
            f"| {row['space']} {row['task']} | {row['batch size']} | {row['stack']} |"
        )
        if row["ms"] is None:
            lines.append(f"{name} does not fit | | |")
            continue
        base = alone.get((row["space"], row["task"]))
        ratio = f"{base / row['ms']:.2f}" if base else ""
        per_second = 1000 / row["ms"]
        lines.append(f"{name} {row['ms']:.1f} | {per_second:.2f} | {ratio} |")
    lines += [
        "",
        f"All {n_proxies} built-in proxies, float32, random architectures, {where}, "
        f"torch {about['torch']}; after a warm-up, fastest of {options['rounds']}.",
        "",
        "| stack | architectures of the run | peak resident memory, MB |",
        "| ---: | ---: | ---: |",
        *(
            f"| {row['stack']} | {row['architectures']:,} | {row['peak MB']:.0f} |"
            if isinstance(row["architectures"], int)
            else f"| {row['stack']} | 15,625 | {row['peak MB']:.0f} |"
            for row in report["memory"]
        ),
        "",
        f"`zcbench run` of {options['memory_proxies']}, ImageNet16-120, batch size "
        f"{options['memory_batch_size']}, one worker on a CPU. Made by `python "
        "scripts/benchmark_stack.py`.",
        "",
    ]
    return "\n".join(lines)


if __name__ == "__main__":
    main()
