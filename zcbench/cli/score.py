"""`zcbench score`: proxies on networks of the user's own."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import click

from zcbench.cli.options import (
    complete_proxies,
    count_option,
    format_option,
    plugin_option,
)
from zcbench.errors import (
    UsageError,
    ZcbenchError,
    visible,
)
from zcbench.report import FORMATS

if TYPE_CHECKING:
    from zcbench.analysis.outside import Accuracies
    from zcbench.cli.networks import Session
    from zcbench.report import Block, Document, Report
    from zcbench.types import Score

Scores = Mapping[str, "Score"]
_ONLY_REPORTS = ("tex", "html")


def _shape(
    context: click.Context, parameter: click.Parameter, value: str | None
) -> tuple[int, ...] | None:
    del context, parameter
    if value is None:
        return None
    try:
        shape = tuple(int(part) for part in value.split(","))
    except ValueError:
        shape = ()
    if len(shape) != 3 or min(shape) < 1:
        raise click.BadParameter(f"{value!r} is no shape such as 3,32,32.")
    return shape


@click.command(short_help="Score networks of your own.")
@click.argument("targets", metavar="[NETWORK]...", nargs=-1)
@click.option(
    "--networks",
    "listed",
    type=click.Path(path_type=Path),
    metavar="FILE",
    help="More networks, one a line, each with arguments of its builder.",
)
@click.option(
    "--input",
    "shape",
    metavar="C,H,W",
    callback=_shape,
    help="Shape of one image.  [default: the network's own, else 3,32,32]",
)
@count_option("--classes", 2, 10, "Number of logits.")
@click.option(
    "--proxies",
    metavar="NAMES",
    default="all",
    shell_complete=complete_proxies,
    help="all, or names with commas.",
)
@count_option("--batch-size", 2, 64, "Images in the minibatch.")
@count_option("--seed", 0, 0, "Of weights and images.", None)
@click.option(
    "--minibatch",
    metavar="SOURCE",
    default="builtin",
    help="Images: builtin, gaussian, or a path.",
)
@click.option(
    "--precision",
    type=click.Choice(("float64", "float32")),
    default="float32",
    help="float64 is what the definitions say, float32 is faster.",
)
@click.option(
    "--accuracies",
    "accuracy_file",
    type=click.Path(path_type=Path),
    metavar="FILE",
    help="CSV with columns network and accuracy: tell how well each proxy ranks them.",
)
@click.option("--target", metavar="NAME", help="Column of --accuracies to take.")
@click.option(
    "--out",
    type=click.Path(path_type=Path),
    metavar="DIR",
    help="Keep every score there; run again, only what is missing is done.",
)
@click.option("--dry-run", is_flag=True, help="Say what it would cost; score nothing.")
@plugin_option
@format_option(*FORMATS)
def score(
    targets: tuple[str, ...],
    listed: Path | None,
    shape: tuple[int, ...] | None,
    classes: int,
    proxies: str,
    batch_size: int,
    seed: int,
    minibatch: str,
    precision: Literal["float64", "float32"],
    accuracy_file: Path | None,
    target: str | None,
    out: Path | None,
    dry_run: bool,
    format_name: str,
) -> None:
    """Score any torch networks, each named by what builds it, and rank them.

    timm:NAME and torchvision:NAME are built without trained weights; NAME may have
    wildcards. MODULE:CALLABLE (or FILE.py:CALLABLE) is imported and called; it is code,
    and is run. num_classes is given to builders that take it; other arguments follow
    the name, as in 'timm:vit_tiny_patch16_224 depth=6'. Each network gets images of its
    own size. One that cannot be scored, or for which memory runs out, says why, and the
    others are scored. A proxy that is not defined for a network says so instead of
    giving a number, and one that says nothing of it is not ranked. Scores of networks
    of different kinds can differ for reasons that have nothing to do with accuracy: no
    proxy is validated across them.

    \b
    Examples:
      zcbench score my_nets.py:small my_nets.py:large --classes 100
      zcbench score timm:resnet18 timm:vit_tiny_patch16_224 --classes 1000
      zcbench score 'torchvision:resnet*' --accuracies top1.csv --format md
      zcbench score --networks nets.txt --proxies params,flops,snip --out scored
      zcbench score 'timm:resnet*' --dry-run
    """  # noqa: D301 - click wants \b itself
    from zcbench.cli.networks import Session, Setting, session
    from zcbench.proxies import PROXIES
    from zcbench.report import emit

    _check_format(format_name, accuracy_file)
    named = _named(targets, listed)
    chosen = tuple(proxy.name for proxy in PROXIES.select(proxies))
    setting = Setting(shape, classes, chosen, batch_size, seed, minibatch, precision)
    if dry_run:
        _say_costs(Session(setting), named)
        return
    with session(setting, out) as scoring:
        names = list(scoring.expand(named))
        accuracies = _accuracies(accuracy_file, target, names)
        found = scoring.scored(names)
    if len(scoring.errors) == len(found) == 1:
        raise next(iter(scoring.errors.values()))
    emit(_document(found, accuracies, scoring, format_name), format_name)
    if all(_failed(scores) for scores in found.values()):
        raise UsageError(
            f"None of the {len(found)} networks could be scored.",
            "The table says why.",
        )


def _named(targets: Sequence[str], listed: Path | None) -> list[str]:
    from zcbench.networks.targets import read_targets

    named = [*targets, *(read_targets(listed) if listed else ())]
    if not named:
        raise UsageError("No network is named.", "Name some, or give --networks FILE.")
    return named


def _check_format(name: str, accuracies: Path | None) -> None:
    if name in _ONLY_REPORTS and accuracies is None:
        raise UsageError(
            f"{name} holds a report, which needs accuracies.",
            "Give --accuracies FILE, or another --format.",
        )


def _say_costs(planned: Session, named: Sequence[str]) -> None:
    """Of each network what it would take, and of all."""
    from zcbench.analysis.network_scores import readable
    from zcbench.cli.networks import expected_seconds
    from zcbench.engine.observer import duration

    setting, total = planned.setting, 0.0
    for name in planned.expand(named):
        try:
            network, batch, forward = planned.build(name)
        except ZcbenchError as error:
            click.echo(visible(f"{name}: {error}"))
            continue
        seconds = expected_seconds(setting.proxies, forward, setting.batch_size)
        size = readable(float(sum(p.numel() for p in network.parameters())))
        shape = "×".join(map(str, batch.x.shape[1:]))
        total += seconds
        told = f"{name}: {size} parameters, {shape}, about {duration(seconds)}"
        click.echo(visible(told))
    click.echo(f"all: about {duration(total)} with {len(setting.proxies)} proxies")


def _failed(scores: Scores) -> bool:
    return all(one.status in ("error", "oom") for one in scores.values())


def _accuracies(
    path: Path | None, target: str | None, names: Sequence[str]
) -> Accuracies | None:
    """Read before anything is scored, so that a wrong file costs no time."""
    if path is None:
        return None
    import math

    from zcbench.analysis.outside import read_accuracies
    from zcbench.errors import DataError

    found = read_accuracies(path, target)
    absent = [name for name in names if math.isnan(found.of(name))]
    if len(absent) == len(names):
        raise DataError(
            f"{path} has an accuracy of none of these networks.",
            f"Its names should be like {names[0]} or {names[0].rpartition(':')[2]}.",
        )
    if found.fractions:
        _tell(f"{path}: read as fractions of 1, not percent.")
    if absent:
        _tell(
            f"{path} has no accuracy of {', '.join(absent)}: left out of the "
            "correlations."
        )
    return found


def _tell(text: str) -> None:
    click.echo(visible(text), err=True)


def _document(
    found: Mapping[str, Scores],
    accuracies: Accuracies | None,
    scoring: Session,
    format_name: str,
) -> Document:
    """The scores, and below them how they rank the accuracies.

    Of those, CSV, LaTeX and HTML hold the latter alone.
    """
    from zcbench.analysis.network_scores import network_scores, side_by_side
    from zcbench.report.document import Document, document_of
    from zcbench.report.text import WIDTH

    scores: Sequence[Block] = [network_scores(found)]
    if format_name in ("text", "md"):
        scores = side_by_side(found, WIDTH if format_name == "text" else None)
    nothing = all(_failed(one) for one in found.values())
    if accuracies is None or (nothing and format_name not in _ONLY_REPORTS):
        return Document(scores, {})
    whole = document_of(_report(found, accuracies, scoring, format_name))
    if format_name in ("csv", *_ONLY_REPORTS):
        return whole
    return replace(whole, blocks=[*scores, *whole.blocks])


def _report(
    found: Mapping[str, Scores],
    accuracies: Accuracies,
    scoring: Session,
    format_name: str,
) -> Report:
    """How well the proxies rank the accuracies."""
    from zcbench.analysis.outside import report_networks

    setting, sources = scoring.setting, scoring.sources
    shapes = ", ".join("×".join(map(str, shape)) for shape in sources)
    digests = dict.fromkeys(source.digest for source in sources.values())
    name = next((s.name for s in sources.values()), setting.minibatch)
    about = {
        "batch_size": setting.batch_size,
        "seed": setting.seed,
        "precision": setting.precision,
        "minibatch": {
            "name": f"{name} {shapes}".strip(),
            "digest": next(iter(digests)) if len(digests) == 1 else "",
        },
    }
    several = format_name in ("tex", "html")
    sections = ("correlations", "verdict") if several else ("correlations",)
    return report_networks(found, accuracies, about, sections)
