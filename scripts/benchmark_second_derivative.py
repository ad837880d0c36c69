"""Time of grasp's second derivative: four-part forward against double backward.

    python scripts/benchmark_second_derivative.py --n 12 -o results/benchmark/grasp

Both start where the loss gradient is known. The double backward also needs the graph of
that gradient (``create_graph``); what that adds to the loss backward is counted for it.
"""

from __future__ import annotations

import argparse
import json
import platform
import statistics
import time
from pathlib import Path

import torch
import torch.nn.functional as F

import zcbench
from zcbench.engine.sample import sample
from zcbench.evidence.curvature import by_double_backward, by_four_part_forward
from zcbench.evidence.prepare import Subject, prepare
from zcbench.minibatch import open_source


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--n", type=int, default=12, help="architectures")
    parser.add_argument("--task", default="cifar10")
    parser.add_argument("--batch-size", type=int, default=64)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument(
        "-o", "--output", type=Path, default=Path("results/benchmark/grasp")
    )
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    rows = [measure(subject) for subject in subjects(options)]
    rows = rows[1:]  # the first one warms up
    total = {name: sum(row[name] for row in rows) for name in rows[0]}
    ratio = statistics.median(row["four_part"] / row["double"] for row in rows)
    found = {
        "seconds": total,
        "median_ratio": ratio,
        "networks": len(rows),
        "options": {k: str(v) for k, v in vars(options).items() if k != "output"},
        "torch": torch.__version__,
        "machine": platform.machine(),
    }
    options.output.parent.mkdir(parents=True, exist_ok=True)
    text = json.dumps(found, indent=1)
    options.output.with_suffix(".json").write_text(text + "\n", encoding="utf-8")
    print(text)


def subjects(options: argparse.Namespace) -> list[Subject]:
    space = zcbench.load_space("nb201")
    source = open_source("builtin", space.tasks[options.task])
    batch = source.batch(options.batch_size, seed=options.seed)
    indices = sample(space, options.n + 1, seed=options.seed, population="connected")
    return [
        prepare(space.build(space.architecture(i), options.task), batch, options.seed)
        for i in indices
    ]


def measure(subject: Subject) -> dict[str, float]:
    """Seconds of each way on one network."""
    plain, grads = timed_gradient(subject, create_graph=False)
    start = time.perf_counter()
    by_four_part_forward(subject, grads)
    four_part = time.perf_counter() - start
    with_graph, grads = timed_gradient(subject, create_graph=True)
    start = time.perf_counter()
    by_double_backward(subject.weights, grads, retain_graph=False)
    double = time.perf_counter() - start + max(0.0, with_graph - plain)
    return {"four_part": four_part, "double": double, "forward_and_backward": plain}


def timed_gradient(
    subject: Subject, *, create_graph: bool
) -> tuple[float, tuple[torch.Tensor, ...]]:
    weights = subject.weights
    start = time.perf_counter()
    loss = F.cross_entropy(subject.network(subject.batch.x), subject.batch.y)
    found = torch.autograd.grad(
        loss, weights, create_graph=create_graph, allow_unused=True
    )
    seconds = time.perf_counter() - start
    grads = (
        torch.zeros_like(w) if g is None else g
        for g, w in zip(found, weights, strict=True)
    )
    return seconds, tuple(grads)


if __name__ == "__main__":
    main()
