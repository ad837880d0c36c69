"""Where networks are scored: on this machine, on Ray, by Slurm; one file each.

Each has `score(setup, items, options)`. Results come as they are ready, in any order.
The scores are the same everywhere.
"""

from __future__ import annotations

import os
from collections.abc import Generator, Mapping, Sequence
from dataclasses import dataclass, field
from importlib import import_module
from pathlib import Path
from typing import Literal

from zcbench.engine.work import Setup, WorkItem
from zcbench.store import Record

Records = Generator[Record, None, None]
"""Results as they come; closing it ends the workers."""


@dataclass(frozen=True, slots=True)
class Options:
    """What executors are told; each takes its own.

    Attributes:
        executor: ``local``, or the name of a file here.
        workers: 1 is this process, but for code of others; more are processes or jobs
            of their own; ``"auto"`` is one for each core on a CPU if the work is worth
            it.
        folder: the run directory.
        ray_address: of a Ray cluster; None starts one.
        slurm: parameters of Slurm's jobs, as submitit names them.
    """

    executor: str = "local"
    workers: int | Literal["auto"] = 1
    folder: Path = Path()
    ray_address: str | None = None
    slurm: Mapping[str, str] = field(default_factory=dict)


def score(setup: Setup, items: Sequence[WorkItem], options: Options) -> Records:
    """Score where the options say."""
    name = "processes" if options.executor == "local" else options.executor
    records: Records = import_module(f"{__name__}.{name}").score(setup, items, options)
    return records


def count_workers(workers: int | Literal["auto"], device: str) -> int:
    """Number of workers: ``"auto"`` is one for each usable core, 1 on a GPU."""
    if workers != "auto":
        return workers
    if device != "cpu":
        return 1
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1
