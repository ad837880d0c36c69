"""Where do differences from published ρ come from? The published setting, step by step.

    python scripts/measure_gaps.py --test nb201_test_accuracy.csv -o results/gaps

Takes the committed scores: with validation accuracy, as every table here; with test
accuracy, as most papers; with what is undefined ranked last, as released code does that
gives such networks a number; and from the minibatch of the paper, where a run has it.
The accuracies of --test are a file of yours (docs/results.md): columns arch and
DATASET_test_200_seedK. Writes gaps.csv and gaps.md.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np
import pandas as pd
from make_tables import SETTINGS, failures_last

import zcbench
from zcbench.analysis.block import estimate, number
from zcbench.analysis.rows import numbers
from zcbench.proxies import PROXIES
from zcbench.report.text import escape_markdown, markdown_table
from zcbench.stats import association

RESULTS = Path(__file__).resolve().parent.parent / "results"
RUNS = {
    "64 images": ("nb201-1000", ("zico", "zen", "plain", "reg_swap", "meco")),
    "2 × 128 images": ("nb201-zico", ("zico",)),
}
"""Minibatch: (run, proxies looked at there)."""
DATASETS = ("cifar10", "cifar100")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--test", type=Path, required=True, metavar="CSV")
    parser.add_argument("-o", "--output", type=Path, default=RESULTS / "gaps")
    options = parser.parse_args()
    table = pd.DataFrame(measure(pd.read_csv(options.test).set_index("arch")))
    options.output.mkdir(parents=True, exist_ok=True)
    table.to_csv(options.output / "gaps.csv", index=False, float_format="%.4f")
    (options.output / "gaps.md").write_text(page(table), encoding="utf-8")


def measure(test: pd.DataFrame) -> list[dict[str, object]]:
    """One row for each proxy, dataset, minibatch and way to join."""
    rows = []
    for images, (name, proxies) in RUNS.items():
        run = zcbench.load_run(RESULTS / name)
        for proxy in proxies:
            for dataset, published in zip(DATASETS, SETTINGS[proxy][1], strict=False):
                if published is None or dataset not in set(run["dataset"]):
                    continue
                scores = run[run["dataset"] == dataset].groupby("arch")[proxy].mean()
                if PROXIES.get(proxy).direction == "lower":
                    scores = -scores
                for way, accuracy, ranked in ways(test, dataset, scores):
                    row = association(ranked.to_numpy(), accuracy, "spearman")
                    rows.append(
                        {
                            "proxy": proxy,
                            "dataset": dataset,
                            "images": images,
                            "way": way,
                            "published": published,
                            "n": row.n,
                            **numbers("rho", row),
                        }
                    )
    return rows


def ways(
    test: pd.DataFrame, dataset: str, scores: pd.Series
) -> list[tuple[str, np.ndarray, pd.Series]]:
    """(name, accuracies [n], scores [n]) of each way to join."""
    known = zcbench.load_truth("nb201", dataset).set_index("arch")["val"]
    trained = test.filter(regex=f"^{dataset}_test_200_seed").mean(axis=1)
    val, tested = (a.reindex(scores.index).to_numpy(float) for a in (known, trained))
    return [
        ("validation accuracy", val, scores),
        ("test accuracy", tested, scores),
        ("test accuracy, undefined last", tested, failures_last(scores)),
    ]


def page(table: pd.DataFrame) -> str:
    keys = ["proxy", "dataset", "published", "images", "n"]
    table = table.assign(
        n=table.groupby(["proxy", "dataset", "images"])["n"].transform("min"),
        shown=[estimate(row, "rho") for row in table.to_dict("records")],
    )
    rows = [
        (
            escape_markdown(proxy),
            dataset,
            number(published),
            images,
            f"{n:,}",
            *tuple(part["shown"]),
        )
        for (proxy, dataset, published, images, n), part in table.groupby(
            keys, sort=False
        )
    ]
    header = (*keys[:3], "minibatch", "n", *table["way"].unique())
    right = (False, False, True, False, True, False, False, False)
    return (
        f"{markdown_table(header, rows, right)}\nSpearman's ρ on NAS-Bench-201, 95% "
        "intervals. Test accuracy: after 200 epochs, the mean of three training seeds. "
        "Undefined last: an architecture without a score counts as the worst. "
        "`scripts/measure_gaps.py`.\n"
    )


if __name__ == "__main__":
    main()
