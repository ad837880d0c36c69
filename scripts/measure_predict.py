"""How much do proxies add to predictors, and how much of it do params and flops give?

    python scripts/measure_predict.py

Trains on 100 of the architectures of a committed run and tests on 1,000 others, many
times, as in the experiment behind the "42%" of NAS-Bench-Suite-Zero, and with the
controls that it lacks. Writes claim.csv, datasets.csv, curves.csv, importance.csv,
models.csv, a Markdown table of each, and summary.md. About half an hour on one core.
"""

from __future__ import annotations

import argparse
import os
import platform
import time
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

os.environ.setdefault("OMP_NUM_THREADS", "1")  # before scikit-learn is imported

import pandas as pd
import sklearn
from sklearn.ensemble import GradientBoostingRegressor, HistGradientBoostingRegressor

import zcbench
from zcbench.analysis.block import number
from zcbench.analysis.predict.features import pool_of
from zcbench.analysis.predict.models import MODELS
from zcbench.analysis.predict.section import importances, predictions
from zcbench.analysis.predict.trials import Setting, run_trials
from zcbench.report import Study, studies
from zcbench.report.text import escape_markdown, markdown_table

PAPER = [
    "params",
    "flops",
    "l2_norm",
    "plain",
    "snip",
    "grad_norm",
    "fisher",
    "grasp",
    "synflow",
    "jacov",
    "epe_nas",
    "nwot",
    "zen",
]
"""The 13 proxies of NAS-Bench-Suite-Zero."""
MAIN = (
    "encoding",
    "params+flops",
    "proxies",
    "encoding+params+flops",
    "encoding+proxies",
    "encoding+shuffled",
)
MORE = (
    *MAIN,
    "encoding+measured",
    "encoding+jacov",
    "encoding+nwot",
    "encoding+synflow",
    "encoding+jacov+nwot",
    "paths",
    "paths+params+flops",
    "paths+proxies",
    "adjacency",
)
AS_PUBLISHED = {"values": "raw", "labels": "accuracy"}
TESTED = 1000
SIZES = (10, 20, 50, 100, 200, 400, 1000)
DATASETS = ("cifar10", "cifar100", "ImageNet16-120")
CANDIDATES: Mapping[str, Any] = {
    "GradientBoosting, defaults": lambda _, s: GradientBoostingRegressor(
        random_state=s
    ),
    "HistGradientBoosting, defaults": lambda _, s: HistGradientBoostingRegressor(
        random_state=s
    ),
    "HistGradientBoosting, 5 in a leaf": lambda _, s: HistGradientBoostingRegressor(
        min_samples_leaf=5, random_state=s
    ),
    "HistGradientBoosting, 3 in a leaf, 8 leaves": lambda _, s: (
        HistGradientBoostingRegressor(
            min_samples_leaf=3, max_leaf_nodes=8, random_state=s
        )
    ),
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--run", type=Path, default=Path("results/predict"))
    parser.add_argument("--all", type=Path, default=Path("results/nb201-1000"))
    parser.add_argument("--trials", type=int, default=100)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("-o", "--output", type=Path, default=Path("results/predict"))
    options = parser.parse_args()
    options.output.mkdir(parents=True, exist_ok=True)
    found = {
        name: {s.dataset: s for s in studies([zcbench.load_run(path)])}
        for name, path in (("run", options.run), ("all", options.all))
    }
    base = Setting(trials=options.trials, seed=options.seed, features=MAIN)
    for name, measure in MEASURES.items():
        start = time.perf_counter()
        table = measure(found["run" if name in ON_THE_RUN else "all"], base)
        seconds = time.perf_counter() - start
        path = options.output / f"{name}.csv"
        table.to_csv(path, index=False, float_format="%.4f", lineterminator="\n")
        source = options.run if name in ON_THE_RUN else options.all
        text = WORDS[name](table, base.trials) + provenance(source, options, seconds)
        path.with_suffix(".md").write_text(text, encoding="utf-8", newline="\n")
        print(text, flush=True)
        if name == "claim":
            text = summary_text(table, base.trials)
            path = options.output / "summary.md"
            path.write_text(text, encoding="utf-8", newline="\n")


def measured(
    study: Study, setting: Setting, *, keep: bool = False, proxies: list[str] = PAPER
) -> pd.DataFrame:
    """Rows of one setting."""
    pool = pool_of(study, proxies=proxies, keep_isomorphs=keep)
    trials = run_trials(pool, setting)
    table = predictions(pool, setting, trials).table
    tested = f"{trials.tested.min()} to {trials.tested.max()}"
    few = trials.tested.min() == trials.tested.max()
    return table.assign(tested=str(trials.tested.min()) if few else tested)


def claim(found: Mapping[str, Study], base: Setting) -> pd.DataFrame:
    """The published experiment, and the same with what learns better."""
    study = found["cifar100"]
    base = replace(base, test=TESTED)
    trees = ("xgboost", "gbdt", "forest")
    published = replace(base, models=trees, features=MORE, **AS_PUBLISHED)
    better = replace(base, models=("gbdt", "forest", "ridge", "knn"), features=MORE)
    return pd.concat(
        [
            measured(study, published, keep=True).assign(setting="as published"),
            measured(study, better).assign(setting="ranks, no isomorphs"),
        ],
        ignore_index=True,
    )


def datasets(found: Mapping[str, Study], base: Setting) -> pd.DataFrame:
    """Each dataset, with all scores of the run."""
    return pd.concat(
        [
            measured(found[name], base, proxies=[]).assign(dataset=name)
            for name in DATASETS
        ],
        ignore_index=True,
    )


def curves(found: Mapping[str, Study], base: Setting) -> pd.DataFrame:
    """From 10 to 1,000 training architectures."""
    setting = replace(base, train=SIZES, models=("gbdt", "ridge"))
    return measured(found["cifar100"], setting)


def importance(found: Mapping[str, Study], base: Setting) -> pd.DataFrame:
    """What gradient boosting uses."""
    setting = replace(base, features=("encoding+proxies",), importance=True)
    pool = pool_of(found["cifar100"], proxies=PAPER)
    return importances(run_trials(pool, setting)).table


def models(found: Mapping[str, Study], base: Setting) -> pd.DataFrame:
    """Kinds of gradient boosting, on CIFAR-10, which the claim is not about."""
    MODELS.update(CANDIDATES)
    names = ("gbdt", *CANDIDATES)
    kept = ("encoding", "encoding+proxies")
    setting = replace(base, models=names, features=kept, trials=min(30, base.trials))
    parts = [
        measured(found["cifar10"], replace(setting, labels=labels)).assign(
            labels=labels
        )
        for labels in ("rank", "accuracy")
    ]
    return pd.concat(parts, ignore_index=True)


MEASURES = {
    "claim": claim,
    "datasets": datasets,
    "curves": curves,
    "importance": importance,
    "models": models,
}


ON_THE_RUN = ("claim", "curves", "importance")
"""Which need the many architectures of one dataset; the others, all datasets."""


def provenance(source: Path, options: argparse.Namespace, seconds: float) -> str:
    return (
        f"\nScores: `{source.as_posix()}`; seed {options.seed}; "
        f"{seconds:,.0f} s on one thread of {platform.machine()}, scikit-learn "
        f"{sklearn.__version__}. `scripts/measure_predict.py`.\n"
    )


def mean_of(row: pd.Series, key: str = "spearman", *, signed: bool = False) -> str:
    """.908 [.905, .911]."""
    ends = ", ".join(number(row[f"{key}_{end}"], places=3) for end in ("low", "high"))
    return f"{number(row[key], places=3, signed=signed)} [{ends}]"


def claim_text(table: pd.DataFrame, trials: int) -> str:
    parts = []
    for (name, model), rows in table.groupby(["setting", "model"], sort=False):
        known = rows.set_index("features")
        lines = []
        for features, row in known.iterrows():
            gain = row["gain"] / known.loc["encoding", "spearman"]
            whole = known.loc["encoding+proxies", "gain"]
            of = row["gain"] / whole if features.startswith("encoding+") else None
            lines.append(
                (
                    escape_markdown(features),
                    mean_of(row),
                    number(row["kendall"], places=3),
                    f"{100 * gain:+.0f}%" if row["gain"] else "",
                    "" if of is None else f"{100 * of:.0f}%",
                )
            )
        head = ("features", "ρ", "τ-b", "ρ against encoding", "share of the gain")
        drawn = markdown_table(head, lines, (False, False, True, True, True))
        tested = rows["tested"].iloc[0]
        parts.append(f"## {model}, {name} ({tested} tested)\n\n{drawn}\n")
    return (
        "# The 42% experiment\n\n" + "".join(parts) + "CIFAR-100, 100 training "
        f"architectures, {trials} trials, the 13 proxies of NAS-Bench-Suite-Zero. "
        "Share of the gain: of what all 13 proxies add to the encoding. As published: "
        "raw scores, accuracies as labels, isomorphic architectures on both sides. "
        "95% intervals of the mean over trials.\n"
    )


def summary_text(table: pd.DataFrame, trials: int) -> str:
    """The experiment as it was published, by its model, beside how we would do it."""
    columns = {
        "XGBoost, as published": ("as published", "xgboost"),
        "boosting on ranks, no isomorphs": ("ranks, no isomorphs", "gbdt"),
    }
    known = {
        name: table[(table["setting"] == how) & (table["model"] == model)].set_index(
            "features"
        )
        for name, (how, model) in columns.items()
    }
    lines = []
    for features in MAIN:
        cells = [escape_markdown(features)]
        for rows in known.values():
            gain = rows.loc[features, "gain"] / rows.loc["encoding", "spearman"]
            cells.append(mean_of(rows.loc[features]))
            cells.append(f"{100 * gain:+.0f}%" if rows.loc[features, "gain"] else "")
        lines.append(tuple(cells))
    head = ("features",)
    for name in columns:
        head += (f"ρ, {name}", "against encoding")
    drawn = markdown_table(head, lines, (False, False, True, False, True))
    shares = [
        rows.loc["encoding+params+flops", "gain"] / rows.loc["encoding+proxies", "gain"]
        for rows in known.values()
    ]
    low, high = sorted(round(100 * share) for share in shares)
    part = f"{low}%" if low == high else f"{low} to {high}%"
    return (
        "**Of what 13 proxies add to the encoding of an architecture, params and "
        f"flops alone give {part}.**\n\n{drawn}\nCIFAR-100, 100 training and "
        f"{TESTED:,} test architectures, {trials} trials, 95% intervals of the mean. "
        "Published: encoding .640, with 13 proxies .908, +42%.\n"
    )


def datasets_text(table: pd.DataFrame, trials: int) -> str:
    rows = []
    for features in MAIN:
        here = table[table["features"] == features].set_index("dataset")
        cells = [mean_of(here.loc[name]) for name in DATASETS]
        rows.append((escape_markdown(features), *cells))
    head = ("features", *DATASETS)
    return (
        f"# Datasets\n\n{markdown_table(head, rows, (False,) * 4)}\nρ of gradient "
        f"boosting on ranks, 100 training architectures, {trials} trials, all "
        f"scores of the run; {table['tested'].iloc[0]} tested.\n"
    )


def curves_text(table: pd.DataFrame, trials: int) -> str:
    parts = []
    for model, part in table.groupby("model", sort=False):
        rows = []
        for features in MAIN:
            here = part[part["features"] == features].set_index("train")
            cells = [number(here.loc[size, "spearman"], places=3) for size in SIZES]
            rows.append((escape_markdown(features), *cells))
        head = ("features", *map(str, SIZES))
        drawn = markdown_table(head, rows, (False, *[True] * len(SIZES)))
        parts.append(f"## {model}\n\n{drawn}\n")
    return (
        f"# Learning curves\n\n{''.join(parts)}ρ on CIFAR-100 by number of training "
        f"architectures, {trials} trials, ranks; {table['tested'].iloc[0]} tested, the "
        "same ones for all sizes of a trial.\n"
    )


def importance_text(table: pd.DataFrame, trials: int) -> str:
    rows = [
        (escape_markdown(row["feature"]), mean_of(row, "drop", signed=True))
        for _, row in table.iterrows()
    ]
    drawn = markdown_table(("exchanged", "loss of ρ"), rows, (False, False))
    return (
        f"# Importance\n\n{drawn}\nGradient boosting from the encoding and 13 proxies, "
        f"CIFAR-100, 100 training architectures, {trials} trials.\n"
    )


def models_text(table: pd.DataFrame, trials: int) -> str:
    rows = []
    for model in ("gbdt", *CANDIDATES):
        cells = []
        for labels in ("rank", "accuracy"):
            here = table[(table["model"] == model) & (table["labels"] == labels)]
            known = here.set_index("features")
            cells += [mean_of(known.loc[f]) for f in ("encoding", "encoding+proxies")]
        rows.append((escape_markdown(model), *cells))
    head = ("model", "encoding, rank labels", "+ proxies")
    head += ("encoding, accuracy labels", "+ proxies")
    return (
        f"# Kinds of gradient boosting\n\n{markdown_table(head, rows, (False,) * 5)}\n"
        f"ρ on CIFAR-10, 100 training architectures, {min(30, trials)} trials; "
        f"{table['tested'].iloc[0]} tested.\n"
    )


WORDS = {
    "claim": claim_text,
    "datasets": datasets_text,
    "curves": curves_text,
    "importance": importance_text,
    "models": models_text,
}

if __name__ == "__main__":
    main()
