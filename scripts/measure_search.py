"""What do proxies save a search, and what do params and flops?

    python scripts/measure_search.py

Simulates the searches of `zcbench search` on the committed run over all of
NAS-Bench-201: every method alone and with every proxy. Writes search.csv, curves.csv,
search.md and a figure for each method, and tells how long the searches take by each
method alone.
"""

from __future__ import annotations

import argparse
import os
import platform
import time
from pathlib import Path

os.environ.setdefault("OMP_NUM_THREADS", "1")  # before numpy is imported

import numpy as np
import pandas as pd

import zcbench
from zcbench.analysis.block import estimate, setting, title
from zcbench.analysis.search.pool import (
    METHODS,
    Setting,
    Variant,
    search_pool,
    variants,
)
from zcbench.analysis.search.section import curves, searches
from zcbench.analysis.search.simulate import simulate
from zcbench.report import Block, studies
from zcbench.report.figures.curves import regret_curves
from zcbench.report.figures.drawing import standalone
from zcbench.report.text import escape_markdown, markdown_table, table_of


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--run", type=Path, default=Path("results/search"))
    parser.add_argument("--trials", type=int, default=400)
    parser.add_argument("--evaluations", type=int, default=200)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("-o", "--output", type=Path, default=Path("results/search"))
    options = parser.parse_args()
    (study,) = studies([zcbench.load_run(options.run)])
    start = time.perf_counter()
    pool = search_pool(study)
    ready = time.perf_counter() - start
    how = Setting(
        trials=options.trials, evaluations=options.evaluations, seed=options.seed
    )
    seconds, traces = {}, {}
    for variant in variants(pool):
        start = time.perf_counter()
        traces[variant] = simulate(pool, variant, how)
        seconds[variant] = time.perf_counter() - start
        print(f"{variant.label}: {seconds[variant]:.1f} s", flush=True)
    block, over_time = searches(pool, how, traces), curves(pool, traces)
    options.output.mkdir(parents=True, exist_ok=True)
    write_table(over_time.table, options.output / "curves.csv")
    write_table(block.table, options.output / "search.csv")
    for figure in regret_curves(over_time, block, pool):
        drawing = figure.panels[0]
        path = options.output / f"regret-{drawing.title}.svg"
        path.write_text(standalone(drawing), encoding="utf-8", newline="\n")
    alone = {method: seconds[Variant(method)] for method in METHODS}
    text = (
        f"**{escape_markdown(block.conclusion)}**\n\n"
        f"{table_of(block)}\n"
        f"{escape_markdown(block.about)}\n\n"
        f"{title(study)}; {setting(study)}; seed {options.seed}.\n\n"
        f"{options.trials} searches of {options.evaluations} evaluations take "
        + ", ".join(f"{s:.1f} s by {method}" for method, s in alone.items())
        + f", and {ready:.1f} s to get ready: {sum(alone.values()) + ready:.0f} s for "
        f"the three, one core of {platform.machine()}. All {len(traces)} variants: "
        f"{sum(seconds.values()):.0f} s. `scripts/measure_search.py`.\n"
    )
    (options.output / "search.md").write_text(text, encoding="utf-8", newline="\n")
    moment = block.columns[5].header.removesuffix(" ↓")
    text = (
        f"{summary(block, pool.baselines)}\nRegret {moment} of training and proxies: "
        "percent of accuracy that the best find lacks on the best architecture, mean "
        f"of {options.trials} searches, 95% intervals. “Best” is picked by these very "
        "numbers, among several proxies, baselines and ways to use them, which "
        f"flatters both columns. {title(study)}.\n"
    )
    (options.output / "summary.md").write_text(text, encoding="utf-8", newline="\n")
    print(text)


def summary(block: Block, baselines: tuple[str, ...]) -> str:
    """Each method alone, with its best proxy and with its best baseline."""
    lines = []
    for method, rows in block.table.groupby("method", sort=False):
        aided = rows[rows["aid"] != "none"].sort_values("regret_time", kind="stable")
        known = [set(name.split(", ")) <= set(baselines) for name in aided["proxy"]]
        parts = rows[rows["aid"] == "none"], aided[np.invert(known)], aided[known]
        lines.append((str(method), *(found(part.iloc[0]) for part in parts)))
    head = ("search", "alone", "with its best proxy", "with its best baseline")
    return markdown_table(head, lines, (False,) * 4)


def found(row: pd.Series) -> str:
    """.64 [.60, .69], filter by synflow."""
    aid = "" if row["aid"] == "none" else f", {row['aid']} by {row['proxy']}"
    return escape_markdown(f"{estimate(row, 'regret_time')}{aid}")


def write_table(table: pd.DataFrame, path: Path) -> None:
    table.to_csv(path, index=False, float_format="%.5g", lineterminator="\n")


if __name__ == "__main__":
    main()
