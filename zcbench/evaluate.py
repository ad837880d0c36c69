"""Scores of one network: passes once, then every proxy on their evidence."""

from __future__ import annotations

import math
import numbers
import time
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Literal

import torch
from torch import Tensor, nn

from zcbench.errors import UsageError
from zcbench.evidence.clock import Clock
from zcbench.evidence.collect import Missing, attempt, collect, first_missing
from zcbench.evidence.copies import cast, copied_network, left_alone
from zcbench.evidence.precision import arithmetic
from zcbench.evidence.prepare import prepare
from zcbench.evidence.records import FreshNetwork
from zcbench.evidence.watch import as_written, default_dtype
from zcbench.plan import Plan, make_plan
from zcbench.proxies import PROXIES
from zcbench.seeding import random_state, reseed
from zcbench.types import Batch, Evaluation, Precision, Proxy, Score

if TYPE_CHECKING:
    from zcbench.self_check.finding import Finding
    from zcbench.self_check.ways import Way


def score(
    network: nn.Module,
    batch: Batch,
    proxies: str | Iterable[str] = "all",
    *,
    seed: int = 0,
    precision: Literal["float64", "float32"] = "float64",
) -> dict[str, Score]:
    """Score any image classifier at its present weights.

    The network is copied first and left bit-equal: weights, buffers, mode, hooks; the
    random state of Python, NumPy and torch is left alone too. On another device than
    the CPU, it is first compared with the CPU, once for an architecture
    (docs/precision.md).

    Args:
        network: maps images [N, C, H, W] to logits [N, n_classes].
        batch: the minibatch, on any device; it is moved to the network's.
        proxies: ``"all"``, ``"snip,zen"`` or a list of ids.
        seed: for proxies that draw random numbers (zen) and for dropout.
        precision: float64 gives the definition's value. ``"float32"`` is what
            `zcbench run` uses for speed: its rounding flips a few ReLUs, which moves
            single scores of plain, grasp and epe_nas by ten percent and more, and
            hardly any rank (docs/precision.md).

    Returns:
        Proxy id → `Score`, in the order asked for.

    Raises:
        UsageError: a proxy is unknown, or the batch is not one of images and labels.
    """
    plan = make_plan(PROXIES.select(proxies))
    check_batch(batch)
    with torch.inference_mode(False):
        return _score(network, batch, plan, seed, precision)


def _score(
    network: nn.Module, batch: Batch, plan: Plan, seed: int, precision: str
) -> dict[str, Score]:
    from zcbench.self_check.finding import evaluate_by_ways
    from zcbench.self_check.ways import arithmetic_of, taking

    dtype = {"float64": torch.float64, "float32": torch.float32}[precision]

    def scored(plan: Plan, way: Way) -> list[Evaluation]:
        wanted, _ = arithmetic_of(way, dtype, "float32")
        # Copies: tensors made in inference mode take part in no gradient.
        images = batch.x.detach().to(wanted, copy=True)
        own = replace(batch, x=images, y=batch.y.detach().clone())
        with taking(way):
            copied = attempt(lambda: cast(copied_network(network), wanted))
            if isinstance(copied, Missing):
                why = f"the network cannot be copied: {copied.message}"
                evidence = dict.fromkeys(plan.records, replace(copied, message=why))
                return [Evaluation(apply_proxies(plan, evidence, {}), {})]
            with left_alone(network, copied):
                return [evaluate(copied, own, plan, seed=seed)]

    finding = _finding(network, batch, plan, dtype)
    (evaluation,) = evaluate_by_ways(finding, plan, scored)
    return dict(evaluation.scores)


def _finding(
    network: nn.Module, batch: Batch, plan: Plan, dtype: torch.dtype
) -> Finding | None:
    """Whether the network's device is right for this network; None on a CPU."""
    from zcbench.self_check.ways import is_needed

    device = _device(network)
    if not is_needed(device):
        return None
    from zcbench.self_check.check import find
    from zcbench.self_check.questions import OfNetwork

    return find(OfNetwork(network, batch, plan, device, dtype))


def evaluate(
    network: nn.Module,
    batch: Batch,
    plan: Plan,
    *,
    seed: int = 0,
    precision: Precision = "float32",
) -> Evaluation:
    """Score a network that the caller gives away; `score` is the polite form.

    Generators of random numbers, torch's default dtype and modes are left alone.

    Args:
        network: maps images [N, C, H, W] to logits; it is changed.
        batch: the minibatch.
        plan: which proxies, from `zcbench.plan.make_plan`.
        seed: for proxies that draw random numbers, and torch's own generator.
        precision: what a float32 network's passes may round to.

    Returns:
        Scores, and the seconds of each pass with their ``"total"``.

    Raises:
        UsageError: the batch is not one of images and labels, or the device has no
            such arithmetic.
    """
    check_batch(batch)
    start = time.perf_counter()
    device = _device(network)
    clock = Clock(device)
    evidence, remarks = gather(
        network, batch, plan.records, clock, seed=seed, precision=precision
    )
    # Float32 as it is: CUDA would round in a proxy's own network.
    with _surroundings(device, seed), arithmetic("float32", device):
        scores = apply_proxies(plan, evidence, clock.seconds, remarks)
    seconds = dict(clock.seconds) | {"total": time.perf_counter() - start}
    return Evaluation(scores, seconds)


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
) -> tuple[Mapping[type, Any], Mapping[type, str]]:
    """Record type → record of a network, or `Missing`; and what to remark on it.

    Args: see `evaluate`; the clock gets the seconds of every pass.
    """
    device = _device(network)
    batch = replace(batch, x=batch.x.to(device), y=batch.y.to(device))
    with _surroundings(device, seed):
        subject = attempt(lambda: prepare(network, batch, seed))
        if isinstance(subject, Missing):
            return dict.fromkeys(records, subject), {}
        return collect(subject, records, clock, precision), subject.remarks


def apply_proxies(
    plan: Plan,
    evidence: Mapping[type, Any],
    seconds: Mapping[str, float],
    remarks: Mapping[type, str] = MappingProxyType({}),
) -> dict[str, Score]:
    """Every proxy of a plan on the evidence of one network.

    Args:
        plan: which proxies.
        evidence: record type → record, or `Missing`.
        seconds: pass name → what it took for this network.
        remarks: record type → what to note on scores made from it.
    """
    scores = {}
    for proxy in plan.proxies:
        score = _apply(proxy, plan, evidence, seconds)
        notes = [remarks[r] for r in plan.needs[proxy.name] if r in remarks]
        if score.status == "ok" and notes:
            score = replace(score, note="; ".join(notes))
        scores[proxy.name] = score
    return scores


def _apply(
    proxy: Proxy,
    plan: Plan,
    evidence: Mapping[type, Any],
    passes: Mapping[str, float],
) -> Score:
    start = time.perf_counter()
    records = [_private(evidence[record]) for record in plan.needs[proxy.name]]
    missing = first_missing(records)
    value = missing or attempt(lambda: _number(proxy.function(*records)))
    own = time.perf_counter() - start
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
    return replace(record, network=copied_network(record.network))


def _number(value: object) -> float:
    """The proxy's result as a float; a tensor of one element will do.

    Raises:
        TypeError: it is something else.
    """
    if isinstance(value, Tensor) and value.numel() == 1:
        return float(value)
    if isinstance(value, numbers.Real) and not isinstance(value, bool):
        return float(value)
    kind = type(value).__name__
    if isinstance(value, Tensor):
        kind = f"a tensor of shape {list(value.shape)}"
    raise TypeError(f"the proxy returned {kind}, not a number")


def check_batch(batch: Batch) -> None:
    """Raise `UsageError` unless a minibatch is one of images and labels."""
    x, y = batch.x, batch.y
    regression = batch.loss == "mse"
    kind = "floating point" if regression else "int64"
    right = y.is_floating_point() if regression else y.dtype == torch.int64
    fault = ""
    if x.dim() < 2 or not x.is_floating_point():
        fault = f"x is {x.dtype} {list(x.shape)}, not floating point [N, C, H, W]"
    elif y.dim() != 1 or not right or len(y) != len(x):
        fault = f"y is {y.dtype} {list(y.shape)}, not {kind} [{len(x)}]"
    elif len(x) < 2:
        fault = "it has fewer than 2 images"
    elif not bool(x.isfinite().all()) or not bool(y.isfinite().all()):
        bad = [not bool(image.isfinite().all()) for image in x]
        which = f"image {bad.index(True)}" if True in bad else "a label"
        fault = f"{which} (counted from 0) has a value that is not finite"
    if fault:
        raise UsageError(f"The minibatch cannot be used: {fault}.", "")


def _device(network: nn.Module) -> torch.device:
    parameter = next(network.parameters(), None)
    return torch.device("cpu") if parameter is None else parameter.device
