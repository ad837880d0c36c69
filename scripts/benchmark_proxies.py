"""Time all proxies through zcbench against one by one, in plain training steps.

Four things are timed over the same random NAS-Bench-201 networks, one after the other
for each network and in turning order, so that a drift of the machine cancels:

- a plain training step: forward and loss backward of the literal, contiguous network;
- every proxy of the suite on its own, as the literal references of `tests/reference`
  compute it, each with its own copy of the network and its own passes: in float32, and
  once in float64, in which the tests use them;
- the suite through `zcbench.evaluate.evaluate`, with the network's building and
  without;
- all proxies through it, with the split by pass, and what each adds to the others.

    python scripts/benchmark_proxies.py --n 24 --threads 1 --out results/benchmark
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import statistics
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import torch
from torch import nn

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "tests"))

from networks import TinyNetwork
from reference import reference

from zcbench import Batch, load_space
from zcbench.engine.process import keep_freed_memory
from zcbench.evaluate import evaluate
from zcbench.plan import Plan, make_plan
from zcbench.proxies import PROXIES, SUITE
from zcbench.types import Architecture, Evaluation

STEP = "plain training step"
SEPARATE = "the suite, one by one, float32"
SEPARATE64 = "the suite, one by one, float64"
SHARED = "the suite, zcbench"
WHOLE = "all proxies, zcbench"
BUILD = "building the network, zcbench"
BUILT = "the suite, zcbench, with building"


@dataclass
class Timings:
    """Seconds by what was timed: one list entry per network, each a median."""

    main: dict[str, list[float]] = field(default_factory=dict)
    proxies: dict[str, list[float]] = field(default_factory=dict)
    passes: dict[str, list[float]] = field(default_factory=dict)
    marginal: dict[str, list[float]] = field(default_factory=dict)

    def add(self, *network: dict[str, list[float]]) -> None:
        """Medians of one network: main, proxies, passes, marginal."""
        targets = (self.main, self.proxies, self.passes, self.marginal)
        for timings, target in zip(network, targets, strict=True):
            for name, values in timings.items():
                target.setdefault(name, []).append(statistics.median(values))


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--n", type=int, default=24, help="networks (default 24)")
    parser.add_argument("--task", default="cifar10", help="default cifar10")
    parser.add_argument("--batch-size", type=int, default=64, help="default 64")
    parser.add_argument("--threads", type=int, default=1, help="default 1")
    parser.add_argument(
        "--rounds", type=int, default=2, help="timings of each (default 2)"
    )
    parser.add_argument("--seed", type=int, default=0, help="of the sample")
    parser.add_argument("--out", type=Path, help="writes OUT.json and OUT.md")
    return parser.parse_args()


def machine(threads: int) -> dict[str, object]:
    """What the times depend on; nothing that names the machine itself."""
    model = platform.processor() or platform.machine()
    cpuinfo = Path("/proc/cpuinfo")
    if cpuinfo.exists():
        lines = cpuinfo.read_text(encoding="utf-8").splitlines()
        named = [line for line in lines if line.startswith("model name")]
        models = [line.partition(":")[2].strip() for line in named]
        model = models[0] if models else model
    return {
        "cpu": model,
        "cores": os.cpu_count(),
        "threads": threads,
        "system": f"{platform.system()} {platform.machine()}",
        "python": platform.python_version(),
        "torch": torch.__version__,
        "capability": torch.backends.cpu.get_cpu_capability(),
    }


def seconds(action: Callable[[], object]) -> float:
    start = time.perf_counter()
    action()
    return time.perf_counter() - start


def training_step(net: nn.Module, batch: Batch) -> None:
    net.zero_grad(set_to_none=True)
    nn.functional.cross_entropy(net(batch.x), batch.y).backward()


def separate_float64(literal: nn.Module, batch: Batch) -> None:
    literal.zero_grad(set_to_none=True)
    for name in SUITE:
        reference(name)(literal, batch.x, batch.y, torch.float64)


def measure(
    arch: Architecture, batch: Batch, args: argparse.Namespace, into: Timings
) -> None:
    """Time one network; the order of the three turns from round to round."""
    space = load_space("nb201")
    plan = make_plan(PROXIES.select(list(SUITE)))
    whole = make_plan(PROXIES.select("all"))
    literal = TinyNetwork(arch.spec, space.tasks[args.task].n_classes)
    literal.load_state_dict(space.build(arch, args.task).state_dict())
    found: dict[str, list[float]] = {
        name: [] for name in (STEP, BUILD, SHARED, BUILT, WHOLE)
    }
    separate: dict[str, list[float]] = {name: [] for name in SUITE}
    passes: dict[str, list[float]] = {}
    marginal: dict[str, list[float]] = {}

    def time_step() -> None:
        found[STEP].append(seconds(lambda: training_step(literal, batch)))

    def time_shared() -> None:
        start = time.perf_counter()
        net = space.build(arch, args.task)
        built = time.perf_counter()
        evaluate(net, batch, plan)
        end = time.perf_counter()
        found[BUILD].append(built - start)
        found[SHARED].append(end - built)
        found[BUILT].append(end - start)

    def time_whole() -> None:
        net = space.build(arch, args.task)
        start = time.perf_counter()
        evaluation = evaluate(net, batch, whole)
        found[WHOLE].append(time.perf_counter() - start)
        for name, value in evaluation.seconds.items():
            passes.setdefault(name, []).append(value)
        for name, value in marginal_seconds(whole, evaluation).items():
            marginal.setdefault(name, []).append(value)

    def time_separate() -> None:
        literal.zero_grad(set_to_none=True)  # nothing that a copy would copy, too
        for name, times in separate.items():
            score = reference(name)
            times.append(
                seconds(lambda s=score: s(literal, batch.x, batch.y, torch.float32))
            )

    order = [time_step, time_shared, time_whole, time_separate]
    for turn in range(args.rounds):
        for action in order[turn % 4 :] + order[: turn % 4]:
            action()
    found[SEPARATE64] = [seconds(lambda: separate_float64(literal, batch))]
    found[SEPARATE] = [sum(times) for times in zip(*separate.values(), strict=True)]
    into.add(found, separate, passes, marginal)


def marginal_seconds(plan: Plan, evaluation: Evaluation) -> dict[str, float]:
    """What each proxy adds to the others: passes that it alone needs, its formula.

    A pass that several share counts for none of them.
    """
    passes = evaluation.seconds
    alone = {name: users[0] for name, users in plan.users.items() if len(users) == 1}
    found = {}
    for name, score in evaluation.scores.items():
        needed = plan.passes_of(name)
        formula = score.seconds - sum(passes.get(each, 0.0) for each in needed)
        found[name] = formula + sum(
            passes.get(each, 0.0) for each in needed if alone.get(each) == name
        )
    return found


def rows(timings: dict[str, list[float]], step: float) -> list[dict[str, object]]:
    """Median milliseconds of each, and its total in totals of the training step."""
    return [
        {
            "what": name,
            "median_ms": round(1e3 * statistics.median(values), 2),
            "total_s": round(sum(values), 4),
            "training_steps": round(sum(values) / step, 3),
        }
        for name, values in timings.items()
    ]


def table(title: str, found: list[dict[str, object]]) -> str:
    lines = [
        f"| {title} | median ms per network | training steps (ratio of totals) |",
        "|---|--:|--:|",
    ]
    lines += [
        f"| {row['what']} | {row['median_ms']:.1f} | {row['training_steps']:.2f} |"
        for row in found
    ]
    return "\n".join(lines)


def report(result: dict[str, object]) -> str:
    about, setting = result["machine"], result["setting"]
    first = (
        f"{setting['n']} random NAS-Bench-201 networks, {setting['task']}, batch "
        f"{setting['batch_size']}, the suite's {len(SUITE)} proxies and all "
        f"{len(PROXIES.select('all'))}, float32, median of "
        f"{setting['rounds']} rounds. {about['cpu']}, {about['cores']} cores, "
        f"{about['threads']} thread(s), {about['capability']}, torch {about['torch']}. "
        f"Made by `python scripts/benchmark_proxies.py --n {setting['n']} --task "
        f"{setting['task']} --rounds {setting['rounds']} "
        f"--threads {about['threads']}`."
    )
    total = {row["what"]: row["total_s"] for row in result["main"]}
    faster = (
        f"All proxies cost {total[WHOLE] / total[STEP]:.2f} training steps. "
        f"zcbench's {total[SHARED] / total[STEP]:.2f} for the suite are "
        f"{total[SEPARATE] / total[SHARED]:.1f} times faster than one by one "
        f"in float32, {total[SEPARATE64] / total[SHARED]:.1f} times faster than in "
        "float64."
    )
    return "\n\n".join(
        [
            "## All proxies in training steps",
            first,
            faster,
            table("What", result["main"]),
            table("One proxy on its own", result["proxies"]),
            table("Pass of all proxies in zcbench", result["passes"]),
            table("What one proxy adds to all others", result["marginal"]),
            "",
        ]
    )


def main() -> None:
    args = arguments()
    torch.set_num_threads(args.threads)
    keep_freed_memory()  # for all that is timed
    space = load_space("nb201")
    task = space.tasks[args.task]
    generator = torch.Generator().manual_seed(args.seed)
    batch = Batch(
        torch.randn(args.batch_size, *task.input_shape, generator=generator),
        torch.randint(0, task.n_classes, (args.batch_size,), generator=generator),
    )
    indices = np.random.default_rng(args.seed).choice(len(space), args.n, replace=False)
    warm_up = argparse.Namespace(**vars(args) | {"rounds": 1})
    measure(space.architecture(len(space) // 2), batch, warm_up, Timings())
    timings = Timings()
    for done, index in enumerate(indices.tolist(), 1):
        measure(space.architecture(index), batch, args, timings)
        if sys.stderr.isatty():
            print(f"{done}/{args.n}", end="\r", file=sys.stderr, flush=True)
    step = sum(timings.main[STEP])
    result: dict[str, object] = {
        "schema": 1,
        "machine": machine(args.threads),
        "setting": {k: v for k, v in vars(args).items() if k not in ("out", "threads")},
        "main": rows(timings.main, step),
        "proxies": rows(timings.proxies, step),
        "passes": rows(timings.passes, step),
        "marginal": rows(timings.marginal, step),
        "indices": indices.tolist(),
        "seconds": timings.main,
    }
    text = report(result)
    print(text)
    if args.out:
        args.out.parent.mkdir(parents=True, exist_ok=True)
        body = json.dumps(result, indent=1) + "\n"
        args.out.with_suffix(".json").write_text(body, encoding="utf-8")
        args.out.with_suffix(".md").write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main()
