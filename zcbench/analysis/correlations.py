"""From runs and ground truth to the table of correlations."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd

from zcbench.analysis import TABLE
from zcbench.analysis.block import (
    FEW,
    Block,
    Column,
    Options,
    Style,
    difference,
    milliseconds,
    number,
    percent,
    setting,
    title,
)
from zcbench.analysis.join import studies
from zcbench.analysis.rows import (
    Row,
    frame,
    numbers,
    place,
    rows_about,
    tables_of,
    with_ends,
)
from zcbench.analysis.scores import grouped
from zcbench.analysis.study import Study
from zcbench.analysis.verdict import CLEARLY, ahead_of
from zcbench.stats import KINDS, Association, Estimate, association
from zcbench.stats.association import FEWEST
from zcbench.store.directory import Manifest, disagreements

COLUMNS = (
    *("space", "dataset", "target", "population", "proxy", "n", "failed"),
    *with_ends("spearman", "kendall"),
    *("seconds_per_arch", "baseline", "direction", "version", "status", "note"),
    *("run", "aggregate", "epochs", "remarks", "trained", "few"),
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
        too, with its number of ``epochs``, which is 0 for a proxy. ``trained`` tells
        what trains, early stopping and one-shot scores, from proxies.
        ``n`` counts the architectures with a score and an accuracy, ``failed`` those
        whose score is not ok; with several repeats a score is their mean, and not ok
        if one of them is not. ``attrs`` hold ``studies`` (a `Study` for each run and
        dataset), ``runs`` (the manifests) and ``notes`` (lines for the user).

    Raises:
        DataError: there is no such target or truth, or it knows no architecture.
        UsageError: a run says nothing about that population.
    """
    return tabulate(studies(runs, target, truth, population), runs)


def tabulate(
    joined: Sequence[Study], runs: Sequence[pd.DataFrame], *, confidence: float = 0.95
) -> pd.DataFrame:
    """The table of `correlations` from what is joined already.

    Args:
        joined: from `studies`.
        runs: what they come from.
        confidence: nominal coverage of the intervals.
    """
    rows = [row for study in joined for row in _rows(study, confidence)]
    table = frame(rows, COLUMNS)
    table.attrs = {
        "studies": list(joined),
        "runs": [Manifest(r.attrs["manifest"], path=r.attrs["path"]) for r in runs],
        "notes": _notes(joined, runs),
    }
    return table


def _notes(joined: Sequence[Study], runs: Sequence[pd.DataFrame]) -> list[str]:
    """How the files were read, and what was left out; each line once."""
    notes = [note for run in runs for note in run.attrs.get("notes", ())]
    checks = (c for r in runs for c in r.attrs["manifest"].get("device_check", []))
    notes += [line for check in checks for line in disagreements(check)]
    notes += [line for study in joined for line in study.note.splitlines()]
    return list(dict.fromkeys(notes))


def _rows(study: Study, confidence: float) -> list[Row]:
    rows = [_row(proxy, study, confidence) for proxy in study.scores]
    rows += [_early_row(name, study, confidence) for name in study.early]

    def rank(row: Row) -> tuple[bool, bool, float, str]:
        """Best first: by ρ, in the proxy's own direction; those of few last."""
        value, name = row["spearman"], row["proxy"]
        merit = -value if row["direction"] == "lower" else value
        return math.isnan(value), row["few"], -merit, name

    placed = (place(study, [study], row["proxy"]) | row for row in rows)
    return sorted(placed, key=rank)


def _row(proxy: str, study: Study, confidence: float) -> Row:
    status = study.statuses[proxy]
    failed = sum(count for word, count in status.items() if word != "missing")
    lower = proxy in study.lower
    row = {
        "proxy": proxy,
        "failed": failed,
        "seconds_per_arch": study.seconds[proxy]
        + study.trained.get(proxy, 0.0) / study.architectures,
        "baseline": proxy in study.baselines,
        "direction": "lower" if lower else "higher",
        "version": study.versions[proxy],
        "status": status,
        "aggregate": proxy in study.aggregates,
        "epochs": 0,
        "remarks": study.remarks.get(proxy, ""),
        "trained": proxy in study.trained,
    }
    for kind in KINDS:
        row |= _numbers(study.association(proxy, kind, confidence=confidence), lower)
    if row["note"] == "all failed" and not failed:
        row["note"] = "not run"
    return row


def _early_row(name: str, study: Study, confidence: float) -> Row:
    """Early stopping, by what it costs to train for so many epochs."""
    method = study.early[name]
    lacking = int(np.isnan(method.accuracy).sum())
    row = {
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
        "trained": True,
    }
    for kind in KINDS:
        values = method.accuracy, study.accuracy
        row |= _numbers(association(*values, kind, confidence=confidence), lower=False)
    return row


def _numbers(rho: Association, lower: bool) -> Row:
    """A correlation in the columns of its kind; every proxy with its own sign."""
    own = Estimate(-rho.value, -rho.high, -rho.low) if lower else rho
    return {"n": rho.n, "note": rho.note, **numbers(rho.kind, own)}


def tidy(table: pd.DataFrame) -> dict[str, Any]:
    """``{"runs": […], "correlations": […]}`` of a table of correlations, for JSON.

    Each run is its manifest with its ``path``, and with ``sections``: for each dataset
    what the table is about.
    """
    studies = table.attrs["studies"]
    runs = [
        run | {"sections": [s.about() for s in studies if s.run == run["path"]]}
        for run in table.attrs["runs"]
    ]
    return {"runs": runs, TABLE: table.loc[:, list(COLUMNS)].to_dict("records")}


def printed(
    joined: Sequence[Study], table: pd.DataFrame, verdict: Block, options: Options
) -> list[Block]:
    """The table of each dataset, and which proxies are ahead of its best baseline.

    Args:
        joined: the datasets.
        table: of their correlations, from `tabulate`.
        verdict: of the same datasets.
        options: those of the report.
    """
    several = len(table.attrs["runs"]) > 1
    blocks = []
    for study, (_, rows) in zip(joined, tables_of(table), strict=True):
        verdicts = rows_about(study, verdict.table)
        block = Block(
            name=TABLE,
            title=title(study) + (f" · {study.run}" if several else ""),
            about=setting(study),
            table=rows.loc[:, list(COLUMNS)],
            columns=_PRINTED,
            conclusion=_conclusion(rows, verdicts, options),
            styles=_styles(rows, verdicts),
            where=place(study, joined)["where"],
            foot=_foot(table, options),
            remarks=grouped(dict(zip(rows["proxy"], rows["remarks"], strict=True))),
        )
        blocks.append(block)
    return blocks


def _name(row: Mapping[str, Any]) -> str:
    marks = {"baseline": " *", "aggregate": " †", "trained": " ‡"}
    mark = next((mark for key, mark in marks.items() if row[key]), "")
    turned = " (lower is better)" if row["direction"] == "lower" else ""
    return f"{row['proxy']}{turned}{mark}{' §' if row['few'] else ''}"


def _version(row: Mapping[str, Any]) -> str:
    return "" if row["epochs"] else str(row["version"])


def _failures(row: Mapping[str, Any]) -> str:
    counts = (f"{count:,} {word}" for word, count in row["status"].items())
    return ", ".join(counts) or "0"


def _cost(row: Mapping[str, Any]) -> str:
    seconds = row["seconds_per_arch"]
    return "" if math.isnan(seconds) else milliseconds(seconds)


_PRINTED = (
    Column("proxy", "proxy", "text", _name),
    Column("version", "ver", "count", _version),
    Column("n", "n", "count"),
    Column("failed", "failed", "count", _failures),
    Column("spearman", "ρ ↑", "interval"),
    Column("kendall", "τ-b ↑", "interval"),
    Column("seconds_per_arch", "ms/arch", "number", _cost),
)


def _styles(rows: pd.DataFrame, verdicts: pd.DataFrame) -> tuple[Style, ...]:
    ahead = ahead_of(verdicts)["proxy"].tolist()
    pairs = zip(rows["proxy"], rows["baseline"], strict=True)
    return tuple(
        "ahead" if proxy in ahead else "baseline" if baseline else ""
        for proxy, baseline in pairs
    )


def _foot(table: pd.DataFrame, options: Options) -> str:
    cohort = ""
    if table["aggregate"].any():
        cohort = (
            "† combines ranks among the architectures of its table, and has another "
            "value among others; "
        )
    if table["trained"].any():
        cohort += (
            "‡ trained, no zero-cost proxy: for some epochs, or one supernet for all, "
            "whose training they share; "
        )
    if table["few"].any():
        cohort += f"{FEW}; "
    return (
        f"ρ Spearman, τ-b Kendall, with {percent(options.confidence)} intervals; * a "
        f"baseline; {cohort}ms/arch: cost of that proxy alone."
    )


def _conclusion(rows: pd.DataFrame, verdicts: pd.DataFrame, options: Options) -> str:
    """Which proxies are ahead of the best baseline on one dataset, in a sentence."""
    baselines = rows[rows["baseline"] & rows["spearman"].notna()]
    most = rows["n"].max()
    if 0 < most < FEWEST:
        least = f"score at least {FEWEST} that have an accuracy"
        return f"Too few architectures for a correlation, {most}: {least}."
    if baselines.empty:
        return "No baseline has a correlation here, so nothing can be ahead of one."
    first = baselines.iloc[0]
    best = f"the best baseline ({first['proxy']} {number(first['spearman'])})"
    if verdicts["delta"].isna().all():
        return f"No proxy has a correlation to set against {best}."
    how = f"by paired {percent(options.confidence)} intervals corrected for all pairs"
    ahead = ahead_of(verdicts)
    if ahead.empty:
        return f"No proxy is ahead of {best}, {how}."
    leads = "; ".join(_lead(row, first, options) for row in ahead.to_dict("records"))
    margin = number(options.clearly, signed=True)
    clearly = ahead.loc[ahead["word"] == CLEARLY, "proxy"]
    named = ", ".join(clearly) or "none"
    return f"Ahead of {best}, {how}: {leads}. Clearly (above {margin}): {named}."


def _lead(row: Mapping[str, Any], best: Mapping[str, Any], options: Options) -> str:
    lead = row["delta"], row["delta_low"], row["delta_high"]
    text = f"{row['proxy']} {difference(*lead, (0.0, options.clearly))}"
    if row["missing"] or row["baseline"] != best["proxy"]:
        against = f"{row['baseline']} {number(row['baseline_value'])}"
        text += f" (on the {row['n']:,.0f} where it has a score, {against})"
    return text
