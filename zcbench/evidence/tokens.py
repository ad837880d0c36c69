"""Records of transformers. No torch here."""

from __future__ import annotations

from dataclasses import dataclass


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
