"""Options that several commands share."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import click

from zcbench.names import split_names

F = TypeVar("F", bound=Callable[..., Any])


def names(
    context: click.Context, parameter: click.Parameter, value: str
) -> tuple[str, ...]:
    """Callback of an option that takes names between commas; at least one."""
    del context
    found = tuple(dict.fromkeys(split_names(value)))
    if not found:
        raise click.BadParameter("No name is given.", param=parameter)
    return found


def names_option(name: str, default: str, text: str) -> Callable[[F], F]:
    """An option that takes names between commas."""
    return click.option(
        name, metavar="NAMES", default=default, callback=names, help=text
    )


def count_option(
    name: str,
    least: int,
    default: int,
    text: str,
    most: int | None = 1_000_000,
) -> Callable[[F], F]:
    """An option that takes a whole number."""
    kind = click.IntRange(least, most)
    return click.option(name, type=kind, default=default, metavar="N", help=text)


def share_option(name: str, default: float, text: str) -> Callable[[F], F]:
    """An option that takes a number between 0 and 1, neither included."""
    kind = click.FloatRange(0, 1, min_open=True, max_open=True)
    return click.option(name, type=kind, default=default, metavar="SHARE", help=text)


def format_option(*formats: str) -> Callable[[F], F]:
    """The option ``--format``, of which the first is the default."""
    return click.option(
        "--format",
        "format_name",
        type=click.Choice(formats),
        default=formats[0],
        help="How to write it.",
    )


def accuracy_options(command: F) -> F:
    """Options that say which accuracies of which architectures."""
    for option in (
        click.option(
            "--population",
            metavar="NAME",
            help="Speak of these architectures only.  [default: those it sampled from]",
        ),
        click.option(
            "--truth",
            metavar="SOURCE",
            help="Ground truth: auto, a name or a path.  [default: that of the run]",
        ),
        click.option(
            "--target",
            metavar="NAME",
            help="Accuracy to correlate with, such as val or test.  "
            "[default: that of the run]",
        ),
    ):
        command = option(command)
    return command


output_option = click.option(
    "-o",
    "--output",
    type=click.Path(path_type=Path, dir_okay=False),
    metavar="FILE",
    help="Write there, whole or not at all, instead of to stdout.",
)
