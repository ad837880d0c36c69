"""`zcbench agree`."""

from __future__ import annotations

import json
import textwrap
from pathlib import Path
from typing import TYPE_CHECKING

import click

if TYPE_CHECKING:
    import pandas as pd

    from zcbench.report import Block

_WIDTH = 88


@click.command(short_help="Compare scores with those that others publish.")
@click.argument("run", type=click.Path(path_type=Path))
@click.argument("scores", type=click.Path(path_type=Path))
@click.option(
    "--dataset",
    "datasets",
    metavar="NAME",
    multiple=True,
    help="Dataset of SCORES.  [default: those of RUN that it has]",
)
@click.option(
    "--format",
    "format_name",
    type=click.Choice(["text", "csv", "json"]),
    default="text",
    show_default=True,
    help="How to write the comparison.",
)
def agree(run: Path, scores: Path, datasets: tuple[str, ...], format_name: str) -> None:
    """Tell how far the scores of RUN rank architectures as those in SCORES do.

    SCORES is another run directory, the JSON of NAS-Bench-Suite-Zero
    (zc_nasbench201.json) or a CSV with a column arch and one for each proxy. Each proxy
    that both have is compared over the architectures that have both scores.

    \b
    Examples:
      zcbench agree runs/first zc_nasbench201.json
      zcbench agree runs/first scores.csv --dataset cifar10
      zcbench agree runs/first runs/second --format csv
    """  # noqa: D301 - click wants \b itself
    from zcbench.report.agree import agree as compare
    from zcbench.store import load_run

    ours = load_run(run)
    theirs = load_run(scores) if scores.is_dir() else _published(ours, scores, datasets)
    for note in theirs.attrs.get("notes", ()):
        click.echo(note, err=True)
    compared = compare(ours, theirs)
    _say_alone(theirs, ours)
    _say_alone(ours, theirs)
    _print(compared, format_name)


def _published(
    ours: pd.DataFrame, scores: Path, datasets: tuple[str, ...]
) -> pd.DataFrame:
    from zcbench.analysis.published import load_scores
    from zcbench.tasks import space_of

    there = list(dict.fromkeys(ours["dataset"]))
    chosen = datasets or (there if len(there) == 1 else ())
    space = space_of(str(ours["space"].iloc[0]), ours.attrs["manifest"])
    return load_scores(scores, space, chosen)


def _say_alone(one: pd.DataFrame, other: pd.DataFrame) -> None:
    """Name on stderr the proxies that only one of them has."""
    alone = [p for p in one.attrs["proxies"] if p not in other.attrs["proxies"]]
    if alone:
        where = f"only {one.attrs['path']} has scores of them"
        click.echo(f"Not compared: {', '.join(alone)} ({where}).", err=True)


def _print(block: Block, format_name: str) -> None:
    from zcbench.report.cells import cells, header, right
    from zcbench.report.text import draw

    if format_name == "csv":
        click.echo(block.table.to_csv(index=False), nl=False)
        return
    if format_name == "json":
        records = json.loads(block.table.to_json(orient="records"))
        click.echo(json.dumps(records, indent=1, ensure_ascii=False))
        return
    rows = [(line, "") for line in cells(block)]
    table = draw(header(block), rows, right(block), color=False)
    about = textwrap.fill(block.about, _WIDTH)
    click.echo(f"{block.title}\n{about}\n\n{table}", nl=False)
