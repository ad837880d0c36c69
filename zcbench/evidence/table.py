"""The records that proxies can ask for, and how each is made. No torch here.

A new one is a file of its own and a line here: see docs/adding-a-record.md.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from zcbench.evidence.records import (
    ActivationKernel,
    ActivationPatterns,
    BlockFeatures,
    ChannelCorrelation,
    ChannelSaliency,
    Dataflow,
    DrawnPatterns,
    FirstGradients,
    FreshNetwork,
    GaussianResponse,
    Gradients,
    HessianGradient,
    ImageCorrelation,
    InputCorrelation,
    LinearRegions,
    MinibatchKernel,
    Parameters,
    PartGradients,
    SignAgreement,
    Structure,
    SynapticFlow,
    TangentKernel,
)
from zcbench.evidence.spectra import (
    ActivationRank,
    Attention,
    ConstantWeights,
    FisherSpectrum,
    HiddenDimensions,
    ImageSpectra,
    OutputCurvature,
    ResponseCorrelation,
    SynapticDiversity,
)
from zcbench.evidence.streams import Activations, ImageGradients


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
        bounds: relative difference that it may have on another device from the CPU in
            float64: in float64, in float32, and in tf32 or bf16.
        by_size: True if tf32 and bf16 are compared by the norms of its tensors.
    """

    passes: tuple[str, ...]
    maker: str
    stacked: str | None = None
    requires: type | None = None
    forward_only: bool = False
    exact: bool = False
    bounds: tuple[float, float, float] = (1e-6, 0.2, 0.45)
    by_size: bool = False


def _own(name: str, file: str = "", stacks: str = "", **more: Any) -> Making:
    """A pass of its own, by the functions of its name in the file of its name.

    Args:
        name: of the pass.
        file: where it stands, if that has another name.
        stacks: where the function for stacks stands, if not there.
        more: fields of the `Making`.
    """
    file = file or name
    made = {"stacked": f".{stacks or file}:stacked_{name}"} | more
    return Making((name,), f".{file}:measure_{name}", **made)


_ONE = ".minibatch_pass:MinibatchPass"
_STACK = ".stacked_minibatch:StackedMinibatchPass"
_ALONE = ".one_by_one:each_image"
_NO_ATTENTION = ".attention:no_attention:of_all"
_ALONE_STACK = ".stacked_gradients:StackedPerImagePass"

# Passes are made in this order; records of one forward with the first of them.
RECORDS: dict[type, Making] = {
    FreshNetwork: Making(
        (), ".subject:fresh_network", exact=True, bounds=(1e-6, 0.2, 0.2)
    ),
    Activations: Making(
        ("activations",),
        ".streaming:stream_activations",
        forward_only=True,
        exact=True,
        bounds=(1e-6, 1e-2, 1e-2),
    ),
    ImageGradients: Making(
        ("image_gradients",),
        ".streaming:stream_image_gradients",
        exact=True,
        bounds=(1e-6, 0.2, 0.2),
    ),
    Parameters: Making(
        (),
        ".structure:measure_parameters",
        stacked=".structure:stacked_parameters",
        forward_only=True,
        exact=True,
        bounds=(1e-12, 1e-6, 1e-6),
    ),
    Structure: _own(
        "structure",
        forward_only=True,
        exact=True,
        bounds=(1e-12, 1e-6, 1e-6),
    ),
    ActivationKernel: Making(
        ("forward", "relu_codes"),
        f"{_ONE}:activation_kernel",
        stacked=f"{_STACK}:activation_kernel",
        forward_only=True,
        bounds=(1e-6, 1e-3, 2e-2),
    ),
    ActivationPatterns: Making(
        ("forward", "relu_patterns"),
        f"{_ONE}:activation_patterns",
        stacked=f"{_STACK}:activation_patterns",
        forward_only=True,
        bounds=(1e-4, 2e-3, 2e-2),
    ),
    Gradients: Making(
        ("forward", "loss_backward"),
        f"{_ONE}:gradients",
        stacked=f"{_STACK}:gradients",
        by_size=True,
    ),
    ChannelSaliency: Making(
        ("forward", "loss_backward", "channel_saliency"),
        f"{_ONE}:channel_saliency",
        stacked=f"{_STACK}:channel_saliency",
        requires=Gradients,
        bounds=(1e-6, 0.1, 0.45),
        by_size=True,
    ),
    HessianGradient: Making(
        ("forward", "loss_backward", "hessian_product"),
        f"{_ONE}:hessian_gradient",
        stacked=f"{_STACK}:hessian_gradient",
        requires=Gradients,
        bounds=(1e-5, 0.3, 0.45),
    ),
    InputCorrelation: Making(
        ("forward", "input_backward"),
        f"{_ONE}:input_correlation",
        stacked=f"{_STACK}:input_correlation",
        bounds=(1e-6, 0.05, 0.45),
    ),
    DrawnPatterns: _own(
        "drawn_patterns",
        forward_only=True,
        bounds=(1e-4, 2e-3, 2e-2),
    ),
    LinearRegions: _own(
        "linear_regions",
        "te_nas",
        forward_only=True,
        exact=True,
        bounds=(1e-4, 2e-3, 2e-3),
    ),
    SignAgreement: Making(
        ("per_image_forward", "per_image_loss"),
        f"{_ALONE}:sign_agreement",
        stacked=f"{_ALONE_STACK}:sign_agreement",
        bounds=(1e-3, 1e-2, 5e-2),
    ),
    TangentKernel: Making(
        ("per_image_forward", "per_image_logits"),
        f"{_ALONE}:tangent_kernel",
        stacked=f"{_ALONE_STACK}:tangent_kernel",
        by_size=True,
    ),
    MinibatchKernel: _own(
        "minibatch_kernel",
        "te_nas",
        exact=True,
        bounds=(1e-6, 0.2, 0.2),
    ),
    FirstGradients: _own(
        "first_gradients",
        "loss_gradients",
        stacks="stacked_gradients",
        exact=True,
        bounds=(1e-6, 0.2, 0.2),
    ),
    PartGradients: _own(
        "part_gradients",
        "loss_gradients",
        stacks="stacked_gradients",
        by_size=True,
    ),
    BlockFeatures: _own(
        "block_features",
        bounds=(1e-6, 1e-2, 5e-2),
    ),
    GaussianResponse: _own(
        "gaussian_response",
        forward_only=True,
        bounds=(1e-6, 1e-2, 0.45),
    ),
    SynapticFlow: _own(
        "synaptic_flow",
        exact=True,
        bounds=(1e-9, 1e-9, 1e-9),
    ),
    ChannelCorrelation: _own(
        "channel_correlation",
        stacks="stacked_outputs",
        forward_only=True,
        exact=True,
        bounds=(1e-6, 1e-3, 1e-3),
    ),
    ImageCorrelation: _own(
        "image_correlation",
        "channel_correlation",
        stacks="stacked_outputs",
        forward_only=True,
        exact=True,
        bounds=(1e-6, 1e-3, 1e-3),
    ),
    ActivationRank: _own(
        "activation_rank",
        stacks="stacked_outputs",
        forward_only=True,
        bounds=(1e-6, 1e-2, 5e-2),
    ),
    ImageSpectra: _own(
        "image_spectra",
        stacks="stacked_outputs",
        forward_only=True,
        exact=True,
        bounds=(1e-6, 1e-2, 1e-2),
    ),
    OutputCurvature: _own(
        "output_curvature",
        exact=True,
    ),
    ResponseCorrelation: _own(
        "response_correlation",
    ),
    FisherSpectrum: _own(
        "fisher_spectrum",
        exact=True,
    ),
    ConstantWeights: _own(
        "constant_weights",
        forward_only=True,
        exact=True,
    ),
    Dataflow: _own(
        "dataflow",
        stacks="stacked_dataflow",
        forward_only=True,
        exact=True,
        bounds=(1e-12, 1e-12, 1e-12),
    ),
    Attention: _own("attention", stacked=_NO_ATTENTION, forward_only=True),
    HiddenDimensions: _own(
        "hidden_dimensions",
        "attention",
        stacked=_NO_ATTENTION,
        forward_only=True,
        bounds=(1e-2, 5e-2, 0.1),
    ),
    SynapticDiversity: _own(
        "synaptic_diversity",
        "attention",
        stacked=_NO_ATTENTION,
        exact=True,
        bounds=(1e-6, 1e-6, 1e-6),
    ),
}
"""Type → how it is made, in the order of making.

What is `RUN_WHEN_READ` keeps a network and comes first: passes move the running
statistics of BatchNorm.

In float64 and float32 the bounds are two and a half times and more what was seen
between the CPU in that precision and in float64, on random NAS-Bench-201 networks with
16 images of noise; rounding is enlarged by ReLUs that flip. SynapticFlow is float64 in
any precision, ChannelCorrelation and what is `RUN_WHEN_READ` are float32. In bfloat16
no bound is above 0.45, so that a factor of 1.5 shows in any record: most records keep
well below it, but HessianGradient can differ by 2 by rounding alone, and is then
calculated another way.
"""

RUN_WHEN_READ = frozenset({FreshNetwork, Activations, ImageGradients})
"""Records whose network runs for each proxy that reads them."""
