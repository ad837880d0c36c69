"""How far do scores on smaller images rank networks as those on images of full size?

    python scripts/measure_input_size.py --space transnas_micro --truth FILE

Runs the same architectures with images of the task's own size and of each smaller one;
a second start goes on with these runs. Writes, under a name of the space, a CSV and a
page with, for every proxy and smaller size: Spearman's ρ of its scores with those at
full size, ρ with accuracy at both, and their difference with a paired interval. The
manifests of the runs are kept beside them.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pandas as pd

import zcbench
from zcbench.config import RunConfig
from zcbench.engine import run
from zcbench.report.text import markdown_table
from zcbench.stats import association, paired_difference

FAST = (
    *("params", "flops", "l2_norm", "plain", "snip", "grad_norm", "fisher", "synflow"),
    *("jacov", "nwot", "lin_regions", "swap", "zen", "meco", "az_expressivity"),
)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--space", required=True)
    parser.add_argument("--dataset", required=True)
    parser.add_argument("--truth", required=True)
    parser.add_argument("--sizes", default="32,64", help="the smaller sizes")
    parser.add_argument("--proxies", default=",".join(FAST))
    parser.add_argument("--n", type=int, default=24)
    parser.add_argument("--batch-size", type=int, default=8)
    parser.add_argument("--workers", default="auto")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--runs", type=Path, default=Path("runs/input-size"))
    parser.add_argument("-o", "--output", type=Path, default=Path("results/input-size"))
    options = parser.parse_args()
    sizes: list[int | str] = [*map(int, options.sizes.split(",")), "auto"]
    runs = {size: made(options, size) for size in sizes}
    table = pd.DataFrame(rows(runs, options))
    options.output.mkdir(parents=True, exist_ok=True)
    name = f"{options.space}-{options.dataset}"
    table.to_csv(
        options.output / f"{name}.csv", index=False, float_format="%.4f", na_rep=""
    )
    manifests = {size: each.attrs["manifest"] for size, each in runs.items()}
    kept = json.dumps({str(size): m for size, m in manifests.items()}, indent=1)
    (options.output / f"{name}.json").write_text(f"{kept}\n", encoding="utf-8")
    page = describe(table, runs["auto"], options)
    (options.output / f"{name}.md").write_text(page, encoding="utf-8")
    print(page)


def made(options: argparse.Namespace, size: int | str) -> pd.DataFrame:
    """The run with images of that size."""
    config = RunConfig(
        space=options.space,
        datasets=(options.dataset,),
        proxies=tuple(options.proxies.split(",")),
        n=options.n,
        seed=options.seed,
        batch_size=options.batch_size,
        workers=options.workers,
        minibatch="builtin",
        truth=options.truth,
        input_size=size,
        out=options.runs / f"{options.space}-{options.dataset}-{size}",
    )
    return zcbench.load_run(run(config))


def rows(
    runs: dict[int | str, pd.DataFrame], options: argparse.Namespace
) -> Iterator[dict[str, Any]]:
    """One for each proxy and smaller size, on architectures with both scores."""
    truth = zcbench.load_truth(options.space, options.dataset, options.truth)
    accuracies = truth.set_index("index")[truth.attrs["targets"][0]]
    full = runs["auto"].set_index("index")
    accuracy = accuracies[full.index]
    for proxy in full.attrs["proxies"]:
        for size, made_at in runs.items():
            if size == "auto":
                continue
            small = made_at.set_index("index")[proxy].reindex(full.index)
            alike = association(small, full[proxy], "spearman")
            moved = paired_difference(small, full[proxy], accuracy, "spearman")
            ours = association(small.where(full[proxy].notna()), accuracy, "spearman")
            own = association(full[proxy].where(small.notna()), accuracy, "spearman")
            yield {
                "proxy": proxy,
                "size": size,
                "n": alike.n,
                "alike": alike.value,
                "rho": ours.value,
                "rho_full": own.value,
                "moved": moved.value,
                "moved_low": moved.low,
                "moved_high": moved.high,
            }


def describe(
    table: pd.DataFrame, full: pd.DataFrame, options: argparse.Namespace
) -> str:
    """The page."""
    head = ["proxy", "size", "n", "ρ with full size", "ρ with accuracy"]
    head += ["at full size", "moved"]
    body = [
        [
            *(row.proxy, f"{row.size}²", str(row.n)),
            *map(number, (row.alike, row.rho, row.rho_full)),
            f"{row.moved:+.2f} [{row.moved_low:+.2f}, {row.moved_high:+.2f}]"
            if pd.notna(row.moved)
            else "",
        ]
        for row in table.itertuples()
    ]
    side = zcbench.load_space(options.space).tasks[options.dataset].input_shape[1]
    about = (
        f"{options.space}, {options.dataset}: {len(full)} random architectures, seed "
        f"{options.seed}, built-in images, batch size {options.batch_size}, full size "
        f"{side}², 95% paired intervals. Without a number: no score, or the same for "
        "all architectures."
    )
    return f"{about}\n\n{markdown_table(head, body, [False] + 6 * [True])}"


def number(value: float) -> str:
    """Two places, or nothing."""
    return "" if pd.isna(value) else f"{value:.2f}"


if __name__ == "__main__":
    main()
