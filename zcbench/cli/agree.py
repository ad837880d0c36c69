"""`zcbench agree`."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import click

from zcbench.cli.options import format_option, plugin_option

if TYPE_CHECKING:
    import pandas as pd


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
@format_option("text", "csv", "json")
@plugin_option
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
    from zcbench.analysis.agree import agree as compare
    from zcbench.report import Document, emit
    from zcbench.store import load_run

    ours = load_run(run)
    theirs = load_run(scores) if scores.is_dir() else _published(ours, scores, datasets)
    notes = [
        *ours.attrs.get("notes", ()),
        *theirs.attrs.get("notes", ()),
        *_alone(theirs, ours),
        *_alone(ours, theirs),
    ]
    notes = list(dict.fromkeys(notes))
    emit(Document([compare(ours, theirs)], None, notes=notes), format_name)


def _published(
    ours: pd.DataFrame, scores: Path, datasets: tuple[str, ...]
) -> pd.DataFrame:
    from zcbench.analysis.published import load_scores
    from zcbench.analysis.scores import aliases
    from zcbench.tasks import space_of

    there = list(dict.fromkeys(ours["dataset"]))
    chosen = datasets or (there if len(there) == 1 else ())
    space = space_of(str(ours["space"].iloc[0]), ours.attrs["manifest"])
    theirs = load_scores(scores, space, chosen)
    known = theirs.attrs["proxies"]
    names = {
        alias: name
        for alias, name in aliases(ours.attrs["manifest"]).items()
        if alias in known and name not in known
    }
    proxies = [names.get(proxy, proxy) for proxy in known]
    renamed = theirs.rename(columns=names)
    renamed.attrs = {**theirs.attrs, "proxies": proxies}
    return renamed


def _alone(one: pd.DataFrame, other: pd.DataFrame) -> Iterator[str]:
    """Names the proxies that only one of them has."""
    alone = [p for p in one.attrs["proxies"] if p not in other.attrs["proxies"]]
    if alone:
        where = f"only {one.attrs['path']} has scores of them"
        yield f"Not compared: {', '.join(alone)} ({where})."
