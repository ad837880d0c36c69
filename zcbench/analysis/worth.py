"""What a proxy is worth in trainings: at equal seconds, would one rather train some?

Scoring all architectures and taking the best by proxy costs seconds. So does training a
few drawn at random and taking the best of them.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from zcbench.analysis.block import Block, Column, Options, number
from zcbench.analysis.rows import PLACE, WHERE, Row, frame, mixture, rows_of
from zcbench.analysis.study import Study
from zcbench.stats.search_metrics import best_of

TABLE = (
    *PLACE,
    *("proxy", "baseline", "n", "hours", "trainings", "accuracy", "regret"),
    *("regret_trained", "worth", "note"),
)


def worth(studies: Sequence[Study], _: Options) -> Block:
    """The best by proxy against the best of as many trainings as its seconds buy."""
    table = frame(rows_of(studies, _rows), TABLE)
    return Block(
        name="worth",
        title="Worth in trainings: at equal seconds",
        about=(
            "Hours to score all architectures with that proxy alone, and how many "
            "trainings of the truth's length that buys. Regret: what the best by proxy "
            "lacks on the best architecture; trained: what the best of so many trained "
            "at random lacks, on average. Worth: the fewest trainings at random whose "
            "best is as good, on average, as the best by proxy."
            f"{mixture(studies)}"
        ),
        table=table,
        columns=(
            *WHERE,
            Column("hours", "hours", "number"),
            Column("trainings", "trainings", "number"),
            Column("regret", "regret ↓", "number"),
            Column("regret_trained", "trained ↓", "number"),
            Column("worth", "worth ↑", "count"),
        ),
        conclusion=_conclusion(table),
    )


def _rows(study: Study) -> list[Row]:
    accuracy = study.accuracy[study.known]
    one = study.mean_train_seconds
    if not len(accuracy):
        return []
    counts = np.unique(np.geomspace(1, len(accuracy), 200).astype(int))
    trained = best_of(accuracy, accuracy, counts.tolist())
    rows = []
    for proxy, score in study.scores.items():
        row: Row = {"proxy": proxy, "n": len(accuracy)}
        row["baseline"] = proxy in study.baselines
        here = score[study.known]
        if not np.isfinite(here).any():
            rows.append(row | {"note": "no score"})
            continue
        seconds = study.seconds.get(proxy, math.nan) * len(accuracy)
        bought = seconds / one
        best = float(best_of(here, accuracy, [len(accuracy)])[0])
        reached = np.flatnonzero(trained >= best - 1e-12)
        rows.append(
            row
            | {
                "hours": seconds / 3600,
                "trainings": bought,
                "accuracy": best,
                "regret": float(accuracy.max()) - best,
                "regret_trained": _regret_of_trained(accuracy, bought),
                "worth": int(counts[reached[0]]),
                "note": "" if bought >= 1 else "none trained",
            }
        )
    few = study.thin
    return sorted(rows, key=lambda r: (r["proxy"] in few, r.get("regret", math.inf)))


def _regret_of_trained(accuracy: np.ndarray[Any, Any], bought: float) -> float:
    """Of the best of so many at random, rounded down; NaN for none."""
    if not bought >= 1:
        return math.nan
    count = min(int(bought), len(accuracy))
    return float(accuracy.max() - best_of(accuracy, accuracy, [count])[0])


def _conclusion(table: Any) -> str:
    left_out = table["baseline"].astype(bool) | table["few"].astype(bool)
    known = table[table["worth"].notna() & ~left_out]
    if known.empty:
        return "No proxy has a score here."
    unknown = known["trainings"].isna().all()
    beaten = known[known["trainings"] < known["worth"]]
    middle = known.groupby("proxy")["worth"].min().sort_values(ascending=False)
    text = (
        f"The best by {middle.index[0]} is worth {middle.iloc[0]:,.0f} trainings at "
        "least"
    )
    if unknown:
        return f"{text}; what a training costs is not known."
    most = known["trainings"].max()
    return (
        f"{text}; the dearest proxy costs {number(most)} trainings. In {len(beaten)} "
        f"of {len(known)} cases the proxy beats training for its seconds."
    )
