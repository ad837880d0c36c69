"""What trials of predictors say, as sections of a report."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import numpy as np
import pandas as pd
from scipy import stats

from zcbench.analysis.block import Block, Column, number
from zcbench.analysis.predict.features import Pool
from zcbench.analysis.predict.trials import Key, Setting, Trials
from zcbench.analysis.rows import numbers
from zcbench.stats import Estimate
from zcbench.stats.ranks import Floats

CONFIDENCE = 0.95
"""Coverage of the intervals of means over trials."""
_KEY = ("train", "model", "features")
_TRAINED = (
    Column("train", "trained on", "count"),
    Column("model", "model", "text"),
    Column("features", "features", "text"),
)


def predictions(pool: Pool, setting: Setting, trials: Trials) -> Block:
    """How well each model ranks the test architectures, by training size and features.

    Args:
        pool: the architectures.
        setting: what was trained.
        trials: what came of it.
    """
    first = setting.features[0]
    rows = []
    for key, rho in trials.spearman.items():
        reference = trials.spearman[(*key[:2], first)]
        row = dict(zip(_KEY, key, strict=True)) | {"trials": len(rho)}
        row |= numbers("spearman", mean_of(zeroed(rho), most=1.0))
        row |= numbers("kendall", mean_of(zeroed(trials.kendall[key]), most=1.0))
        row["spread"] = float(zeroed(rho).std(ddof=1)) if len(rho) > 1 else math.nan
        gain = zeroed(rho) - zeroed(reference)
        row |= numbers("gain", mean_of(gain))
        row["constant"] = int(np.isnan(rho).sum())
        rows.append(row)
    table = pd.DataFrame(rows)
    return Block(
        name="predictions",
        title="How well predictors rank architectures that they have not seen",
        about=_about(pool, setting, trials),
        table=table,
        columns=(
            *_TRAINED,
            Column("spearman", "ρ", "interval"),
            Column("kendall", "τ-b", "interval"),
            Column("spread", "± of a trial", "correlation"),
            Column("gain", f"Δρ from {first}", "difference"),
            Column("constant", "constant", "count"),
        ),
        conclusion=_conclusion(setting, trials),
    )


def importances(trials: Trials) -> Block:
    """By how much ρ falls when one feature is exchanged among test architectures.

    Args:
        trials: what came of it.
    """
    rows = []
    for key, drops in trials.importance.items():
        here = []
        for name, drop in drops.items():
            row: dict[str, Any] = dict(zip(_KEY, key, strict=True)) | {"feature": name}
            here.append(row | numbers("drop", mean_of(drop)))
        rows += sorted(here, key=lambda row: -float(row["drop"]))
    names = (*_KEY, "feature", "drop", "drop_low", "drop_high")
    return Block(
        name="importance",
        title="What predictors use",
        about=(
            "Loss: ρ on the test architectures minus ρ where that feature is exchanged "
            "among them, mean over trials. A feature that others can replace loses "
            "little, so that this says what a model uses, not what it needs."
        ),
        table=pd.DataFrame(rows, columns=list(names)),
        columns=(
            *_TRAINED,
            Column("feature", "exchanged", "text"),
            Column("drop", "loss of ρ", "difference"),
        ),
        conclusion="",
    )


def mean_of(
    values: Floats, confidence: float = CONFIDENCE, most: float = math.inf
) -> Estimate:
    """Mean over trials, and Student's interval about it; NaN ends for a single trial.

    Args:
        values: one for each trial, finite. [trials]
        confidence: nominal coverage.
        most: |value| that nothing exceeds, no end of an interval either.
    """
    n, mean = len(values), float(values.mean())
    half = math.nan
    if n > 1:
        factor = float(stats.t.ppf((1 + confidence) / 2, n - 1))
        half = factor * float(values.std(ddof=1)) / math.sqrt(n)
    return Estimate(mean, max(mean - half, -most), min(mean + half, most), n)


def zeroed(values: Floats) -> Floats:
    """Correlations of trials, 0 where predictions are all equal: those rank nothing."""
    return np.where(np.isnan(values), 0.0, values)


def _about(pool: Pool, setting: Setting, trials: Trials) -> str:
    few, many = int(trials.tested.min()), int(trials.tested.max())
    tested = f"{few:,}" if few == many else f"{few:,} to {many:,}"
    takes = "by their ranks" if setting.values == "rank" else "as they are"
    learnt = "the rank of an accuracy" if setting.labels == "rank" else "the accuracy"
    gone = ""
    if trials.isomorphs.any():
        mean = float(trials.isomorphs.mean())
        gone = f" (left out for that: {mean:.0f} in a trial on average)"
    return (
        f"Mean over {setting.trials:,} trials, each with training architectures of its "
        f"own and {tested} test architectures of these {len(pool.archs):,}. "
        f"{pool.isomorphs}{gone}. Models learn {learnt}; scores enter {takes}"
        f"{_missing(pool)}. Everything is fitted on the training architectures alone. "
        "Intervals are about the mean over draws from these architectures; "
        "± of a trial: standard deviation over trials; Δρ: trial by trial, with the "
        "same model and training size; constant: trials in which all predictions are "
        "equal, which count as 0."
    )


def _missing(pool: Pool) -> str:
    gaps = {name: int(np.isnan(score).sum()) for name, score in pool.scores.items()}
    shown = ", ".join(f"{name} {count:,}" for name, count in gaps.items() if count)
    if not shown:
        return ""
    return (
        f"; a missing one ({shown}) becomes the median of the training architectures, "
        "and a column says that it is missing"
    )


def _conclusion(setting: Setting, trials: Trials) -> str:
    size, model, first = max(setting.train), setting.models[0], setting.features[0]
    means: Mapping[Key, float] = {
        key: float(zeroed(rho).mean()) for key, rho in trials.spearman.items()
    }
    start = means[size, model, first]
    parts = [f"{first} reaches ρ {number(start, places=3)}"]
    for name in setting.features[1:]:
        value = means[size, model, name]
        share = f" ({100 * (value / start - 1):+.0f}%)" if start > 0 else ""
        parts.append(f"{name} {number(value, places=3)}{share}")
    return f"With {model} and {size:,} training architectures, {', '.join(parts)}."
