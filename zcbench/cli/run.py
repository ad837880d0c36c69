"""`zcbench run`."""

from __future__ import annotations

import os
import shlex
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import click

from zcbench.cli.options import complete_datasets, complete_proxies, complete_spaces
from zcbench.config import KEYS, OPTIONS, RunConfig, load_config, option_name
from zcbench.errors import ZcbenchError, count

Command = Callable[..., Any]
_COMPLETE = {
    "space": complete_spaces,
    "datasets": complete_datasets,
    "proxies": complete_proxies,
}
_FINISHED_WITH_FAILURES = 4


def config_option(key: str) -> Callable[[Command], Command]:
    """Option of a configuration key: its default is said here, and filled in later.

    Environment and configuration file come between the command line and the default,
    so click must not know the default.
    """
    default: Any = OPTIONS[key].default
    said = OPTIONS[key].metadata
    metavar, text = said["kind"].metavar, said["text"]
    several = isinstance(default, tuple)
    shown = ",".join(map(str, default)) if several else default
    if shown not in (None, "") and shown is not False:
        text = f"{text}  [default: {shown}]"
    settings: dict[str, Any] = {"metavar": metavar, "multiple": several}
    if metavar in ("FILE", "DIR"):
        settings["type"] = click.Path(path_type=Path)
    return click.option(
        f"--{option_name(key)}",
        key,
        default=None,
        help=text,
        shell_complete=_COMPLETE.get(key),
        **({"is_flag": True} if default is False else settings),
    )


def _options(command: Command) -> Command:
    """Those of `RunConfig`, in its order."""
    for key in reversed(KEYS):
        command = config_option(key)(command)
    return command


@click.command(short_help="Score architectures and print how the proxies rank them.")
@_options
@click.option(
    "--config",
    "config_file",
    type=click.Path(path_type=Path),
    metavar="FILE",
    help="TOML file with these options, or the manifest.json of a run to do again.",
)
def run(config_file: Path | None, **options: object) -> None:
    """Score architectures with proxies, and print how well the proxies rank them.

    Scores go to the run directory as they come. After Ctrl-C, a crash or a power cut,
    the same command with the same --out does only what is missing.

    Options can also come from the environment (ZCBENCH_BATCH_SIZE=32) or from --config
    FILE; the command line wins over the environment, and that over the file.

    \b
    Examples:
      zcbench run --space toy
      zcbench run --n 100 --out runs/first
      zcbench run --n 1000 --proxies snip,nwot --datasets cifar10 --dry-run
      zcbench run --config runs/first/manifest.json --out runs/again
      zcbench run --space nb201,fcnet --n 100 --out runs/across
      zcbench run --space all --n 50 --input-size 32
    """  # noqa: D301 - click wants \b itself
    given = {k: v for k, v in options.items() if v is not None and v != ()}
    config = load_config(given, file=config_file, environ=os.environ)
    if config.dry_run:
        from zcbench.engine.dry_run import dry_run

        click.echo("\n\n".join("\n".join(dry_run(c)) for c in _by_space(config)))
        return
    _run(_by_space(config))


def _by_space(config: RunConfig) -> list[RunConfig]:
    """One configuration a space; several have folders of their own in --out."""
    spaces = dict.fromkeys(name.strip() for name in config.space.split(","))
    names = [name for name in spaces if name]
    if names == ["all"]:
        names = _at_hand()
    elif len(names) < 2:
        return [config]
    folder = config.out
    if folder is None and not config.dry_run:
        from zcbench.engine import new_directory

        folder = new_directory("across")
    return [replace(config, space=name, out=folder and folder / name) for name in names]


def _at_hand() -> list[str]:
    """All spaces with accuracies at hand; the others are named with what they lack."""
    from zcbench.truth import spaces_at_hand

    names, absent = spaces_at_hand()
    for name, why in absent.items():
        click.echo(f"zcbench: {name} is left out: {why}", err=True)
    return names


def _run(configs: list[RunConfig]) -> None:
    from zcbench.cli.progress import TerminalObserver
    from zcbench.engine import InterruptedRunError, execute

    paths = []
    for config in configs:
        observer = TerminalObserver()
        try:
            outcome = execute(config, observer)
        except InterruptedRunError as error:
            if len(configs) == 1 or config.out is None:
                raise
            folder = shlex.quote(str(config.out.parent))  # a manifest is of one space
            raise InterruptedRunError(
                error.what, f"Go on with: the same command, with --out {folder}"
            ) from None
        observer.conclude(outcome)
        paths.append(outcome.path)
    failed = print_table(configs[0], paths)
    where = " ".join(map(str, paths))
    observer.message(f"the run{'s are' if len(paths) > 1 else ' is'} in {where}")
    compared = f"   zcbench compare BASELINE {where}" if len(paths) == 1 else ""
    observer.message(f"next: zcbench report {where} --format md{compared}")
    if configs[0].strict and failed:
        raise FailedScoresError(
            f"{count(failed, 'score')} without a value in {where}.",
            "Their status in scores.jsonl says why.",
        )


class FailedScoresError(ZcbenchError):
    """The run is complete, but not every score has a value (under ``--strict``)."""

    exit_code = _FINISHED_WITH_FAILURES


def print_table(config: RunConfig, paths: list[Path]) -> int:
    """Print the correlations, and for several runs the ranks across their spaces.

    Returns:
        How many scores have no value.
    """
    from zcbench.store import load_run

    runs = [load_run(path) for path in paths]
    if config.truth != "none":
        from zcbench.report import emit, make_report

        across = ["tasks"] if len(runs) > 1 else []
        sections = ["correlations", *across]
        emit(make_report(runs, config.target, config.truth, sections=sections))
    return int(sum(run["status"].map(len).sum() for run in runs))
