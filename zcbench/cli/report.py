"""`zcbench report`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from zcbench.analysis import CHOICES
from zcbench.cli.options import (
    accuracy_options,
    count_option,
    format_option,
    one_thread,
    output_option,
    plugin_option,
    share_option,
)
from zcbench.errors import UsageError
from zcbench.names import split_names
from zcbench.report import FORMATS

if TYPE_CHECKING:
    import pandas as pd


def _names(
    context: click.Context, parameter: click.Parameter, value: str | None
) -> tuple[str, ...] | None:
    """Names between commas; None where the option is not given."""
    del context, parameter
    if value is None:
        return None
    return tuple(split_names(value))


def _tables(
    runs: tuple[Path, ...],
    scores: Path | None,
    space: str | None,
    datasets: tuple[str, ...],
) -> list[pd.DataFrame]:
    """Scores of runs, then those of a file."""
    from zcbench.analysis.published import load_scores
    from zcbench.analysis.sizes import with_sizes
    from zcbench.store import load_run

    if not runs and scores is None:
        raise UsageError("Nothing to report is named.", "Name a run, or --scores FILE.")
    if (scores is None) != (space is None):
        raise UsageError(
            "--scores FILE and --space NAME belong together.", "Give both or neither."
        )
    tables = [load_run(path) for path in dict.fromkeys(runs)]
    if scores is not None and space is not None:
        tables.append(with_sizes(load_scores(scores, space, datasets), space))
    return tables


# Over 40 lines: options, and the help that click shows.
@click.command(short_help="Correlation tables of one or more runs.")
@click.argument("runs", metavar="[RUN]...", nargs=-1, type=click.Path(path_type=Path))
@click.option(
    "--scores",
    type=click.Path(path_type=Path),
    metavar="FILE",
    help="Scores that others have published, beside or instead of runs: the JSON of "
    "NAS-Bench-Suite-Zero, or a CSV of architectures and scores. params and flops are "
    "computed beside them.",
)
@click.option("--space", metavar="NAME", help="Space of --scores.")
@click.option(
    "--dataset",
    "datasets",
    metavar="NAME",
    multiple=True,
    help="Dataset of --scores; of a JSON file several.",
)
@format_option(*FORMATS)
@click.option(
    "--section",
    "sections",
    metavar="NAMES",
    callback=_names,
    help=f"What to report, names between commas: {', '.join(CHOICES)}; or all.  "
    "[default: correlations; all for html]",
)
@click.option(
    "--aggregate",
    "aggregates",
    metavar="NAME[:PROXIES]",
    multiple=True,
    help="Add a combination of ranks: vote, mean_rank, te_nas or az_nas, of its own "
    "proxies or of those after the colon. Once for each.",
)
@accuracy_options
@click.option(
    "--clearly",
    type=click.FloatRange(min=0, max=2),
    default=0.05,
    metavar="Δρ",
    help="A proxy is clearly ahead if its whole interval lies above this.",
)
@share_option("--confidence", 0.95, "Coverage of intervals; tests are at 1 minus this.")
@count_option("--resamples", 100, 1000, "Bootstrap resamples.")
@count_option("--seed", 0, 0, "Of the bootstrap.", None)
@output_option
@plugin_option
def report(
    runs: tuple[Path, ...],
    scores: Path | None,
    space: str | None,
    datasets: tuple[str, ...],
    format_name: str,
    sections: tuple[str, ...] | None,
    aggregates: tuple[str, ...],
    output: Path | None,
    target: str | None,
    truth: str | None,
    population: str | None,
    **options: Any,
) -> None:
    """Tell how well each proxy ranks the architectures of one or more runs.

    For every dataset and proxy: Spearman's ρ and Kendall's τ-b with the accuracy, 95%
    intervals, how many scores failed and why, and the time that a score takes. Below
    each table: which proxies are ahead of the best baseline on the same architectures,
    by intervals that hold together for all comparisons of the report.
    Intervals speak of architectures in general: they treat those at hand as a sample,
    also where they are all of a space.

    \b
    Examples:
      zcbench report runs/first
      zcbench report runs/first --target test --population connected
      zcbench report runs/first --section verdict,tasks --clearly 0.1
      zcbench report runs/first --aggregate mean_rank:jacov,nwot,synflow
      zcbench report runs/first runs/second --format csv -o table.csv
      zcbench report runs/first --format json > baseline.json
      zcbench report runs/first --format html -o report.html
      zcbench report --scores zc_nasbench201.json --space nb201
    """  # noqa: D301 - click's mark for "do not wrap"
    one_thread()
    from zcbench.aggregates import parse
    from zcbench.report import Options, emit, make_report

    if sections is None:
        sections = ("all",) if format_name == "html" else ("correlations",)
    made = make_report(
        _tables(runs, scores, space, datasets),
        target,
        truth,
        population,
        sections=sections,
        options=Options(**options),
        aggregates=[parse(text) for text in dict.fromkeys(aggregates)],
    )
    emit(made, format_name, output)
