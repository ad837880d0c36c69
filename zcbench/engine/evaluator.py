"""Scores of a stack: the stack's passes once, the rest one network at a time."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import torch

from zcbench.evaluate import apply_proxies, check_batch, evaluate
from zcbench.evidence.clock import Clock
from zcbench.evidence.passes import Missing, attempt, make_records
from zcbench.evidence.subject import StackedSubject
from zcbench.evidence.table import RECORDS
from zcbench.plan import Plan, make_plan
from zcbench.seeding import repeat_seed
from zcbench.spaces.base import Space, Stackable, build_network
from zcbench.types import Architecture, Batch, Evaluation, Precision, Score


def can_stack(space: Space, task: str, precision: Precision) -> bool:
    """Whether networks of a task can be scored at once.

    bf16 takes one at a time, and so does a loss that is no cross-entropy.
    """
    if not isinstance(space, Stackable) or precision == "bf16":
        return False
    if space.tasks[task].loss != "cross_entropy":
        return False
    return task in getattr(space, "stacked_tasks", space.tasks)


class StackEvaluator:
    """Scores networks of a space, as many at once as memory holds.

    The scores are those of `zcbench.evaluate.evaluate`, to rounding (docs/precision.md
    says what that means for each proxy), whoever else is in the stack. Seconds are a
    network's share of the stack's passes.

    Args:
        space: the space; one that is not `Stackable` is scored network by network.
        task: name of one of the space's tasks.
        batch: the minibatch.
        plan: which proxies, from `zcbench.plan.make_plan`.
        seed: seed of the run.
        repeat: which initialisation, from 0.
        device: where to calculate.
        dtype: of weights and images.
        precision: what float32 passes may round to.

    Raises:
        UsageError: the batch is not one of images and labels, or there is no such task.

    Attributes:
        device: where it calculates.
        most: networks that are scored at once, at most; halved when memory runs out.
    """

    def __init__(
        self,
        space: Space,
        task: str,
        batch: Batch,
        plan: Plan,
        *,
        seed: int = 0,
        repeat: int = 0,
        device: torch.device | str = "cpu",
        dtype: torch.dtype = torch.float32,
        precision: Precision = "float32",
    ) -> None:
        check_batch(batch)
        self.most: int | None = None
        self._space, self._task, self._plan = space, task, plan
        self._seed, self._repeat = seed, repeat
        self.device = torch.device(device)
        self._dtype, self._precision = dtype, precision
        self._batch = replace(batch, x=batch.x.to(device, dtype), y=batch.y.to(device))
        stackable = can_stack(space, task, precision)
        able = [
            proxy
            for proxy in plan.proxies
            if stackable and all(RECORDS[r].stacked for r in plan.needs[proxy.name])
        ]
        self._together = make_plan(able)
        self._alone = make_plan([p for p in plan.proxies if p not in able])

    def __call__(self, architectures: Sequence[Architecture]) -> list[Evaluation]:
        """Scores of each network, in the order given."""
        evaluations: list[Evaluation] = []
        while left := architectures[len(evaluations) :]:
            some = left[: self.most]
            if len(some) == 1 or not self._together.proxies:
                evaluations += [self._one(arch, self._plan) for arch in some]
                continue
            scored = self._stacked(some)
            if scored is None:
                self.most = len(some) // 2
            else:
                evaluations += scored
        return evaluations

    def _one(self, arch: Architecture, plan: Plan) -> Evaluation:
        """The one-network engine."""
        network = build_network(
            self._space, arch, self._task, seed=self._seed, repeat=self._repeat
        )
        return evaluate(
            network.to(self.device, self._dtype),
            self._batch,
            plan,
            seed=repeat_seed(self._seed, self._repeat),
            precision=self._precision,
        )

    def _stacked(
        self, architectures: Sequence[Architecture]
    ) -> list[Evaluation] | None:
        """All at once; None if memory does not hold them."""
        start = time.perf_counter()
        clock = Clock(self.device)
        evidence = self.evidence(architectures, clock)
        if evidence is None:
            return None
        share = {name: s / len(architectures) for name, s in clock.seconds.items()}
        scores = [apply_proxies(self._together, records, share) for records in evidence]
        del evidence
        share["total"] = (time.perf_counter() - start) / len(architectures)
        evaluations = [Evaluation(each, share) for each in scores]
        if not self._alone.proxies:
            return evaluations
        return [
            self._merged(one, self._one(arch, self._alone))
            for arch, one in zip(architectures, evaluations, strict=True)
        ]

    def evidence(
        self, architectures: Sequence[Architecture], clock: Clock
    ) -> list[Mapping[type, Any]] | None:
        """Records of every network; None if memory does not hold them."""
        assert isinstance(self._space, Stackable)  # noqa: S101 - or nothing is stacked
        space = self._space
        network = attempt(
            lambda: space.stack(
                architectures, self._task, seed=self._seed, repeat=self._repeat
            ).to(self.device, self._dtype)
        )
        needs = self._together.records
        if isinstance(network, Missing):
            records: dict[type, Any] = dict.fromkeys(needs, network)
        else:
            seed = repeat_seed(self._seed, self._repeat)
            subject = StackedSubject(network, self._batch, seed)
            with torch.enable_grad():
                records = make_records(subject, needs, clock, self._precision)
            del subject
        if not _out_of_memory(records):
            return [
                {
                    kind: r if isinstance(r, Missing) else r[p]
                    for kind, r in records.items()
                }
                for p in range(len(architectures))
            ]
        del network, records
        if self.device.type == "cuda":
            torch.cuda.empty_cache()
        return None

    def _merged(self, first: Evaluation, second: Evaluation) -> Evaluation:
        """Scores of both in the order of the plan; seconds of both."""
        scores: dict[str, Score] = {**first.scores, **second.scores}
        seconds = dict(first.seconds)
        for name, spent in second.seconds.items():
            seconds[name] = seconds.get(name, 0.0) + spent
        return Evaluation({p.name: scores[p.name] for p in self._plan.proxies}, seconds)


def _out_of_memory(evidence: Mapping[type, Any]) -> bool:
    return any(
        isinstance(record, Missing) and record.status == "oom"
        for record in evidence.values()
    )
