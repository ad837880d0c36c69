"""How often is a difference called equivalent that is not? A simulation.

    python scripts/measure_equivalence.py

Draws samples from normal populations whose two scores have a known Δρ with the accuracy
and errors that hang together, and applies the rule of the section ``equivalence`` with
a margin of .05 at the level of one comparison. At Δρ of the margin “equivalent” is
wrong and may come in 2.5% of the samples; at 0 “better” and “worse” are. Writes
equivalence.csv and equivalence.md.
"""

from __future__ import annotations

import argparse
import math
import platform
import time
from collections import Counter
from pathlib import Path

import numpy as np
import pandas as pd
import scipy

from zcbench.analysis.block import number
from zcbench.analysis.equivalence import WORDS, word_of
from zcbench.report.text import markdown_table
from zcbench.stats import paired_difference

MARGIN = 0.05
RHO = 0.65
"""Of the baseline."""
ALIKE = 0.8
"""Correlation of the errors of the two scores."""
SIZES = (100, 300, 1000, 3000, 15_625)
DIFFERENCES = (0.0, 0.025, MARGIN, 0.1, -MARGIN)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--samples", type=int, default=2000, help="of each setting")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("-o", "--output", type=Path, default=Path("results/statistics"))
    options = parser.parse_args()
    start = time.perf_counter()
    rng = np.random.default_rng(options.seed)
    rows = []
    for difference in DIFFERENCES:
        for n in SIZES:
            words = Counter(word(n, difference, rng) for _ in range(options.samples))
            row = {"difference": difference, "n": n}
            rows.append(row | {w: words[w] / options.samples for w in WORDS})
    table = pd.DataFrame(rows)
    options.output.mkdir(parents=True, exist_ok=True)
    table.to_csv(options.output / "equivalence.csv", index=False, float_format="%.4f")
    text = described(table, options, time.perf_counter() - start)
    (options.output / "equivalence.md").write_text(text, encoding="utf-8")
    print(text)


def word(n: int, difference: float, rng: np.random.Generator) -> str:
    """What one sample says of a score whose ρ is that much above the other's."""
    accuracy, shared = rng.normal(size=(2, n))
    scores = []
    for rho in (RHO + difference, RHO):
        pearson = 2 * math.sin(math.pi * rho / 6)  # of a normal population with that ρ
        own = rng.normal(size=n)
        error = math.sqrt(ALIKE) * shared + math.sqrt(1 - ALIKE) * own
        scores.append(pearson * accuracy + math.sqrt(1 - pearson**2) * error)
    found = paired_difference(*scores, accuracy, "spearman")
    return word_of(found.low, found.high, MARGIN)


def described(table: pd.DataFrame, options: argparse.Namespace, seconds: float) -> str:
    cells = [
        (
            number(row["difference"], places=3, signed=True),
            f"{row['n']:,.0f}",
            *(f"{100 * row[w]:.1f}%" for w in WORDS),
        )
        for row in table.to_dict("records")
    ]
    drawn = markdown_table(("true Δρ", "n", *WORDS), cells, (True,) * (2 + len(WORDS)))
    return (
        f"#### Better, equivalent, worse: margin {number(MARGIN)}\n\n{drawn}\n"
        f"{options.samples:,} samples each of normal populations, ρ of the baseline "
        f"{number(RHO)}, errors of the two scores correlated by {number(ALIKE)}; one "
        "comparison, 95%: in a table its intervals are wider.\n\n"
        f"Command: `python scripts/measure_equivalence.py --samples {options.samples} "
        f"--seed {options.seed}`, {seconds:.0f} s on one core ({platform.machine()}), "
        f"Python {platform.python_version()}, numpy {np.__version__}, scipy "
        f"{scipy.__version__}.\n"
    )


if __name__ == "__main__":
    main()
