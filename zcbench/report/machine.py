"""The table for programs: CSV and JSON."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

import numpy as np

import zcbench
from zcbench.analysis.correlations import COLUMNS
from zcbench.errors import UsageError
from zcbench.report.report import Report

if TYPE_CHECKING:
    import pandas as pd

SCHEMA = 1


def render_csv(report: Report) -> str:
    """One row per (run, dataset, proxy), or the rows of the one section asked for.

    Empty where there is no number.

    Raises:
        UsageError: several tables are asked for.
    """
    tables = [report.table.loc[:, list(COLUMNS)]] if report.shows_table else []
    tables += [block.table for block in report.blocks]
    if len(tables) > 1:
        raise UsageError(
            f"A CSV holds one table, and {len(tables)} are asked for.",
            "Name one --section, or choose --format json.",
        )
    plain = tables[0].copy()
    if "status" in plain:
        plain["status"] = [json.dumps(status) for status in plain["status"]]
    text: str = plain.to_csv(index=False, float_format="%.6g", lineterminator="\n")
    return text


def render_json(report: Report) -> str:
    """What `document` holds, and one more key for each section: its rows.

    ``"verdict"`` is always among them; ``"conclusions"`` are their sentences, and
    ``"options"`` what the reader has chosen.
    """
    blocks = {block.name: block for block in (report.verdict, *report.blocks)}
    whole = (
        document(report.table)
        | {"options": asdict(report.options)}
        | {"conclusions": {name: block.conclusion for name, block in blocks.items()}}
        | {name: block.table.to_dict("records") for name, block in blocks.items()}
    )
    return json.dumps(strict(whole), indent=1, allow_nan=False) + "\n"


def document(table: pd.DataFrame) -> dict[str, Any]:
    """``{"schema": 1, "runs": […], "correlations": […]}`` of a table of correlations.

    Each run is its manifest with its ``path``, and with ``sections``: for each dataset
    what the table is about.
    """
    studies = table.attrs["studies"]
    runs = [
        {
            **run,
            "sections": [s.about() for s in studies if s.run == run["path"]],
        }
        for run in table.attrs["runs"]
    ]
    return {
        "schema": SCHEMA,
        "zcbench": zcbench.__version__,
        "runs": runs,
        "correlations": table.loc[:, list(COLUMNS)].to_dict("records"),
    }


def strict(value: Any) -> Any:
    """The same value with None for every number that JSON does not know."""
    if isinstance(value, Mapping):
        return {str(key): strict(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [strict(item) for item in value]
    if isinstance(value, np.generic):
        value = value.item()
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    return value
