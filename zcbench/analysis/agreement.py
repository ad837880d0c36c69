"""Which proxies say the same."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from zcbench.analysis.block import Block, Column, Options, number
from zcbench.analysis.rows import PLACE, Row, by_dataset, frame, rows_of
from zcbench.analysis.study import Study
from zcbench.stats.ensemble import ALIKE, Agreement
from zcbench.stats.ensemble import agreement as agreement_of

WITH = "rho_"
"""What the columns of the matrix begin with: ``rho_snip`` is ρ with snip."""
TABLE = (*PLACE, "group", "alike", "proxy", "closest", "rho", "n", "note")
"""Columns of the table, before those of the matrix."""


def agreement(studies: Sequence[Study], options: Options) -> Block:  # noqa: ARG001
    """Rank correlations between proxies, those alike together."""
    rows = rows_of(studies, _rows)
    names = dict.fromkeys(p for study in studies for p in study.scores)
    return Block(
        name="agreement",
        title="Agreement: which proxies rank the architectures alike",
        about=(
            "ρ between the scores of two proxies, over the architectures that have "
            f"both. Groups: joined while their mean |ρ| is at least {number(ALIKE)} "
            "(average linkage); those that are alike stand together. CSV and JSON hold "
            "the whole matrix, in columns that begin with rho_."
        ),
        table=frame(rows, (*TABLE, *(WITH + name for name in names))),
        columns=(
            Column("where", "dataset", "text"),
            Column("group", "group", "count"),
            Column("proxy", "proxy", "text"),
            Column("closest", "closest to", "text"),
            Column("rho", "ρ with it", "correlation"),
            Column("n", "n", "count"),
            Column("alike", "in its group", "text"),
        ),
        conclusion=_conclusion(rows, studies),
    )


def _rows(study: Study) -> list[Row]:
    names = list(study.scores)
    if not names:
        return []
    alike = agreement_of([study.scores[name] for name in names])
    return [_row(names, alike, int(i)) for i in alike.order]


def _row(names: list[str], alike: Agreement, i: int) -> Row:
    """One proxy, its closest one and its row of the matrix."""
    others = np.abs(alike.rho[i])
    others[i] = np.nan
    row: Row = {
        "proxy": names[i],
        "group": int(alike.group[i]) + 1,
        "alike": ", ".join(
            name
            for j, name in enumerate(names)
            if j != i and alike.group[j] == alike.group[i]
        ),
        "closest": "",
        "rho": math.nan,
        "n": math.nan,
        "note": "no other score" if len(names) < 2 else "undefined",
    }
    if np.isfinite(others).any():
        j = int(np.nanargmax(others))
        row |= {"closest": names[j], "rho": float(alike.rho[i, j])}
        row |= {"n": int(alike.n[i, j]), "note": ""}
    matrix = zip(names, alike.rho[i].tolist(), strict=True)
    return row | {WITH + name: value for name, value in matrix}


def _conclusion(rows: Sequence[Row], studies: Sequence[Study]) -> str:
    """The groups that hold on every dataset, and those alone on every one."""
    shared: list[set[frozenset[str]]] = []
    for _, _, here in by_dataset(rows, studies):
        groups: dict[int, set[str]] = {}
        for row in here:
            groups.setdefault(row["group"], set()).add(row["proxy"])
        shared.append({frozenset(group) for group in groups.values()})
    if not any(row["closest"] for row in rows):
        return ""
    common = set.intersection(*shared)
    several = sorted(sorted(group) for group in common if len(group) > 1)
    alone = sorted(next(iter(group)) for group in common if len(group) == 1)
    place_ = f"on all {len(studies)} datasets" if len(studies) > 1 else "here"
    told = "; ".join(" and ".join(group) for group in several) or "none"
    lone = ", ".join(alone) or "none"
    return f"One group {place_}: {told}. Alone {place_}: {lone}."
