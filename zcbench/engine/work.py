"""One unit of work: all proxies of a run on one network."""

from __future__ import annotations

import hashlib
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from zcbench.errors import ZcbenchError, is_users, out_of_memory, said
from zcbench.minibatch import open_source
from zcbench.plugins import load_plugins
from zcbench.proxies import PROXIES
from zcbench.seeding import repeat_seed
from zcbench.spaces import load_space
from zcbench.store import Record
from zcbench.tasks import GivenTask, with_input_size, with_tasks
from zcbench.types import Precision

if TYPE_CHECKING:
    import torch

    from zcbench.engine.evaluator import StackEvaluator
    from zcbench.engine.self_check import Way
    from zcbench.engine.self_check.finding import Finding
    from zcbench.plan import Plan
    from zcbench.spaces import Space
    from zcbench.types import Batch, Evaluation, Status

_LONGEST_MESSAGE = 500
DEVICE_CHECK = "device_check"
"""Key of a record, on its way to the manifest: what the device's check has found."""


@dataclass(frozen=True, slots=True)
class WorkItem:
    """One network to score.

    Attributes:
        index: index of the architecture.
        dataset: task.
        repeat: which initialisation and minibatch, from 0.
        proxies: the ones that have no score yet.
    """

    index: int
    dataset: str
    repeat: int
    proxies: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Setup:
    """What every worker of a run has to know. Goes to other processes.

    Attributes:
        space: name of the search space.
        seed: seed of the run.
        batch_size: images in the minibatch.
        minibatch: option that says where images come from.
        device: torch's name of the device.
        threads: threads of each worker.
        precision: arithmetic of the passes.
        stack: networks that are scored at once; ``"auto"`` as memory allows.
        plugin: files that add proxies, spaces or truths.
        tasks: tasks that are given to the space.
        input_size: height and width of images; ``"auto"`` is each task's own.
        apart: whether it is scored in other processes, as code of others is.
        guests: proxies of others.
        limit: seconds that a network may take there; None for no limit.
    """

    space: str
    seed: int
    batch_size: int
    minibatch: str
    device: str
    threads: int
    precision: Precision = "float32"
    stack: int | Literal["auto"] = 1
    plugin: tuple[Path, ...] = ()
    tasks: tuple[GivenTask, ...] = ()
    input_size: int | Literal["auto"] = "auto"
    apart: bool = False
    guests: tuple[str, ...] = ()
    limit: float | None = None

    def load_space(self) -> Space:
        """The space with these tasks; plug-ins have to be loaded."""
        space = with_tasks(load_space(self.space), self.tasks)
        return with_input_size(space, self.input_size)


class Evaluator:
    """Scores networks; keeps plans and minibatches between them.

    Args:
        setup: what the run has in common.
        begin: is called whenever it begins with a network or a stack.
    """

    def __init__(
        self, setup: Setup, begin: Callable[[], object] = lambda: None
    ) -> None:
        load_plugins(setup.plugin)
        self.setup = setup
        self._begin = begin
        self.space = setup.load_space()
        self._warm = False
        self._plans: dict[tuple[str, ...], Plan] = {}
        self._batches: dict[tuple[str, int], Batch] = {}
        self._stack_evaluators: dict[tuple[object, ...], StackEvaluator] = {}
        self._findings: dict[tuple[str, tuple[str, ...]], Finding] = {}
        self._reported: set[tuple[str, tuple[str, ...]]] = set()

    def together(self, items: Sequence[WorkItem]) -> list[Record]:
        """Score networks of one dataset, repeat and set of proxies at once.

        An exception from a network or a proxy is a status of the scores; one of ours
        (a `ZcbenchError`) concerns the run as a whole and is raised.
        """
        try:
            if not self._warm:  # the first time is slower, and seconds are reported
                self._evaluate(items[:2])
                self._warm = True
            start = time.perf_counter()
            evaluations = self._evaluate(items)
        except ZcbenchError:
            raise
        except BaseException as error:  # networks may raise anything
            why = _reason(error)
            return [self.failed(item, *why) for item in items]
        each = (time.perf_counter() - start) / len(items)
        return [
            self._record(item, evaluation, each)
            for item, evaluation in zip(items, evaluations, strict=True)
        ]

    def failed(self, item: WorkItem, status: Status, message: str) -> Record:
        """Line for a network of which nothing is known but why."""
        return {
            **self._identity(item),
            "scores": dict.fromkeys(item.proxies),
            "status": dict.fromkeys(item.proxies, status),
            "seconds": {},
            "messages": dict.fromkeys(item.proxies, message[:_LONGEST_MESSAGE]),
        }

    def _evaluate(self, items: Sequence[WorkItem]) -> list[Evaluation]:
        """Each proxy in the way that the device is right in."""
        from zcbench.engine.self_check.finding import evaluate_by_ways

        def evaluate(plan: Plan, way: Way) -> list[Evaluation]:
            if len(items) == 1:
                return [self._alone(items[0], plan, way)]
            return self._at_once(items, plan, way)

        plan = self._plan(items[0].proxies)
        self._begin()
        finding = self._finding(items[0])
        if finding:  # which took its time
            self._begin()
        return evaluate_by_ways(finding, plan, evaluate)

    def _alone(self, item: WorkItem, plan: Plan, way: Way) -> Evaluation:
        from zcbench.engine.self_check import taking
        from zcbench.evaluate import evaluate
        from zcbench.spaces.base import build_network

        setup = self.setup
        dtype, precision = self._arithmetic(way)
        arch = self.space.architecture(item.index)
        network = build_network(
            self.space, arch, item.dataset, seed=setup.seed, repeat=item.repeat
        ).to(setup.device, dtype)
        seed = repeat_seed(setup.seed, item.repeat)
        batch = self._batch(item.dataset, item.repeat)
        y = batch.y.to(dtype) if batch.y.is_floating_point() else batch.y
        batch = replace(batch, x=batch.x.to(dtype), y=y)
        with taking(way):
            return evaluate(network, batch, plan, seed=seed, precision=precision)

    def _at_once(
        self, items: Sequence[WorkItem], plan: Plan, way: Way
    ) -> list[Evaluation]:
        from zcbench.engine.evaluator import StackEvaluator
        from zcbench.engine.self_check import taking

        setup, first = self.setup, items[0]
        names = tuple(proxy.name for proxy in plan.proxies)
        key = (first.dataset, first.repeat, names, way)
        if key not in self._stack_evaluators:
            dtype, precision = self._arithmetic(way)
            self._stack_evaluators[key] = StackEvaluator(
                self.space,
                first.dataset,
                self._batch(first.dataset, first.repeat),
                plan,
                seed=setup.seed,
                repeat=first.repeat,
                device=setup.device,
                dtype=dtype,
                precision=precision,
            )
        archs = [self.space.architecture(item.index) for item in items]
        with taking(way):
            return self._stack_evaluators[key](archs)

    def _arithmetic(self, way: Way) -> tuple[torch.dtype, Precision]:
        import torch

        from zcbench.engine.self_check import arithmetic_of

        return arithmetic_of(way, torch.float32, self.setup.precision)

    def _finding(self, item: WorkItem) -> Finding | None:
        """Whether this device is right for the item's proxies; None on a CPU."""
        from zcbench.engine.self_check import is_needed

        setup, key = self.setup, (item.dataset, item.proxies)
        if not is_needed(setup.device):
            return None
        if key not in self._findings:
            import torch

            from zcbench.engine.self_check.check import find
            from zcbench.engine.self_check.questions import OfSpace

            code = hashlib.sha256(repr(self.space.tasks[item.dataset]).encode())
            for file in setup.plugin:
                code.update(file.read_bytes())
            self._findings[key] = find(
                OfSpace(
                    self.space,
                    item.dataset,
                    self._plan(item.proxies),
                    torch.device(setup.device),
                    precision=setup.precision,
                    stacked=setup.stack != 1,
                    code=code.hexdigest(),
                )
            )
        return self._findings[key]

    def _record(self, item: WorkItem, evaluation: Evaluation, total: float) -> Record:
        scores = evaluation.scores
        record: Record = {
            **self._identity(item),
            "scores": {name: score.value for name, score in scores.items()},
            "status": {n: s.status for n, s in scores.items() if s.status != "ok"},
            "seconds": {
                "total": round(total, 6),
                "passes": {
                    name: round(seconds, 6)
                    for name, seconds in evaluation.seconds.items()
                    if name != "total"
                },
                "proxies": {n: round(s.seconds, 6) for n, s in scores.items()},
            },
        }
        key = (item.dataset, item.proxies)
        if key in self._findings and key not in self._reported:
            self._reported.add(key)  # once is enough for the manifest
            plan = self._plan(item.proxies)
            record[DEVICE_CHECK] = self._findings[key].as_dict(plan)
        messages = {n: s.message for n, s in scores.items() if s.message}
        notes = {n: s.note for n, s in scores.items() if s.note}
        if notes:
            record["notes"] = notes
        if messages:
            record["messages"] = {
                name: text[:_LONGEST_MESSAGE] for name, text in messages.items()
            }
        return record

    def _identity(self, item: WorkItem) -> Mapping[str, str | int]:
        return {
            "space": self.space.name,
            "dataset": item.dataset,
            "arch": self.space.architecture(item.index).spec,
            "index": item.index,
            "repeat": item.repeat,
        }

    def _plan(self, proxies: tuple[str, ...]) -> Plan:
        from zcbench.plan import make_plan

        if proxies not in self._plans:
            self._plans[proxies] = make_plan([PROXIES.get(name) for name in proxies])
        return self._plans[proxies]

    def _batch(self, dataset: str, repeat: int) -> Batch:
        key = (dataset, repeat)
        if key not in self._batches:
            setup = self.setup
            source = open_source(setup.minibatch, self.space.tasks[dataset])
            batch = source.batch(setup.batch_size, seed=setup.seed, repeat=repeat)
            self._batches[key] = replace(
                batch, x=batch.x.to(setup.device), y=batch.y.to(setup.device)
            )
        return self._batches[key]


def _reason(error: BaseException) -> tuple[Status, str]:
    """Status and message of what code of others has raised; Ctrl-C is none."""
    if is_users(error):
        raise error
    text = f"{type(error).__name__}: {said(error)}"
    return "oom" if out_of_memory(error) else "error", text
