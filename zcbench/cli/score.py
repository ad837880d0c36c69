"""`zcbench score`: proxies on networks of the user's own."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import click

from zcbench.cli.complete import complete_proxies
from zcbench.cli.plugin import plugin_option

if TYPE_CHECKING:
    from zcbench.types import Score

Scores = Mapping[str, "Score"]
FORMATS = ("text", "md", "csv", "json")


def _shape(
    context: click.Context, parameter: click.Parameter, value: str
) -> tuple[int, ...]:
    del context, parameter
    try:
        shape = tuple(int(part) for part in value.split(","))
    except ValueError:
        shape = ()
    if not shape or min(shape) < 1:
        raise click.BadParameter(f"{value!r} is no shape such as 3,32,32.")
    return shape


@click.command(short_help="Score networks of your own.")
@click.argument("targets", metavar="MODULE:CALLABLE...", nargs=-1, required=True)
@click.option(
    "--input",
    "shape",
    metavar="C,H,W",
    callback=_shape,
    default="3,32,32",
    show_default=True,
    help="Shape of one image.",
)
@click.option(
    "--classes",
    type=click.IntRange(min=2),
    default=10,
    show_default=True,
    metavar="N",
    help="Number of logits.",
)
@click.option(
    "--proxies",
    metavar="NAMES",
    default="all",
    show_default=True,
    shell_complete=complete_proxies,
    help="all, or names with commas.",
)
@click.option(
    "--batch-size",
    type=click.IntRange(min=2),
    default=64,
    show_default=True,
    metavar="N",
    help="Images in the minibatch.",
)
@click.option(
    "--seed",
    type=click.IntRange(min=0),
    default=0,
    show_default=True,
    metavar="N",
    help="Of weights and images.",
)
@click.option(
    "--minibatch",
    metavar="SOURCE",
    default="builtin",
    show_default=True,
    help="Images: builtin, gaussian, or a path.",
)
@click.option(
    "--precision",
    type=click.Choice(("float64", "float32")),
    default="float64",
    show_default=True,
    help="float64 is what the definitions say, float32 is faster.",
)
@plugin_option
@click.option(
    "--format",
    "format_name",
    type=click.Choice(FORMATS),
    default="text",
    show_default=True,
    help="How to write the table.",
)
def score(
    targets: tuple[str, ...],
    shape: tuple[int, ...],
    classes: int,
    proxies: str,
    batch_size: int,
    seed: int,
    minibatch: str,
    precision: str,
    format_name: str,
) -> None:
    """Score any torch networks, each named by what builds it, and rank them.

    MODULE:CALLABLE (or FILE.py:CALLABLE) is imported and called without arguments, but
    for num_classes where it has that parameter. It is code, and is run. A proxy that
    is not defined for a network says so instead of giving a number. Scores of networks
    of different kinds can differ for reasons that have nothing to do with accuracy:
    no proxy is validated across them.

    \b
    Examples:
      zcbench score my_nets.py:small my_nets.py:large --classes 100
      zcbench score torchvision.models:resnet18 --input 3,224,224 --classes 1000
    """  # noqa: D301 - click wants \b itself
    from zcbench.evaluate import score as score_network
    from zcbench.minibatch import open_source
    from zcbench.networks import build_network, check_network
    from zcbench.proxies import PROXIES
    from zcbench.types import Task

    chosen = [proxy.name for proxy in PROXIES.select(proxies)]
    task = Task("images", shape, classes)
    batch = open_source(minibatch, task).batch(batch_size, seed=seed)
    found: dict[str, Scores] = {}
    for target in dict.fromkeys(targets):
        network = build_network(target, classes, seed)
        check_network(network, batch.x, classes, target)
        found[target] = score_network(
            network,
            batch,
            chosen,
            seed=seed,
            precision="float32" if precision == "float32" else "float64",
        )
    click.echo(_WRITERS[format_name](found), nl=False)


def ranks(found: Mapping[str, Scores], proxy: str) -> dict[str, float]:
    """Rank of each network by a proxy, 1 the best; those without a score have none."""
    from scipy.stats import rankdata

    from zcbench.proxies import PROXIES

    sign = 1 if PROXIES.get(proxy).direction == "lower" else -1
    values = {
        name: sign * scores[proxy].value  # type: ignore[operator]
        for name, scores in found.items()
        if scores[proxy].value is not None
    }
    return dict(zip(values, rankdata(list(values.values())).tolist(), strict=True))


def _rows(found: Mapping[str, Scores]) -> list[tuple[str, ...]]:
    first = next(iter(found.values()))
    rows = []
    for proxy in first:
        placed = ranks(found, proxy) if len(found) > 1 else {}
        cells = []
        for name, scores in found.items():
            value = scores[proxy].value
            text = scores[proxy].status if value is None else f"{value:.6g}"
            cells.append(text + (f" ({placed[name]:g})" if name in placed else ""))
        rows.append((proxy, *cells))
    return rows


def _notes(found: Mapping[str, Scores]) -> list[str]:
    """Why scores are not there, each reason once."""
    reasons: dict[tuple[str, str, str], list[str]] = {}
    for name, scores in found.items():
        for proxy, one in scores.items():
            if one.value is None:
                key = (name, one.status, one.message)
                reasons.setdefault(key, []).append(proxy)
    return [
        f"{name}: {', '.join(proxies)} {status}" + (f": {message}" if message else "")
        for (name, status, message), proxies in reasons.items()
    ]


def _text(found: Mapping[str, Scores]) -> str:
    from zcbench.report.text import draw

    head = ("proxy", *found)
    rows = [(row, "") for row in _rows(found)]
    right = (False, *[True] * len(found))
    several = "(rank, 1 the best by that proxy)\n" if len(found) > 1 else ""
    notes = "".join(f"{line}\n" for line in _notes(found))
    table = draw(head, rows, right, color=False)
    return "\n".join(part for part in (table, several + notes) if part)


def _md(found: Mapping[str, Scores]) -> str:
    from zcbench.report.markup import escape_markdown, markdown_table

    head = ("proxy", *map(escape_markdown, found))
    rows = [(escape_markdown(row[0]), *row[1:]) for row in _rows(found)]
    table = markdown_table(head, rows, (False, *[True] * len(found)))
    return table + "".join(f"\n- {escape_markdown(line)}" for line in _notes(found))


def _records(found: Mapping[str, Scores]) -> list[dict[str, Any]]:
    records = []
    for proxy in next(iter(found.values())):
        placed = ranks(found, proxy)
        for name, scores in found.items():
            one = scores[proxy]
            records.append(
                {
                    "network": name,
                    "proxy": proxy,
                    "value": one.value,
                    "status": one.status,
                    "rank": placed.get(name),
                    "seconds": round(one.seconds, 6),
                    "message": one.message,
                }
            )
    return records


def _csv(found: Mapping[str, Scores]) -> str:
    records = _records(found)
    stream = io.StringIO()
    writer = csv.DictWriter(stream, list(records[0]), lineterminator="\n")
    writer.writeheader()
    writer.writerows(records)
    return stream.getvalue()


def _json(found: Mapping[str, Scores]) -> str:
    return json.dumps({"schema": 1, "scores": _records(found)}, indent=1) + "\n"


_WRITERS = {"text": _text, "md": _md, "csv": _csv, "json": _json}
