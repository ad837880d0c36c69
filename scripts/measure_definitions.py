"""What do the authors' definitions change, beside what zcbench had before?

    python scripts/measure_definitions.py --minibatch ../shared/data/cifar10_sample.npz

Scores architectures of one dataset by both definitions of each proxy. The scores go
into a file that a second start goes on with; --limit 0 makes the table of what is
there. Writes definitions.csv and definitions.md: ρ with accuracy of each and ρ between
the two, both with 95% intervals, and what each costs for an architecture.
"""

from __future__ import annotations

import argparse
import json
import platform
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from measure_draws import lines

import zcbench
from zcbench.aggregates import AGGREGATES
from zcbench.analysis.block import interval, number
from zcbench.evaluate import evaluate
from zcbench.minibatch import open_source
from zcbench.plan import make_plan
from zcbench.proxies import PROXIES
from zcbench.report.text import markdown_table
from zcbench.spaces.base import build_network
from zcbench.stats import association

PAIRS = {
    "gradsign": "gradsign[part=sum]",
    "meco": "meco[image=gaussian]",
    "swap": "swap[weights=own]",
    "reg_swap": "reg_swap[weights=own]",
    "lin_regions": "lin_regions[network=full]",
    "ntk_cond": "ntk_cond[kernel=image]",
    "knas": "knas[of=kernel]",
}
"""A proxy → the same as it was in its version 1."""
COMBINED = {
    "te_nas": "te_nas:ntk_cond[kernel=image],lin_regions[network=full]",
    "az_nas": "az_nas, what is undefined left out",
}
"""An aggregate → what it was in its version 1."""
NAMES = (*PAIRS, *PAIRS.values(), *AGGREGATES["az_nas"].parts)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--space", default="nb201")
    parser.add_argument("--dataset", default="cifar10")
    parser.add_argument("--minibatch", required=True)
    parser.add_argument("--n", type=int, default=300)
    parser.add_argument("--batch-size", type=int, default=64)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--limit", type=int, help="networks to score now; default all")
    parser.add_argument("--scores", type=Path, default=Path("definitions.jsonl"))
    parser.add_argument(
        "-o", "--output", type=Path, default=Path("results/definitions")
    )
    options = parser.parse_args()
    torch.set_num_threads(1)
    score(options)
    options.output.mkdir(parents=True, exist_ok=True)
    table = summarise(options)
    table.to_csv(options.output / "definitions.csv", index=False, float_format="%.4f")
    text = page(table, options)
    (options.output / "definitions.md").write_text(text, encoding="utf-8")


def score(options: argparse.Namespace) -> None:
    """Append a line for every architecture that has none yet, in random order."""
    space = zcbench.load_space(options.space)
    rng = np.random.default_rng(options.seed)
    chosen = rng.choice(len(space), options.n, replace=False).tolist()
    source = open_source(options.minibatch, space.tasks[options.dataset])
    batch = source.batch(options.batch_size, seed=options.seed, repeat=0)
    plan = make_plan(PROXIES.select(NAMES))
    done = {row["index"] for row in lines(options.scores)}
    left = [index for index in chosen if index not in done][: options.limit]
    with options.scores.open("a", encoding="utf-8") as file:
        for number, index in enumerate(left):
            arch = space.architecture(index)
            for _ in range(1 if number else 2):  # the first time is slower
                network = build_network(space, arch, options.dataset, seed=options.seed)
                scores = evaluate(network, batch, plan, seed=options.seed).scores
            row = {
                "index": index,
                "arch": arch.spec,
                "scores": {name: s.value for name, s in scores.items()},
                "seconds": {name: s.seconds for name, s in scores.items()},
                "why": {name: s.message for name, s in scores.items() if s.message},
            }
            print(json.dumps(row), file=file, flush=True)


def summarise(options: argparse.Namespace) -> pd.DataFrame:
    """One row for each proxy."""
    rows = lines(options.scores)
    truth = zcbench.load_truth(options.space, options.dataset).set_index("arch")["val"]
    accuracy = truth.reindex([row["arch"] for row in rows]).to_numpy(float)
    scores = {n: column(rows, n, "scores") for n in NAMES}
    cost = {n: 1000 * np.mean([r["seconds"][n] for r in rows]) for n in NAMES}
    pairs = [(n, old, scores[n], scores[old]) for n, old in PAIRS.items()]
    pairs += [(n, old, *combined(n, rows, scores)) for n, old in COMBINED.items()]
    summary = []
    for name, old, ours, before in pairs:
        row = {"proxy": name, "before": old}
        for kind, values in (("", ours), ("_before", before)):
            found = association(values, accuracy, "spearman")
            row |= {f"rho{kind}": found.value, f"low{kind}": found.low}
            row |= {f"high{kind}": found.high, f"n{kind}": found.n}
        row["between"] = association(ours, before, "spearman").value
        row |= {"ms": cost.get(name, np.nan), "ms_before": cost.get(old, np.nan)}
        summary.append(row)
    return pd.DataFrame(summary)


def column(rows: list[dict], name: str, key: str) -> np.ndarray:
    """[n] of a proxy, higher is better, NaN where there is none."""
    sign = -1 if PROXIES.get(name).direction == "lower" else 1
    values = [row[key][name] for row in rows]
    return np.array([np.nan if v is None else sign * v for v in values])


def combined(
    name: str, rows: list[dict], scores: dict[str, np.ndarray]
) -> tuple[np.ndarray, np.ndarray]:
    """An aggregate as it is and as it was. Each [n]."""
    aggregate = AGGREGATES[name]
    ours = np.stack([scores[part] for part in aggregate.parts])
    before = np.stack([scores[PAIRS.get(part, part)] for part in aggregate.parts])
    for place, part in enumerate(aggregate.parts):
        last = [row["why"].get(part) in aggregate.last for row in rows]
        ours[place, last] = -np.inf
    return aggregate.of(ours), aggregate.of(before)


def page(table: pd.DataFrame, options: argparse.Namespace) -> str:
    head = ("proxy", "ρ", "n", "ms", "before", "ρ", "n", "ms", "ρ of both")
    cells = [
        (
            code(row["proxy"]),
            *of(row, ""),
            code(row["before"]),
            *of(row, "_before"),
            number(row["between"]),
        )
        for row in table.to_dict("records")
    ]
    right = (False, False, True, True, False, False, True, True, True)
    return (
        f"{markdown_table(head, cells, right)}\nSpearman's ρ with validation accuracy, "
        f"95% intervals: {options.space} {options.dataset}, "
        f"{len(lines(options.scores))} architectures at random, seed "
        f"{options.seed}, batch size {options.batch_size}. n: architectures with a "
        "score. ms: of one score alone, with its passes. ρ of both: between the two, "
        "where both have scores. "
        f"`scripts/measure_definitions.py`, one thread of {platform.machine()}, torch "
        f"{torch.__version__}.\n"
    )


def code(name: str) -> str:
    return f"`{name}`" if "[" in name else name.replace("_", r"\_")


def of(row: dict, kind: str) -> tuple[str, str, str]:
    cost = row[f"ms{kind}"]
    ends = interval(row[f"low{kind}"], row[f"high{kind}"])
    rho = f"{number(row[f'rho{kind}'])} {ends}"
    return rho, str(row[f"n{kind}"]), "–" if np.isnan(cost) else f"{cost:,.0f}"


if __name__ == "__main__":
    main()
