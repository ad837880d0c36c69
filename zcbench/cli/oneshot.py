"""`zcbench oneshot`."""

from __future__ import annotations

import math
import os
import time
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from zcbench.cli.options import count_option, share_option
from zcbench.cli.run import config_options, print_table
from zcbench.config import RunConfig, load_config
from zcbench.errors import UsageError, unknown

if TYPE_CHECKING:
    from zcbench.oneshot import Guide, Request
    from zcbench.types import Task

_OF_THE_RUN = (
    *("space", "n", "population", "archs", "seed", "repeats", "truth", "plugin"),
    "out",
)
_OF_THE_SETTING = (
    *("steps", "rate", "sampling", "augment", "validation", "recalibrate"),
)
_GUIDED = ("top", "weighted")


@click.command(short_help="Score architectures by the weights of one trained supernet.")
@config_options(*_OF_THE_RUN)
@click.option(
    "--dataset", metavar="NAME", help="Dataset of the space.  [default: its only one]"
)
@click.option(
    "--images",
    metavar="SOURCE",
    help="Labelled images to train on: auto, builtin, or a path as --minibatch of "
    "`zcbench run` takes.  [default: those of the run, or auto]",
)
@click.option("--column", default="oneshot", metavar="NAME", help="Name of the scores.")
@count_option("--steps", 1, 2000, "Forward and backward passes, one path each.")
@count_option("--train-batch", 2, 64, "Images in a batch of training.")
@click.option(
    "--rate",
    type=click.FloatRange(0, min_open=True),
    default=0.1,
    metavar="RATE",
    help="Of learning at the start; it falls to 0 along a cosine.",
)
@click.option(
    "--sampling",
    type=click.Choice(("uniform", "fair", *_GUIDED)),
    default="uniform",
    help="Which paths are trained: any; fair, each operation equally often; the top "
    "share by a proxy; or any, weighted by rank.",
)
@click.option("--by", metavar="PROXY", help="Proxy by which top and weighted choose.")
@click.option(
    "--guide",
    type=click.Path(path_type=Path),
    metavar="RUN",
    help="Run with scores of --by, best of a whole space.  [default: the run itself]",
)
@share_option("--share", 0.25, "Of the guide's architectures that top trains.")
@click.option(
    "--channels",
    type=click.IntRange(min=1),
    metavar="N",
    help="Of the first stage.  [default: the space's]",
)
@click.option(
    "--depth",
    type=click.IntRange(min=1),
    metavar="N",
    help="Cells in a stage.  [default: the space's]",
)
@click.option(
    "--image-size",
    type=click.IntRange(min=4),
    metavar="N",
    help="Reduce images to this height and width.  [default: the dataset's]",
)
@click.option("--augment/--no-augment", default=True, help="Shift and mirror images.")
@share_option("--validation", 0.25, "Of the images that architectures are judged by.")
@count_option("--recalibrate", 2, 512, "Training images for a path's BatchNorm.")
@click.option("--device", default="auto", metavar="NAME", help="auto, cpu, cuda, mps.")
@count_option("--threads", 1, 1, "Of torch on a CPU.")
@click.option(
    "--checkpoint-every",
    type=click.FloatRange(min=0),
    default=60.0,
    metavar="SECONDS",
    help="How much training a crash may lose.",
)
@click.option(
    "--time-limit",
    type=click.FloatRange(0, min_open=True),
    metavar="MINUTES",
    help="Stop then, keep what is done, and exit with 130.",
)
def oneshot(dataset: str | None, images: str | None, **options: Any) -> None:
    """Train a supernet and score architectures by the weights that they inherit.

    Each step trains one path of the supernet; a score is the validation accuracy, in
    percent, of a path after its BatchNorm statistics were taken anew. Scores go into
    --out: a run made before, whose architectures are scored, or a new one; it gets
    the baselines too. A run of several repeats gets a supernet for each.
    After Ctrl-C, a crash or a power cut, the same command goes on where it was.

    \b
    Examples:
      zcbench oneshot --space toy --n all --steps 300 --out runs/supernet
      zcbench oneshot --dataset cifar10 --images PATH --channels 8 --depth 1
      zcbench oneshot --out runs/first --sampling fair --column oneshot_fair
      zcbench oneshot --out runs/first --sampling top --by synflow --column guided
      zcbench predict runs/first --features params+flops,params+flops+oneshot
    """  # noqa: D301 - click wants \b itself
    from zcbench.cli.progress import TerminalObserver
    from zcbench.engine import execute
    from zcbench.oneshot import add_column

    limit = options.pop("time_limit")
    deadline = time.monotonic() + 60 * limit if limit else math.inf
    given = {key: options.pop(key) for key in _OF_THE_RUN}
    config, task = _run_of(given, dataset, images, options["device"])
    request = _request(config, task, images or config.minibatch, options, deadline)
    observer = TerminalObserver()
    path = execute(config, observer).path
    training = TerminalObserver(unit="step", aim="to train")
    observer.conclude(add_column(path, request, training, observer))
    print_table(config, [path])
    observer.message(f"the run is in {path}")


def _run_of(
    options: Mapping[str, Any], dataset: str | None, images: str | None, device: str
) -> tuple[RunConfig, Task]:
    """The run that the column belongs to, with its baselines alone, and its task."""
    from zcbench.engine import new_directory
    from zcbench.plugins import load_plugins
    from zcbench.spaces import load_space
    from zcbench.tasks import load_task, with_tasks

    given = {key: value for key, value in options.items() if value not in (None, ())}
    given |= {"proxies": ("baselines",), "workers": 1, "executor": "local"}
    out: Path | None = options["out"]
    file = out / "manifest.json" if out is not None else None
    there = file if file is not None and file.exists() else None
    config = load_config(given, file=there, environ=os.environ)
    load_plugins(config.plugin)
    tasks = [load_task(source) for source in config.task]
    space = with_tasks(load_space(config.space), tasks)
    names = [one.task.name for one in tasks] or list(config.datasets)
    names = list(space.tasks) if "all" in names else names
    if dataset is None and len(names) > 1:
        raise UsageError(
            f"A supernet is of one dataset, and there are {', '.join(names)}.",
            "Name one with --dataset.",
        )
    name = dataset or names[0]
    if name not in space.tasks:
        raise unknown(f"dataset of {space.name}", name, space.tasks)
    if not tasks:
        config = replace(config, datasets=(name,))
    if there is None:
        source = images or config.minibatch
        place = config.out or new_directory(space.name)
        config = replace(config, minibatch=source, device=device, out=place)
    return config, space.tasks[name]


def _request(
    config: RunConfig,
    task: Task,
    images: str,
    options: Mapping[str, Any],
    deadline: float,
) -> Request:
    """What to train; what is not given is as the space has it.

    Raises:
        UsageError: options do not go together.
    """
    from zcbench.oneshot import Request, Setting
    from zcbench.oneshot.supernet import supernet_space
    from zcbench.spaces import load_space

    space = supernet_space(load_space(config.space))
    guide = _chosen_guide(config, task, options)
    return Request(
        column=options["column"],
        dataset=task.name,
        images=images,
        setting=Setting(
            **{key: options[key] for key in _OF_THE_SETTING},
            batch_size=options["train_batch"],
            share=options["share"] if options["sampling"] == "top" else 1.0,
            guide=guide.name if guide else "",
            guide_digest=guide.digest if guide else "",
            channels=options["channels"] or space.stages[0],
            depth=options["depth"] or space.depth,
            image_size=options["image_size"] or task.input_shape[-1],
        ),
        guide=guide,
        device=options["device"],
        threads=options["threads"],
        every=options["checkpoint_every"],
        deadline=deadline,
    )


def _chosen_guide(
    config: RunConfig, task: Task, options: Mapping[str, Any]
) -> Guide | None:
    if (options["sampling"] in _GUIDED) != (options["by"] is not None):
        raise UsageError(
            "--by goes with --sampling top or weighted.",
            "Give both, or neither.",
        )
    if options["by"] is None:
        return None
    run = options["guide"] or config.out
    if run is None or not (run / "manifest.json").exists():
        raise UsageError(
            "There is no run with scores to choose paths by.",
            "Give one with --guide.",
        )
    return _guide(run, task.name, options["by"])


def _guide(run: Path, dataset: str, proxy: str) -> Guide:
    """Scores of a proxy in a run: on the dataset, or on the only one that it has.

    Raises:
        UsageError: the run has no such scores.
    """
    from zcbench.analysis.scores import mean_scores, traits
    from zcbench.oneshot import Guide
    from zcbench.store import load_run

    table = load_run(run)
    names = list(dict.fromkeys(table["dataset"]))
    named = dataset if dataset in names or len(names) > 1 else names[0]
    rows = table[table["dataset"] == named]
    if proxy not in table.attrs["proxies"] or rows.empty:
        raise UsageError(
            f"{run} has no scores of {proxy} on {named}.",
            "Give another --guide or --by.",
        )
    lower = traits(table.attrs["manifest"], [proxy]).lower
    sign = -1 if proxy in lower else 1
    indices = rows.drop_duplicates("arch").set_index("arch")["index"]
    scores = mean_scores(rows, [proxy])[0][proxy]
    by_index = {int(indices[arch]): sign * float(s) for arch, s in scores.items()}
    return Guide(f"{proxy} on {named}", by_index)
