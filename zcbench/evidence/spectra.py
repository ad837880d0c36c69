"""Records of spectra, of responses that are compared, of tokens. No torch here."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from torch import Tensor


@dataclass(frozen=True, slots=True)
class ActivationRank:
    """How many directions the outputs of modules span.

    Attributes:
        effective: for every module with weights and every activation function, exp of
            the entropy of the normalised singular values of some of its outputs
            (`zcbench.evidence.activation_rank`), ascending.
    """

    effective: tuple[float, ...]


@dataclass(frozen=True, slots=True)
class ImageSpectra:
    """Spectra of what every module makes of the first image of the minibatch.

    Which modules count: `zcbench.evidence.image_spectra`.

    Attributes:
        inverse_condition: least over largest singular value of each module's output,
            channels by places, ascending; none of outputs that are zero.
        sampled: smallest eigenvalue of the correlation of eight random channels of
            each output with as many, times the number of channels / 8, ascending.
    """

    inverse_condition: tuple[float, ...]
    sampled: tuple[float, ...]


@dataclass(frozen=True, slots=True)
class OutputCurvature:
    """How the outputs bend while the input goes round a circle.

    Attributes:
        curvature: extrinsic curvature at one point of the circle of ten outputs
            (`zcbench.evidence.output_curvature`).
    """

    curvature: float


@dataclass(frozen=True, slots=True)
class ResponseCorrelation:
    """How alike the images are at the inputs of ReLUs, forward and backward.

    A term is abs(correlation between images) of a ReLU's input, or of the gradient of
    the loss with respect to it; those that are not defined are left out.

    Attributes:
        total: [N, N] float64, the sum of all terms.
        weighted: the same, each term times 2 to the number of its block, from 0; what
            follows the last block has the next number, what precedes the first none.
            None of a network without blocks.
    """

    total: Tensor
    weighted: Tensor | None


@dataclass(frozen=True, slots=True)
class FisherSpectrum:
    """Empirical Fisher information of one weight of each of the first tensors.

    Attributes:
        deciles: the nine of its eigenvalues (`zcbench.evidence.fisher_spectrum`).
        n_tensors: number of trainable parameter tensors of the network.
    """

    deciles: tuple[float, ...]
    n_tensors: int


@dataclass(frozen=True, slots=True)
class ConstantWeights:
    """Outputs of the network when all weights are 1e-7, and when all are 1.

    Attributes:
        difference: mean absolute difference of the two, each scaled to [0, 1].
        mean: mean of both, the least left out.
    """

    difference: float
    mean: float


@dataclass(frozen=True, slots=True)
class Attention:
    """What attention makes of the minibatch (`zcbench.evidence.attention`).

    Attributes:
        head: for every attention, the mean over images and heads of the largest output
            of a head.
        softmax: the same, the mean over images, heads and queries of the largest weight
            of a query.
        agreement: for every activation function on tokens, the sum over pairs of tokens
            of the first image of the units that have the same sign.
    """

    head: tuple[float, ...]
    softmax: tuple[float, ...]
    agreement: tuple[float, ...]


@dataclass(frozen=True, slots=True)
class HiddenDimensions:
    """How many directions the hidden layers of a transformer's MLPs take.

    Attributes:
        dimensions: for every activation function on tokens, principal components of its
            input that hold 99% of the variance over tokens and images.
    """

    dimensions: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class SynapticDiversity:
    """Weights of a transformer and their synaptic flow, one all-ones image.

    Parameters are absolute, R is the sum of outputs.

    Attributes:
        attention: for every matrix w of an attention module, ‖w‖ · ‖∂R/∂w‖, the norms
            nuclear ones.
        others: for every other linear layer, Σ abs(w · ∂R/∂w).
    """

    attention: tuple[float, ...]
    others: tuple[float, ...]
