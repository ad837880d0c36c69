"""The table across spaces: every proxy on every task of the committed runs.

    python scripts/measure_across.py -o results/across \
        --truth macro-500=nas-bench-macro_cifar10.json --truth other-tasks=TABLE.csv

Accuracies that zcbench may not carry are files of yours (docs/spaces.md); without
--truth they are taken from where the run was made with them. Writes summary.md,
across.md, verdict.csv, tasks.csv and two figures.
"""

from __future__ import annotations

import argparse
import math
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

import zcbench
from zcbench.analysis.across import SCORED
from zcbench.analysis.block import interval, number, percent
from zcbench.report import Report, make_report
from zcbench.report.figures import FORMATS, drawings, sections_for
from zcbench.report.text import escape_markdown, markdown_table

RESULTS = Path(__file__).resolve().parent.parent / "results"
RUNS = ("nb201-1000", "other-tasks", "macro-500", "fcnet")
FIGURES = ("heatmap", "critical-difference")
SECTIONS = ("verdict", "tasks")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("runs", type=Path, nargs="*", metavar="RUN")
    parser.add_argument("--truth", action="append", default=[], metavar="RUN=FILE")
    parser.add_argument("-o", "--output", type=Path, default=RESULTS / "across")
    options = parser.parse_args()
    given = dict(entry.split("=", 1) for entry in options.truth)
    runs = [
        load(path, given.get(path.name))
        for path in options.runs or [RESULTS / name for name in RUNS]
    ]
    report = make_report(runs, sections=(*SECTIONS, *sections_for(FIGURES)))
    options.output.mkdir(parents=True, exist_ok=True)
    blocks = {block.name: block for block in (report.verdict, *report.blocks)}
    for name in SECTIONS:
        rounded(blocks[name].table).to_csv(options.output / f"{name}.csv", index=False)
    for name, drawing in drawings(report, FIGURES).items():
        (options.output / f"{name}.svg").write_bytes(FORMATS["svg"](drawing))
    for name, text in (
        ("summary", summary(report, blocks["tasks"])),
        ("across", every_task(report)),
    ):
        (options.output / f"{name}.md").write_text(text, encoding="utf-8")
        print(text)


def load(path: Path, truth: str | None) -> pd.DataFrame:
    """A run, with the accuracies of a file in place of its own."""
    run = zcbench.load_run(path)
    run.attrs["path"] = path.name  # what tables and figures call it
    if truth is not None:
        run.attrs["manifest"]["config"]["truth"] = truth
    return run


def rounded(table: pd.DataFrame) -> pd.DataFrame:
    return table.round(dict.fromkeys(table.select_dtypes("number").columns, 4))


def summary(report: Report, tasks: Any) -> str:
    """What holds across tasks, and a row for each proxy: mean ρ in each space."""
    values = correlations(report, strict=True).fillna(0.0)
    spaces = dict.fromkeys(space for space, _ in values.columns)
    rows = []
    for row in tasks.table.to_dict("records"):
        name = escape_markdown(row["proxy"] + (" *" if row["baseline"] else ""))
        means = [number(values.loc[row["proxy"], space].mean()) for space in spaces]
        if pd.isna(row["mean_rank"]):
            rows.append((name, *means, row["note"], "", ""))
            continue
        rank = f"{row['mean_rank']:.1f} "
        rank += interval(row["mean_rank_low"], row["mean_rank_high"])
        lead = f"{number(row['lead'], signed=True)} "
        lead += interval(row["lead_low"], row["lead_high"])
        score = f"{row['wins']:.0f} / {row['losses']:.0f}"
        ordered = number(row["lead_ordered"], signed=True)
        rows.append((name, *means, rank, score, lead, ordered))
    counts = [f"{space} ({values[space].shape[1]})" for space in spaces]
    header = ("proxy", *counts, "mean rank", "won / lost", "mean Δρ", "ordered")
    right = (False, *[True] * len(spaces), False, True, False, True)
    return "\n".join(
        [
            f"**{escape_markdown(report.verdict.conclusion)}**",
            "",
            f"{escape_markdown(tasks.conclusion)}",
            "",
            markdown_table(header, rows, right),
            "Mean Spearman's ρ with accuracy over the tasks of each space (their "
            "number); `*` a baseline. Where a proxy cannot order a task, being "
            f"constant there or defined for fewer than {percent(SCORED)} of the "
            "architectures, its ρ counts as 0. Mean rank: 1 the best, "
            "each space counts once. Won / lost: tasks on which ρ is above / below "
            "that of the best baseline; mean Δρ: distance to it; "
            "ordered: the same over the tasks that it orders. 95% intervals: Student's "
            "t over spaces.",
            "",
        ]
    )


def every_task(report: Report) -> str:
    """ρ of every proxy on every task, and what each task is made of."""
    values = correlations(report)
    order = values.fillna(0.0).mean(axis=1).sort_values(ascending=False).index
    header = ("proxy", *(f"{space} {dataset}" for space, dataset in values.columns))
    trusted = correlations(report, strict=True).notna()
    sizes = report.table.set_index(["proxy", "space", "dataset"])["n"]
    rows = [
        (
            escape_markdown(proxy),
            *(
                shown(value, 0 if trusted.loc[proxy, place] else sizes[proxy, *place])
                for place, value in values.loc[proxy].items()
            ),
        )
        for proxy in order
    ]
    right = (False, *[True] * values.shape[1])
    return "\n".join(
        [
            markdown_table(header, rows, right),
            "Spearman's ρ with accuracy, over the architectures where the proxy has a "
            f"score; (n): how many, where they are fewer than {percent(SCORED)}; –: "
            "none, or all the same.",
            "",
            *(f"- {line}" for line in map(about, report.studies)),
            "",
        ]
    )


def correlations(report: Report, *, strict: bool = False) -> pd.DataFrame:
    """ρ by proxy and (space, dataset); NaN where there is none.

    Args:
        report: of all runs.
        strict: also none where a proxy scores too few, as the section tasks counts.
    """
    places: dict[tuple[str, str], dict[str, float]] = {}
    for study in sorted(report.studies, key=lambda s: s.space != "nb201"):
        known = np.isfinite(study.accuracy).sum()
        column = places.setdefault((study.space, study.dataset), {})
        for name in study.scores:
            found = study.association(name, "spearman")
            few = strict and found.n < SCORED * known
            column[name] = math.nan if few else found.value
    table = pd.DataFrame(places)
    table.columns = pd.MultiIndex.from_tuples(places)
    return table


def shown(value: float, few: int) -> str:
    if math.isnan(value):
        return "–"
    return number(value) + (f" ({few})" if few else "")


def about(study: Any) -> str:
    """What one column is made of."""
    return (
        f"{study.space} {study.dataset}: {len(study.archs):,} architectures, "
        f"population {study.population}, `{study.target}` of {study.release}, "
        f"images {study.minibatch}, run {study.run}"
    )


if __name__ == "__main__":
    main()
