"""Networks scored on a Ray cluster: tasks of a few, retried where workers are lost.

The driver alone writes. What machines need: this version of zcbench, and the same paths
to images, plug-ins and tasks.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from itertools import islice
from typing import Any

from zcbench.engine.executors import Options, Records, count_workers
from zcbench.engine.process import start_worker
from zcbench.engine.stacks import Stack, stacks_of
from zcbench.engine.work import Evaluator, Setup, WorkItem
from zcbench.errors import UsageError, ZcbenchError
from zcbench.store import Record

PER_TASK = 8
"""Stacks of a task at most: a lost worker costs no more than these."""
RETRIES = 3
"""How often Ray does a task again whose worker or machine is lost."""
_IN_FLIGHT = 3  # tasks for each that can run at once, so that none waits for the driver

_kept: list[Evaluator] = []
"""In a worker process: what it has scored with, warm for its next task."""


def score(setup: Setup, items: Sequence[WorkItem], options: Options) -> Records:
    """Score on a Ray cluster.

    Args:
        setup: what the run has in common.
        items: the work.
        options: the address of the cluster, ``"auto"`` for one that runs on this
            machine; None starts one of so many workers for this run.

    Raises:
        UsageError: Ray is not installed, or the cluster has nothing to score on.
    """
    ray = import_ray()
    cores = count_workers(options.workers, "cpu") * setup.threads
    with _cluster(ray, options.ray_address, cores):
        slots = _slots(ray, setup)
        stacks = list(stacks_of(setup, items, slots))
        task = ray.remote(_score).options(
            num_cpus=setup.threads,
            num_gpus=1 if setup.device.startswith("cuda") else 0,
            max_retries=RETRIES,
            # Faults of ours are raised at once: doing them again would not help.
            retry_exceptions=False,
        )
        shared = ray.put(setup)
        queue = _chunks(stacks, slots)
        flying: dict[Any, tuple[Stack, ...]] = {}
        alone: list[Stack] = []

        def launch(chunk: tuple[Stack, ...]) -> None:
            flying[task.remote(shared, chunk)] = chunk

        for chunk in islice(queue, _IN_FLIGHT * slots):
            launch(chunk)
        while flying:
            (done,), _ = ray.wait(list(flying), num_returns=1)
            chunk = flying.pop(done)
            result = _result(ray, done)
            if isinstance(result, list):
                yield from result
            elif sum(map(len, chunk)) > 1:  # one of them may kill its worker
                alone += [(item,) for stack in chunk for item in stack]
            else:
                yield Evaluator(setup).failed(chunk[0][0], *result)
            following = next(queue, None)
            if following is None and alone:
                following = (alone.pop(),)
            if following is not None:
                launch(following)


def import_ray() -> Any:
    """Ray, without its telemetry.

    Raises:
        UsageError: it is not installed.
    """
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    os.environ.setdefault("RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO", "0")
    try:
        import ray
    except ImportError:
        raise UsageError(
            "Ray is not installed.", "Install it: pip install 'zcbench[ray]'."
        ) from None
    return ray


@contextmanager
def _cluster(ray: Any, address: str | None, cores: int) -> Iterator[None]:
    """A connection, closed at the end; so is a cluster that was started here."""
    here = {} if address else {"num_cpus": cores, "include_dashboard": False}
    try:
        ray.init(
            address=address, log_to_driver=False, logging_level=logging.ERROR, **here
        )
    except (ConnectionError, ValueError, RuntimeError) as error:
        reason = str(error).strip().partition("\n")[0]
        raise UsageError(
            f"No Ray cluster answers at {address or 'this machine'}: {reason}",
            "Start one with `ray start --head`, or leave --ray-address out.",
        ) from None
    try:
        yield
    finally:
        ray.shutdown()


def _slots(ray: Any, setup: Setup) -> int:
    """How many tasks the cluster can run at once.

    Raises:
        UsageError: none.
    """
    there = ray.cluster_resources()
    slots = int(there.get("CPU", 0) // setup.threads)
    if setup.device.startswith("cuda"):
        slots = min(slots, int(there.get("GPU", 0)))
    if slots < 1:
        raise UsageError(
            f"The Ray cluster has {there.get('CPU', 0):g} cores and "
            f"{there.get('GPU', 0):g} GPUs, too little for {setup.threads} threads on "
            f"{setup.device}.",
            "Give fewer --threads or another --device.",
        )
    return slots


def _chunks(stacks: Sequence[Stack], slots: int) -> Iterator[tuple[Stack, ...]]:
    """Tasks that get smaller towards the end, so that all workers end together."""
    start = 0
    while start < len(stacks):
        left = len(stacks) - start
        size = max(1, min(PER_TASK, left // (2 * slots)))
        yield tuple(stacks[start : start + size])
        start += size


def _score(setup: Setup, chunk: tuple[Stack, ...]) -> list[Record]:
    """What a task does."""
    if not _kept or _kept[0].setup != setup:
        start_worker(setup.threads)
        _kept[:] = [Evaluator(setup)]
    (evaluator,) = _kept
    return [record for stack in chunk for record in evaluator.together(stack)]


def _result(ray: Any, reference: Any) -> list[Record] | tuple[Any, str]:
    """Records of a task, or the status and the message of what it did to its workers.

    Raises:
        ZcbenchError: what concerns the run as a whole.
    """
    lost = f"the worker died {RETRIES + 1} times on this network"
    try:
        records: list[Record] = ray.get(reference)
    except ray.exceptions.OutOfMemoryError:
        return "oom", f"{lost} (killed, as when memory runs out)"
    except (ray.exceptions.WorkerCrashedError, ray.exceptions.NodeDiedError):
        return "error", lost
    except ray.exceptions.RayTaskError as error:
        cause = error.cause
        if isinstance(cause, ZcbenchError):
            raise cause from None
        raise
    return records
