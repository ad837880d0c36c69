"""Do intervals cover and tests reject at the rates that they claim? A simulation.

    python scripts/measure_coverage.py

Draws samples from populations whose correlations are known, with and without heavy
ties, and counts. Writes coverage.csv (single intervals and paired tests), agreement.csv
(closed form against bootstraps), family.csv (whole tables), coverage.md and
coverage.svg. About four minutes on one core.
"""

from __future__ import annotations

import argparse
import math
import platform
import time
from dataclasses import asdict
from pathlib import Path

import numpy as np
import pandas as pd
import scipy
from simulations import simulate_agreement, simulate_coverage, simulate_family

from zcbench.report.figures import FORMATS
from zcbench.report.figures.curves import Curve, draw_curves
from zcbench.report.figures.drawing import Role, sheet
from zcbench.report.text import escape_markdown, markdown_table
from zcbench.stats import KINDS

SIZES = (10, 30, 100, 1000)
TIES = {"none": None, "heavy": 5}
"""Levels of the scores, fewer than the 13 that n_layers has on NAS-Bench-201."""
BETTER = 0.75


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--samples", type=int, default=2000, help="of each setting")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("-o", "--output", type=Path, default=Path("results/statistics"))
    options = parser.parse_args()
    start = time.perf_counter()
    single, agreement, family = measured(options.samples, options.seed)
    seconds = time.perf_counter() - start
    options.output.mkdir(parents=True, exist_ok=True)
    for name, table in (
        ("coverage", single),
        ("agreement", agreement),
        ("family", family),
    ):
        table.to_csv(options.output / f"{name}.csv", index=False, float_format="%.4f")
    text = described(single, agreement, family, options, seconds)
    (options.output / "coverage.md").write_text(text, encoding="utf-8")
    (options.output / "coverage.svg").write_bytes(draw(single, options.samples))
    print(text)


def measured(samples: int, seed: int) -> tuple[pd.DataFrame, ...]:
    """Tables of single comparisons, of agreement, and of whole tables."""
    single = [
        {"ties": ties, **asdict(simulate_coverage(kind, n, **common))}
        for kind in KINDS
        for ties, levels in TIES.items()
        for n in SIZES
        for common in [{"levels": levels, "samples": samples, "seed": seed}]
    ]
    agreement = [
        {"ties": ties, **asdict(simulate_agreement(n, **common))}
        for ties, levels in TIES.items()
        for n in SIZES
        for common in [{"levels": levels, "samples": samples // 4, "seed": seed}]
    ]
    family = [
        {
            "better": better or math.nan,
            **asdict(
                simulate_family(n, better=better, samples=samples // 5, seed=seed)
            ),
        }
        for better in (None, BETTER)
        for n in SIZES
    ]
    return pd.DataFrame(single), pd.DataFrame(agreement), pd.DataFrame(family)


def described(
    single: pd.DataFrame,
    agreement: pd.DataFrame,
    family: pd.DataFrame,
    options: argparse.Namespace,
    seconds: float,
) -> str:
    samples = options.samples
    return (
        f"# Coverage\n\n{of_single(single, samples)}\n"
        f"{of_agreement(agreement, samples // 4)}\n{of_family(family, samples // 5)}\n"
        f"Command: `python scripts/measure_coverage.py --samples {samples} --seed "
        f"{options.seed}`, {seconds:.0f} s on one core ({platform.machine()}), Python "
        f"{platform.python_version()}, numpy {np.__version__}, scipy "
        f"{scipy.__version__}.\n"
    )


def of_single(table: pd.DataFrame, samples: int) -> str:
    names = {"spearman": "ρ", "kendall": "τ-b"}
    rows = [
        (
            names[r.kind],
            r.ties,
            f"{r.n:,}",
            percent(r.covered),
            f"{r.width:.2f}",
            percent(r.rejected),
            percent(r.undefined),
        )
        for r in table.itertuples()
    ]
    header = (
        "statistic",
        "ties",
        "n",
        "95% intervals that cover",
        "mean width",
        "equal scores told apart at 5%",
        "without interval",
    )
    error = 100 * math.sqrt(0.95 * 0.05 / samples)
    return section(
        "Single intervals and paired tests",
        header,
        rows,
        f"{samples:,} samples each; two scores of the same correlation (Pearson .6 "
        "before ties) with errors of their own; heavy ties: scores cut into about 5 "
        f"levels. Standard error of a share near 95% or 5%: {error:.1f}%.",
    )


def of_agreement(table: pd.DataFrame, samples: int) -> str:
    rows = [
        (
            r.ties,
            f"{r.n:,}",
            f"{r.error_ratio:.2f}",
            percent(r.covered),
            percent(r.covered_by_ranks),
            f"{r.width:.2f}",
            f"{r.width_by_ranks:.2f}",
        )
        for r in table.itertuples()
    ]
    header = (
        "ties",
        "n",
        "standard error, ranked anew / influence",
        "influence: covers",
        "ranked anew: covers",
        "influence: width",
        "ranked anew: width",
    )
    return section(
        "Δρ by influence values, and by a bootstrap that ranks every resample anew",
        header,
        rows,
        f"{samples:,} samples each, 500 resamples; percentile intervals of the "
        "bootstrap, 95%.",
    )


def of_family(table: pd.DataFrame, samples: int) -> str:
    rows = [
        (
            "all equal" if math.isnan(r.better) else "half of the proxies better",
            f"{r.n:,}",
            *map(percent, (r.uncorrected, r.holm, r.largest, r.together, r.false_lead)),
            *map(percent, (r.power_holm, r.power_largest)),
        )
        for r in table.itertuples()
    ]
    header = (
        "truth",
        "n",
        "told apart: uncorrected",
        "Holm",
        "largest |z|",
        "all intervals right",
        "false lead",
        "power: Holm",
        "largest |z|",
    )
    return section(
        "Whole tables: 8 proxies × 3 baselines × 3 datasets, 72 comparisons",
        header,
        rows,
        f"{samples:,} tables each, 10,000 draws, 95%. Told apart: tables that tell "
        "apart any two scores that are equally good; all intervals right: tables whose "
        "72 corrected intervals all contain the truth; false lead: tables that put a "
        "proxy ahead of the best baseline which is not; power: better proxies (Pearson "
        f"{BETTER:g} against .6) found ahead of all baselines.",
    )


def section(
    title: str, header: tuple[str, ...], rows: list[tuple[str, ...]], note: str
) -> str:
    right = tuple(name not in ("statistic", "ties", "truth") for name in header)
    head = tuple(map(escape_markdown, header))
    return f"## {title}\n\n{markdown_table(head, rows, right)}\n{note}\n"


def percent(share: float) -> str:
    return "" if math.isnan(share) else f"{100 * share:.1f}%"


def draw(single: pd.DataFrame, samples: int) -> bytes:
    """Coverage and rejection over n, with twice the error of the simulation."""
    error = 2 * math.sqrt(0.95 * 0.05 / samples)
    panels = []
    for column, nominal, title in (
        ("covered", 0.95, "95% intervals that cover"),
        ("rejected", 0.05, "equal scores told apart at 5%"),
    ):
        words = "{:.0%}".format
        level = [(n, nominal, math.nan, math.nan) for n in SIZES]
        curves = [Curve(words(nominal), level, "muted", dashed=True)]
        for (kind, ties), rows in single.groupby(["kind", "ties"], sort=False):
            shares = zip(rows["n"], rows[column], strict=True)
            points = [(n, share, share - error, share + error) for n, share in shares]
            name = "ρ" if kind == "spearman" else "τ-b"
            role: Role = "accent" if kind == "spearman" else "baseline"
            curves.append(Curve(f"{name}, ties: {ties}", points, role, ties != "none"))
        panels.append(draw_curves(title, curves, "architectures", "share", words))
    return FORMATS["svg"](sheet("Coverage", panels))


if __name__ == "__main__":
    main()
