"""What workers, threads and kept memory are worth, in networks per second.

    python scripts/benchmark_settings.py --n 16 --out results/benchmark/settings

Scores the same architectures with all proxies, each setting in fresh processes: the two
ways of using two cores, and one process with and without keeping freed memory
(`zcbench.engine.work`). Processes are warm when the clock starts. Writes OUT.json
and OUT.md.
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import resource
import time
from pathlib import Path
from typing import Any

from benchmark_proxies import machine

WARM_UP = 4
SETTINGS: dict[str, dict[str, Any]] = {
    "1 process × 1 thread, freed memory given back": {"processes": 1, "keep": False},
    "1 process × 1 thread": {"processes": 1},
    "1 process × 2 threads": {"processes": 1, "threads": 2},
    "2 processes × 1 thread": {"processes": 2},
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--n", type=int, default=16, help="networks of each process")
    parser.add_argument("--task", default="cifar10")
    parser.add_argument("--batch-size", type=int, default=64)
    parser.add_argument("--out", type=Path, default=Path("results/benchmark/settings"))
    options = parser.parse_args()
    rows = [
        {"setting": name, **measure(options, **setting)}
        for name, setting in SETTINGS.items()
    ]
    report = {
        "options": {k: str(v) for k, v in vars(options).items() if k != "out"},
        "machine": machine(1),
        "settings": rows,
    }
    options.out.parent.mkdir(parents=True, exist_ok=True)
    text = json.dumps(report, indent=1)
    options.out.with_suffix(".json").write_text(text + "\n", encoding="utf-8")
    page = describe(report)
    options.out.with_suffix(".md").write_text(page, encoding="utf-8")
    print(page)


def measure(
    options: argparse.Namespace, processes: int, threads: int = 1, keep: bool = True
) -> dict[str, float]:
    """Networks per second of all processes together; faults and memory of one."""
    context = multiprocessing.get_context("spawn")
    barrier, results = context.Barrier(processes), context.Queue()
    arguments = (options, threads, keep, barrier, results)
    started = [context.Process(target=work, args=arguments) for _ in range(processes)]
    for process in started:
        process.start()
    found = [results.get() for _ in started]
    for process in started:
        process.join()
    slowest = max(one["seconds"] for one in found)
    return {
        "networks_per_second": processes * options.n / slowest,
        "page_faults": found[0]["faults"] / options.n,
        "peak_mib": max(one["peak_mib"] for one in found),
    }


def work(
    options: argparse.Namespace, threads: int, keep: bool, barrier: Any, results: Any
) -> None:
    import torch

    import zcbench
    from zcbench.engine.process import keep_freed_memory
    from zcbench.engine.sample import sample
    from zcbench.evaluate import evaluate
    from zcbench.minibatch import open_source
    from zcbench.plan import make_plan
    from zcbench.proxies import PROXIES

    if keep:
        keep_freed_memory()
    torch.set_num_threads(threads)
    space = zcbench.load_space("nb201")
    source = open_source("builtin", space.tasks[options.task])
    batch = source.batch(options.batch_size, seed=0)
    plan = make_plan(PROXIES.select("all"))
    chosen = sample(space, options.n + WARM_UP, seed=0, population="all")
    for number, index in enumerate(chosen):
        if number == WARM_UP:
            barrier.wait()
            before = resource.getrusage(resource.RUSAGE_SELF)
            start = time.perf_counter()
        network = space.build(space.architecture(index), options.task)
        evaluate(network, batch, plan)
    seconds = time.perf_counter() - start
    after = resource.getrusage(resource.RUSAGE_SELF)
    results.put(
        {
            "seconds": seconds,
            "faults": after.ru_minflt - before.ru_minflt,
            "peak_mib": after.ru_maxrss / 1024,  # KiB on Linux
        }
    )


def describe(report: dict[str, Any]) -> str:
    options = report["options"]
    return "\n".join(
        [
            "## Workers, threads and memory",
            "",
            "| setting | networks per second | page faults per network "
            "| peak MiB of a process |",
            "| --- | ---: | ---: | ---: |",
            *(
                f"| {row['setting']} | {row['networks_per_second']:.2f} | "
                f"{row['page_faults']:,.0f} | {row['peak_mib']:,.0f} |"
                for row in report["settings"]
            ),
            "",
            f"{options['n']} random NAS-Bench-201 architectures for each process, all "
            f"proxies, {options['task']}, batch size {options['batch_size']}, float32, "
            f"{report['machine']['cpu']}, {report['machine']['cores']} cores, torch "
            f"{report['machine']['torch']}. Made by `python "
            f"scripts/benchmark_settings.py --n {options['n']}`.",
            "",
        ]
    )


if __name__ == "__main__":
    main()
