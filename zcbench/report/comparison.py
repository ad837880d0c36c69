"""How a comparison with a baseline reads."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from zcbench.analysis.words import number
from zcbench.report.machine import strict
from zcbench.report.markup import escape_markdown, markdown_table
from zcbench.report.text import draw

if TYPE_CHECKING:
    import pandas as pd

HEADER = ("", "dataset", "proxy", "ρ", "τ-b", "scores", "why")
RIGHT = (False, False, False, False, False, True, False)
_STYLES = {"worse": "bold red", "gone": "bold red", "better": "green"}


def render_comparison(table: pd.DataFrame, format_name: str, *, color: bool) -> str:
    """A table of `zcbench.analysis.regression.compare` as text.

    Args:
        table: the table.
        format_name: ``"text"``, ``"md"`` or ``"json"``.
        color: whether to use terminal codes; for ``"text"``.
    """
    if format_name == "json":
        return _json(table)
    rows = [(row["verdict"], _cells(row)) for row in table.to_dict("records")]
    if format_name == "md":
        escaped = [tuple(map(escape_markdown, cells)) for _, cells in rows]
        head = escape_markdown(_title(table))
        return f"{head}\n\n{markdown_table(HEADER, escaped, RIGHT)}\n{summary(table)}\n"
    styled = [(cells, _STYLES.get(verdict, "")) for verdict, cells in rows]
    drawn = draw(HEADER, styled, RIGHT, color=color)
    return f"{_title(table)}\n\n{drawn}\n{summary(table)}\n"


def summary(table: pd.DataFrame) -> str:
    """How many rows say what: "2 worse, 39 same."."""
    from zcbench.analysis.regression import VERDICTS

    counts = table["verdict"].value_counts()
    parts = [f"{counts[word]} {word}" for word in VERDICTS if word in counts]
    return f"{', '.join(parts)}."


def _title(table: pd.DataFrame) -> str:
    return f"{table.attrs['run']} against {table.attrs['baseline']}"


def _json(table: pd.DataFrame) -> str:
    document = {"schema": 1, **table.attrs, "rows": table.to_dict("records")}
    return json.dumps(strict(document), indent=1, allow_nan=False) + "\n"


def _cells(row: Mapping[str, Any]) -> tuple[str, ...]:
    return (
        row["verdict"],
        row["dataset"],
        row["proxy"],
        _change(row["spearman_before"], row["spearman_after"]),
        _change(row["kendall_before"], row["kendall_after"]),
        _scores(row["scores"], row["scores_differ"]),
        row["reason"],
    )


def _change(before: float, after: float) -> str:
    """.71, or .71 → .68 where the two read differently."""
    then, now = (
        "–" if math.isnan(value) else number(value, places=3)
        for value in (before, after)
    )
    return now if then == now else f"{then} → {now}"


def _scores(compared: float, differ: float) -> str:
    if math.isnan(compared):
        return ""
    return f"{differ:,.0f} of {compared:,.0f} differ"
