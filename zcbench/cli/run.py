"""`zcbench run`."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any, TypeVar

import click

from zcbench.cli.complete import complete_datasets, complete_proxies, complete_spaces
from zcbench.config import EXECUTORS, OVERWRITE, PRECISIONS, RunConfig, load_config
from zcbench.errors import UsageError, ZcbenchError

F = TypeVar("F", bound=Callable[..., Any])

_DEFAULTS = RunConfig()
_FINISHED_WITH_FAILURES = 4


def _option(name: str, text: str, **settings: Any) -> Callable[[F], F]:
    """Option of a configuration key: its default is said here, and filled in later.

    Environment and configuration file come between the command line and the default,
    so click must not know the default.
    """
    key = name.removeprefix("--").replace("-", "_")
    default = getattr(_DEFAULTS, key)
    if isinstance(default, tuple):
        default = ",".join(map(str, default))
    if default not in (None, "") and default is not False:
        text = f"{text}  [default: {default}]"
    return click.option(name, key, default=None, help=text, **settings)


def _file() -> click.Path:
    return click.Path(path_type=Path)


@click.command(short_help="Score architectures and print how the proxies rank them.")
@_option(
    "--space",
    "Search space; or several with commas: a run for each, and one report.",
    metavar="NAME",
    shell_complete=complete_spaces,
)
@_option(
    "--datasets",
    "Datasets of the space: all, or names with commas.",
    metavar="NAMES",
    multiple=True,
    shell_complete=complete_datasets,
)
@_option(
    "--proxies",
    "Proxies: all, or names with commas.",
    metavar="NAMES",
    multiple=True,
    shell_complete=complete_proxies,
)
@_option(
    "--n",
    "Architectures to sample, or all. The first 100 of 200 are those of 100.",
    metavar="N",
)
@_option("--population", "Sample from these only.", metavar="NAME")
@_option(
    "--archs",
    "Take these instead of a sample: one architecture string or index a line.",
    type=_file(),
    metavar="FILE",
)
@_option("--seed", "Seed of sample, weights and images.", metavar="N")
@_option("--repeats", "Initialisations and minibatches per network.", metavar="N")
@_option("--batch-size", "Images in the minibatch.", metavar="N")
@_option("--minibatch", "Images: auto, builtin, gaussian, or a path.", metavar="SOURCE")
@_option("--device", "auto, cpu, cuda, cuda:1 or mps.", metavar="DEVICE")
@_option(
    "--workers",
    "Processes; auto is one for each core (one in all on a GPU). Scores do not "
    "depend on it.",
    metavar="N",
)
@_option(
    "--threads",
    "Threads of each worker. Last digits of scores can depend on it.",
    metavar="N",
)
@_option(
    "--precision",
    "Arithmetic of the passes: float32, bf16, or on CUDA tf32. See docs/precision.md.",
    metavar=f"[{'|'.join(PRECISIONS)}]",
)
@_option(
    "--stack",
    "Networks scored at once; auto is 1, on CUDA as many as memory holds. Last digits "
    "of scores can depend on it.",
    metavar="N",
)
@_option(
    "--executor",
    "Where networks are scored: here, on a Ray cluster, or by Slurm's array jobs. See "
    "docs/scale.md.",
    metavar=f"[{'|'.join(EXECUTORS)}]",
)
@_option(
    "--ray-address",
    "Ray cluster, such as auto or HOST:6379; without it one is started here.",
    metavar="ADDRESS",
)
@_option(
    "--slurm",
    "Parameters of the jobs, key=value with commas, such as timeout_min=60.",
    metavar="PARAMETERS",
    multiple=True,
)
@_option(
    "--out",
    "Run directory. On one that exists, only what is missing is done. Without it, a "
    "new one under runs/.",
    type=_file(),
    metavar="DIR",
)
@_option(
    "--overwrite",
    "What to do with scores that are there.",
    metavar=f"[{'|'.join(OVERWRITE)}]",
)
@_option(
    "--task",
    "Run on these tasks instead of the datasets: names, or TOML files, with commas.",
    metavar="NAMES",
    multiple=True,
)
@_option("--truth", "Ground truth: auto, a name, a path, or none.", metavar="SOURCE")
@_option(
    "--target",
    "Accuracy to correlate with: val, test or another that the truth has; auto is its "
    "first.",
    metavar="NAME",
)
@_option(
    "--plugin",
    "Python file with proxies of your own. It is code, and is run.",
    type=_file(),
    multiple=True,
    metavar="FILE",
)
@click.option(
    "--config",
    "config_file",
    type=_file(),
    metavar="FILE",
    help="TOML file with these options, or the manifest.json of a run to do again.",
)
@_option("--dry-run", "Say what would be done and how long it takes.", is_flag=True)
@_option("--strict", "Exit with 4 if any score failed.", is_flag=True)
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
    """  # noqa: D301 - click wants \b itself
    given = {k: v for k, v in options.items() if v is not None and v != ()}
    for key in ("n", "population"):
        if "archs" in given and key in given:
            raise UsageError(
                f"--archs and --{key} exclude each other.", f"Drop --{key} or --archs."
            )
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
    if len(names) < 2:
        return [config]
    folder = config.out
    if folder is None and not config.dry_run:
        from zcbench.engine import new_directory

        folder = new_directory("across")
    return [replace(config, space=name, out=folder and folder / name) for name in names]


def _run(configs: list[RunConfig]) -> None:
    from zcbench.cli.progress import TerminalObserver
    from zcbench.engine import execute

    paths = []
    for config in configs:
        observer = TerminalObserver()
        outcome = execute(config, observer)
        observer.conclude(outcome)
        paths.append(outcome.path)
    failed = _print_table(configs[0], paths)
    where = " ".join(map(str, paths))
    observer.message(f"the run{'s are' if len(paths) > 1 else ' is'} in {where}")
    compared = f"   zcbench compare BASELINE {where}" if len(paths) == 1 else ""
    observer.message(f"next: zcbench report {where} --format md{compared}")
    if configs[0].strict and failed:
        raise FailedScoresError(
            f"{failed:,} scores of {where} have no value.",
            "Their status in scores.jsonl says why.",
        )


class FailedScoresError(ZcbenchError):
    """The run is complete, but not every score has a value (under ``--strict``)."""

    exit_code = _FINISHED_WITH_FAILURES


def _print_table(config: RunConfig, paths: list[Path]) -> int:
    """Print the correlations, and for several runs the ranks across their spaces.

    Returns:
        How many scores have no value.
    """
    from zcbench.store import load_run

    runs = [load_run(path) for path in paths]
    if config.truth != "none":
        from zcbench.report import print_report

        across = ["tasks"] if len(runs) > 1 else []
        sections = ["correlations", *across]
        print_report(runs, config.target, config.truth, sections=sections)
    return int(sum(run["status"].map(len).sum() for run in runs))
