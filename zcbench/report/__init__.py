"""Documents: blocks of analyses, in several formats, each written in one place.

Nothing here imports torch, and the names below load on first use: `zcbench list` does
without numpy.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from zcbench.analysis import CHOICES as CHOICES
    from zcbench.analysis.block import Block as Block
    from zcbench.analysis.block import Column as Column
    from zcbench.analysis.block import Options as Options
    from zcbench.analysis.correlations import COLUMNS as COLUMNS
    from zcbench.analysis.correlations import correlations as correlations
    from zcbench.analysis.join import studies as studies
    from zcbench.analysis.report import Report as Report
    from zcbench.analysis.report import make_report as make_report
    from zcbench.analysis.study import Study as Study
    from zcbench.files import write as write
    from zcbench.report.document import Document as Document
    from zcbench.report.document import Gallery as Gallery
    from zcbench.report.output import emit as emit
    from zcbench.report.output import fitted as fitted
    from zcbench.report.output import in_color as in_color
    from zcbench.report.output import render as render
    from zcbench.report.output import terminal_width as terminal_width

FORMATS = {
    "text": "text",
    "md": "text",
    "csv": "machine",
    "json": "machine",
    "tex": "latex",
    "html": "html",
}
"""Format → the file here whose `render_` and its name write it."""

_HOME = {
    "analysis.block": ("Block", "Column", "Options"),
    "analysis.correlations": ("COLUMNS", "correlations"),
    "analysis": ("CHOICES",),
    "analysis.report": ("Report", "make_report"),
    "analysis.join": ("studies",),
    "analysis.study": ("Study",),
    "files": ("write",),
    "report.document": ("Document", "Gallery"),
    "report.output": ("emit", "fitted", "in_color", "render", "terminal_width"),
}


def __getattr__(name: str) -> Any:
    for module, names in _HOME.items():
        if name in names:
            return getattr(import_module(f"zcbench.{module}"), name)
    raise AttributeError(f"module 'zcbench.report' has no attribute {name!r}")
