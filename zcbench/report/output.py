"""Writing a document in a format, to stdout or into a file."""

from __future__ import annotations

import importlib
import os
import re
import shutil
import sys
import textwrap
from pathlib import Path
from typing import TYPE_CHECKING

import click

from zcbench.errors import unknown, visible
from zcbench.files import write
from zcbench.report import FORMATS
from zcbench.report.document import Document, document_of
from zcbench.report.text import ANY

if TYPE_CHECKING:
    from zcbench.analysis.report import Report


def render(
    shown: Document | Report,
    format: str = "text",
    *,
    color: bool = False,
    width: int = ANY,
) -> str:
    """A document as text in one of `zcbench.report.FORMATS`.

    Args:
        shown: it, or a report from `make_report`.
        format: name of the format.
        color: whether to use terminal codes; for ``"text"``.
        width: columns of the terminal; for ``"text"``.

    Raises:
        UsageError: there is no such format, or it cannot hold that document.
    """
    if format not in FORMATS:
        raise unknown("format", format, FORMATS)
    document = shown if isinstance(shown, Document) else document_of(shown)
    module = importlib.import_module(f"zcbench.report.{FORMATS[format]}")
    writer = getattr(module, f"render_{format}")
    options = {"color": color, "width": width} if format == "text" else {}
    text: str = writer(document, **options)
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
        text = render(document, format, color=colour, width=terminal_width())
        click.echo(text, nl=False)
    else:
        write(render(document, format), output)


def in_color() -> bool:
    """Whether stdout is a terminal whose user has not set ``NO_COLOR``."""
    return sys.stdout.isatty() and not os.environ.get("NO_COLOR")


def terminal_width() -> int:
    """Columns of the terminal, or those that ``COLUMNS`` names."""
    named = os.environ.get("COLUMNS", "").isdecimal()
    if not named and not sys.stdout.isatty():
        return ANY
    return max(shutil.get_terminal_size().columns, 40)


def fitted(text: str) -> str:
    """Text in lines that fit the terminal, set below what follows their label."""
    width = terminal_width()
    lines = []
    for line in text.split("\n"):
        label = re.match(r" *(\S+( \S+)* {2,})?", line)
        indent = " " * min(label.end() if label else 0, width // 2)
        whole = textwrap.wrap(
            line, width, subsequent_indent=indent, break_on_hyphens=False
        )
        lines += whole if len(line) > width else [line]
    return "\n".join(lines)
