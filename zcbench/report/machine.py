"""The table for programs: CSV and JSON."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import zcbench
from zcbench.report.table import COLUMNS

if TYPE_CHECKING:
    import pandas as pd

SCHEMA = 1


def render_csv(table: pd.DataFrame) -> str:
    """One row per (run, dataset, proxy); empty where there is no number."""
    plain = table.loc[:, list(COLUMNS)].copy()
    plain["status"] = [json.dumps(status) for status in plain["status"]]
    text: str = plain.to_csv(index=False, float_format="%.6g", lineterminator="\n")
    return text


def render_json(table: pd.DataFrame) -> str:
    """``{"schema": 1, "runs": […], "correlations": […]}``, null where no number is.

    Each run is its manifest with its ``path``, and with ``sections``: for each dataset
    what the table is about and the comparisons with the best baseline.
    """
    sections = table.attrs["sections"]
    runs = [
        {
            **run,
            "sections": [s.as_dict() for s in sections if s.run == run["path"]],
        }
        for run in table.attrs["runs"]
    ]
    document = {
        "schema": SCHEMA,
        "zcbench": zcbench.__version__,
        "runs": runs,
        "correlations": table.loc[:, list(COLUMNS)].to_dict("records"),
    }
    return json.dumps(strict(document), indent=1, allow_nan=False) + "\n"


def strict(value: Any) -> Any:
    """The same value with None for every number that JSON does not know."""
    if isinstance(value, Mapping):
        return {str(key): strict(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [strict(item) for item in value]
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    return value
