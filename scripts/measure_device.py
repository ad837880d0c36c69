"""How far every proxy's scores on a device lie from the CPU's in float64.

    python scripts/measure_device.py --device cuda -o results/device
    python scripts/measure_device.py --device cpu --n 2 --batch-size 8 -o /tmp/device

For each precision that the device has and both engines (one network at a time, and
many at once): the worst relative difference of single scores, and Spearman's ρ between
both over the architectures. No self-check: what the device gives as it is. Writes
device.csv and device.md, and with --docs the table into docs/precision.md. The CPU's
scores are kept there, too: --exact-only makes them where there is no GPU yet.
"""

from __future__ import annotations

import argparse
import re
import sys
import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from scipy import stats

import zcbench
from zcbench.engine.evaluator import StackEvaluator, can_stack
from zcbench.engine.job import find_device
from zcbench.engine.sample import sample
from zcbench.engine.self_check.questions import describe_device
from zcbench.evaluate import evaluate
from zcbench.minibatch import open_source
from zcbench.plan import make_plan
from zcbench.proxies import PROXIES
from zcbench.types import Architecture, Evaluation, Precision

TASK = "ImageNet16-120"
SPACE = zcbench.load_space("nb201")
PLAN = make_plan(PROXIES.select("all"))
PAGE = Path(__file__).resolve().parent.parent / "docs" / "precision.md"
BLOCK = re.compile(r"(<!-- device-table -->\n).*?(<!-- /device-table -->)", re.DOTALL)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--device", default="cuda", help="as in zcbench run")
    parser.add_argument("--n", type=int, default=50, help="architectures")
    parser.add_argument("--batch-size", type=int, default=32)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("-o", "--output", type=Path, default=Path("results/device"))
    parser.add_argument(
        "--exact-only", action="store_true", help="only the CPU's part, in advance"
    )
    parser.add_argument("--docs", action="store_true", help="write docs/precision.md")
    options = parser.parse_args()
    device = torch.device(find_device(options.device))
    indices = sample(SPACE, options.n, seed=options.seed, population="connected")
    archs = [SPACE.architecture(index) for index in indices]
    options.output.mkdir(parents=True, exist_ok=True)
    exact = exact_scores(archs, options)
    precisions: list[Precision] = ["float32", "bf16"]
    if device.type == "cuda":
        precisions.insert(1, "tf32")
    parts = []
    for precision in precisions:
        for engine in ("alone", "stacked"):
            if engine == "stacked" and not can_stack(SPACE, TASK, precision):
                continue
            start = time.perf_counter()
            found = scores(engine, archs, options, device, precision)
            spent = time.perf_counter() - start
            print(f"{precision} {engine}: {spent:.1f} s", flush=True)
            part = compare(table_of(found), exact)
            parts.append(part.assign(precision=precision, engine=engine))
    table = pd.concat(parts)
    table.to_csv(options.output / "device.csv", index=False, float_format="%.4g")
    text = describe(table, options, device)
    (options.output / "device.md").write_text(text, encoding="utf-8")
    print(text)
    if options.docs:
        page = PAGE.read_text(encoding="utf-8")
        page = BLOCK.sub(lambda m: f"{m[1]}\n{text.strip()}\n\n{m[2]}", page)
        PAGE.write_text(page, encoding="utf-8")


def batch_of(options: argparse.Namespace) -> zcbench.Batch:
    source = open_source("builtin", SPACE.tasks[TASK])
    return source.batch(options.batch_size, seed=options.seed)


def exact_scores(
    archs: Sequence[Architecture], options: argparse.Namespace
) -> pd.DataFrame:
    """By the CPU; kept, so that a GPU that costs money need not wait for it again."""
    name = f"exact-{options.n}-{options.batch_size}-{options.seed}.csv"
    file = options.output / name
    if not file.exists():
        found = one_by_one(archs, options, torch.device("cpu"), torch.float64)
        table_of(found).to_csv(file, index=False, float_format="%.17g")
    if options.exact_only:
        sys.exit(0)
    return pd.read_csv(file)


def scores(
    engine: str,
    archs: Sequence[Architecture],
    options: argparse.Namespace,
    device: torch.device,
    precision: Precision,
) -> list[Evaluation]:
    if engine == "alone":
        return one_by_one(archs, options, device, torch.float32, precision)
    return StackEvaluator(
        SPACE,
        TASK,
        batch_of(options),
        PLAN,
        seed=options.seed,
        device=device,
        precision=precision,
    )(archs)


def one_by_one(
    archs: Sequence[Architecture],
    options: argparse.Namespace,
    device: torch.device,
    dtype: torch.dtype,
    precision: Precision = "float32",
) -> list[Evaluation]:
    batch = batch_of(options)
    batch = replace(batch, x=batch.x.to(device, dtype), y=batch.y.to(device))
    found = []
    for arch in archs:
        network = SPACE.build(arch, TASK, seed=options.seed).to(device, dtype)
        found.append(
            evaluate(network, batch, PLAN, seed=options.seed, precision=precision)
        )
    return found


def table_of(found: Sequence[Evaluation]) -> pd.DataFrame:
    rows = [{name: s.value for name, s in one.scores.items()} for one in found]
    return pd.DataFrame(rows, dtype=float)


def compare(here: pd.DataFrame, exact: pd.DataFrame) -> pd.DataFrame:
    """One row per proxy: worst relative difference, ρ, scores that one side lacks."""
    rows = []
    for proxy in exact:
        both = here[proxy].notna() & exact[proxy].notna()
        a, b = here[proxy][both], exact[proxy][both]
        error = ((a - b).abs() / b.abs()).where(a != b, 0.0)
        worst = float(error.max()) if len(error) else np.nan
        rho = stats.spearmanr(a, b).statistic if len(set(a)) > 1 else np.nan
        lacking = int((here[proxy].notna() != exact[proxy].notna()).sum())
        rows.append((proxy, int(both.sum()), lacking, worst, rho))
    columns = ["proxy", "n", "only_one", "worst_difference", "spearman"]
    return pd.DataFrame(rows, columns=columns)


def describe(
    table: pd.DataFrame, options: argparse.Namespace, device: torch.device
) -> str:
    groups = {
        f"{precision} {engine}": part.set_index("proxy")
        for (precision, engine), part in table.groupby(
            ["precision", "engine"], sort=False
        )
    }
    lines = [f"| proxy | {' | '.join(groups)} |", "| --- |" + " ---: |" * len(groups)]
    for proxy in table["proxy"].drop_duplicates():
        rows = [part.loc[proxy] for part in groups.values()]
        cells = [f"{row.worst_difference:.1e}, ρ {row.spearman:.4f}" for row in rows]
        lines.append(f"| {proxy} | {' | '.join(cells)} |")
    about = describe_device(device)
    where = ", ".join(f"{k} {v}" for k, v in about.items() if k != "device")
    command = (
        f"python scripts/measure_device.py --device {options.device} --n {options.n} "
        f"--batch-size {options.batch_size} --seed {options.seed}"
    )
    lines += [
        "",
        "Worst relative difference of single scores from the CPU in float64, and "
        f"Spearman's ρ between both. {options.n} random connected NAS-Bench-201 "
        f"architectures, {TASK}, minibatch builtin, batch size {options.batch_size}, "
        f"seed {options.seed}; {where}.",
        "",
        f"Made by `{command}`.",
        "",
    ]
    return "\n".join(lines)


if __name__ == "__main__":
    main()
