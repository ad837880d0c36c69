"""Networks scored in this process, or in several of this machine."""

from __future__ import annotations

import itertools
import time
from collections.abc import Iterable, Iterator, Sequence
from contextlib import closing
from dataclasses import replace
from multiprocessing.connection import Connection

from zcbench.engine.apart import Death, Worker, cannot_start, wait_for
from zcbench.engine.executors import Options, Records, count_workers
from zcbench.engine.process import start_worker, torch_state
from zcbench.engine.stacks import Stack, stacks_of
from zcbench.engine.work import Evaluator, Setup, WorkItem
from zcbench.state import streams
from zcbench.store import Record
from zcbench.store.records import merge

_TRIAL_SECONDS = 1.0
_WORTH_SECONDS = 10.0  # a worker takes about 3 s to start
_MOST_FAILED_STARTS = 3


def score(setup: Setup, items: Sequence[WorkItem], options: Options) -> Records:
    """Score in so many processes; ``"auto"`` starts with one, and more if it pays."""
    workers = count_workers(options.workers, setup.device)
    if options.workers == "auto" and workers > 1:
        return _start_with_one(setup, items, workers)
    if workers == 1:
        return _with_one(setup, items)
    return in_processes(setup, items, workers)


def _with_one(setup: Setup, items: Iterable[WorkItem]) -> Records:
    """Score in this process, or in one of its own for code of others."""
    return in_processes(setup, items, 1) if setup.apart else here(setup, items)


def here(setup: Setup, items: Iterable[WorkItem]) -> Records:
    """Score one stack after the other; torch's threads are restored afterwards."""
    with torch_state(setup.threads):
        evaluator = Evaluator(setup)
        for stack in stacks_of(setup, items):
            yield from evaluator.together(stack)


def in_processes(setup: Setup, items: Iterable[WorkItem], workers: int) -> Records:
    """Score in so many processes.

    A process that dies (kill -9, a crash, a guest that ends it) or takes too long is
    replaced. Its networks are tried once more, alone, the built-in proxies in one
    process and each guest in another: what dies again has the status ``error``, or
    ``oom`` where the system says that memory ran out. A guest that has died so is
    scored in a process of its own from then on.
    """
    deadly: set[str] = set()
    with closing(_Pool(setup, workers, deadly)) as pool:
        for stack, result in pool.map(stacks_of(setup, items, workers)):
            if isinstance(result, Death):
                for item in stack:
                    guests = [n for n in item.proxies if n in setup.guests]
                    own = tuple(n for n in item.proxies if n not in guests)
                    parts = [own] * bool(own) + [(name,) for name in guests]
                    yield _completed(setup, item, [], parts, deadly)
                continue
            for item, record in zip(stack, result, strict=True):
                left = [(n,) for n in item.proxies if n not in record["scores"]]
                yield _completed(setup, item, [record], left, deadly)


def _completed(
    setup: Setup,
    item: WorkItem,
    records: list[Record],
    parts: Iterable[tuple[str, ...]],
    deadly: set[str],
) -> Record:
    """A network's record with some proxies more, each part in a fresh process."""
    for names in parts:
        part = replace(item, proxies=names)
        with closing(_Pool(setup, 1, set())) as pool:
            ((_, result),) = pool.map([(part,)])
        if isinstance(result, Death):
            deadly |= {*names} & {*setup.guests}
            result = [_epitaph(setup, part, result)]
        records = [*records, *result]
    (record,) = merge(records).values()
    record.setdefault("status", {})
    return record


def _start_with_one(setup: Setup, items: Sequence[WorkItem], workers: int) -> Records:
    """Start with one, and go on in several processes if much is left."""
    start = time.monotonic()
    left = {(item.index, item.dataset, item.repeat): item for item in items}
    with closing(_with_one(setup, items)) as first:
        for record in first:
            yield record
            del left[record["index"], record["dataset"], record["repeat"]]
            spent = time.monotonic() - start
            needed = spent / (len(items) - len(left)) * len(left)
            if spent > _TRIAL_SECONDS and needed > _WORTH_SECONDS:
                break
    if left:
        yield from in_processes(setup, list(left.values()), workers)


def _epitaph(setup: Setup, item: WorkItem, death: Death) -> Record:
    message = f"the worker process died twice on this network (it {death})"
    if {*item.proxies} <= {*setup.guests}:
        message = f"the proxy {death}"
    return Evaluator(setup).failed(item, "oom" if death.starved else "error", message)


class _Scorer(Worker):
    """A worker that scores, and the stack that it has in hand."""

    def __init__(self, setup: Setup) -> None:
        super().__init__(_score, setup, guests=setup.apart)
        self.setup = setup
        self.ready = False
        self.stack: Stack | None = None

    def take(self, stack: Stack, deadly: set[str]) -> None:
        """Have it score a stack, without proxies that would end it."""
        self.stack = stack
        if self.setup.limit is not None:
            self.limit = self.setup.limit * len(stack)
        kept = [tuple(n for n in item.proxies if n not in deadly) for item in stack]
        self.give([replace(i, proxies=k) for i, k in zip(stack, kept, strict=True)])


class _Pool:
    """Workers, each with one stack in hand; the rest waits in the iterator."""

    def __init__(self, setup: Setup, size: int, deadly: set[str]) -> None:
        self._setup = setup
        self._size = size
        self._deadly = deadly
        self._workers: list[_Scorer] = []
        self._failed_starts = 0

    def close(self) -> None:
        """End the workers."""
        for worker in self._workers:
            worker.stop()

    def map(
        self, stacks: Iterable[Stack]
    ) -> Iterator[tuple[Stack, list[Record] | Death]]:
        """Each stack with its results, or with the death of its worker."""
        source = iter(stacks)
        for stack in itertools.islice(source, self._size):
            self._hire(stack)
        while self._workers:
            for worker in wait_for(self._workers):
                kind, result = worker.hear()
                if kind == "ready":
                    worker.ready, self._failed_starts = True, 0
                if kind in ("ready", "begin"):
                    continue
                finished, worker.stack = worker.stack, None
                assert finished is not None  # noqa: S101 - only busy workers speak
                if not worker.ready:  # not the stack's fault
                    self._count_failed_start(result)
                    source = itertools.chain([finished], source)
                self._occupy(worker, next(source, None), gone=kind != "done")
                if worker.ready:
                    yield finished, result

    def _occupy(self, worker: _Scorer, stack: Stack | None, *, gone: bool) -> None:
        """Give a worker its next stack; replace it if gone, let it go without one."""
        if stack is not None and not gone:
            worker.take(stack, self._deadly)
            return
        self._workers.remove(worker)
        worker.stop()
        if stack is not None:
            self._hire(stack)

    def _hire(self, stack: Stack) -> None:
        worker = _Scorer(self._setup)
        self._workers.append(worker)
        worker.take(stack, self._deadly)

    def _count_failed_start(self, death: Death) -> None:
        self._failed_starts += 1
        if self._failed_starts == _MOST_FAILED_STARTS:
            raise cannot_start(death)


def _score(connection: Connection, setup: Setup) -> None:
    """What a worker does: stacks in, records out, until the pipe ends."""
    start_worker(setup.threads)
    evaluator = Evaluator(setup, lambda: connection.send(("begin", None)))
    connection.send(("ready", None))
    before = streams()
    while True:
        records = evaluator.together(connection.recv())
        # A guest that has closed them leaves a process that is good for nothing.
        connection.send(("done" if streams() == before else "last", records))
