"""How far float32 scores lie from the float64 ones that `zcbench.score` gives.

    python scripts/measure_precision.py --n 60 -o results/precision

For every proxy: the relative difference of single scores, and Spearman's ρ between the
two precisions over the architectures. Writes precision.csv and precision.md.
"""

from __future__ import annotations

import argparse
import platform
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from scipy import stats

import zcbench
from zcbench.engine.sample import sample
from zcbench.minibatch import open_source

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
    scores = {name: measure(options, name) for name in ("float32", "float64")}
    table = compare(scores["float32"], scores["float64"])
    options.output.mkdir(parents=True, exist_ok=True)
    table.to_csv(options.output / "precision.csv", index=False, float_format="%.4g")
    text = describe(table, options)
    (options.output / "precision.md").write_text(text, encoding="utf-8")
    print(text)


def measure(options: argparse.Namespace, precision: str) -> pd.DataFrame:
    """Scores of the sample, one row per architecture."""
    space = zcbench.load_space("nb201")
    source = open_source(options.minibatch, space.tasks[TASK])
    batch = source.batch(options.batch_size, seed=options.seed)
    rows = []
    for index in sample(space, options.n, seed=options.seed, population="connected"):
        network = space.build(space.architecture(index), TASK, seed=options.seed)
        found = zcbench.score(network, batch, seed=options.seed, precision=precision)
        rows.append({name: score.value for name, score in found.items()})
    return pd.DataFrame(rows, dtype=float)


def compare(single: pd.DataFrame, double: pd.DataFrame) -> pd.DataFrame:
    """One row per proxy: quantiles of the relative difference, rank correlation."""
    rows = []
    for proxy in double:
        both = single[proxy].notna() & double[proxy].notna()
        a, b = single[proxy][both], double[proxy][both]
        error = (a - b).abs() / b.abs()
        median, most = np.quantile(error, (0.5, 1.0))
        rho = stats.spearmanr(a, b).statistic
        rows.append((proxy, int(both.sum()), median, most, rho))
    columns = ["proxy", "n", "median_difference", "largest_difference", "spearman"]
    return pd.DataFrame(rows, columns=columns)


def describe(table: pd.DataFrame, options: argparse.Namespace) -> str:
    head = [
        "| proxy | n | median difference | largest difference | ρ between both |",
        "|---|---|---|---|---|",
    ]
    body = [
        f"| {row.proxy} | {row.n} | {row.median_difference:.1e} | "
        f"{row.largest_difference:.1e} | {row.spearman:.4f} |"
        for row in table.itertuples()
    ]
    command = (
        f"python scripts/measure_precision.py --n {options.n} "
        f"--batch-size {options.batch_size} --seed {options.seed} "
        f"--minibatch {options.minibatch}"
    )
    about = (
        f"Relative difference of single scores between float32 (`zcbench run`) and "
        f"float64 (`zcbench.score`), and Spearman's ρ between both. {options.n} random "
        f"connected NAS-Bench-201 architectures, {TASK}, minibatch "
        f"{options.minibatch}, batch size {options.batch_size}, seed {options.seed}; "
        f"torch {torch.__version__}, one thread, {platform.machine()} CPU.\n\n"
        f"Made by `{command}`."
    )
    return "\n".join([*head, *body, "", about, ""])


if __name__ == "__main__":
    main()
