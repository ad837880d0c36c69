"""Scores of one network: passes once, then every proxy on their evidence."""

from __future__ import annotations

import math
import numbers
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from types import MappingProxyType
from typing import Any

import torch
from torch import Tensor, nn

from zcbench.errors import UsageError
from zcbench.evidence.clock import Clock
from zcbench.evidence.copies import deep_copied
from zcbench.evidence.guests import call_guest
from zcbench.evidence.modes import as_written, default_dtype
from zcbench.evidence.passes import (
    Missing,
    arithmetic,
    attempt,
    first_missing,
    make_records,
)
from zcbench.evidence.records import FreshNetwork
from zcbench.evidence.subject import make_subject
from zcbench.evidence.table import RUN_WHEN_READ
from zcbench.plan import Plan
from zcbench.seeding import random_state, reseed
from zcbench.types import Batch, Evaluation, Precision, Proxy, Score


def evaluate(
    network: nn.Module,
    batch: Batch,
    plan: Plan,
    *,
    seed: int = 0,
    precision: Precision = "float32",
    told: Callable[[str, Score], object] | None = None,
) -> Evaluation:
    """Score a network that the caller gives away; `score` is the polite form.

    Generators of random numbers, torch's default dtype and modes are left alone.

    Args:
        network: maps images [N, C, H, W] to logits; it is changed.
        batch: the minibatch.
        plan: which proxies, from `zcbench.plan.make_plan`.
        seed: for proxies that draw random numbers, and torch's own generator.
        precision: what a float32 network's passes may round to.
        told: gets id and score of built-in proxies as soon as their records are there.

    Returns:
        Scores, and the seconds of each pass with their ``"total"``.

    Raises:
        UsageError: the batch is not one of images and labels, or the device has no
            such arithmetic.
    """
    check_batch(batch)
    start = time.perf_counter()
    device = device_of(network)
    clock = Clock(device)
    more = {} if told is None else {"made": _telling(plan, clock, seed, told)}
    evidence, remarks = gather(
        network, batch, plan.records, clock, seed=seed, precision=precision, **more
    )
    # Float32 as it is: CUDA would round in a proxy's own network.
    with _surroundings(device, seed), arithmetic("float32", device):
        scores = apply_proxies(plan, evidence, clock.seconds, remarks, seed=seed)
    seconds = dict(clock.seconds) | {"total": time.perf_counter() - start}
    return Evaluation(scores, seconds)


def _telling(
    plan: Plan, clock: Clock, seed: int, told: Callable[[str, Score], object]
) -> Callable[[Mapping[type, Any]], None]:
    """Tells each score once, when its records are made."""
    waiting = [
        proxy
        for proxy in plan.proxies
        if proxy.origin == "built-in"
        and RUN_WHEN_READ.isdisjoint(plan.needs[proxy.name])
    ]

    def made(records: Mapping[type, Any]) -> None:
        for proxy in tuple(waiting):
            if records.keys() >= {*plan.needs[proxy.name]}:
                waiting.remove(proxy)
                told(proxy.name, _apply(proxy, plan, records, clock.seconds, seed))

    return made


@contextmanager
def _surroundings(device: torch.device, seed: int) -> Iterator[None]:
    """What networks and proxies may rely on, whatever the caller has set."""
    plainly = torch.autocast(device.type, enabled=False)
    with (
        random_state(seed),
        default_dtype(torch.float32),
        as_written(),
        plainly,
        torch.enable_grad(),
    ):
        yield


def gather(
    network: nn.Module,
    batch: Batch,
    records: frozenset[type],
    clock: Clock,
    *,
    seed: int,
    precision: Precision,
    made: Callable[[Mapping[type, Any]], None] = lambda _: None,
) -> tuple[Mapping[type, Any], Mapping[type, str]]:
    """Record type → record of a network, or `Missing`; and what to remark on it.

    Args: see `evaluate`; the clock gets the seconds of every pass, and `made` what
    there is after each.
    """
    device = device_of(network)
    batch = replace(batch, x=batch.x.to(device), y=batch.y.to(device))
    with _surroundings(device, seed):
        subject = attempt(lambda: make_subject(network, batch, seed))
        if isinstance(subject, Missing):
            return dict.fromkeys(records, subject), {}
        recorded = make_records(subject, records, clock, precision, made)
        return recorded, subject.remarks


def apply_proxies(
    plan: Plan,
    evidence: Mapping[type, Any],
    seconds: Mapping[str, float],
    remarks: Mapping[type, str] = MappingProxyType({}),
    *,
    seed: int = 0,
) -> dict[str, Score]:
    """Every proxy of a plan on the evidence of one network; guests come last.

    Args:
        plan: which proxies.
        evidence: record type → record, or `Missing`.
        seconds: pass name → what it took for this network.
        remarks: record type → what to note on scores made from it.
        seed: for guests that draw random numbers.
    """
    scores = {}
    for proxy in sorted(plan.proxies, key=lambda proxy: proxy.is_guest):
        score = _apply(proxy, plan, evidence, seconds, seed)
        notes = [remarks[r] for r in plan.needs[proxy.name] if r in remarks]
        if score.status == "ok" and notes:
            score = replace(score, note="; ".join(notes))
        scores[proxy.name] = score
    return {proxy.name: scores[proxy.name] for proxy in plan.proxies}


def _apply(
    proxy: Proxy,
    plan: Plan,
    evidence: Mapping[type, Any],
    passes: Mapping[str, float],
    seed: int,
) -> Score:
    records = [evidence[record] for record in plan.needs[proxy.name]]
    own = 0.0

    def number(*records: Any) -> float:
        nonlocal own
        start = time.perf_counter()  # guests' copies are made before
        try:
            return _number(proxy.function(*records, **proxy.parameters))
        finally:
            own = time.perf_counter() - start

    if missing := first_missing(records):
        value = missing
    elif proxy.is_guest:
        value = call_guest(number, records, seed)
    else:
        value = attempt(lambda: number(*map(_private, records)))
    seconds = own + sum(passes.get(name, 0.0) for name in plan.passes_of(proxy.name))
    if isinstance(value, Missing):
        return Score(None, value.status, seconds, value.message)
    if math.isnan(value):
        return Score(None, "nan", seconds)
    if math.isinf(value):
        return Score(None, "inf", seconds)
    return Score(value, "ok", seconds)


def _private(record: Any) -> Any:
    """A copy of its own for each proxy that gets the raw network."""
    if not isinstance(record, FreshNetwork):
        return record
    reseed(record.seed)
    return replace(record, network=deep_copied(record.network))


def _number(value: object) -> float:
    """The proxy's result as a float; a tensor of one element will do.

    Raises:
        TypeError: it is something else.
    """
    if isinstance(value, Tensor):
        if value.numel() == 1 and value.dtype != torch.bool and not value.is_complex():
            return float(value)
        kind = f"a tensor of shape {list(value.shape)} and {value.dtype}"
    elif isinstance(value, numbers.Real) and not isinstance(value, bool):
        return float(value)
    else:
        kind = type(value).__name__
    raise TypeError(f"the proxy returned {kind}, not a number")


def by_generators(
    network: nn.Module, batch: Batch, plan: Plan, seeds: Sequence[int]
) -> list[dict[str, Score]]:
    """Scores from one and the same evidence, the global generators seeded otherwise.

    Args:
        network: it is changed.
        batch: the minibatch.
        plan: which proxies.
        seeds: of the generators that guests find.
    """
    device = device_of(network)
    evidence, _ = gather(
        network, batch, plan.records, Clock(device), seed=0, precision="float32"
    )
    with _surroundings(device, 0):
        return [apply_proxies(plan, evidence, {}, {}, seed=seed) for seed in seeds]


def check_batch(batch: Batch) -> None:
    """Raise `UsageError` unless a minibatch is one of images and labels."""
    x, y = batch.x, batch.y
    regression = batch.loss == "mse"
    kind = "floating point" if regression else "int64"
    right = y.is_floating_point() if regression else y.dtype == torch.int64
    fault = ""
    if x.dim() < 2 or not x.is_floating_point():
        fault = f"x is {x.dtype} {list(x.shape)}, not floating point [N, C, H, W]"
    elif not _is_row(y, regression) or not right or len(y) != len(x):
        fault = f"y is {y.dtype} {list(y.shape)}, not {kind} [{len(x)}]"
    elif len(x) < 2:
        fault = "it has fewer than 2 images"
    elif not bool(x.isfinite().all()) or not bool(y.isfinite().all()):
        bad = [not bool(image.isfinite().all()) for image in x]
        which = f"image {bad.index(True)}" if True in bad else "a label"
        fault = f"{which} (counted from 0) has a value that is not finite"
    if fault:
        raise UsageError(f"The minibatch cannot be used: {fault}.", "")


def _is_row(y: Tensor, regression: bool) -> bool:
    """Whether it is [N], or [N, K] in a regression of several numbers."""
    return y.dim() == 1 or (regression and y.dim() == 2 and y.shape[1] > 1)


def device_of(network: nn.Module) -> torch.device:
    """Where its parameters are; the CPU if it has none."""
    parameter = next(network.parameters(), None)
    return torch.device("cpu") if parameter is None else parameter.device
