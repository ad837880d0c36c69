"""Runs the passes that some records need, each once for a stack of networks."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

from zcbench.evidence.clock import Clock
from zcbench.evidence.collect import Missing, attempt
from zcbench.evidence.precision import arithmetic
from zcbench.evidence.records import (
    REQUIRES,
    ActivationKernel,
    ChannelSaliency,
    GaussianResponse,
    Gradients,
    HessianGradient,
    InputCorrelation,
    Parameters,
    Structure,
    SynapticFlow,
)
from zcbench.evidence.stacked.gaussian_response import measure_gaussian_response
from zcbench.evidence.stacked.minibatch import StackedMinibatchPass
from zcbench.evidence.stacked.structure import measure_parameters, measure_structure
from zcbench.evidence.stacked.synaptic_flow import measure_synaptic_flow
from zcbench.networks.stacked import StackedNetwork
from zcbench.types import Batch, Precision

_FROM_MINIBATCH: Mapping[type, Callable[[StackedMinibatchPass], Any]] = {
    ActivationKernel: StackedMinibatchPass.activation_kernel,
    Gradients: StackedMinibatchPass.gradients,
    ChannelSaliency: StackedMinibatchPass.channel_saliency,
    HessianGradient: StackedMinibatchPass.hessian_gradient,
    InputCorrelation: StackedMinibatchPass.input_correlation,
}

OFFERED = frozenset(
    {Parameters, Structure, SynapticFlow, GaussianResponse, *_FROM_MINIBATCH}
)
"""Records that a stack can give; `zcbench.evidence` gives all."""


def collect(
    network: StackedNetwork,
    batch: Batch,
    needs: frozenset[type],
    clock: Clock,
    *,
    seed: int,
    precision: Precision,
) -> list[Mapping[type, Any]]:
    """Make records for every network, on the CPU, or a `Missing` in their place.

    Args:
        network: the stack.
        batch: the minibatch, of the stack's type and on its device.
        needs: record types out of `OFFERED`, closed under `zcbench.plan.REQUIRES`.
        clock: gets the seconds of every pass, for all networks together.
        seed: for passes that draw random numbers.
        precision: of the passes over many images; the others stay exact.

    Returns:
        For each network, record type → record.
    """
    shape, device = tuple(batch.x.shape[1:]), batch.x.device
    found: dict[type, list[Any] | Missing] = {}
    if Parameters in needs:
        found[Parameters] = attempt(lambda: measure_parameters(network))
    if Structure in needs:
        with clock.time("structure"):
            found[Structure] = attempt(
                lambda: measure_structure(network, shape, device)
            )
    with arithmetic(precision, device):
        found |= _from_minibatch(network, batch, needs, clock)
    if SynapticFlow in needs:
        with clock.time("synaptic_flow"):
            found[SynapticFlow] = attempt(
                lambda: measure_synaptic_flow(network, shape, device)
            )
    if GaussianResponse in needs:
        with clock.time("gaussian_response"), arithmetic(precision, device):
            found[GaussianResponse] = attempt(
                lambda: measure_gaussian_response(network, batch.x, seed)
            )
    return [
        {
            record: each if isinstance(each, Missing) else each[p]
            for record, each in found.items()
        }
        for p in range(network.n_networks)
    ]


def _from_minibatch(
    network: StackedNetwork, batch: Batch, needs: frozenset[type], clock: Clock
) -> dict[type, list[Any] | Missing]:
    wanted = [record for record in _FROM_MINIBATCH if record in needs]
    if not wanted:
        return {}
    held = attempt(
        lambda: StackedMinibatchPass(network, batch, frozenset(wanted), clock)
    )
    if isinstance(held, Missing):
        return dict.fromkeys(wanted, held)
    found: dict[type, list[Any] | Missing] = {}
    for record in wanted:
        before = found.get(REQUIRES.get(record, record))
        if isinstance(before, Missing):
            found[record] = before
        else:
            found[record] = attempt(partial(_FROM_MINIBATCH[record], held))
    return found
