"""Documents for programs: CSV and JSON."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from typing import Any

from zcbench.analysis.block import Listing
from zcbench.errors import UsageError, visible
from zcbench.files import signed
from zcbench.report.document import Document

SCHEMA = 1
_FORMULA = ("=", "+", "-", "@", "\t", "\r", "\n", "＝", "＋", "－", "＠")


def render_csv(document: Document) -> str:
    """The rows of the blocks, which share one table; empty where there is no number.

    Raises:
        UsageError: there are several tables.
    """
    import pandas as pd

    count = len({block.name for block in document.blocks})
    if count > 1:
        raise UsageError(
            f"A CSV holds one table, and {count} are asked for.",
            f"{document.fewer}, or choose --format json.",
        )
    # What is listed is written digit by digit, which pandas does of objects.
    plain = pd.concat(
        [
            pd.DataFrame(b.table, dtype=object if isinstance(b, Listing) else None)
            for b in document.blocks
        ]
    )
    if "status" in plain:
        plain["status"] = [
            json.dumps(status) if isinstance(status, Mapping) else status
            for status in plain["status"]
        ]
    for name in plain.columns[plain.dtypes.map(lambda kind: kind.kind not in "iufb")]:
        texts = [_cell(value) for value in plain[name]]
        plain[name] = pd.Series(texts, index=plain.index, dtype=object)
    plain.columns = plain.columns.map(_cell)
    text: str = plain.to_csv(index=False, float_format="%.6g", lineterminator="\n")
    return text


def _cell(value: object) -> object:
    """A text that no spreadsheet takes for a formula, and no terminal for a command."""
    if not isinstance(value, str):
        return value
    text = visible(value, lines=True)
    return f"'{text}" if value.lstrip(" ").startswith(_FORMULA) else text


def render_json(document: Document) -> str:
    """What the document says, and the rows of its blocks under their names."""
    tables: dict[str, list[Any]] = {}
    for block in document.blocks:
        tables.setdefault(block.name, []).extend(block.records())
    whole: Any = next(iter(tables.values()), [])
    if document.facts is not None:
        whole = {"schema": SCHEMA, **document.facts, **tables}
    text = json.dumps(_strict(whole), indent=1, allow_nan=False)
    if document.facts is not None:
        text = signed(text.encode()).decode()
    return f"{text}\n"


def _strict(value: Any) -> Any:
    """The same value with None for every number that JSON does not know."""
    if isinstance(value, Mapping):
        return {str(key): _strict(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_strict(item) for item in value]
    if hasattr(value, "item"):  # a number of numpy's
        value = value.item()
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    return value
