"""The table across spaces: every proxy on every task of the committed runs.

    python scripts/measure_across.py -o results/across \
        --truth macro-500=nas-bench-macro_cifar10.json --truth other-tasks=TABLE.csv

Accuracies that zcbench may not carry are files of yours (docs/spaces.md); without
--truth they are taken from where the run was made with them. Writes summary.md,
spaces.md, kinds.md, words.md, tasks.md, verdict.csv, tasks.csv, correlations.csv and
three figures.
"""

from __future__ import annotations

import argparse
import math
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from make_tables import combinable, outdated, parts_of

import zcbench
from zcbench.analysis.across import SCORED
from zcbench.analysis.block import estimate, interval, number, percent
from zcbench.analysis.correlations import tabulate
from zcbench.analysis.join import studies
from zcbench.analysis.rows import with_ends
from zcbench.analysis.verdict import AHEAD, CLEARLY
from zcbench.errors import count
from zcbench.report import Report, make_report
from zcbench.report.figures import FORMATS, drawings, sections_for
from zcbench.report.figures.drawing import Drawing
from zcbench.report.figures.grids import Grid, draw_grid
from zcbench.report.text import escape_markdown, markdown_table

RESULTS = Path(__file__).resolve().parent.parent / "results"
RUNS = (
    *("nb201-1000", "other-tasks", "transnas_micro", "transnas_micro-other", "nb101"),
    *("transnas_micro-jigsaw", "darts", "darts-scifar100", "macro-500"),
    *("transnas_macro", "transnas_macro-jigsaw"),
    *("mnasnet_imagenet", "vit_bench", "torchvision", "fcnet"),
)
FEWER = (
    *("nb101-100-2", "nb101-50", "nb101-100"),
    *("macro-100-2", "macro-100", "transnas_micro-100"),
    *("macro-nngp", "nb101-nngp"),
)
"""Runs of more proxies on the first architectures of the sample of one of these."""
KINDS = {
    "cells": ("nb201", "transnas_micro", "nb101", "darts"),
    "chains": ("macro", "transnas_macro"),
    "MobileNet-like": ("mnasnet_imagenet",),
    "transformers": ("vit_bench",),
    "zoo": ("torchvision",),
    "networks for tables": ("fcnet",),
}
"""What the networks of each space are."""
SIZE = ("params", "flops")
KEPT = ("proxy", "space", "dataset", "n", "failed", *with_ends("spearman"), "kendall")
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
    fewer = [load(RESULTS / name, given.get(name)) for name in FEWER]
    tables = list(map(of_today, [*runs, *fewer]))
    table = rounded(pd.concat([table[list(KEPT)] for table in tables]))
    table = table.drop_duplicates(["proxy", "space", "dataset"])
    table = table.sort_values(["proxy", "space", "dataset"])
    table.to_csv(options.output / "correlations.csv", index=False)
    blocks = {block.name: block for block in (report.verdict, *report.blocks)}
    for name in SECTIONS:
        rounded(blocks[name].table).to_csv(options.output / f"{name}.csv", index=False)
    for name, drawing in drawings(report, FIGURES).items():
        (options.output / f"{name}.svg").write_bytes(FORMATS["svg"](drawing))
    ordered = correlations(report, strict=True)
    drawing = FORMATS["svg"](by_space(report, blocks["tasks"], ordered))
    (options.output / "heatmap-spaces.svg").write_bytes(drawing)
    values, baselines = everywhere(report, ordered)
    for name, text in (
        ("summary", summary(report, blocks["tasks"], ordered.fillna(0.0))),
        ("spaces", every_space(report, values, baselines)),
        ("kinds", every_kind(values, baselines)),
        ("words", words(values, baselines)),
        ("tasks", every_task(report, ordered.notna())),
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


def of_today(run: pd.DataFrame) -> pd.DataFrame:
    """ρ of a run's proxies and of combinations of them, of today's versions."""
    table = tabulate(studies([run], aggregates=combinable(run)), [run])
    old = outdated(run.attrs["manifest"]["proxies"])
    return table[[old.keys().isdisjoint(parts_of(name)) for name in table["proxy"]]]


def rounded(table: pd.DataFrame) -> pd.DataFrame:
    return table.round(dict.fromkeys(table.select_dtypes("number").columns, 4))


def summary(report: Report, tasks: Any, values: pd.DataFrame) -> str:
    """What holds across tasks, and a row for each proxy: mean ρ in each space."""
    spaces = dict.fromkeys(space for space, _ in values.columns)
    rows, unranked = [], dict[str, list[str]]()
    for row in tasks.table.to_dict("records"):
        name = escape_markdown(row["proxy"] + (" *" if row["baseline"] else ""))
        means = [number(values.loc[row["proxy"], space].mean()) for space in spaces]
        if pd.isna(row["mean_rank"]):
            unranked.setdefault(row["note"], []).append(escape_markdown(row["proxy"]))
            continue
        rank = f"{row['mean_rank']:.1f} "
        rank += interval(row["mean_rank_low"], row["mean_rank_high"])
        lead = estimate(row, "lead", signed=True)
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
            "t over spaces. Not ranked: "
            + "; ".join(
                f"{', '.join(names)} ({note})" for note, names in unranked.items()
            )
            + ".",
            "",
        ]
    )


def everywhere(report: Report, ordered: pd.DataFrame) -> tuple[pd.DataFrame, list[str]]:
    """ρ of what was run on every task, no order as 0; and which are baselines."""
    run = [all(name in s.scores for s in report.studies) for name in ordered.index]
    values = ordered[run].fillna(0.0)
    return values, [n for n in report.studies[0].baselines if n in values.index]


def best(values: pd.DataFrame, baselines: list[str]) -> tuple[str, str]:
    """The baseline and the proxy with the highest mean over columns, with that."""
    mean = values.mean(axis=1)
    top = mean[baselines].idxmax(), mean.drop(baselines).idxmax()
    return tuple(f"{escape_markdown(name)} {number(mean[name])}" for name in top)


def every_space(report: Report, values: pd.DataFrame, baselines: list[str]) -> str:
    """A row for each space: what leads there, and what the verdict says of it."""
    verdict = report.verdict.table
    verdict = verdict[verdict["dataset"] != ""]
    rows = []
    for space in dict.fromkeys(space for space, _ in values.columns):
        here = verdict[verdict["space"] == space]
        tasks = str(values[space].shape[1])
        known = [
            np.isfinite(s.accuracy).sum() for s in report.studies if s.space == space
        ]
        n = f"{min(known):,}" + (f" to {max(known):,}" if len(set(known)) > 1 else "")
        counts = here[here["word"].isin([CLEARLY, AHEAD])].groupby("proxy").size()
        counts = counts.sort_values(ascending=False, kind="stable")
        ahead = ", ".join(
            f"{escape_markdown(k)} {v}" for k, v in counts.head(4).items()
        )
        more = f" and {len(counts) - 4} more" if len(counts) > 4 else ""
        rows.append((space, tasks, n, *best(values[space], baselines), ahead + more))
    header = ("space", "tasks", "n", "best baseline", "best proxy", "ahead on (tasks)")
    return "\n".join(
        [
            markdown_table(header, rows, (False, True, True, False, False, False)),
            "Mean Spearman's ρ over the tasks of a space, no order counting as 0; "
            "ahead on so many: of the best of all baselines, by the corrected 95% "
            "intervals of the verdict. n: architectures of a task.",
            "",
        ]
    )


def every_kind(values: pd.DataFrame, baselines: list[str]) -> str:
    """What leads in each kind of space, spaces counting once."""
    rows = []
    for kind, spaces in KINDS.items():
        there = [space for space in spaces if space in values.columns.levels[0]]
        if not there:
            continue
        mean = pd.DataFrame({s: values[s].mean(axis=1) for s in there}).mean(axis=1)
        order = mean.sort_values(ascending=False, kind="stable")
        top = order.drop(baselines).head(4)
        rows.append((kind, ", ".join(there), listed(order[baselines]), listed(top)))
    header = ("kind", "spaces", "baselines", "the four best of the others")
    return "\n".join(
        [
            markdown_table(header, rows, (False,) * 4),
            "Mean Spearman's ρ: over the tasks of a space, then over the spaces of a "
            "kind; no order counts as 0.",
            "",
        ]
    )


def listed(values: pd.Series) -> str:
    ordered = values.sort_values(ascending=False, kind="stable")
    return ", ".join(f"{escape_markdown(k)} {number(v)}" for k, v in ordered.items())


def words(values: pd.DataFrame, baselines: list[str]) -> str:
    """Where a proxy beats size on all tasks of a space, and where size fails."""
    sized = [name for name in SIZE if name in values.index]
    others = values.drop(baselines)
    beaten, failing = [], []
    for space in dict.fromkeys(space for space, _ in values.columns):
        size = values.loc[sized, space].max()
        above = (others[space] > size).sum(axis=1)
        every = above.index[above == len(size)]
        lead = (
            (others.loc[every, space] - size).mean(axis=1).sort_values(ascending=False)
        )
        if len(lead):
            names = ", ".join(
                f"{escape_markdown(name)} by {number(value, signed=True)}"
                for name, value in lead.head(3).items()
            )
            more = f" and {len(lead) - 3} more" if len(lead) > 3 else ""
            beaten.append(f"- {space} ({count(len(size), 'task')}): {names}{more}.")
        weak = size[size.round(2) < 0.3]  # as it is written
        if len(weak):
            told = ", ".join(f"{name} {number(value)}" for name, value in weak.items())
            failing.append(f"- {space}: {told}.")
    return "\n".join(
        [
            "Higher ρ than the better of #params and FLOPs on every task of a space, "
            "with the mean difference; what intervals hold, the table says:",
            "",
            *(beaten or ["- none."]),
            "",
            "Where the better of #params and FLOPs has a ρ below .3:",
            "",
            *(failing or ["- nowhere."]),
            "",
        ]
    )


def by_space(report: Report, tasks: Any, values: pd.DataFrame) -> Drawing:
    """The heat map proxy × space: mean ρ over the tasks of each."""
    spaces = list(dict.fromkeys(space for space, _ in values.columns))
    ordered = tasks.table["proxy"].tolist()
    means = pd.DataFrame({s: values[s].mean(axis=1) for s in spaces})
    means = means.loc[ordered].dropna(how="all")
    ordered = means.index.tolist()
    baselines = set(report.studies[0].baselines)
    labels = [f"{p} *" if p in baselines else p for p in ordered]
    grid = Grid(
        title="Mean ρ with accuracy over the tasks that a proxy orders",
        rows=labels,
        columns=[f"{space} ({values[space].shape[1]})" for space in spaces],
        values=means.to_numpy().tolist(),
        notes=[
            ["–" if math.isnan(v) else number(v) for v in row] for row in means.values
        ],
        baselines=frozenset(label for label in labels if label.endswith("*")),
    )
    return draw_grid(grid, 58, 150)


def every_task(report: Report, trusted: pd.DataFrame) -> str:
    """ρ of every proxy on every task, and what each task is made of."""
    values = correlations(report)
    order = values.fillna(0.0).mean(axis=1).sort_values(ascending=False).index
    header = ("space", "task", *map(escape_markdown, order))
    sizes = report.table.set_index(["proxy", "space", "dataset"])["n"].to_dict()
    rows = [
        (
            *place,
            *(
                shown(
                    values.loc[proxy, place],
                    0 if trusted.loc[proxy, place] else sizes.get((proxy, *place), 0),
                )
                for proxy in order
            ),
        )
        for place in values.columns
    ]
    return "\n".join(
        [
            markdown_table(header, rows, (False, False, *[True] * len(order))),
            "Spearman's ρ with accuracy, over the architectures where the proxy has a "
            f"score; (n): how many, where they are fewer than {percent(SCORED)}; –: "
            "none, all the same, or not run.",
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
