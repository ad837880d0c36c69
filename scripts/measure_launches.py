"""How many kernels each record starts, and how many bytes they move, stacked or not.

    python scripts/measure_launches.py
    python scripts/measure_launches.py --stack 64 --task ImageNet16-120

What a GPU waits for when its kernels are small, counted without one: every operation
of torch that is no view, forward and backward, is a kernel or several. Bytes are those
of its inputs and outputs, once each. One network after the other, then all in a stack;
both are divided by the number of networks. The counts do not depend on the machine.

Writes OUT.json and OUT.md.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

import zcbench
from zcbench.engine.sample import sample
from zcbench.evidence.clock import Clock
from zcbench.evidence.passes import Missing, make_records
from zcbench.evidence.subject import StackedSubject, make_subject
from zcbench.evidence.table import RECORDS
from zcbench.minibatch import open_source
from zcbench.plan import make_plan
from zcbench.proxies import PROXIES

PLAN = make_plan(PROXIES.select("all"))


class Count(TorchDispatchMode):
    """Operations that are no views, and the bytes of what they read and write."""

    def __init__(self) -> None:
        super().__init__()
        self.kernels = self.bytes = 0

    def __torch_dispatch__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: Any = None
    ) -> Any:
        out = func(*args, **(kwargs or {}))
        if not func.is_view:
            self.kernels += 1
            tensors = [
                t for t in tree_leaves((args, kwargs, out)) if torch.is_tensor(t)
            ]
            self.bytes += sum({id(t): size(t) for t in tensors}.values())
        return out


def size(tensor: Tensor) -> int:
    return tensor.numel() * tensor.element_size()


def counted(make: Callable[[], Any], n_networks: int) -> dict[str, float]:
    with Count() as count:
        made = make()
    if isinstance(made, Missing):
        raise SystemExit(f"{made.status}: {made.message}")
    return {"kernels": count.kernels / n_networks, "MB": count.bytes / n_networks / 1e6}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--stack", type=int, default=16, help="networks")
    parser.add_argument("--task", default="cifar10", help="of NAS-Bench-201")
    parser.add_argument("--batch-size", type=int, default=64)
    parser.add_argument("--out", type=Path, default=Path("results/benchmark/launches"))
    options = parser.parse_args()
    space = zcbench.load_space("nb201")
    archs = [
        space.architecture(index)
        for index in sample(space, options.stack, seed=0, population="connected")
    ]
    source = open_source("builtin", space.tasks[options.task])
    batch = source.batch(options.batch_size, seed=0)
    rows = []
    for record in (r for r in RECORDS if r in PLAN.records):
        row = row_of(space, archs, options.task, batch, record)
        rows.append({"record": record.__name__} | row)
        print(rows[-1])
    report = {
        "options": {k: str(v) for k, v in vars(options).items() if k != "out"},
        "torch": torch.__version__,
        "records": rows,
    }
    options.out.parent.mkdir(parents=True, exist_ok=True)
    options.out.with_suffix(".json").write_text(json.dumps(report, indent=1) + "\n")
    options.out.with_suffix(".md").write_text(describe(report))


def row_of(
    space: Any, archs: list, task: str, batch: Any, record: type
) -> dict[str, Any]:
    """Of a record with what it requires, each way."""
    needs = frozenset({record, RECORDS[record].requires or record})
    clock = Clock(torch.device("cpu"))
    subjects = [make_subject(space.build(arch, task), batch, 0) for arch in archs]
    stack = StackedSubject(space.stack(archs, task), batch, 0)
    n = len(archs)
    one = [
        counted(lambda s=s: make_records(s, needs, clock)[record], n) for s in subjects
    ]
    alone = {key: sum(each[key] for each in one) for key in one[0]}
    together = counted(lambda: make_records(stack, needs, clock)[record], n)
    return {"one": alone, "stack": together}


def describe(report: dict) -> str:
    options = report["options"]
    lines = [
        "## Kernels and bytes of a network",
        "",
        "| record | kernels, alone | in a stack | fewer | MB, alone | in a stack |",
        "| --- | ---: | ---: | ---: | ---: | ---: |",
    ]
    total = {way: {"kernels": 0.0, "MB": 0.0} for way in ("one", "stack")}
    for row in report["records"]:
        for way, sums in total.items():
            for key in sums:
                sums[key] += row[way][key]
    for row in [*report["records"], {"record": "all of them", **total}]:
        one, stack = row["one"], row["stack"]
        times = one["kernels"] / stack["kernels"] if stack["kernels"] else 0.0
        fewer = f"{times:.1f}" if times else "–"
        lines.append(
            f"| {row['record']} | {one['kernels']:,.0f} | {stack['kernels']:,.0f} | "
            f"{fewer} | {one['MB']:,.0f} | {stack['MB']:,.0f} |"
        )
    lines += [
        "",
        f"Operations of torch that are no views, of {options['stack']} random "
        f"connected NAS-Bench-201 architectures, {options['task']}, batch size "
        f"{options['batch_size']}, float32, on a CPU, torch {report['torch']}; each "
        "record with its own forward, which a run shares. Made by `python "
        "scripts/measure_launches.py`.",
        "",
    ]
    return "\n".join(lines)


if __name__ == "__main__":
    main()
