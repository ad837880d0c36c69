"""From runs and ground truth to the table of correlations."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from zcbench.report.provenance import disagreements
from zcbench.report.study import Study, studies
from zcbench.stats import KINDS, Association, association

if TYPE_CHECKING:
    import pandas as pd

COLUMNS = (
    "space",
    "dataset",
    "target",
    "population",
    "proxy",
    "n",
    "failed",
    "spearman",
    "spearman_low",
    "spearman_high",
    "kendall",
    "kendall_low",
    "kendall_high",
    "seconds_per_arch",
    "baseline",
    "direction",
    "version",
    "status",
    "note",
    "run",
    "aggregate",
    "epochs",
    "remarks",
)
"""Columns of the table, of the CSV and of each entry under "correlations"."""


def correlations(
    runs: Sequence[pd.DataFrame],
    target: str | None = None,
    truth: str | None = None,
    population: str | None = None,
) -> pd.DataFrame:
    """Rank correlation of every proxy with accuracy, for every dataset of some runs.

    Args:
        runs: tables from `load_run`.
        target: ``"val"`` or ``"test"``; None for what each run was made for.
        truth: ``"auto"``, a name or a path; None for what each run was made with.
        population: architectures to speak of; None for those the run sampled from.

    Returns:
        One row per (run, dataset, proxy) with `COLUMNS`, best first in each dataset.
        Where the truth has accuracies after fewer epochs, early stopping has a row,
        too, with its number of ``epochs``, which is 0 for a proxy.
        ``n`` counts the architectures with a score and an accuracy, ``failed`` those
        whose score is not ok; with several repeats a score is their mean, and not ok
        if one of them is not; ``remarks`` is what scores note of their networks, with
        how many networks. ``attrs`` hold ``sections`` (a `Section` for each run and
        dataset), ``runs`` (the manifests) and ``notes`` (lines for the user).

    Raises:
        DataError: there is no such target or truth, or it knows no architecture.
        UsageError: a run says nothing about that population.
    """
    return tabulate(studies(runs, target, truth, population), runs)


def tabulate(
    found: Sequence[Study], runs: Sequence[pd.DataFrame], *, confidence: float = 0.95
) -> pd.DataFrame:
    """The table of `correlations` from what is joined already.

    Args:
        found: from `studies`.
        runs: what they come from.
        confidence: nominal coverage of the intervals.
    """
    import pandas as pd

    rows = [row for study in found for row in _rows(study, confidence)]
    table = pd.DataFrame(rows, columns=list(COLUMNS))
    table.attrs = {
        "sections": [study.section for study in found],
        "runs": [{"path": run.attrs["path"], **run.attrs["manifest"]} for run in runs],
        "notes": _notes(found, runs),
    }
    return table


def _notes(found: Sequence[Study], runs: Sequence[pd.DataFrame]) -> list[str]:
    """How the files were read, and what was left out; each line once."""
    notes = [note for run in runs for note in run.attrs.get("notes", ())]
    notes += [
        line
        for run in runs
        for found in run.attrs["manifest"].get("device_check", [])
        for line in disagreements(found)
    ]
    notes += [line for study in found for line in study.note.splitlines()]
    return list(dict.fromkeys(notes))


def _rows(study: Study, confidence: float) -> list[dict[str, Any]]:
    section = study.section
    about = {
        "space": section.space,
        "dataset": section.dataset,
        "target": section.target,
        "population": section.population,
        "run": section.run,
    }
    rows = [about | _row(proxy, study, confidence) for proxy in study.scores]
    rows += [about | _early_row(name, study, confidence) for name in study.early]
    return sorted(rows, key=_rank)


def _rank(row: dict[str, Any]) -> tuple[bool, float, str]:
    """Best first: by ρ, in the proxy's own direction."""
    value = row["spearman"]
    merit = -value if row["direction"] == "lower" else value
    return math.isnan(value), -merit, row["proxy"]


def _row(proxy: str, study: Study, confidence: float) -> dict[str, Any]:
    status = study.statuses[proxy]
    failed = sum(count for word, count in status.items() if word != "missing")
    lower = proxy in study.lower
    row: dict[str, Any] = {
        "proxy": proxy,
        "failed": failed,
        "seconds_per_arch": study.seconds[proxy],
        "baseline": proxy in study.baselines,
        "direction": "lower" if lower else "higher",
        "version": study.versions[proxy],
        "status": status,
        "aggregate": proxy in study.aggregates,
        "epochs": 0,
        "remarks": study.remarks.get(proxy, ""),
    }
    for kind in KINDS:
        row |= _numbers(study.association(proxy, kind, confidence=confidence), lower)
    if row["note"] == "all failed" and not failed:
        row["note"] = "not run"
    return row


def _early_row(name: str, study: Study, confidence: float) -> dict[str, Any]:
    """Early stopping, by what it costs to train for so many epochs."""
    method, accuracy = study.early[name], study.accuracy
    lacking = int(np.isnan(method.accuracy).sum())
    row: dict[str, Any] = {
        "proxy": name,
        "failed": lacking,
        "seconds_per_arch": method.share * study.mean_train_seconds,
        "baseline": False,
        "direction": "higher",
        "version": 1,
        "status": {"missing": lacking} if lacking else {},
        "aggregate": False,
        "epochs": method.epochs,
        "remarks": "",
    }
    for kind in KINDS:
        found = association(method.accuracy, accuracy, kind, confidence=confidence)
        row |= _numbers(found, lower=False)
    return row


def _numbers(found: Association, lower: bool) -> dict[str, Any]:
    """A correlation in the columns of its kind; every proxy with its own sign."""
    kind, value, low, high = found.kind, found.value, found.low, found.high
    if lower:
        value, low, high = -value, -high, -low
    columns = {kind: value, f"{kind}_low": low, f"{kind}_high": high}
    return {"n": found.n, "note": found.note, **columns}
