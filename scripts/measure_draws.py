"""How far do the initialisation and the minibatch move a correlation?

    python scripts/measure_draws.py --minibatch ../shared/data/cifar10_sample.npz

Scores the same architectures with five initialisations on one minibatch, and with one
initialisation on five minibatches. The scores go into a file that a second start goes
on with; --limit 0 makes the table of what is there. Writes draws.csv and draws.md: for
every proxy the mean ρ, the standard deviation of ρ over initialisations and over
minibatches (on the architectures that all draws score), and the ρ of the mean of five
scores.
"""

from __future__ import annotations

import argparse
import json
import platform
from itertools import chain
from pathlib import Path

import numpy as np
import pandas as pd
import torch

import zcbench
from zcbench.evaluate import evaluate
from zcbench.minibatch import open_source
from zcbench.plan import make_plan
from zcbench.proxies import PROXIES
from zcbench.report.text import markdown_table
from zcbench.seeding import repeat_seed
from zcbench.spaces.base import build_network
from zcbench.stats import association

DRAWS = 5
CELLS = tuple(chain(((i, 0) for i in range(DRAWS)), ((0, j) for j in range(1, DRAWS))))
"""(initialisation, minibatch) of every network that is scored."""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--space", default="nb201")
    parser.add_argument("--dataset", default="cifar10")
    parser.add_argument("--proxies", default="all", help="of a new file of scores")
    parser.add_argument("--minibatch", required=True)
    parser.add_argument("--n", type=int, default=200)
    parser.add_argument("--batch-size", type=int, default=64)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--limit", type=int, help="networks to score now; default all")
    parser.add_argument("--scores", type=Path, default=Path("draws.jsonl"))
    parser.add_argument("-o", "--output", type=Path, default=Path("results/draws"))
    options = parser.parse_args()
    torch.set_num_threads(1)
    score(options)
    options.output.mkdir(parents=True, exist_ok=True)
    table = summarise(options)
    table.to_csv(options.output / "draws.csv", index=False, float_format="%.4f")
    (options.output / "draws.md").write_text(page(table, options), encoding="utf-8")


def score(options: argparse.Namespace) -> None:
    """Append a line for every network that has none yet."""
    space = zcbench.load_space(options.space)
    rng = np.random.default_rng(options.seed)
    chosen = sorted(rng.choice(len(space), options.n, replace=False).tolist())
    source = open_source(options.minibatch, space.tasks[options.dataset])
    batches = [
        source.batch(options.batch_size, seed=options.seed, repeat=j)
        for j in range(DRAWS)
    ]
    before = lines(options.scores)
    names = ",".join(before[0]["scores"]) if before else options.proxies
    plan = make_plan(PROXIES.select(names))
    done = {(r["index"], r["init"], r["batch"]) for r in before}
    scored = 0
    with options.scores.open("a", encoding="utf-8") as file:
        for index in chosen:
            arch = space.architecture(index)
            for init, batch in CELLS:
                if (index, init, batch) in done:
                    continue
                if options.limit is not None and scored >= options.limit:
                    return
                scored += 1
                network = build_network(
                    space, arch, options.dataset, seed=options.seed, repeat=init
                )
                seed = repeat_seed(options.seed, init)
                scores = evaluate(network, batches[batch], plan, seed=seed).scores
                values = {n: s.value for n, s in scores.items()}
                row = {"index": index, "arch": arch.spec, "init": init, "batch": batch}
                print(json.dumps(row | {"scores": values}), file=file, flush=True)


def lines(path: Path) -> list[dict]:
    """What has been scored."""
    if not path.exists():
        return []
    with path.open(encoding="utf-8") as file:
        return [json.loads(line) for line in file]


def summarise(options: argparse.Namespace) -> pd.DataFrame:
    """One row for each proxy, highest ρ first."""
    rows = pd.DataFrame(lines(options.scores))
    truth = zcbench.load_truth(options.space, options.dataset).set_index("arch")["val"]
    summary = []
    for proxy in rows["scores"].iloc[0]:
        values = [math_value(s[proxy]) for s in rows["scores"]]
        drawn = rows[["arch", "init", "batch"]].assign(score=values)
        by_draw = (
            drawn.pivot_table("score", "arch", ["init", "batch"])
            .reindex(columns=list(CELLS))
            .dropna()
        )
        sign = -1 if PROXIES.get(proxy).direction == "lower" else 1
        accuracy = truth.reindex(by_draw.index).to_numpy()
        rho = {c: rho_of(sign * by_draw[c], accuracy) for c in by_draw.columns}
        inits = [(i, 0) for i in range(DRAWS)]
        batches = [(0, j) for j in range(DRAWS)]
        summary.append(
            {
                "proxy": proxy,
                "n": len(by_draw),
                "rho": np.mean([rho[c] for c in CELLS]),
                "sd_init": np.std([rho[c] for c in inits], ddof=1),
                "sd_batch": np.std([rho[c] for c in batches], ddof=1),
                "rho_mean_init": rho_of(sign * by_draw[inits].mean(axis=1), accuracy),
                "rho_mean_batch": rho_of(
                    sign * by_draw[batches].mean(axis=1), accuracy
                ),
            }
        )
    return pd.DataFrame(summary).sort_values("rho", ascending=False)


def math_value(value: float | None) -> float:
    return float("nan") if value is None else value


def rho_of(score: pd.Series, accuracy: np.ndarray) -> float:
    return association(score.to_numpy(float), accuracy, "spearman").value


def page(table: pd.DataFrame, options: argparse.Namespace) -> str:
    head = ("proxy", "n", "ρ", "sd, init", "sd, batch", "5 inits", "5 batches")
    cells = [
        (
            row["proxy"].replace("_", r"\_"),
            str(row["n"]),
            *(
                f"{row[key]:.3f}" if key.startswith("sd") else f"{row[key]:.2f}"
                for key in table.columns[2:]
            ),
        )
        for row in table.to_dict("records")
    ]
    drawn = markdown_table(head, cells, (False, *[True] * 6))
    return (
        f"{drawn}\nSpearman's ρ with validation accuracy, {options.space} "
        f"{options.dataset}, {table['n'].max()} architectures out of {options.n} at "
        f"random, seed {options.seed}, "
        f"batch size {options.batch_size}: mean over {len(CELLS)} draws; standard "
        f"deviation over {DRAWS} initialisations on one minibatch and over {DRAWS} "
        "minibatches with one initialisation; ρ of the mean of five scores. n: "
        "architectures that all draws score. "
        f"`scripts/measure_draws.py`, one thread of {platform.machine()}, torch "
        f"{torch.__version__}.\n"
    )


if __name__ == "__main__":
    main()
