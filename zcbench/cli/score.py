"""`zcbench score`: proxies on networks of the user's own."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
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
    is_users,
    out_of_memory,
    visible,
)
from zcbench.report import FORMATS

if TYPE_CHECKING:
    from zcbench.analysis.outside import Accuracies
    from zcbench.minibatch import Source
    from zcbench.report import Block, Document, Report
    from zcbench.types import Batch, Score

Scores = Mapping[str, "Score"]
_ONLY_REPORTS = ("tex", "html")
_SHAPE = (3, 32, 32)


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
    if not shape or min(shape) < 1:
        raise click.BadParameter(f"{value!r} is no shape such as 3,32,32.")
    return shape


@click.command(short_help="Score networks of your own.")
@click.argument("targets", metavar="NETWORK...", nargs=-1, required=True)
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
@plugin_option
@format_option(*FORMATS)
def score(
    targets: tuple[str, ...],
    shape: tuple[int, ...] | None,
    classes: int,
    proxies: str,
    batch_size: int,
    seed: int,
    minibatch: str,
    precision: str,
    accuracy_file: Path | None,
    format_name: str,
) -> None:
    """Score any torch networks, each named by what builds it, and rank them.

    timm:NAME and torchvision:NAME are built without trained weights; NAME may have
    wildcards. MODULE:CALLABLE (or FILE.py:CALLABLE) is imported and called without
    arguments, but for num_classes where it has that parameter. It is code, and is run.
    A network that cannot be scored says why, and the others are scored. A proxy that
    is not defined for a network says so instead of giving a number. Scores of networks
    of different kinds can differ for reasons that have nothing to do with accuracy:
    no proxy is validated across them.

    \b
    Examples:
      zcbench score my_nets.py:small my_nets.py:large --classes 100
      zcbench score timm:resnet18 timm:vit_tiny_patch16_224 --classes 1000
      zcbench score 'torchvision:resnet*' --accuracies top1.csv --format md
    """  # noqa: D301 - click wants \b itself
    from zcbench.proxies import PROXIES
    from zcbench.report import emit

    if format_name in _ONLY_REPORTS and accuracy_file is None:
        raise UsageError(
            f"{format_name} holds a report, which needs accuracies.",
            "Give --accuracies FILE, or another --format.",
        )
    chosen = tuple(proxy.name for proxy in PROXIES.select(proxies))
    session = _Session(
        shape, classes, chosen, batch_size, seed, minibatch, _known(precision)
    )
    names = list(session.expand(targets))
    accuracies = _accuracies(accuracy_file, names)
    found = {name: session.scores(name) for name in _shown(names)}
    if len(session.errors) == len(found) == 1:
        raise next(iter(session.errors.values()))
    emit(_document(found, accuracies, session, format_name), format_name)
    if all(_failed(scores) for scores in found.values()):
        raise UsageError(
            f"None of the {len(found)} networks could be scored.",
            "The table says why.",
        )


@dataclass
class _Session:
    """What is the same for all networks of one command, and what went wrong."""

    shape: tuple[int, ...] | None
    classes: int
    proxies: Sequence[str]
    batch_size: int
    seed: int
    minibatch: str
    precision: Literal["float64", "float32"]
    errors: dict[str, ZcbenchError] = field(default_factory=dict)
    sources: dict[tuple[int, ...], Source] = field(default_factory=dict)
    batches: dict[tuple[int, ...], Batch] = field(default_factory=dict)

    def expand(self, targets: Iterable[str]) -> Iterator[str]:
        """Every network once; wildcards that find none stay, and will say so."""
        from zcbench.networks.loading import expand

        seen = set()
        for target in targets:
            try:
                names = expand(target)
            except ZcbenchError as error:
                self.errors[target] = error
                names = [target]
            yield from (name for name in names if name not in seen)
            seen.update(names)

    def scores(self, target: str) -> Scores:
        """Of one network; whatever it does ends nothing else."""
        from zcbench.networks.loading import failed
        from zcbench.types import Score

        error: ZcbenchError
        try:
            if target in self.errors:
                raise self.errors[target]
            return self._scores(target)
        except ZcbenchError as known:
            error = known
        except BaseException as other:  # code of others
            if is_users(other):
                raise
            hint = "ZCBENCH_DEBUG=1 shows where, if it is the only network."
            error = failed(f"Scoring {target}", other, hint)
            error.__cause__ = other
        self.errors[target] = error
        status: Literal["oom", "error"] = "oom" if out_of_memory(error) else "error"
        return dict.fromkeys(self.proxies, Score(None, status, 0.0, str(error)))

    def _scores(self, target: str) -> Scores:
        from zcbench.networks.loading import build_network, check_network, own_shape
        from zcbench.scoring import score as score_network

        network = build_network(target, self.classes, self.seed)
        batch = self._batch(self.shape or own_shape(network, target) or _SHAPE)
        check_network(network, batch.x, self.classes, target)
        return score_network(
            network, batch, self.proxies, seed=self.seed, precision=self.precision
        )

    def _batch(self, shape: tuple[int, ...]) -> Batch:
        from zcbench.minibatch import open_source
        from zcbench.types import Task

        if shape not in self.batches:
            task = Task("images", shape, self.classes)
            self.sources[shape] = open_source(self.minibatch, task)
            batch = self.sources[shape].batch(self.batch_size, seed=self.seed)
            self.batches[shape] = batch
        return self.batches[shape]

    def report(
        self, found: Mapping[str, Scores], accuracies: Accuracies, format_name: str
    ) -> Report:
        """How well the proxies rank the accuracies."""
        from zcbench.analysis.outside import report_networks

        shapes = ", ".join("×".join(map(str, shape)) for shape in self.sources)
        digests = dict.fromkeys(source.digest for source in self.sources.values())
        name = next((s.name for s in self.sources.values()), self.minibatch)
        setting = {
            "batch_size": self.batch_size,
            "seed": self.seed,
            "precision": self.precision,
            "minibatch": {
                "name": f"{name} {shapes}".strip(),
                "digest": next(iter(digests)) if len(digests) == 1 else "",
            },
        }
        several = format_name in ("tex", "html")
        sections = ("correlations", "verdict") if several else ("correlations",)
        return report_networks(found, accuracies, setting, sections)


def _known(precision: str) -> Literal["float64", "float32"]:
    return "float64" if precision == "float64" else "float32"


def _failed(scores: Scores) -> bool:
    return all(one.status in ("error", "oom") for one in scores.values())


def _shown(names: Sequence[str]) -> Iterable[str]:
    """The names, with a bar on stderr if that is a terminal."""
    if not sys.stderr.isatty() or len(names) < 2:
        return names
    from tqdm import tqdm

    bar: Iterable[str] = tqdm(names, unit="net")
    return bar


def _accuracies(path: Path | None, names: Sequence[str]) -> Accuracies | None:
    """Read before anything is scored, so that a wrong file costs no time."""
    import math

    from zcbench.analysis.outside import read_accuracies
    from zcbench.errors import DataError

    if path is None:
        return None
    found = read_accuracies(path)
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
    session: _Session,
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
    whole = document_of(session.report(found, accuracies, format_name))
    if format_name in ("csv", *_ONLY_REPORTS):
        return whole
    return replace(whole, blocks=[*scores, *whole.blocks])
