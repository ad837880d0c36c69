"""Time of grasp's second derivative: tangents against a backward through the backward.

    python scripts/benchmark_second_derivative.py --n 12 --out results/benchmark/grasp

Each is the time of the whole pass over the minibatch with the second derivative, less
the time of the same pass without it, on the same network: the notes that tangents need,
and the graph of the gradient that a double backward needs, count. Writes OUT.json and
OUT.md.
"""

from __future__ import annotations

import argparse
import json
import time
from pathlib import Path

import torch
from benchmark_proxies import machine

import zcbench
from zcbench.engine.process import keep_freed_memory
from zcbench.engine.sample import sample
from zcbench.evidence.clock import Clock
from zcbench.evidence.minibatch_pass import MinibatchPass
from zcbench.evidence.records import Gradients, HessianGradient
from zcbench.evidence.subject import make_subject
from zcbench.minibatch import open_source
from zcbench.types import Batch

LOSS = "forward and loss backward"
TANGENTS = "second derivative by tangents"
DOUBLE = "second derivative by double backward"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--n", type=int, default=12, help="architectures")
    parser.add_argument("--task", default="cifar10")
    parser.add_argument("--batch-size", type=int, default=64)
    parser.add_argument("--rounds", type=int, default=3, help="the fastest counts")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--out", type=Path, default=Path("results/benchmark/grasp"))
    options = parser.parse_args()
    torch.set_num_threads(1)
    keep_freed_memory()
    space = zcbench.load_space("nb201")
    source = open_source("builtin", space.tasks[options.task])
    batch = source.batch(options.batch_size, seed=options.seed)
    chosen = sample(space, options.n, seed=options.seed, population="connected")
    total = dict.fromkeys((LOSS, TANGENTS, DOUBLE), 0.0)
    for index in chosen:
        network = space.build(space.architecture(index), options.task)
        for name, seconds in measure(network, batch, options.rounds).items():
            total[name] += seconds / len(chosen)
    report = {
        "options": {k: str(v) for k, v in vars(options).items() if k != "out"},
        "machine": machine(1),
        "seconds per network": total,
    }
    options.out.parent.mkdir(parents=True, exist_ok=True)
    text = json.dumps(report, indent=1)
    options.out.with_suffix(".json").write_text(text + "\n", encoding="utf-8")
    page = describe(total, report)
    options.out.with_suffix(".md").write_text(page, encoding="utf-8")
    print(page)


def measure(network: torch.nn.Module, batch: Batch, rounds: int) -> dict[str, float]:
    """Seconds of each way on one network: the fastest of some rounds."""
    fastest: dict[str, float] = {}
    for _ in range(rounds):
        for name in (LOSS, TANGENTS, DOUBLE):
            network.linear_outside_layers = name == TANGENTS
            seconds = timed(network, batch, second=name != LOSS)
            fastest[name] = min(seconds, fastest.get(name, seconds))
    return {
        LOSS: fastest[LOSS],
        TANGENTS: fastest[TANGENTS] - fastest[LOSS],
        DOUBLE: fastest[DOUBLE] - fastest[LOSS],
    }


def timed(network: torch.nn.Module, batch: Batch, *, second: bool) -> float:
    subject = make_subject(network, batch, seed=0)
    needs = frozenset({Gradients, HessianGradient} if second else {Gradients})
    start = time.perf_counter()
    held = MinibatchPass(subject, needs, Clock(torch.device("cpu")))
    held.gradients()
    if second:
        held.hessian_gradient()
    return time.perf_counter() - start


def describe(total: dict[str, float], report: dict) -> str:
    about = report["machine"]
    return "\n".join(
        [
            "## The second derivative of grasp",
            "",
            "| what | ms per network | over forward and loss backward |",
            "| --- | ---: | ---: |",
            *(
                f"| {name} | {1000 * seconds:.0f} | {seconds / total[LOSS]:.2f} |"
                for name, seconds in total.items()
            ),
            "",
            f"Mean over {report['options']['n']} random connected NAS-Bench-201 "
            f"architectures, {report['options']['task']}, batch size "
            f"{report['options']['batch_size']}, float32, one thread, {about['cpu']}, "
            f"torch {about['torch']}; fastest of {report['options']['rounds']} rounds. "
            "Made by `python scripts/benchmark_second_derivative.py`.",
            "",
        ]
    )


if __name__ == "__main__":
    main()
