"""One table of all datasets: what a run ends with."""

from __future__ import annotations

import math
from statistics import fmean

from zcbench.analysis import analyse
from zcbench.analysis.block import (
    FEW,
    Block,
    Column,
    Listing,
    milliseconds,
    number,
    percent,
)
from zcbench.analysis.report import Report
from zcbench.analysis.rows import PROXY, Row, merit, place, rows_about
from zcbench.analysis.verdict import ahead_of
from zcbench.errors import count
from zcbench.stats.ensemble import ALIKE


def overview(report: Report, rows: int | None = None) -> Block:
    """ρ of every proxy on every dataset, the highest mean first.

    Args:
        report: any.
        rows: how many of them; None for all.
    """
    names = list(dict.fromkeys(p for s in report.studies for p in s.scores))
    made = [_row(report, name) for name in names]
    made.sort(key=merit("mean", {row["proxy"] for row in made if row["few"]}))
    shown = made[:rows]
    wheres = [place(study, report.studies)["where"] for study in report.studies]
    columns = (
        PROXY,
        *(
            Column(f"rho_{i}", f"ρ {where}", "interval")
            for i, where in enumerate(wheres)
        ),
        Column("failed", "failed", "count"),
        Column("cost", "ms/arch", "number", lambda row: row["milliseconds"]),
    )
    left = len(made) - len(shown)
    return Listing(
        name="overview",
        title="",
        about="",
        table=shown,
        columns=columns,
        conclusion="",
        styles=tuple(
            "ahead" if row["ahead"] else "baseline" if row["baseline"] else ""
            for row in shown
        ),
        foot=f"ρ Spearman, with {percent(report.options.confidence)} intervals; * a "
        "baseline; failed: scores without a value"
        + (f"; {FEW}" if any(row["few"] for row in shown) else "")
        + (f"; {left} more proxies below." if left else "."),
    )


def _row(report: Report, name: str) -> Row:
    row: Row = {"proxy": name, "failed": 0, "ahead": bool(report.studies)}
    row["few"] = any(study.is_thin(name) for study in report.studies)
    means, costs = [], []
    row["baseline"] = any(name in study.baselines for study in report.studies)
    for i, study in enumerate(report.studies):
        row |= dict.fromkeys((f"rho_{i}", f"rho_{i}_low", f"rho_{i}_high"), math.nan)
        table = rows_about(study, report.table)
        for one in table[table["proxy"] == name].to_dict("records"):
            ends = {e: one[f"spearman{e}"] for e in ("", "_low", "_high")}
            row |= {f"rho_{i}{end}": value for end, value in ends.items()}
            row[f"rho_{i}_note"] = one["note"]
            row["failed"] += one["failed"]
            means.append(-ends[""] if one["direction"] == "lower" else ends[""])
            costs.append(one["seconds_per_arch"])
        ahead = ahead_of(rows_about(study, report.verdict.table))["proxy"]
        row["ahead"] = row["ahead"] and name in ahead.tolist()
    known = [mean for mean in means if not math.isnan(mean)]
    row["mean"] = fmean(known) if known else math.nan
    row["cost"] = fmean(costs) if costs else math.nan
    row["milliseconds"] = "" if math.isnan(row["cost"]) else milliseconds(row["cost"])
    row["proxy"] += " *" if row["baseline"] else ""
    return row


def agreeing(report: Report) -> str:
    """How many proxies rank alike wherever they were run, in a sentence."""
    table = analyse("agreement", report.studies, report.options).table
    if table["rho"].isna().all():
        return ""
    shared = [
        {frozenset(names) for _, names in part.groupby("group")["proxy"]}
        for _, part in table.groupby("where", sort=False)
    ]
    groups = [group for group in set.intersection(*shared) if len(group) > 1]
    alike, of = sum(map(len, groups)), table["proxy"].nunique()
    where = f" on all {len(shared)} datasets" if len(shared) > 1 else ""
    return (
        f"{alike} of {of} proxies agree{where}, in {count(len(groups), 'group')} with "
        f"a mean |ρ| of at least {number(ALIKE)}: report --section agreement."
    )
