"""What each proxy adds to the others."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from zcbench.analysis.block import Block, Column, Options, estimate, number, percent
from zcbench.analysis.rows import (
    PLACE,
    Row,
    blank,
    frame,
    numbers,
    rows_of,
    said,
    with_ends,
)
from zcbench.analysis.study import Study
from zcbench.stats import Estimate, difference
from zcbench.stats.association import association
from zcbench.stats.ensemble import FOLDS, Ensemble, ensembles
from zcbench.stats.ranks import Floats

LARGEST = 8
"""Most scores in an ensemble."""
FEWEST = 50
"""Architectures below which nothing is chosen."""
TABLE = (
    *PLACE,
    *("size", "added", "n", "repeated"),
    *with_ends("rho", "gain"),
    "control",
    *with_ends("over_control", note=True),
    "gain_note",
    *with_ends("behind"),
    "note",
)
"""Columns of the table; ``behind``: ρ of the best size minus that of this one."""


def ensemble(studies: Sequence[Study], options: Options) -> Block:
    """Mean-rank ensembles, chosen greedily and judged on other architectures."""
    rows = rows_of(studies, lambda study: _rows(study, options))
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
        table=frame(rows, TABLE),
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


def _rows(study: Study, options: Options) -> list[Row]:
    known, accuracy = study.known, study.accuracy[study.known]
    names = [p for p in study.scores if study.n_scored(p) and not study.is_thin(p)]
    why = "too few" if known.sum() < FEWEST else "" if names else "all failed"
    if not why and np.ptp(accuracy) == 0:
        why = "constant truth"
    if why:
        return [
            blank(TABLE) | {"size": 1, "added": "", "repeated": "", "note": why},
        ]
    scores = [study.scores[name][known] for name in names]
    made = ensembles(scores, accuracy, LARGEST, seed=options.seed)
    return _steps(made, names, accuracy, options)


def _steps(
    made: Ensemble, names: list[str], accuracy: Floats, options: Options
) -> list[Row]:
    """One row for each size."""
    level = options.confidence
    reached, controls = (
        [association(row, accuracy, "spearman", confidence=level) for row in of]
        for of in (made.held_out, made.control)
    )
    best = max(reached, key=lambda rho: rho.value)
    rows: list[Row] = []
    for k, (rho, control) in enumerate(zip(reached, controls, strict=True)):
        row: Row = {
            "size": k + 1,
            "added": names[made.members[k]],
            "n": rho.n,
            "repeated": f"{made.repeated[k]} of {FOLDS}",
            **numbers("rho", rho),
            "control": control.value,
            "note": rho.note,
        }
        more = difference(rho, reached[k - 1], confidence=level) if k else Estimate()
        steps = {
            "gain": more,
            "over_control": difference(rho, control, confidence=level),
            "behind": difference(best, rho, confidence=level),
        }
        for key, step in steps.items():
            row |= numbers(key, step, step.note)
        rows.append(row)
    return rows


def _conclusion(rows: Sequence[Row], studies: Sequence[Study]) -> str:
    """The smallest ensemble of each dataset that is not shown to be behind the best."""
    text = said(rows, studies, _smallest)
    about = "Smallest ensemble that no larger one is shown to beat."
    return f"{about} {text}" if text else ""


def _smallest(_: Study, rows: Sequence[Row]) -> str:
    here = [row for row in rows if not math.isnan(row["rho"])]
    if not here:
        return ""
    enough = next(k for k, row in enumerate(here) if not row["behind_low"] > 0)
    last, first = here[enough], here[0]
    named = " + ".join(row["added"] for row in here[: enough + 1])
    text = f"{named} {estimate(last, 'rho')}"
    return text + (f", {first['added']} alone {number(first['rho'])}" if enough else "")
