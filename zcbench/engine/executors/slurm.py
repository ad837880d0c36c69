"""Networks scored by array jobs of a Slurm cluster with a shared disk (submitit).

The driver submits, waits, and alone writes the run directory; jobs leave what they
return in ``slurm/`` beside it. Jobs that fail or run out of time cost their networks:
the same command again submits what is missing.
"""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from zcbench.engine.executors import Options, Records
from zcbench.engine.process import start_worker
from zcbench.engine.stacks import Stack, stacks_of
from zcbench.engine.work import Evaluator, Setup, WorkItem
from zcbench.errors import UsageError, ZcbenchError
from zcbench.store import Record

JOBS = 16
"""Jobs of the array, where the number of workers is left open."""
_POLL_SECONDS = 0.5


def score(setup: Setup, items: Sequence[WorkItem], options: Options) -> Records:
    """Score in the jobs of one array.

    Args:
        setup: what the run has in common.
        items: the work.
        options: workers are jobs that the work is cut into; the folder is on the shared
            disk; parameters are those of submitit's executor, such as
            ``slurm_partition``, ``timeout_min`` or ``mem_gb``; ``cluster`` may be
            ``"local"``, to try without Slurm.

    Raises:
        UsageError: submitit is not installed, or Slurm does not take the jobs.
        ZcbenchError: some jobs failed, after all others were done.
    """
    workers = JOBS if options.workers == "auto" else options.workers
    folder = options.folder / "slurm"
    jobs = _submit(setup, items, workers, folder, options.slurm)
    failed: dict[str, str] = {}
    try:
        while jobs:
            for job in [job for job in jobs if job.done()]:
                jobs.remove(job)
                error = job.exception()
                if error is None:
                    yield from job.result()
                else:
                    failed[str(job.job_id)] = _reason(error)
            time.sleep(_POLL_SECONDS if jobs else 0)
    finally:
        for job in jobs:
            job.cancel()
    if failed:
        name, why = next(iter(failed.items()))
        raise ZcbenchError(
            f"{len(failed):,} jobs failed, such as {name}: {why}. What the others did "
            "is kept.",
            f"See the logs in {folder}; the same command again does what is missing.",
        )


def _submit(
    setup: Setup,
    items: Sequence[WorkItem],
    workers: int,
    folder: Path,
    parameters: Mapping[str, str],
) -> list[Any]:
    try:
        import submitit
    except ImportError:
        raise UsageError(
            "submitit is not installed.", "Install it: pip install 'zcbench[slurm]'."
        ) from None
    given: dict[str, Any] = {k: _number(v) for k, v in parameters.items()}
    stacks = list(stacks_of(setup, items))
    chunks = [tuple(stacks[i::workers]) for i in range(min(workers, len(stacks)))]
    try:
        executor = submitit.AutoExecutor(folder, cluster=given.pop("cluster", None))
        executor.update_parameters(
            **{
                "name": "zcbench",
                "cpus_per_task": setup.threads,
                "gpus_per_node": 1 if setup.device.startswith("cuda") else 0,
                **given,
            }
        )
        jobs: list[Any] = executor.map_array(_score, [setup] * len(chunks), chunks)
    except (RuntimeError, NameError, TypeError, OSError, ValueError) as error:
        reason = str(error).strip().partition("\n")[0]
        raise UsageError(
            f"Slurm does not take the jobs: {reason}",
            "Check --slurm; --slurm cluster=local tries without Slurm.",
        ) from None
    return jobs


def _number(text: str) -> int | str:
    return int(text) if text.isdigit() else text


def _reason(error: BaseException) -> str:
    lines = [line for line in str(error).strip().splitlines() if line.strip()]
    return lines[-1][:300] if lines else type(error).__name__


def _score(setup: Setup, chunk: tuple[Stack, ...]) -> list[Record]:
    """What a job does."""
    start_worker(setup.threads)
    evaluator = Evaluator(setup)
    return [record for stack in chunk for record in evaluator.together(stack)]
