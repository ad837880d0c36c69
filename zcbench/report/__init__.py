"""Reports: scores joined with ground truth, analysed, in several formats.

Nothing here imports torch.
"""

from __future__ import annotations

import contextlib
import os
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import click

from zcbench.analysis.block import Block, Column, Options
from zcbench.analysis.correlations import COLUMNS, correlations
from zcbench.analysis.join import studies
from zcbench.analysis.study import Study
from zcbench.errors import DataError, unknown
from zcbench.report.html import render_html
from zcbench.report.machine import render_csv, render_json
from zcbench.report.markup import render_latex, render_markdown
from zcbench.report.report import CHOICES, Report, make_report
from zcbench.report.text import render_text

if TYPE_CHECKING:
    import pandas as pd

FORMATS: Mapping[str, Callable[[Report], str]] = {
    "text": render_text,
    "md": render_markdown,
    "csv": render_csv,
    "json": render_json,
    "tex": render_latex,
    "html": render_html,
}


def render(report: Report, format: str = "text") -> str:
    """A report as text in one of `FORMATS`.

    Args:
        report: from `make_report`.
        format: name of the format.

    Raises:
        UsageError: there is no such format, or it cannot hold that report.
    """
    if format not in FORMATS:
        raise unknown("format", format, FORMATS)
    return FORMATS[format](report)


def print_report(
    runs: Sequence[pd.DataFrame],
    target: str | None = None,
    truth: str | None = None,
    population: str | None = None,
    sections: Sequence[str] = ("correlations",),
) -> None:
    """Print the text table of some runs on stdout, and its notes on stderr.

    Args:
        runs: tables from `load_run`.
        target: ``"val"`` or ``"test"``; None for what each run was made for.
        truth: ``"auto"``, a name or a path; None for what each run was made with.
        population: architectures to speak of; None for those the run sampled from.
        sections: which of `CHOICES`, or ``"all"``.

    Raises:
        DataError: there is no such target or truth, or it knows no architecture.
        UsageError: a run says nothing about that population.
    """
    report = make_report(runs, target, truth, population, sections=sections)
    for note in report.table.attrs["notes"]:
        click.echo(note, err=True)
    click.echo(render_text(report, color=in_color()), nl=False)


def in_color() -> bool:
    """Whether stdout is a terminal whose user has not set ``NO_COLOR``."""
    return sys.stdout.isatty() and not os.environ.get("NO_COLOR")


def write(content: str | bytes, path: Path) -> None:
    """Write a file whole or not at all.

    Raises:
        DataError: it cannot be written.
    """
    partial = path.with_name(f".{path.name}.{os.getpid()}.part")
    try:
        partial.write_bytes(content.encode() if isinstance(content, str) else content)
        partial.replace(path)
    except OSError as error:
        with contextlib.suppress(OSError):
            partial.unlink()
        raise DataError(
            f"{path} cannot be written: {error.strerror or error}.",
            "Give another --output.",
        ) from None


__all__ = [
    "CHOICES",
    "COLUMNS",
    "FORMATS",
    "Block",
    "Column",
    "Options",
    "Report",
    "Study",
    "correlations",
    "in_color",
    "make_report",
    "print_report",
    "render",
    "render_text",
    "studies",
    "write",
]
