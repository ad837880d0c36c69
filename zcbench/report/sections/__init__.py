"""Sections of a report, one file each: studies in, a table and a sentence out."""

from __future__ import annotations

import importlib
from collections.abc import Callable, Mapping, Sequence

from zcbench.report.sections.block import Block, Column, Options
from zcbench.report.study import Study

Analysis = Callable[[Sequence[Study], Options], Block]

NAMES = (
    "verdict",
    "paired",
    "tasks",
    "ceilings",
    "size",
    "search",
    "agreement",
    "bias",
    "ensemble",
)
"""Every section, in reading order; ``NAME`` is the function in sections/NAME.py."""


def _lazily(name: str) -> Analysis:
    """The analysis of that name, imported when it is called."""

    def analysis(studies: Sequence[Study], options: Options) -> Block:
        module = importlib.import_module(f"zcbench.report.sections.{name}")
        found: Analysis = getattr(module, name)
        return found(studies, options)

    return analysis


SECTIONS: Mapping[str, Analysis] = {name: _lazily(name) for name in NAMES}

__all__ = ["NAMES", "SECTIONS", "Analysis", "Block", "Column", "Options", "Study"]
