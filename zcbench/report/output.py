"""Writing a document in a format, to stdout or into a file."""

from __future__ import annotations

import importlib
import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import click

from zcbench.errors import unknown, visible
from zcbench.files import write
from zcbench.report import FORMATS
from zcbench.report.document import Document, document_of

if TYPE_CHECKING:
    from zcbench.analysis.report import Report


def render(
    shown: Document | Report, format: str = "text", *, color: bool = False
) -> str:
    """A document as text in one of `zcbench.report.FORMATS`.

    Args:
        shown: it, or a report from `make_report`.
        format: name of the format.
        color: whether to use terminal codes; for ``"text"``.

    Raises:
        UsageError: there is no such format, or it cannot hold that document.
    """
    if format not in FORMATS:
        raise unknown("format", format, FORMATS)
    document = shown if isinstance(shown, Document) else document_of(shown)
    module = importlib.import_module(f"zcbench.report.{FORMATS[format]}")
    writer = getattr(module, f"render_{format}")
    text: str = writer(document, color=True) if color else writer(document)
    return text if color else visible(text, lines=True)  # of colours text takes care


def emit(
    shown: Document | Report, format: str = "text", output: Path | None = None
) -> None:
    """Write a document to stdout or into a file, and its notes to stderr.

    Args:
        shown: it, or a report from `make_report`.
        format: one of `zcbench.report.FORMATS`.
        output: the file; None for stdout, in colour where that is a terminal.

    Raises:
        UsageError: the format cannot hold that document.
        DataError: the file cannot be written.
    """
    document = shown if isinstance(shown, Document) else document_of(shown)
    for note in document.notes:
        click.echo(visible(note), err=True)
    if output is None:
        colour = format == "text" and in_color()
        click.echo(render(document, format, color=colour), nl=False)
    else:
        write(render(document, format), output)


def in_color() -> bool:
    """Whether stdout is a terminal whose user has not set ``NO_COLOR``."""
    return sys.stdout.isatty() and not os.environ.get("NO_COLOR")
