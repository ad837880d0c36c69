"""`zcbench run`."""

from __future__ import annotations

import os
import shlex
from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from zcbench.cli.options import complete_datasets, complete_proxies, complete_spaces
from zcbench.config import KEYS, OPTIONS, RunConfig, load_config, option_name
from zcbench.errors import ZcbenchError, count

if TYPE_CHECKING:
    from zcbench.report import Block, Report

Command = Callable[..., Any]
_COMPLETE = {
    "space": complete_spaces,
    "datasets": complete_datasets,
    "proxies": complete_proxies,
}
_FINISHED_WITH_FAILURES = 4
_FIRST = 10  # rows of a first look


def _config_option(key: str) -> Callable[[Command], Command]:
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


def config_options(*keys: str) -> Callable[[Command], Command]:
    """The options of these configuration keys, in this order."""

    def add(command: Command) -> Command:
        for key in reversed(keys):
            command = _config_option(key)(command)
        return command

    return add


@click.command(short_help="Score architectures and print how the proxies rank them.")
@config_options(*KEYS)
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
        from zcbench.report import fitted

        plans = "\n\n".join("\n".join(dry_run(c)) for c in _by_space(config))
        click.echo(fitted(plans))
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
        observer = TerminalObserver(look=partial(_first_look, config))
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


def _first_look(config: RunConfig, path: Path) -> str:
    """The first rows of the table, while the run goes on; empty where none is known."""
    from zcbench.analysis.overview import overview
    from zcbench.report import Document, make_report, render, terminal_width
    from zcbench.store import load_run

    if config.truth == "none":
        return ""
    try:
        report = make_report([load_run(path)], config.target, config.truth)
    except ZcbenchError:  # what is wrong will be said at the end
        return ""
    shown = Document([overview(report, _FIRST)], None, heads=[_verdict(report)])
    return render(shown, width=terminal_width())


def _verdict(report: Report) -> str:
    return report.conclusion or "\n".join(t.conclusion for t in report.tables)


def print_table(config: RunConfig, paths: list[Path]) -> int:
    """Print the verdict, one table, and for several runs the ranks across their spaces.

    Returns:
        How many scores have no value.
    """
    from zcbench.store import load_run

    runs = [load_run(path) for path in paths]
    if config.truth != "none":
        from zcbench.analysis.overview import agreeing, overview
        from zcbench.report import Document, emit, make_report
        from zcbench.report.document import document_of

        across = ["tasks"] if len(runs) > 1 else []
        report = make_report(
            runs, config.target, config.truth, sections=["correlations", *across]
        )
        document = document_of(report)
        blocks = list(document.blocks)
        if len(report.studies) > 1:
            remarks = _reasons(report.tables)
            blocks = [replace(overview(report), remarks=remarks), *report.blocks]
        else:
            blocks = [replace(block, conclusion="") for block in blocks]
        heads = [_verdict(report), agreeing(report)]
        if len(report.studies) > 1:
            heads += ["", *report.heads]
        emit(Document(blocks, None, heads=heads, notes=document.notes))
    return int(sum(run["status"].map(len).sum() for run in runs))


def _reasons(tables: Sequence[Block]) -> tuple[str, ...]:
    """Why scores failed, on which dataset; once where it is the same on all."""
    said: dict[str, list[str]] = {}
    for table in tables:
        for remark in table.remarks:
            said.setdefault(remark, []).append(table.where)
    return tuple(
        remark if len(where) == len(tables) else f"{', '.join(where)}: {remark}"
        for remark, where in said.items()
    )
