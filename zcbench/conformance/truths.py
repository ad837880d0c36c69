"""Conformance checks for ground truth of your own: what `zcbench check` runs.

>>> from zcbench.truth import TRUTHS
>>> all(finding.ok for finding in check_truth(TRUTHS.get("toy")))
True
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

import numpy as np

from zcbench.conformance.proxies import Finding
from zcbench.errors import AbsentDataError, ZcbenchError, first_line, is_users
from zcbench.spaces import load_space
from zcbench.truth import Truth, load_truth, targets

if TYPE_CHECKING:
    import pandas as pd

    from zcbench.spaces import Space


def check_truth(truth: Truth) -> Iterator[Finding]:
    """Check that a provider gives tables that everything else can rely on.

    Args:
        truth: registered under its name.

    Yields:
        A finding for each check, in order; after a space that does not exist, none.
    """
    described = bool(truth.description.strip())
    yield Finding("description", described, truth.description or "it is empty")
    try:
        space = load_space(truth.space)
    except ZcbenchError as error:
        yield Finding("space", False, str(error))
        return
    yield Finding("space", True, truth.space)
    given = 0
    for dataset in space.tasks:
        try:
            table = load_truth(truth.space, dataset, truth.name)
        except AbsentDataError as error:
            yield Finding(dataset, True, f"not here: {error.what}")
            continue
        except ZcbenchError as error:
            yield Finding(dataset, False, str(error))
            continue
        except BaseException as error:  # a provider may raise anything
            if is_users(error):
                raise
            text = f"{type(error).__name__}: {first_line(error)}"
            yield Finding(dataset, False, text)
            continue
        given += 1
        yield from _of_table(dataset, table, space)
        again = load_truth(truth.space, dataset, truth.name)
        same = table.equals(again)
        detail = "twice the same table" if same else "not twice the same table"
        yield Finding(f"{dataset}: deterministic", same, detail)


def _of_table(dataset: str, table: pd.DataFrame, space: Space) -> Iterator[Finding]:
    known = 0
    for spec, index in zip(table["arch"], table["index"], strict=True):
        try:
            known += space.parse(str(spec)).index == index
        except ZcbenchError:
            continue
    detail = f"{known:,} of {len(table):,} rows are of {space.name}, at their index"
    yield Finding(f"{dataset}: architectures", known == len(table) > 0, detail)
    twice = int(table["index"].duplicated().sum())
    yield Finding(f"{dataset}: no duplicates", not twice, f"{twice:,} repeated rows")
    for target in targets(table):
        values = table[target].to_numpy(dtype=float)
        gaps = int(np.isnan(values).sum())
        percent = target not in ("val", "test", "accuracy") or bool(
            (
                (values[~np.isnan(values)] >= 0) & (values[~np.isnan(values)] <= 100)
            ).all()
        )
        fine = percent and gaps < len(values) and not bool(np.isinf(values).any())
        detail = f"{len(values) - gaps:,} values"
        if fine:
            low, high = np.nanmin(values), np.nanmax(values)
            detail += f" from {low:.4g} to {high:.4g}"
        elif not percent:
            detail += ", not all from 0 to 100"
        yield Finding(f"{dataset}: {target}", fine, detail)
        seeds = [name for name in table if str(name).startswith(f"{target}_seed")]
        if seeds:
            mean = table[seeds].to_numpy(dtype=float)
            close = np.allclose(np.nanmean(mean, axis=1), values, equal_nan=True)
            detail = f"{target} is the mean of {len(seeds)} seeds"
            detail = detail if close else f"{target} is not the mean of its seeds"
            yield Finding(f"{dataset}: {target} by seed", bool(close), detail)
