"""`zcbench report`."""

from __future__ import annotations

from pathlib import Path

import click

FORMATS = ("text", "md", "csv", "json", "tex")


@click.command(short_help="Correlation tables of one or more runs.")
@click.argument(
    "runs", metavar="RUN...", nargs=-1, required=True, type=click.Path(path_type=Path)
)
@click.option(
    "--format",
    "format_name",
    type=click.Choice(FORMATS),
    default="text",
    show_default=True,
    help="How to write the table.",
)
@click.option(
    "--target",
    type=click.Choice(["val", "test"]),
    help="Accuracy to correlate with.  [default: that of the run]",
)
@click.option(
    "--truth",
    metavar="SOURCE",
    help="Ground truth: auto, a name or a path.  [default: that of the run]",
)
@click.option(
    "--population",
    metavar="NAME",
    help="Speak of these architectures only.  [default: those it sampled from]",
)
@click.option(
    "-o",
    "--output",
    type=click.Path(path_type=Path, dir_okay=False),
    metavar="FILE",
    help="Write there, whole or not at all, instead of to stdout.",
)
def report(
    runs: tuple[Path, ...],
    format_name: str,
    target: str | None,
    truth: str | None,
    population: str | None,
    output: Path | None,
) -> None:
    """Tell how well each proxy ranks the architectures of one or more runs.

    For every dataset and proxy: Spearman's ρ and Kendall's τ-b with the accuracy, 95%
    intervals, how many scores failed and why, and the time that a score takes. Below
    each table: which proxies are ahead of the best baseline on the same architectures.
    Intervals speak of architectures in general: they treat those at hand as a sample,
    also where they are all of a space.

    \b
    Examples:
      zcbench report runs/first
      zcbench report runs/first --target test --population connected
      zcbench report runs/first runs/second --format csv -o table.csv
      zcbench report runs/first --format json > baseline.json
    """  # noqa: D301 - click's mark for "do not wrap"
    from zcbench.report import correlations, in_color, render, render_text, write
    from zcbench.store import load_run

    frames = [load_run(path) for path in dict.fromkeys(runs)]
    table = correlations(frames, target, truth, population)
    for note in table.attrs["notes"]:
        click.echo(note, err=True)
    if output is not None:
        write(render(table, format_name), output)
    elif format_name == "text":
        click.echo(render_text(table, color=in_color()), nl=False)
    else:
        click.echo(render(table, format_name), nl=False)
