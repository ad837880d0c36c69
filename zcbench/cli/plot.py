"""`zcbench plot`."""

from __future__ import annotations

from pathlib import Path

import click

from zcbench.cli.options import (
    accuracy_options,
    folder_option,
    plugin_option,
    share_option,
)
from zcbench.errors import visible
from zcbench.report.figures import FORMATS, KINDS, check, drawings, sections_for

_TITLES = (f"{name:20} {kind.title}" for name, kind in KINDS.items())


# Over 40 lines: options, and the help that click shows.
@click.command(
    short_help="Figures of one or more runs.", epilog="\n".join(("\b", *_TITLES))
)
@click.argument(
    "runs", metavar="RUN...", nargs=-1, required=True, type=click.Path(path_type=Path)
)
@click.option(
    "--kind",
    "kinds",
    type=click.Choice([*KINDS, "all"]),
    multiple=True,
    default=("all",),
    help="What to draw; several times for several.",
)
@click.option(
    "--format",
    "format_name",
    type=click.Choice([*FORMATS]),
    default="svg",
    show_default=True,
    help="PNG needs resvg-py: pip install 'zcbench[plot]'.",
)
@folder_option("figures")
@accuracy_options
@share_option("--confidence", 0.95, "Coverage of intervals.")
@plugin_option
def plot(
    runs: tuple[Path, ...],
    kinds: tuple[str, ...],
    format_name: str,
    output: Path,
    target: str | None,
    truth: str | None,
    population: str | None,
    confidence: float,
) -> None:
    """Draw the figures of `zcbench report --format html` into files of their own.

    One file for each dataset where a figure is about one; the paths are printed.

    \b
    Examples:
      zcbench plot runs/first
      zcbench plot runs/first --kind forest --kind cost --format png -o paper/figures
    """  # noqa: D301 - click's mark for "do not wrap"
    from zcbench.files import make_folder, write
    from zcbench.report import Options, make_report
    from zcbench.store import load_run

    check(format_name)
    chosen = [kind for kind in KINDS if kind in kinds or "all" in kinds]
    report = make_report(
        [load_run(path) for path in dict.fromkeys(runs)],
        target,
        truth,
        population,
        sections=sections_for(chosen),
        options=Options(confidence=confidence),
    )
    for note in report.table.attrs["notes"]:
        click.echo(visible(note), err=True)
    make_folder(output)
    for name, drawing in drawings(report, chosen).items():
        path = output / f"{name}.{format_name}"
        write(FORMATS[format_name](drawing), path)
        click.echo(visible(str(path)))
