"""Runs the passes that some records need, each once for a network."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch

from zcbench.errors import Undefined, first_line
from zcbench.evidence.block_features import measure_block_features
from zcbench.evidence.channel_correlation import measure_channel_correlation
from zcbench.evidence.clock import Clock
from zcbench.evidence.copies import copied_network
from zcbench.evidence.gaussian_response import measure_gaussian_response
from zcbench.evidence.loss import LOSSES
from zcbench.evidence.minibatch_pass import MinibatchPass
from zcbench.evidence.one_by_one import OneByOne
from zcbench.evidence.part_gradients import measure_part_gradients
from zcbench.evidence.per_image_pass import PerImagePass
from zcbench.evidence.precision import arithmetic
from zcbench.evidence.prepare import Subject
from zcbench.evidence.records import (
    REQUIRES,
    ActivationKernel,
    ActivationPatterns,
    BlockFeatures,
    ChannelCorrelation,
    ChannelSaliency,
    FreshNetwork,
    GaussianResponse,
    Gradients,
    HessianGradient,
    InputCorrelation,
    Parameters,
    PartGradients,
    SignAgreement,
    Structure,
    SynapticFlow,
    TangentKernel,
)
from zcbench.evidence.structure import measure_structure
from zcbench.evidence.synaptic_flow import measure_synaptic_flow
from zcbench.evidence.watch import default_dtype, differentiable, doubled
from zcbench.types import Precision, Status


@dataclass(frozen=True, slots=True)
class Missing:
    """Why a record could not be made."""

    status: Status
    message: str


def collect(
    subject: Subject,
    needs: frozenset[type],
    clock: Clock,
    precision: Precision = "float32",
) -> Mapping[type, Any]:
    """Make every record of the given types, or a `Missing` in its place.

    Args:
        subject: network and minibatch, owned by the passes.
        needs: record types, closed under `zcbench.plan.REQUIRES`.
        clock: gets the seconds of every pass.
        precision: of the passes over many images; the others stay exact.

    Returns:
        Record type → record.

    Raises:
        UsageError: the device has no such arithmetic.
    """
    device = subject.batch.x.device
    found: dict[type, Any] = {}
    if FreshNetwork in needs:  # before any pass moves BatchNorm's statistics
        found[FreshNetwork] = attempt(lambda: _fresh(subject))
    if Parameters in needs:
        weights = tuple(layer.weight.detach() for layer in subject.layers)  # type: ignore[operator]
        found[Parameters] = Parameters(subject.n_params, weights)
    if Structure in needs:
        with clock.time("structure"):
            found[Structure] = attempt(lambda: measure_structure(subject))
    with arithmetic(precision, device), _manners(subject):
        found |= _from_minibatch(subject, needs, clock)
        found |= _from_images_alone(subject, needs, clock)
        found |= _from_one_call(subject, needs, clock, _OVER_IMAGES)
    with arithmetic("float32", device), _manners(subject):
        return found | _from_one_call(subject, needs, clock, _EXACT)


@contextmanager
def _manners(subject: Subject) -> Iterator[None]:
    """What derivatives of other people's networks need."""
    if subject.plain:
        yield
        return
    double = any(p.dtype == torch.float64 for p in subject.network.parameters())
    with differentiable(), doubled() if double else default_dtype(torch.float32):
        yield


_OVER_IMAGES: Mapping[type, tuple[str, Callable[[Subject], object]]] = {
    PartGradients: ("part_gradients", measure_part_gradients),
    BlockFeatures: ("block_features", measure_block_features),
    GaussianResponse: ("gaussian_response", measure_gaussian_response),
}
"""Record → name of its pass, and what makes it."""
_EXACT: Mapping[type, tuple[str, Callable[[Subject], object]]] = {
    SynapticFlow: ("synaptic_flow", measure_synaptic_flow),
    ChannelCorrelation: ("channel_correlation", measure_channel_correlation),
}
"""The same, for passes that do not round to a lower precision."""


def _from_one_call(
    subject: Subject,
    needs: frozenset[type],
    clock: Clock,
    makers: Mapping[type, tuple[str, Callable[[Subject], object]]],
) -> dict[type, Any]:
    found: dict[type, Any] = {}
    for record, (name, make) in makers.items():
        if record in needs:
            with clock.time(name):
                found[record] = attempt(partial(make, subject))
    return found


def _from_images_alone(
    subject: Subject, needs: frozenset[type], clock: Clock
) -> dict[type, Any]:
    kind = PerImagePass if subject.plain else OneByOne
    steps: dict[type, Callable[[Any], object]] = {
        SignAgreement: kind.sign_agreement,
        TangentKernel: kind.tangent_kernel,
    }
    return _from_held(steps, needs, lambda: kind(subject, needs, clock))


def _from_minibatch(
    subject: Subject, needs: frozenset[type], clock: Clock
) -> dict[type, Any]:
    steps: dict[type, Callable[[MinibatchPass], object]] = {
        ActivationKernel: MinibatchPass.activation_kernel,
        ActivationPatterns: MinibatchPass.activation_patterns,
        Gradients: MinibatchPass.gradients,
        ChannelSaliency: MinibatchPass.channel_saliency,
        HessianGradient: MinibatchPass.hessian_gradient,
        InputCorrelation: MinibatchPass.input_correlation,
    }
    found = _from_held(steps, needs, lambda: MinibatchPass(subject, needs, clock))
    if subject.plain:
        return found
    for record, missing in found.items():
        # A network may refuse what another record needs, such as images' gradients.
        alone = frozenset({record, REQUIRES.get(record, record)})
        if isinstance(missing, Missing) and missing.status == "error":
            retry = partial(MinibatchPass, subject, alone, clock)
            found[record] = _from_held(steps, alone, retry)[record]
    return found


def _from_held(
    steps: Mapping[type, Callable[[Any], object]],
    needs: frozenset[type],
    begin: Callable[[], object],
) -> dict[type, Any]:
    """Records from one forward whose graph is held for all of them."""
    wanted = [record for record in steps if record in needs]
    if not wanted:
        return {}
    held = attempt(begin)
    if isinstance(held, Missing):
        return dict.fromkeys(wanted, held)
    found: dict[type, Any] = {}
    for record in wanted:
        before = found.get(REQUIRES.get(record, record))
        if isinstance(before, Missing):
            found[record] = before
        else:
            found[record] = attempt(partial(steps[record], held))
    return found


def _fresh(subject: Subject) -> FreshNetwork:
    network = copied_network(subject.network)
    for parameter in network.parameters():
        if parameter.is_floating_point() or parameter.is_complex():
            parameter.requires_grad_(True)
    return FreshNetwork(
        network, subject.batch, LOSSES[subject.batch.loss], subject.seed
    )


_NOT_MADE_FOR = {
    "Expected more than 1 value per channel": "BatchNorm has one value per channel "
    "in an image, and cannot normalise it",
    "derivative for aten::": "the network has a function without second derivative",
    "not implemented the double backward": "the network has a function without second "
    "derivative",
}
"""What torch says of networks that a pass cannot be made for → why."""


def attempt(make: Callable[[], Any]) -> Any:
    """Result of the call, or why there is none; one failure ends nothing else."""
    try:
        return make()
    except Undefined as error:
        return Missing("undefined", str(error))
    except (MemoryError, torch.OutOfMemoryError) as error:
        return Missing("oom", first_line(error))
    except Exception as error:  # whatever a network raises
        for sign, reason in _NOT_MADE_FOR.items():
            if sign in str(error):
                return Missing("undefined", reason)
        if "not enough memory" in str(error):  # what the CPU allocator says
            return Missing("oom", first_line(error))
        return Missing("error", f"{type(error).__name__}: {first_line(error)}")


def first_missing(records: Iterable[Any]) -> Missing | None:
    """The first record that could not be made, if any."""
    return next((r for r in records if isinstance(r, Missing)), None)
