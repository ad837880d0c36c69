"""Run directories with made-up scores, and a truth to go with them. No torch."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from zcbench.analysis.study import Study
from zcbench.files import signed
from zcbench.spaces import load_space
from zcbench.store.records import line_of

N = 27
SPACE = load_space("toy")
SPECS = [SPACE.architecture(index).spec for index in range(N)]
_RNG = np.random.default_rng(3)
ACCURACY = np.round(60 + 10 * _RNG.normal(size=N), 2)
GOOD = ACCURACY + 3 * _RNG.normal(size=N)
FAIR = ACCURACY + 20 * _RNG.normal(size=N)
BAD = _RNG.normal(size=N)
SCORES: Mapping[str, np.ndarray] = {
    "params": np.round(FAIR / 5) * 1000,
    "n_layers": np.round(FAIR / 10),
    "jacov": GOOD,
    "snip": BAD,
}


def write_run(
    path: Path,
    scores: Mapping[str, np.ndarray] = SCORES,
    *,
    status: Mapping[tuple[str, int], str] | None = None,
    indices: range | list[int] = range(N),
    repeats: int = 1,
    specs: list[str] = SPECS,
    **config: Any,
) -> Path:
    """Write a run directory.

    Args:
        path: the directory.
        scores: proxy → [27] or [27, repeats]; NaN leaves a score out.
        status: (proxy, index) → why there is no score.
        indices: which architectures it holds.
        repeats: how many of each.
        specs: architecture strings by index.
        **config: what differs in the configuration; ``versions``, ``traits`` and
            ``minibatch`` go to the manifest.
    """
    path.mkdir(parents=True)
    versions = config.pop("versions", dict.fromkeys(scores, 1))
    traits = config.pop("traits", {})
    images = config.pop("minibatch", {"name": "builtin", "digest": "d1"})
    manifest = {
        "schema": 1,
        "zcbench": "0.1.0",
        "config": {
            "space": "toy",
            "datasets": ["toy"],
            "proxies": list(scores),
            "n": "all",
            "population": "all",
            "archs": None,
            "seed": 0,
            "repeats": repeats,
            "batch_size": 64,
            "target": "val",
            "truth": "auto",
            **config,
        },
        "proxies": versions,
        "traits": traits,
        "minibatch": {"toy": images},
    }
    (path / "manifest.json").write_bytes(signed(json.dumps(manifest).encode()))
    lines = [
        line_of(_record(scores, status or {}, index, repeat, specs))
        for index in indices
        for repeat in range(repeats)
    ]
    (path / "scores.jsonl").write_bytes(b"".join(lines))
    return path


def _record(
    scores: Mapping[str, np.ndarray],
    status: Mapping[tuple[str, int], str],
    index: int,
    repeat: int,
    specs: list[str],
) -> dict[str, Any]:
    values: dict[str, float | None] = {}
    for position, (proxy, column) in enumerate(scores.items()):
        cell = column[index]
        value = float(cell if np.ndim(cell) == 0 else cell[repeat])
        if (proxy, index) in status:
            values[proxy] = None
        elif not math.isnan(value):
            values[proxy] = value
        seconds = 0.001 * (position + 1)
    return {
        "space": "toy",
        "dataset": "toy",
        "arch": specs[index],
        "index": index,
        "repeat": repeat,
        "scores": values,
        "status": {p: word for (p, i), word in status.items() if i == index},
        "seconds": {
            "total": seconds,
            "proxies": {p: 0.001 * (k + 1) for k, p in enumerate(scores)},
        },
    }


def toy_truth(
    space: str,
    dataset: str,
    truth: str = "auto",
    target: str = "auto",
) -> pd.DataFrame:
    """Stands in for `zcbench.truth.load_truth`."""
    assert (getattr(space, "name", space), dataset) == ("toy", "toy")
    table = pd.DataFrame(
        {
            "arch": SPECS,
            "index": range(N),
            "val": ACCURACY,
            "val_seed0": ACCURACY - 1,
            "val_seed1": ACCURACY + 1,
            "val_seed2": [math.nan, *ACCURACY[1:]],
            "test": -ACCURACY,
            "test_seed0": -ACCURACY,
        }
    )
    if truth == "part":
        table = table.iloc[2:]
    if truth == "gaps":
        table.loc[:3, "val"] = math.nan
    if truth == "foreign":
        table["arch"] += "x"
    if truth == "flat":
        table["val"] = 10.0
    table.attrs = {
        "truth": "toy" if truth == "auto" else truth,
        "release": "made up",
        "digest": f"digest of {truth}",
        "targets": ["val", "test"],
        "space": space,
        "dataset": dataset,
    }
    return table


def study_of(
    scores: Mapping[str, np.ndarray],
    accuracy: np.ndarray,
    *,
    baselines: tuple[str, ...] = ("params",),
    dataset: str = "toy",
    space: str = "toy",
    run: str = "run",
    archs: list[str] | None = None,
    seeds: np.ndarray | None = None,
    target: str = "val",
) -> Study:
    """A study from arrays, as if a run had been joined with a truth."""
    n = len(accuracy)
    values = {name: np.asarray(score, dtype=float) for name, score in scores.items()}
    return Study(
        run=run,
        space=space,
        dataset=dataset,
        target=target,
        unit="percent of accuracy",
        population="all",
        sampled="sample",
        networks=n,
        expected=n,
        truth="made up",
        release="",
        truth_digest="",
        minibatch="builtin",
        minibatch_digest="",
        batch_size=64,
        seed=0,
        repeats=1,
        precision="float32",
        archs=archs or [f"arch {i}" for i in range(n)],
        scores=values,
        accuracy=np.asarray(accuracy, dtype=float),
        seeds=np.empty((n, 0)) if seeds is None else seeds,
        by_repeat={name: score[:, None] for name, score in values.items()},
        seconds=dict.fromkeys(scores, 0.001),
        train_seconds=None,
        baselines=tuple(name for name in scores if name in baselines),
        lower=frozenset(),
        versions=dict.fromkeys(scores, 1),
        statuses={name: {} for name in scores},
        note="",
    )
