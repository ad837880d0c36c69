"""The engine: sample, score, store. `run` does it all."""

from __future__ import annotations

import datetime
import shlex
import signal
import threading
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from types import FrameType

from zcbench.config import RunConfig
from zcbench.engine.executors import Options, score
from zcbench.engine.job import Job, make_job
from zcbench.engine.manifest import (
    Manifest,
    changed_proxies,
    check_same,
    describe,
    merged,
)
from zcbench.engine.observer import Observer, Outcome
from zcbench.engine.work import DEVICE_CHECK, WorkItem
from zcbench.errors import DataError, InterruptedRunError, UsageError
from zcbench.store import UNSIGNED, RunStore
from zcbench.store.directory import disagreements

__all__ = [
    "InterruptedRunError",
    "Observer",
    "Outcome",
    "execute",
    "interrupt_on_signals",
    "new_directory",
    "run",
]


def run(config: RunConfig, observer: Observer | None = None) -> Path:
    """Score the networks of a configuration and keep the scores.

    Run again with the same directory, it does only what is missing. In a script, call
    it under ``if __name__ == "__main__":``, as it may start other processes.

    Args:
        config: what to run.
        observer: is told how it goes.

    Returns:
        The run directory; `zcbench.load_run` reads it.

    Raises:
        UsageError: something named does not exist, or the directory belongs to another
            configuration or process.
        DataError: truth, images or the directory are missing or invalid.
        InterruptedRunError: by Ctrl-C, SIGTERM or SIGHUP.
    """
    return execute(config, observer).path


def execute(config: RunConfig, observer: Observer | None = None) -> Outcome:
    """As `run`, with more to say about it."""
    observer = observer or Observer()
    job = make_job(config)
    for note in job.notes:
        observer.message(note)
    path = config.out or new_directory(job.space.name)
    with interrupt_on_signals(), RunStore(path) as store:
        items = _open(job, store, observer)
        total = job.n_networks
        observer.opened(path)
        observer.start(total, total - len(items))
        failed = _work(job, store, items, observer)
        store.check()
        try:
            store.compact()
        except DataError as error:  # all scores are there, only not in fewest lines
            observer.message(error.what)
    return Outcome(path, total, len(items), failed)


def _open(job: Job, store: RunStore, observer: Observer) -> list[WorkItem]:
    """Settle what the directory holds already; returns what is left to do."""
    config, old, new = job.config, store.manifest, describe(job)
    if store.unsigned:
        observer.message(UNSIGNED.format(store.path))
    if old is not None:
        check_same(store.path, old, new)
        if config.overwrite == "never" and len(store):
            raise UsageError(
                f"{store.path} has scores already, and overwriting is set to never.",
                "Give another --out, or --overwrite only-missing to go on with it.",
            )
        _settle_changed(store, changed_proxies(old, new), config, observer)
    items = job.items(store.done)
    if old is not None:
        new = merged(old, new, worked=bool(items))
    if config.archs is not None:
        specs = [job.space.architecture(index).spec for index in job.every_arch]
        store.write_archs(dict.fromkeys([*store.read_archs(), *specs]))
    store.write_manifest(new)
    return items


def _settle_changed(
    store: RunStore, changed: list[str], config: RunConfig, observer: Observer
) -> None:
    if not changed or not len(store):
        return
    names = ", ".join(changed)
    if config.overwrite != "always":
        raise UsageError(
            f"{store.path} holds scores of another version of {names}.",
            "Give another --out, or --overwrite always to replace them.",
        )
    observer.message(f"dropping the scores of other versions of {names}")
    store.drop(changed)


def _work(job: Job, store: RunStore, items: list[WorkItem], observer: Observer) -> int:
    """Score and store the items; returns how many scores have no value."""
    failed = n_done = 0
    if not items:
        observer.finish()
        return 0
    config = job.config
    options = Options(
        executor=config.executor,
        workers=job.workers,
        folder=store.path,
        ray_address=config.ray_address,
        slurm=dict(word.split("=", 1) for word in config.slurm),
    )
    try:
        with closing(score(job.setup, items, options)) as records:
            for record in records:
                if found := record.pop(DEVICE_CHECK, None):
                    _keep_check(store, found, observer)
                store.append(record)
                n_done += 1
                failed += len(record["status"])
                observer.advance(len(record["status"]))
    except KeyboardInterrupt:
        words = [
            "--config",
            str(store.path / "manifest.json"),
            "--out",
            str(store.path),
        ]
        words += ["--strict"] if job.config.strict else []
        raise InterruptedRunError(
            f"Interrupted: {n_done:,} of {len(items):,} networks were done and are "
            f"kept in {store.path}.",
            f"Go on with: zcbench run {shlex.join(words)}",
        ) from None
    finally:
        observer.finish()
    return failed


def _keep_check(store: RunStore, found: Manifest, observer: Observer) -> None:
    """Into the manifest, before a score that it is about is written."""
    manifest = store.manifest or {}
    known = manifest.get(DEVICE_CHECK, [])
    if found in known:
        return
    store.write_manifest({**manifest, DEVICE_CHECK: [*known, found]})
    for line in disagreements(found):
        observer.message(line)


@contextmanager
def interrupt_on_signals() -> Iterator[None]:
    """Take SIGTERM, which batch systems send, and SIGHUP as Ctrl-C."""

    def interrupt(_number: int, _frame: FrameType | None) -> None:
        raise KeyboardInterrupt

    names = ("SIGTERM", "SIGHUP")
    there = [getattr(signal, name) for name in names if hasattr(signal, name)]
    before = {number: signal.getsignal(number) for number in there}
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    for number, handler in before.items():
        if handler is not signal.SIG_IGN:  # as nohup has it
            signal.signal(number, interrupt)
    try:
        yield
    finally:
        for number, handler in before.items():
            if handler is not None:  # set by something else than Python
                signal.signal(number, handler)


def new_directory(space: str) -> Path:
    """A new directory under runs/, with the space and the day in its name."""
    today = datetime.datetime.now().astimezone().strftime("%Y-%m-%d")
    number = 1
    while True:
        path = Path("runs") / f"{space}-{today}-{number}"
        try:
            path.mkdir(parents=True)
        except FileExistsError:
            number += 1
        except OSError as error:
            raise DataError(
                f"{path} cannot be made: {error.strerror}.",
                "Give another place with --out.",
            ) from None
        else:
            return path
