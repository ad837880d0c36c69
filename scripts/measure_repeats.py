"""How much a proxy's ρ depends on the initialisation and the minibatch.

    zcbench run --n 120 --repeats 5 --out runs/repeats ...
    python scripts/measure_repeats.py runs/repeats -o results/repeats

For every dataset and proxy of one or more runs with repeats: Spearman's ρ with accuracy
for each repeat alone (smallest, mean, largest), and the mean ρ between the scores of
two repeats. Writes repeats.csv and repeats.md.
"""

from __future__ import annotations

import argparse
import itertools
from pathlib import Path

import numpy as np
import pandas as pd
from scipy import stats

import zcbench


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("runs", type=Path, nargs="+", metavar="RUN")
    parser.add_argument("-o", "--output", type=Path, default=Path("results/repeats"))
    options = parser.parse_args()
    runs = [zcbench.load_run(path) for path in options.runs]
    rows = [
        {"dataset": dataset, "proxy": proxy, **agreement(part, proxy, dataset, run)}
        for run in runs
        for dataset, part in run.groupby("dataset")
        for proxy in run.attrs["proxies"]
    ]
    table = pd.DataFrame(rows).sort_values("dataset", kind="stable")
    options.output.mkdir(parents=True, exist_ok=True)
    table.to_csv(options.output / "repeats.csv", index=False, float_format="%.4f")
    text = describe(table, runs)
    (options.output / "repeats.md").write_text(text, encoding="utf-8")
    print(text)


def agreement(
    part: pd.DataFrame, proxy: str, dataset: str, run: pd.DataFrame
) -> dict[str, float]:
    """ρ with accuracy of each repeat, and between repeats, on finite scores."""
    config = run.attrs["manifest"]["config"]
    truth = zcbench.load_truth(config["space"], dataset, config["truth"])
    accuracy = truth.set_index("index")[config["target"]]
    table = part.pivot_table(index="index", columns="repeat", values=proxy)
    scores = table.dropna()
    with_truth = [
        stats.spearmanr(scores[repeat], accuracy[scores.index]).statistic
        for repeat in scores
    ]
    between = [
        stats.spearmanr(scores[a], scores[b]).statistic
        for a, b in itertools.combinations(scores, 2)
    ]
    return {
        "n": len(scores),
        "repeats": scores.shape[1],
        "lowest": min(with_truth),
        "mean": float(np.mean(with_truth)),
        "highest": max(with_truth),
        "between": float(np.mean(between)),
    }


def describe(table: pd.DataFrame, runs: list[pd.DataFrame]) -> str:
    head = [
        "| dataset | proxy | n | ρ with accuracy: lowest | mean | highest | "
        "ρ between two repeats |",
        "|---|---|---|---|---|---|---|",
    ]
    body = [
        f"| {row.dataset} | {row.proxy} | {row.n} | {row.lowest:.2f} | {row.mean:.2f} "
        f"| {row.highest:.2f} | {row.between:.3f} |"
        for row in table.itertuples()
    ]
    return "\n".join([*head, *body, "", *dict.fromkeys(map(about, runs)), ""])


def about(run: pd.DataFrame) -> str:
    """How a run was made."""
    manifest = run.attrs["manifest"]
    config = manifest["config"]
    images = ", ".join(m["name"] for m in manifest["minibatch"].values())
    return (
        f"{config['repeats']} repeats (each its own initialisation and minibatch) of "
        f"{config['n']} random architectures, population {config['population']}, seed "
        f"{config['seed']}, target {config['target']} of {config['truth']}, images "
        f"{images}, batch size {config['batch_size']}, zcbench {manifest['zcbench']}."
    )


if __name__ == "__main__":
    main()
