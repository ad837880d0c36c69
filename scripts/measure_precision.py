"""How far scores of one precision lie from those of the next better one.

    python scripts/measure_precision.py --n 60 -o results/precision

float32, which `zcbench run` computes in, against float64, which `zcbench.score`
computes in; and bf16 (`zcbench run --precision bf16`) against float32. For every proxy:
the relative difference of single scores, and Spearman's ρ between both over the
architectures. Writes precision.csv and precision.md.
"""

from __future__ import annotations

import argparse
import itertools
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from benchmark_proxies import machine
from scipy import stats

import zcbench
from zcbench.engine.process import keep_freed_memory
from zcbench.engine.sample import sample
from zcbench.evaluate import evaluate
from zcbench.minibatch import open_source
from zcbench.plan import make_plan
from zcbench.proxies import PROXIES
from zcbench.types import Batch

TASK = "ImageNet16-120"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--n", type=int, default=60, help="architectures")
    parser.add_argument("--batch-size", type=int, default=64)
    parser.add_argument("--minibatch", default="builtin", help="images, as in run")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("-o", "--output", type=Path, default=Path("results/precision"))
    options = parser.parse_args()
    torch.set_num_threads(1)
    keep_freed_memory()
    names = ("float64", "float32", "bf16")
    scores, seconds = zip(*(measure(options, name) for name in names), strict=True)
    pairs = itertools.pairwise(range(len(names)))
    table = pd.concat(
        {
            f"{names[worse]} against {names[better]}": compare(
                scores[worse], scores[better]
            )
            for better, worse in pairs
        },
        names=["precisions"],
    ).reset_index(0)
    options.output.mkdir(parents=True, exist_ok=True)
    table.to_csv(options.output / "precision.csv", index=False, float_format="%.4g")
    text = describe(table, options, dict(zip(names, seconds, strict=True)))
    (options.output / "precision.md").write_text(text, encoding="utf-8")
    print(text)


def measure(options: argparse.Namespace, precision: str) -> tuple[pd.DataFrame, float]:
    """Scores of the sample, one row per architecture, and mean seconds of one."""
    space = zcbench.load_space("nb201")
    source = open_source(options.minibatch, space.tasks[TASK])
    batch = source.batch(options.batch_size, seed=options.seed)
    dtype = torch.float64 if precision == "float64" else torch.float32
    batch = Batch(batch.x.to(dtype), batch.y)
    plan = make_plan(PROXIES.select("all"))
    rows, spent = [], []
    for index in sample(space, options.n, seed=options.seed, population="connected"):
        network = space.build(space.architecture(index), TASK, seed=options.seed)
        found = evaluate(
            network.to(dtype),
            batch,
            plan,
            seed=options.seed,
            precision="bf16" if precision == "bf16" else "float32",
        )
        rows.append({name: score.value for name, score in found.scores.items()})
        spent.append(found.seconds["total"])
    return pd.DataFrame(rows, dtype=float), float(np.mean(spent))


def compare(single: pd.DataFrame, double: pd.DataFrame) -> pd.DataFrame:
    """One row per proxy: quantiles of the relative difference, rank correlation."""
    rows = []
    for proxy in double:
        both = single[proxy].notna() & double[proxy].notna()
        a, b = single[proxy][both], double[proxy][both]
        error = ((a - b).abs() / b.abs()).where(a != b, 0.0)
        median, most = np.quantile(error, (0.5, 1.0))
        rho = stats.spearmanr(a, b).statistic
        rows.append((proxy, int(both.sum()), median, most, rho))
    columns = ["proxy", "n", "median_difference", "largest_difference", "spearman"]
    return pd.DataFrame(rows, columns=columns)


def describe(
    table: pd.DataFrame, options: argparse.Namespace, seconds: dict[str, float]
) -> str:
    lines = []
    for title, part in table.groupby("precisions", sort=False):
        lines += [
            f"## {title}",
            "",
            "| proxy | n | median difference | largest difference | ρ between both |",
            "| --- | ---: | ---: | ---: | ---: |",
        ]
        lines += [
            f"| {row.proxy} | {row.n} | {row.median_difference:.1e} | "
            f"{row.largest_difference:.1e} | {row.spearman:.4f} |"
            for row in part.itertuples()
        ]
        lines.append("")
    spent = ", ".join(f"{name} {1000 * s:.0f} ms" for name, s in seconds.items())
    command = (
        f"python scripts/measure_precision.py --n {options.n} "
        f"--batch-size {options.batch_size} --seed {options.seed} "
        f"--minibatch {options.minibatch}"
    )
    about = (
        "Relative difference of single scores, and Spearman's ρ between both "
        f"precisions. {options.n} random connected NAS-Bench-201 architectures, "
        f"{TASK}, minibatch {options.minibatch}, batch size {options.batch_size}, seed "
        f"{options.seed}; torch {torch.__version__}, one thread, {machine(1)['cpu']}. "
        f"Mean time of one network with all proxies: {spent}.\n\nMade by `{command}`."
    )
    return "\n".join([*lines, about, ""])


if __name__ == "__main__":
    main()
