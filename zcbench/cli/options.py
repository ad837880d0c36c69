"""Options that several commands share, and completion of names in the shell."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any, TypeVar

import click
from click.shell_completion import CompletionItem

from zcbench.names import split_names

F = TypeVar("F", bound=Callable[..., Any])


def names(
    context: click.Context, parameter: click.Parameter, value: str
) -> tuple[str, ...]:
    """Callback of an option that takes names between commas; at least one."""
    del context
    given = tuple(dict.fromkeys(split_names(value)))
    if not given:
        raise click.BadParameter("No name is given.", param=parameter)
    return given


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


def folder_option(default: str) -> Callable[[F], F]:
    """The option ``--output`` of a command that writes several files."""
    return click.option(
        "-o",
        "--output",
        type=click.Path(path_type=Path, file_okay=False),
        metavar="DIR",
        default=default,
        help="Where to write them.",
    )


def _load(
    context: click.Context,
    parameter: click.Parameter,  # noqa: ARG001 - click passes it
    files: tuple[Path, ...],
) -> None:
    """Run the files before anything else of the command looks for names."""
    if context.resilient_parsing or not files:
        return
    from zcbench.plugins import load_plugins

    load_plugins(files)


plugin_option = click.option(
    "--plugin",
    "plugins",
    type=click.Path(path_type=Path),
    multiple=True,
    metavar="FILE",
    expose_value=False,
    is_eager=True,
    callback=_load,
    help="Python file with proxies, spaces or truths of your own. It is code, and is "
    "run.",
)


def one_thread() -> None:
    """Keep OpenMP and BLAS to one thread, unless the user says otherwise.

    Their products are small here; on a busy machine threads mostly wait for each other
    (measured: a report on a whole space took 16 to 19 s with two, 8 s with one).
    """
    if "OMP_NUM_THREADS" not in os.environ:
        for name in ("OMP", "OPENBLAS", "MKL"):
            os.environ.setdefault(f"{name}_NUM_THREADS", "1")


Completer = Callable[[click.Context, click.Parameter, str], list[CompletionItem]]


def _proxies(_: click.Context) -> Iterable[str]:
    from zcbench.proxies import PROXIES, SETS

    return [*SETS, *PROXIES.names()]


def _spaces(_: click.Context) -> Iterable[str]:
    from zcbench.spaces import SPACES

    return SPACES.names()


def _datasets(ctx: click.Context) -> Iterable[str]:
    from zcbench.config import RunConfig
    from zcbench.errors import UsageError
    from zcbench.spaces import load_space

    try:
        space = load_space(ctx.params.get("space") or RunConfig().space)
    except UsageError:
        return []
    return ["all", *space.tasks]


def _completer(names: Callable[[click.Context], Iterable[str]]) -> Completer:
    def complete(
        ctx: click.Context,
        param: click.Parameter,  # noqa: ARG001 - click passes it
        incomplete: str,
    ) -> list[CompletionItem]:
        before, comma, start = incomplete.rpartition(",")
        taken = set(before.split(","))
        return [
            CompletionItem(f"{before}{comma}{name}")
            for name in names(ctx)
            if name.startswith(start) and name not in taken
        ]

    return complete


complete_proxies = _completer(_proxies)
complete_spaces = _completer(_spaces)
complete_datasets = _completer(_datasets)
