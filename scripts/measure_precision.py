"""How far scores of one precision lie from those of the next better one.

    python scripts/measure_precision.py --n 60 -o results/precision

float32, which `zcbench run` computes in, against float64, which `zcbench.score`
computes in; bf16 (`zcbench run --precision bf16`) against float32; and float32 of
eight networks at once (`--stack 8`) against one by one. For every proxy: the relative
difference of single scores, and Spearman's ρ between both over the architectures.
Writes precision.csv and precision.md.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from benchmark_proxies import machine
from scipy import stats

import zcbench
from zcbench.engine.evaluator import StackEvaluator
from zcbench.engine.process import keep_freed_memory
from zcbench.engine.sample import sample
from zcbench.minibatch import open_source
from zcbench.plan import make_plan
from zcbench.proxies import PROXIES

TASK = "ImageNet16-120"
WAYS = {
    "float64": (1, torch.float64, "float32"),
    "float32": (1, torch.float32, "float32"),
    "bf16": (1, torch.float32, "bf16"),
    "stacks of 8": (8, torch.float32, "float32"),
}
"""Networks at once, type of the weights, arithmetic."""
PAIRS = (("float32", "float64"), ("bf16", "float32"), ("stacks of 8", "float32"))


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
    scores = {name: measure(options, *way) for name, way in WAYS.items()}
    table = pd.concat(
        {
            f"{worse} against {better}": compare(scores[worse], scores[better])
            for worse, better in PAIRS
        },
        names=["precisions"],
    ).reset_index(0)
    options.output.mkdir(parents=True, exist_ok=True)
    table.to_csv(options.output / "precision.csv", index=False, float_format="%.4g")
    text = describe(table, options)
    (options.output / "precision.md").write_text(text, encoding="utf-8")
    print(text)


def measure(
    options: argparse.Namespace, stack: int, dtype: torch.dtype, precision: str
) -> pd.DataFrame:
    """Scores of the sample, one row per architecture."""
    space = zcbench.load_space("nb201")
    source = open_source(options.minibatch, space.tasks[TASK])
    batch = source.batch(options.batch_size, seed=options.seed)
    chosen = sample(space, options.n, seed=options.seed, population="connected")
    archs = [space.architecture(index) for index in chosen]
    evaluator = StackEvaluator(
        space,
        TASK,
        batch,
        make_plan(PROXIES.select("all")),
        seed=options.seed,
        dtype=dtype,
        precision=precision,
    )
    evaluator.most = stack
    found = evaluator(archs)
    rows = [{name: s.value for name, s in each.scores.items()} for each in found]
    return pd.DataFrame(rows, dtype=float)


def compare(single: pd.DataFrame, double: pd.DataFrame) -> pd.DataFrame:
    """One row per proxy: quantiles of the relative difference, rank correlation."""
    rows = []
    for proxy in double:
        both = single[proxy].notna() & double[proxy].notna()
        a, b = single[proxy][both], double[proxy][both]
        error = ((a - b).abs() / b.abs()).where(a != b, 0.0)
        rho = stats.spearmanr(a, b).statistic if len(a) > 1 else np.nan
        rows.append((proxy, int(both.sum()), error.median(), error.max(), rho))
    columns = ["proxy", "n", "median_difference", "largest_difference", "spearman"]
    return pd.DataFrame(rows, columns=columns)


def describe(table: pd.DataFrame, options: argparse.Namespace) -> str:
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
            f"{row.largest_difference:.1e} | "
            + ("–" if np.isnan(row.spearman) else f"{row.spearman:.4f}")
            + " |"
            for row in part.itertuples()
        ]
        lines.append("")
    command = (
        f"python scripts/measure_precision.py --n {options.n} "
        f"--batch-size {options.batch_size} --seed {options.seed} "
        f"--minibatch {options.minibatch}"
    )
    about = (
        "Relative difference of single scores, and Spearman's ρ between both "
        f"precisions. {options.n} random connected NAS-Bench-201 architectures, "
        f"{TASK}, minibatch {options.minibatch}, batch size {options.batch_size}, seed "
        f"{options.seed}; torch {torch.__version__}, one thread, {machine(1)['cpu']}."
        f"\n\nMade by `{command}`."
    )
    return "\n".join([*lines, about, ""])


if __name__ == "__main__":
    main()
