"""`zcbench compare`."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from zcbench.cli.options import format_option, plugin_option, share_option

_REGRESSION = 1


@click.command(short_help="Compare a run with a baseline run.")
@click.argument("baseline", type=click.Path(path_type=Path))
@click.argument("run", type=click.Path(path_type=Path))
@click.option(
    "--tolerance",
    "table",
    type=click.FloatRange(min=0),
    default=0.01,
    help="Change of ρ or τ that is still the same.",
)
@share_option(
    "--confidence",
    0.99,
    "Of the paired intervals; a larger change counts if they leave out 0.",
)
@click.option(
    "--score-tolerance",
    "score",
    type=click.FloatRange(min=0),
    default=1e-4,
    help="Relative change of a score that is still the same.",
)
@click.option(
    "--scores",
    "strict",
    is_flag=True,
    help="Call a proxy worse as soon as one score has changed.",
)
@format_option("text", "md", "json")
@click.option(
    "--target",
    metavar="NAME",
    help="Accuracy to correlate with.  [default: that of the baseline]",
)
@plugin_option
def compare(
    baseline: Path,
    run: Path,
    format_name: str,
    target: str | None,
    **tolerances: Any,
) -> int:
    """Compare RUN with BASELINE; exit with 1 if a proxy is worse or gone.

    Each is a run directory, or what `zcbench report --format json` wrote. A row is
    worse if ρ or τ has fallen, more scores have failed, or no network has a score;
    with --scores also if any score has changed. Of two runs, ρ and τ are compared on
    the architectures that both have, and have fallen if the interval of the paired
    difference says so, too. Rows made with another proxy version, minibatch, seed or
    target are not comparable and say why.

    \b
    Examples:
      zcbench compare runs/first runs/second
      zcbench compare runs/first runs/second --scores --score-tolerance 1e-3
      zcbench compare baseline.json runs/second --format md
    """  # noqa: D301 - click's mark for "do not wrap"
    from zcbench.analysis.regression import (
        REGRESSIONS,
        Tolerances,
        check_comparable,
        comparison,
    )
    from zcbench.analysis.regression import compare as compare_runs
    from zcbench.report import Document, emit

    table = compare_runs(baseline, run, Tolerances(**tolerances), target=target)
    notes = table.attrs["notes"]
    emit(Document([comparison(table)], table.attrs, notes=notes), format_name)
    check_comparable(table)
    return _REGRESSION if table["verdict"].isin(REGRESSIONS).any() else 0
