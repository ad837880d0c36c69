"""Networks scored in several processes of this machine."""

from __future__ import annotations

import itertools
import multiprocessing
import os
import signal
import threading
import time
import traceback
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from multiprocessing.connection import Connection, wait
from types import TracebackType

from zcbench.engine.executors import Options, Records, count_workers
from zcbench.engine.process import start_worker, torch_state
from zcbench.engine.stacks import Stack, stacks_of
from zcbench.engine.work import Evaluator, Setup, WorkItem
from zcbench.errors import ZcbenchError
from zcbench.store import Record

_TRIAL_SECONDS = 1.0
_WORTH_SECONDS = 10.0  # a worker takes about 3 s to start
_MOST_FAILED_STARTS = 3


def score(setup: Setup, items: Sequence[WorkItem], options: Options) -> Records:
    """Score in so many processes; ``"auto"`` starts here, and others if it pays."""
    workers = count_workers(options.workers, setup.device)
    if options.workers == "auto":
        return _start_here(setup, items, workers)
    return in_processes(setup, items, workers)


def in_processes(setup: Setup, items: Iterable[WorkItem], workers: int) -> Records:
    """Score in so many processes.

    A process that dies (kill -9, a crash, the kernel out of memory) is replaced. Its
    networks are tried once more at the end, each alone; if that dies too, its scores
    have the status ``oom`` (killed) or ``error``.
    """
    suspects: list[Stack] = []
    with _Pool(setup, workers) as pool:
        for stack, result in pool.map(stacks_of(setup, items, workers)):
            if isinstance(result, _Death):
                suspects += [(item,) for item in stack]
            else:
                yield from result
    if not suspects:
        return
    with _Pool(setup, 1) as pool:
        for (item,), result in pool.map(suspects):
            if isinstance(result, _Death):
                yield _epitaph(setup, item, result)
            else:
                yield from result


def _start_here(setup: Setup, items: Sequence[WorkItem], workers: int) -> Records:
    """Start here, and go on in several processes if much is left."""
    start, left = time.monotonic(), dict.fromkeys(items)
    with torch_state(setup.threads):
        evaluator = Evaluator(setup)
        for stack in stacks_of(setup, items):
            yield from evaluator.together(stack)
            for item in stack:
                del left[item]
            spent = time.monotonic() - start
            needed = spent / (len(items) - len(left)) * len(left)
            if spent > _TRIAL_SECONDS and needed > _WORTH_SECONDS:
                break
    if left:
        yield from in_processes(setup, list(left), workers)


@dataclass(frozen=True, slots=True)
class _Death:
    """What is left of a worker: negative exit codes are signals."""

    exit_code: int | None


def _epitaph(setup: Setup, item: WorkItem, death: _Death) -> Record:
    killed = death.exit_code == -signal.SIGKILL
    cause = f"exit code {death.exit_code}"
    if killed:
        cause = "killed, as when memory runs out"
    message = f"the worker process died twice on this network ({cause})"
    return Evaluator(setup).failed(item, "oom" if killed else "error", message)


class _Worker:
    """A process with a pipe, and the stack that it has in hand."""

    def __init__(self, setup: Setup) -> None:
        context = multiprocessing.get_context("spawn")  # fork and torch do not mix
        self.connection, theirs = context.Pipe()
        self.process = context.Process(
            target=_serve, args=(theirs, setup), daemon=True, name="zcbench-worker"
        )
        with _deaf_to_interrupts():
            self.process.start()
        theirs.close()  # so that its death ends the pipe
        self.ready = False
        self.stack: Stack | None = None

    def give(self, stack: Stack) -> None:
        self.stack = stack
        with suppress(OSError):  # it died; reading from the pipe will say so
            self.connection.send(stack)

    def stop(self) -> None:
        self.process.kill()
        self.process.join()
        self.connection.close()


class _Pool:
    """Workers, each with one stack in hand; the rest waits in the iterator."""

    def __init__(self, setup: Setup, size: int) -> None:
        self._setup = setup
        self._size = size
        self._workers: list[_Worker] = []
        self._failed_starts = 0

    def __enter__(self) -> _Pool:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        for worker in self._workers:
            worker.stop()

    def map(
        self, stacks: Iterable[Stack]
    ) -> Iterator[tuple[Stack, list[Record] | _Death]]:
        """Each stack with its results, or with the death of its worker."""
        source = iter(stacks)
        for stack in itertools.islice(source, self._size):
            self._hire(stack)
        while self._workers:
            ready = wait([worker.connection for worker in self._workers])
            for worker in [w for w in self._workers if w.connection in ready]:
                result = self._receive(worker)
                if result is None:
                    continue
                finished, worker.stack = worker.stack, None
                assert finished is not None  # noqa: S101 - only busy workers speak
                died = isinstance(result, _Death)
                if died and not worker.ready:  # not the stack's fault
                    source = itertools.chain([finished], source)
                self._occupy(worker, next(source, None), dead=died)
                if worker.ready:
                    yield finished, result

    def _occupy(self, worker: _Worker, stack: Stack | None, *, dead: bool) -> None:
        """Give a worker its next stack; replace it if dead, let it go without one."""
        if stack is not None and not dead:
            worker.give(stack)
            return
        self._workers.remove(worker)
        worker.stop()
        if stack is not None:
            self._hire(stack)

    def _hire(self, stack: Stack) -> None:
        worker = _Worker(self._setup)
        self._workers.append(worker)
        worker.give(stack)

    def _receive(self, worker: _Worker) -> list[Record] | _Death | None:
        """Results, a death, or None for the news that a worker has started."""
        try:
            kind, payload = worker.connection.recv()
        except (EOFError, OSError):
            worker.process.join(timeout=5)
            exit_code = worker.process.exitcode
            if not worker.ready:
                self._count_failed_start(exit_code)
            return _Death(exit_code)
        if kind == "ready":
            worker.ready = True
            self._failed_starts = 0
            return None
        if kind == "failed":
            raise payload
        results: list[Record] = payload
        return results

    def _count_failed_start(self, exit_code: int | None) -> None:
        self._failed_starts += 1
        if self._failed_starts == _MOST_FAILED_STARTS:
            raise ZcbenchError(
                f"Worker processes cannot start (exit code {exit_code}).",
                "Use one worker (--workers 1), and in a script call zcbench.run under "
                "`if __name__ == '__main__':`.",
            )


@contextmanager
def _deaf_to_interrupts() -> Iterator[None]:
    """Block Ctrl-C here; a process started meanwhile stays deaf, this one does not."""
    if not hasattr(signal, "pthread_sigmask"):
        yield
        return
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def _serve(connection: Connection, setup: Setup) -> None:
    """What a worker process does: stacks in, records out, until the pipe ends."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for the parent
    threading.Thread(target=_die_with_parent, daemon=True).start()
    start_worker(setup.threads)
    try:
        evaluator = Evaluator(setup)
        connection.send(("ready", None))
        while True:
            connection.send(("done", evaluator.together(connection.recv())))
    except EOFError:
        return
    except ZcbenchError as error:
        connection.send(("failed", error))
    except Exception:  # a fault of ours: the parent shows it
        connection.send(("failed", RuntimeError(traceback.format_exc())))


def _die_with_parent() -> None:
    """End when the parent is gone, however it went: nobody else would tell us."""
    parent = multiprocessing.parent_process()
    if parent is not None:
        parent.join()
        os._exit(1)
