"""The records that proxies can ask for, and how each is made. No torch here.

A new one is a file of its own and a line here: see docs/adding-a-record.md.
"""

from __future__ import annotations

from dataclasses import dataclass

from zcbench.evidence.records import (
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


@dataclass(frozen=True, slots=True)
class Making:
    """How the records of one type are made.

    A maker is ``"module:function"``, imported on first use: it gets the subject and
    gives the record, and the seconds that it takes are those of the last pass. Or it
    is ``"module:Pass:method"``: `Pass(subject, needs, clock)` is made once for the
    neighbours in the table that name it, and keeps its own time. Modules that begin
    with a dot are those of `zcbench.evidence`.

    Attributes:
        passes: that it takes, by the names that timings use.
        maker: makes it of a `zcbench.evidence.subject.Subject`.
        stacked: makes one for each network of a `StackedSubject`, in a list; None where
            the networks of a stack are done one by one.
        requires: the record that is made on the way to it.
        forward_only: True if no pass goes backward.
        exact: True if it never rounds to a lower ``--precision``.
    """

    passes: tuple[str, ...]
    maker: str
    stacked: str | None = None
    requires: type | None = None
    forward_only: bool = False
    exact: bool = False


_ONE = ".minibatch_pass:MinibatchPass"
_STACK = ".stacked_minibatch:StackedMinibatchPass"
_ALONE = ".one_by_one:each_image"

RECORDS: dict[type, Making] = {
    FreshNetwork: Making((), ".subject:fresh_network", exact=True),
    Parameters: Making(
        (),
        ".structure:measure_parameters",
        stacked=".structure:stacked_parameters",
        forward_only=True,
        exact=True,
    ),
    Structure: Making(
        ("structure",),
        ".structure:measure_structure",
        stacked=".structure:stacked_structure",
        forward_only=True,
        exact=True,
    ),
    ActivationKernel: Making(
        ("forward", "relu_codes"),
        f"{_ONE}:activation_kernel",
        stacked=f"{_STACK}:activation_kernel",
        forward_only=True,
    ),
    ActivationPatterns: Making(
        ("forward", "relu_patterns"), f"{_ONE}:activation_patterns", forward_only=True
    ),
    Gradients: Making(
        ("forward", "loss_backward"),
        f"{_ONE}:gradients",
        stacked=f"{_STACK}:gradients",
    ),
    ChannelSaliency: Making(
        ("forward", "loss_backward", "channel_saliency"),
        f"{_ONE}:channel_saliency",
        stacked=f"{_STACK}:channel_saliency",
        requires=Gradients,
    ),
    HessianGradient: Making(
        ("forward", "loss_backward", "hessian_product"),
        f"{_ONE}:hessian_gradient",
        stacked=f"{_STACK}:hessian_gradient",
        requires=Gradients,
    ),
    InputCorrelation: Making(
        ("forward", "input_backward"),
        f"{_ONE}:input_correlation",
        stacked=f"{_STACK}:input_correlation",
    ),
    SignAgreement: Making(
        ("per_image_forward", "per_image_loss"), f"{_ALONE}:sign_agreement"
    ),
    TangentKernel: Making(
        ("per_image_forward", "per_image_logits"), f"{_ALONE}:tangent_kernel"
    ),
    PartGradients: Making(
        ("part_gradients",), ".part_gradients:measure_part_gradients"
    ),
    BlockFeatures: Making(
        ("block_features",), ".block_features:measure_block_features"
    ),
    GaussianResponse: Making(
        ("gaussian_response",),
        ".gaussian_response:measure_gaussian_response",
        stacked=".gaussian_response:stacked_gaussian_response",
        forward_only=True,
    ),
    SynapticFlow: Making(
        ("synaptic_flow",),
        ".synaptic_flow:measure_synaptic_flow",
        stacked=".synaptic_flow:stacked_synaptic_flow",
        exact=True,
    ),
    ChannelCorrelation: Making(
        ("channel_correlation",),
        ".channel_correlation:measure_channel_correlation",
        forward_only=True,
        exact=True,
    ),
}
"""Type → how it is made, in the order of making.

Where a network is handed out whole (`FreshNetwork`) comes first: passes move the
running statistics of BatchNorm.
"""
