"""Evidence: what proxies may ask for by annotating a parameter with its type.

Records are small and frozen, already reduced inside the pass that makes them: there
are no raw activations. A proxy that needs them reduces them itself
(`zcbench.evidence.streams`). Importing this file does not import torch.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from torch import Tensor, nn

    from zcbench.types import Batch


@dataclass(frozen=True, slots=True)
class Parameters:
    """What the network consists of: no pass at all.

    Attributes:
        n_params: trainable parameters, all of them.
        weights: weight tensor of every convolution and linear layer; a tensor that
            several layers share counts once.
    """

    n_params: int
    weights: tuple[Tensor, ...]


@dataclass(frozen=True, slots=True)
class Structure:
    """What the network is, before any data.

    Attributes:
        n_params: trainable parameters, all of them.
        macs: multiply-accumulates of convolutions and linear layers for one image.
        n_layers: convolutions and linear layers on a path from input to output.
        weights: weight tensor of every convolution and linear layer.
    """

    n_params: int
    macs: int
    n_layers: int
    weights: tuple[Tensor, ...]


@dataclass(frozen=True, slots=True)
class Gradients:
    """Gradients of the mean loss L of the minibatch.

    L is the cross-entropy, or in a regression the squared error.

    Attributes:
        weights: weight tensor w of every convolution and linear layer.
        grads: ∂L/∂w for each, zero where the layer does not reach the output.
    """

    weights: tuple[Tensor, ...]
    grads: tuple[Tensor, ...]


@dataclass(frozen=True, slots=True)
class ChannelSaliency:
    """Fisher information of every output channel of convolutions and linear layers.

    Attributes:
        saliency: per layer [C_out]: ½ · mean over images of (Σ_hw a · ∂L/∂a)², with
            a the layer's output and L the mean loss.
        fan_in: per layer, how many weights one output channel owns.
    """

    saliency: tuple[Tensor, ...]
    fan_in: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class HessianGradient:
    """Hessian H of the mean loss L applied to its own gradient g.

    Attributes:
        weight_product: Σ w · (H g) over the weights w of convolutions and linear
            layers, H = ∂²L/∂w² and g = ∂L/∂w over all of them.
    """

    weight_product: float


@dataclass(frozen=True, slots=True)
class SynapticFlow:
    """Flow of an all-ones image through the network of absolute parameters.

    BatchNorm is taken out, everything is float64, R is the sum of the outputs
    (Tanaka et al. 2020).

    Attributes:
        flow: per convolution and linear layer, Σ_w abs(w) · ∂R/∂abs(w).
    """

    flow: tuple[float, ...]


@dataclass(frozen=True, slots=True)
class InputCorrelation:
    """Correlation between images of the gradients of the summed logits.

    Attributes:
        correlation: [N, N] float64, Pearson correlation of the rows of
            J [N, C·H·W] = ∂(Σ logits)/∂x; NaN in rows whose J is constant, or is
            rounding of 0.
        labels: [N] class of each image; none in a task without classes.
        n_classes: number of classes of the task (outputs of the network).
    """

    correlation: Tensor
    labels: tuple[int, ...]
    n_classes: int


@dataclass(frozen=True, slots=True)
class ActivationKernel:
    """Agreement of ReLU codes between images.

    Attributes:
        kernel: [N, N] float64, K_ij = number of ReLU units (over all ReLU layers) that
            are both on or both off for images i and j. Exact integers.
    """

    kernel: Tensor


@dataclass(frozen=True, slots=True)
class ActivationPatterns:
    """Which images switch a ReLU unit on.

    Attributes:
        distinct: number of different patterns over all units of all ReLU layers; the
            pattern of a unit is the set of images for which its input is positive.
        units: number of units.
    """

    distinct: int
    units: int


@dataclass(frozen=True, slots=True)
class DrawnPatterns:
    """The same of the first images, for networks with standard Gaussian weights.

    Attributes:
        distinct: number of different patterns, for each draw of the weights
            (`zcbench.evidence.drawn_patterns`).
    """

    distinct: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class PartGradients:
    """Gradients of the mean loss of each half of the minibatch.

    Each half is a minibatch of its own, with its own BatchNorm statistics. Together
    they stand for the several minibatches that some papers take.

    Attributes:
        grads: [parts, *shape of the weight] for every convolution and linear layer,
            zero where the layer does not reach the output.
    """

    grads: tuple[Tensor, ...]


@dataclass(frozen=True, slots=True)
class SignAgreement:
    """How far the loss gradients of the images point the same way.

    Each image is a minibatch of its own: see `zcbench.evidence.per_image_pass`.

    Attributes:
        total: Σ over weights of abs(Σ_n sign ∂L_n/∂w), L_n the loss of image n.
        n_weights: how many weights convolutions and linear layers have.
    """

    total: float
    n_weights: int


@dataclass(frozen=True, slots=True)
class TangentKernel:
    """Neural tangent kernel of the images.

    Each image is a minibatch of its own: see `zcbench.evidence.per_image_pass`.

    Attributes:
        kernel: [N, N] float64, Θ = J Jᵀ, row n of J the gradient of the sum of image
            n's logits, over the weights of convolutions and linear layers.
    """

    kernel: Tensor


@dataclass(frozen=True, slots=True)
class MinibatchKernel:
    """Neural tangent kernel of a few images that BatchNorm couples.

    Attributes:
        kernel: [n, n] float64 on the CPU, J Jᵀ, row i of J the gradient of the sum of
            image i's logits over all weights (`zcbench.evidence.te_nas`).
    """

    kernel: Tensor


@dataclass(frozen=True, slots=True)
class FirstGradients:
    """Loss gradients of images, each a minibatch of its own, by a few weights.

    Attributes:
        entries: [tensors, images, 50] float64 on the CPU, of the first parameters
            (`zcbench.evidence.loss_gradients`).
    """

    entries: Tensor


@dataclass(frozen=True, slots=True)
class LinearRegions:
    """How many linear regions of a thin network small images fall into.

    Attributes:
        regions: for each draw of the weights (`zcbench.evidence.te_nas`).
    """

    regions: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class ChannelCorrelation:
    """How alike the channels of feature maps are, for one Gaussian image.

    Attributes:
        smallest: for every module that gives a feature map, the smallest eigenvalue of
            the correlation between its channels
            (`zcbench.evidence.channel_correlation`), ascending.
    """

    smallest: tuple[float, ...]


@dataclass(frozen=True, slots=True)
class ImageCorrelation:
    """How alike the channels of modules' outputs are, for the first image.

    Attributes:
        smallest: for every module, containers too, the smallest eigenvalue of the
            correlation between the channels of its output
            (`zcbench.evidence.channel_correlation`), ascending.
    """

    smallest: tuple[float, ...]


@dataclass(frozen=True, slots=True)
class BlockFeatures:
    """Features of the blocks of a network for Gaussian images.

    What a block is: `zcbench.evidence.block_features`.

    Attributes:
        entropy: of the spectrum of the channel covariance, in nats: of the first
            block's input, then of every block's output.
        gain: for every block, the largest singular value of what carries a random
            gradient of signs from its output to its input; NaN for a block that hands
            it on unchanged. Empty where a block takes several feature maps.
    """

    entropy: tuple[float, ...]
    gain: tuple[float, ...]


@dataclass(frozen=True, slots=True)
class GaussianResponse:
    """Change of features under a small change of a Gaussian input, Gaussian weights.

    Attributes:
        difference: mean over images of Σ abs(f(x) − f(x + 0.01 e)), f the features
            before global pooling, weights, x and e standard Gaussian, BatchNorm in
            train mode.
        batchnorm_variances: per BatchNorm layer, mean over channels of the running
            variance after both passes (momentum 0.1, from 1).
    """

    difference: float
    batchnorm_variances: tuple[float, ...]


@dataclass(frozen=True, slots=True)
class FreshNetwork:
    """Escape hatch: a private copy of the network at initialisation.

    Attributes:
        network: yours to change, in train mode.
        batch: the minibatch, on the network's device.
        loss: mean loss of (outputs, y): cross-entropy, or in a regression the squared
            error.
        seed: for random numbers of your own.
    """

    network: nn.Module
    batch: Batch
    loss: Callable[[Tensor, Tensor], Tensor]
    seed: int = 0


@dataclass(frozen=True, slots=True)
class Dataflow:
    """The graph of a network's operations, on paths from input to output.

    Attributes:
        convolutions: how many there are; linear layers left out.
        skips: identity modules.
        poolings: pooling modules, the global one too.
        relus: ReLUs anywhere, dead branches too.
        degree: mean over channels of the number of channels that they are joined to
            (`zcbench.evidence.dataflow`); 0 without a path.
    """

    convolutions: int
    skips: int
    poolings: int
    relus: int
    degree: float
