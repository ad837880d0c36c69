"""What each proxy adds to the others."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from zcbench.analysis.block import Block, Column, Options
from zcbench.analysis.study import PLACE, Study, place
from zcbench.analysis.words import interval, number, percent
from zcbench.stats import Difference, difference
from zcbench.stats.association import association
from zcbench.stats.ensemble import FOLDS, Ensemble, ensembles

LARGEST = 8
"""Most scores in an ensemble."""
FEWEST = 50
"""Architectures below which nothing is chosen."""
TABLE = (
    *PLACE,
    "size",
    "added",
    "n",
    "repeated",
    "rho",
    "rho_low",
    "rho_high",
    "gain",
    "gain_low",
    "gain_high",
    "control",
    "over_control",
    "over_control_low",
    "over_control_high",
    "over_control_note",
    "gain_note",
    "behind",
    "behind_low",
    "behind_high",
    "note",
)
"""Columns of the table; ``behind``: ρ of the best size minus that of this one."""


def ensemble(studies: Sequence[Study], options: Options) -> Block:
    """Mean-rank ensembles, chosen greedily and judged on other architectures.

    Args:
        studies: the datasets of the report.
        options: confidence, and the seed of folds and shuffling.
    """
    import pandas as pd

    rows: list[dict[str, Any]] = []
    for study in studies:
        about = place(study, studies)
        rows += [about | row for row in _rows(study, options)]
    return Block(
        name="ensemble",
        title="Ensemble: what each proxy adds to the others",
        about=(
            "Mean rank of the proxies down to that line; each joins because it raises "
            f"ρ most. ρ: chosen on {FOLDS - 1} of {FOLDS} parts of the architectures, "
            "measured on the last. Gain: over the line above. Control: ρ with the "
            "best of all shuffled proxies in place of that one, chosen in the same "
            "way. Same choice: in how many of the parts these very proxies were "
            "chosen. Baselines may join. "
            f"{percent(options.confidence)} intervals, for the proxies as chosen."
        ),
        table=pd.DataFrame(rows, columns=list(TABLE)),
        columns=(
            Column("where", "dataset", "text"),
            Column("size", "size", "count"),
            Column("added", "joins", "text"),
            Column("rho", "ρ of all so far", "interval"),
            Column("gain", "gain ↑", "difference"),
            Column("control", "control ρ", "correlation"),
            Column("over_control", "over control ↑", "difference"),
            Column("repeated", "same choice", "text"),
        ),
        conclusion=_conclusion(rows, studies),
    )


def _rows(study: Study, options: Options) -> list[dict[str, Any]]:
    known = np.isfinite(study.accuracy)
    names = [p for p in study.scores if np.isfinite(study.scores[p][known]).any()]
    accuracy = study.accuracy[known]
    empty: dict[str, Any] = dict.fromkeys(TABLE[len(PLACE) :], math.nan)
    why = "too few" if known.sum() < FEWEST else "" if names else "all failed"
    if not why and np.ptp(accuracy) == 0:
        why = "constant truth"
    if why:
        return [empty | {"size": 1, "added": "", "repeated": "", "note": why}]
    found = ensembles(
        [study.scores[name][known] for name in names],
        accuracy,
        LARGEST,
        seed=options.seed,
    )
    return _steps(found, names, accuracy, options)


def _steps(
    found: Ensemble, names: list[str], accuracy: np.ndarray[Any, Any], options: Options
) -> list[dict[str, Any]]:
    """One row for each size."""
    level = options.confidence
    reached, controls = (
        [association(row, accuracy, "spearman", confidence=level) for row in of]
        for of in (found.held_out, found.control)
    )
    best = max(reached, key=lambda rho: rho.value)
    rows: list[dict[str, Any]] = []
    for k, (rho, control) in enumerate(zip(reached, controls, strict=True)):
        row: dict[str, Any] = {
            "size": k + 1,
            "added": names[found.members[k]],
            "n": rho.n,
            "repeated": f"{found.repeated[k]} of {FOLDS}",
            "rho": rho.value,
            "rho_low": rho.low,
            "rho_high": rho.high,
            "control": control.value,
            "note": rho.note,
        }
        over = difference(rho, control, confidence=level)
        more = difference(rho, reached[k - 1], confidence=level) if k else None
        behind = difference(best, rho, confidence=level)
        row |= _numbers("gain", more) | _numbers("over_control", over)
        rows.append(row | _numbers("behind", behind))
    return rows


def _numbers(key: str, found: Difference | None) -> dict[str, Any]:
    nan = math.nan
    if found is None:
        return {key: nan, f"{key}_low": nan, f"{key}_high": nan, f"{key}_note": ""}
    return {
        key: found.delta,
        f"{key}_low": found.low,
        f"{key}_high": found.high,
        f"{key}_note": found.note,
    }


def _conclusion(rows: Sequence[dict[str, Any]], studies: Sequence[Study]) -> str:
    """The smallest ensemble of each dataset that is not shown to be behind the best."""
    parts = []
    for study in studies:
        about = place(study, studies)
        here = [
            row
            for row in rows
            if (row["run"], row["dataset"]) == (about["run"], about["dataset"])
            and not math.isnan(row["rho"])
        ]
        if not here:
            continue
        enough = next(k for k, row in enumerate(here) if not row["behind_low"] > 0)
        last, first = here[enough], here[0]
        named = " + ".join(row["added"] for row in here[: enough + 1])
        text = f"{about['where']}: {named} {number(last['rho'])}"
        text += f" {interval(last['rho_low'], last['rho_high'])}"
        if enough:
            text += f", {first['added']} alone {number(first['rho'])}"
        parts.append(f"{text}.")
    if not parts:
        return ""
    return f"Smallest ensemble that no larger one is shown to beat. {' '.join(parts)}"
