"""Analyses, one file each: studies in, a block out (a table and what it says)."""

from __future__ import annotations

import importlib
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from zcbench.analysis.block import Block, Options
    from zcbench.analysis.study import Study

Analysis = Callable[["Sequence[Study]", "Options"], "Block"]

_HOME = {
    "verdict": "verdict",
    "paired": "paired",
    "equivalence": "equivalence",
    "tasks": "across",
    "ceilings": "ceilings",
    "size": "size",
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


def _lazily(name: str) -> Analysis:
    """The analysis of that name, imported when it is called."""

    def analysis(studies: Sequence[Study], options: Options) -> Block:
        module = importlib.import_module(f"zcbench.analysis.{_HOME[name]}")
        own: Analysis = getattr(module, name)
        return own(studies, options)

    return analysis


SECTIONS: Mapping[str, Analysis] = {name: _lazily(name) for name in NAMES}
