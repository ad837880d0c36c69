"""Analyses, one file each: studies in, a block out (a table and what it says)."""

from __future__ import annotations

import importlib
from collections.abc import Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from zcbench.analysis.block import Block, Options
    from zcbench.analysis.study import Study

_HOME = {
    "verdict": "verdict",
    "paired": "paired",
    "equivalence": "equivalence",
    "tasks": "across",
    "ceilings": "ceilings",
    "size": "size",
    "depth": "depth",
    "search": "top",
    "worth": "worth",
    "agreement": "agreement",
    "bias": "bias",
    "functions": "functions",
    "ensemble": "ensemble",
}
"""Every analysis of a report, in reading order → its file, where it has that name."""
NAMES = tuple(_HOME)
TABLE = "correlations"
"""Name of the table of correlations, among those of the sections."""
CHOICES = (TABLE, *NAMES)
"""What a report can consist of, in reading order."""


def analyse(name: str, studies: Sequence[Study], options: Options) -> Block:
    """The section of that name, by the function of its file.

    Args:
        name: one of `NAMES`; its file is imported now.
        studies: the datasets of the report.
        options: what the reader may choose.
    """
    module = importlib.import_module(f"zcbench.analysis.{_HOME[name]}")
    block: Block = getattr(module, name)(studies, options)
    return block
