"""Scores of any network: what `zcbench.score` does."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import replace
from typing import Literal

import torch
from torch import nn

from zcbench.engine.self_check import Way, arithmetic_of, is_needed, taking
from zcbench.engine.self_check.check import find
from zcbench.engine.self_check.finding import Finding, evaluate_by_ways
from zcbench.engine.self_check.questions import OfNetwork
from zcbench.evaluate import apply_proxies, check_batch, device_of, evaluate
from zcbench.evidence.copies import cast, deep_copied, left_alone
from zcbench.evidence.passes import Missing, attempt
from zcbench.plan import Plan, make_plan
from zcbench.proxies import PROXIES
from zcbench.types import Batch, Evaluation, Score


def score(
    network: nn.Module,
    batch: Batch,
    proxies: str | Iterable[str] = "all",
    *,
    seed: int = 0,
    precision: Literal["float64", "float32"] = "float64",
    told: Callable[[str, Score], object] | None = None,
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
        told: gets id and score of built-in proxies as soon as each is known.

    Returns:
        Proxy id → `Score`, in the order asked for.

    Raises:
        UsageError: a proxy is unknown, or the batch is not one of images and labels.
    """
    plan = make_plan(PROXIES.select(proxies))
    check_batch(batch)
    with torch.inference_mode(False):
        return _score(network, batch, plan, seed, precision, told)


def _score(
    network: nn.Module,
    batch: Batch,
    plan: Plan,
    seed: int,
    precision: str,
    told: Callable[[str, Score], object] | None,
) -> dict[str, Score]:
    dtype = {"float64": torch.float64, "float32": torch.float32}[precision]

    def scored(plan: Plan, way: Way) -> list[Evaluation]:
        wanted, _ = arithmetic_of(way, dtype, "float32")
        # Copies: tensors made in inference mode take part in no gradient.
        images = batch.x.detach().to(wanted, copy=True)
        own = replace(batch, x=images, y=batch.y.detach().clone())
        with taking(way):
            copied = attempt(lambda: cast(deep_copied(network), wanted))
            if isinstance(copied, Missing):
                why = f"the network cannot be copied: {copied.message}"
                evidence = dict.fromkeys(plan.records, replace(copied, message=why))
                return [Evaluation(apply_proxies(plan, evidence, {}), {})]
            with left_alone(network, copied):
                return [evaluate(copied, own, plan, seed=seed, told=told)]

    finding = _finding(network, batch, plan, dtype)
    (evaluation,) = evaluate_by_ways(finding, plan, scored)
    return dict(evaluation.scores)


def _finding(
    network: nn.Module, batch: Batch, plan: Plan, dtype: torch.dtype
) -> Finding | None:
    """Whether the network's device is right for this network; None on a CPU."""
    device = device_of(network)
    if not is_needed(device):
        return None
    return find(OfNetwork(network, batch, plan, device, dtype))
