"""What proxies prefer: size, depth, operations."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from zcbench.analysis.block import Block, Column, Options, number
from zcbench.analysis.rows import (
    PLACE,
    WHERE,
    Row,
    blank,
    frame,
    merit,
    rows_of,
    said,
)
from zcbench.analysis.study import Study
from zcbench.errors import DataError, UsageError
from zcbench.stats.ensemble import rank_correlations
from zcbench.stats.ranks import Floats

ACCURACY = "(accuracy)"
"""Stands for the proxy in the row of the accuracies themselves."""
SIZES: Mapping[str, str] = {"params": "params", "flops": "flops", "depth": "n_layers"}
"""Column of the table → proxy that measures it."""
OPERATIONS: Mapping[str, str] = {
    "skip": "skip",
    "conv": "conv",
    "pool": "pool",
    "none": "none",
}
"""Column of the table → what the names of the counted operations contain."""
PROPERTIES = (*SIZES, *OPERATIONS, "conv_minus_pool")
_OTHERS = ("depth", *OPERATIONS)
TABLE = (
    *PLACE,
    "proxy",
    "n",
    *(f"{name}{end}" for name in PROPERTIES for end in ("", "_note")),
    *(f"{name}_excess" for name in PROPERTIES),
    "note",
)
"""Columns of the table; ``…_excess`` is ρ of the proxy minus ρ of the accuracy."""


def bias(studies: Sequence[Study], options: Options) -> Block:  # noqa: ARG001
    """Rank correlation of proxies with size, depth and counts of operations."""
    rows = rows_of(studies, _rows)
    return Block(
        name="bias",
        title="Bias: what proxies prefer, beside what the accuracy prefers",
        about=(
            "ρ with size, depth and the number of operations of each kind in the "
            "architecture. A proxy is biased as far as its row differs from that of "
            f"the accuracy, {ACCURACY}: more convolutions do make better networks. "
            "conv − pool: convolutions minus poolings."
        ),
        table=frame(rows, TABLE),
        columns=(
            *WHERE,
            Column("params", "params", "correlation"),
            Column("flops", "FLOPs", "correlation"),
            Column("depth", "depth", "correlation"),
            Column("skip", "skip", "correlation"),
            Column("conv", "conv", "correlation"),
            Column("pool", "pool", "correlation"),
            Column("none", "none", "correlation"),
            Column("conv_minus_pool", "conv − pool", "correlation"),
        ),
        conclusion=_conclusion(rows, studies),
    )


def counts_of(space: str, archs: Sequence[str]) -> dict[str, Floats]:
    """How many operations of each kind architectures have, [n] each.

    Empty for a space whose architectures do not tell their operations.

    Args:
        space: its name.
        archs: architecture strings.
    """
    from zcbench.spaces import load_space

    try:
        cell = getattr(load_space(space), "cell", None)
        cells = [cell(arch) for arch in archs] if cell else []
    except (UsageError, DataError):  # scores of a space that is not known here
        return {}
    if not cells:
        return {}
    counts = {
        name: np.array([sum(part in op for op in c) for c in cells], dtype=np.float64)
        for name, part in OPERATIONS.items()
    }
    return counts | {"conv_minus_pool": counts["conv"] - counts["pool"]}


def _rows(study: Study) -> list[Row]:
    names = [ACCURACY, *study.scores]
    values = [study.accuracy, *study.scores.values()]
    traits = {
        name: study.scores[proxy]
        for name, proxy in SIZES.items()
        if proxy in study.scores
    }
    traits |= counts_of(study.space, study.archs)
    rho, _ = rank_correlations(np.stack([*values, *traits.values()]))
    rows = []
    for i, name in enumerate(names):
        n = int(np.isfinite(values[i]).sum())
        row = blank(TABLE) | {"proxy": name, "n": n, "note": ""}
        for trait in PROPERTIES:
            row[f"{trait}_note"] = "unknown"
        for j, trait in enumerate(traits, start=len(names)):
            row[trait] = float(rho[i, j])
            row[f"{trait}_excess"] = float(rho[i, j] - rho[0, j])
            row[f"{trait}_note"] = "undefined" if math.isnan(rho[i, j]) else ""
        rows.append(row)
    return [rows[0], *sorted(rows[1:], key=merit("params", study.thin))]


def _conclusion(rows: Sequence[Row], studies: Sequence[Study]) -> str:
    """On each dataset, who goes with size, and with anything, more than accuracy."""

    def most(study: Study, here: Sequence[Row]) -> str:
        ranked = study.ranked
        known = [row for row in here if row["proxy"] in ranked]
        texts = (_strongest(known, here[0], names) for names in (("params",), _OTHERS))
        return "; ".join(filter(None, texts))

    text = said(rows, studies, most)
    return f"Strongest beyond the accuracy's own. {text}" if text else ""


def _strongest(
    rows: Sequence[Mapping[str, Any]],
    accuracy: Mapping[str, Any],
    names: Sequence[str],
) -> str:
    """The proxy whose |ρ| with one of these exceeds the accuracy's by most."""
    beyond = [
        (abs(row[name]) - abs(accuracy[name]), name, row)
        for name in names
        for row in rows
        if not math.isnan(row[f"{name}_excess"])
    ]
    if not beyond:
        return ""
    excess, name, row = max(beyond, key=lambda entry: entry[0])
    if excess <= 0:
        return f"none with {name}" if len(names) == 1 else ""
    against = number(accuracy[name])
    return f"{row['proxy']} with {name}, {number(row[name])} against {against}"
