"""Regret against time, as figures."""

from __future__ import annotations

from typing import Any

from zcbench.analysis.block import Block
from zcbench.analysis.search.pool import SearchPool
from zcbench.report.figures.curves import Curve, draw_curves
from zcbench.report.figures.drawing import Drawing, Role

_MOST = 3  # aids of a kind in one panel


def regret_curves(over_time: Block, summary: Block, pool: SearchPool) -> list[Drawing]:
    """Mean regret against cost, a panel for each method.

    Alone, the three best aids by proxies and the three best by baselines.

    Args:
        over_time: of `zcbench.analysis.search.curves`.
        summary: of `zcbench.analysis.search.searches`.
        pool: what was searched.
    """
    found = []
    end = summary.table.sort_values("regret_time", kind="stable")
    for method in summary.table["method"].unique():
        here = end[end["method"] == method].to_dict("records")
        curves = []
        counts: dict[str, int] = {}
        for row in here:
            role = _role(row, pool.baselines)
            counts[role] = counts.get(role, 0) + 1
            if counts[role] <= _MOST:
                curves.append(_curve(over_time, row, role))
        of = ", training and proxies" if pool.unit == "GPU-hours" else ""
        across = f"{pool.unit}{of}"
        words = f"regret, {pool.measure}"
        title = str(method)
        found.append(
            draw_curves(title, curves, across, words, lambda v: f"{v:g}", ratios=True)
        )
    return found


def _curve(over_time: Block, row: dict[str, Any], role: Role) -> Curve:
    table = over_time.table
    for key in ("method", "aid", "proxy"):
        table = table[table[key] == row[key]]
    points = table[["hours", "regret", "regret_low", "regret_high"]]
    label = "alone" if row["aid"] == "none" else f"{row['aid']}: {row['proxy']}"
    return Curve(label, list(points.itertuples(index=False, name=None)), role)


def _role(row: dict[str, Any], baselines: tuple[str, ...]) -> Role:
    if row["aid"] == "none":
        return "ink"
    names = set(str(row["proxy"]).split(", "))
    return "baseline" if names <= set(baselines) else "accent"
