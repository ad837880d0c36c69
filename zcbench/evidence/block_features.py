"""Features of a network's blocks for Gaussian images (AZ-NAS, Lee & Ham 2024).

A block is a module with children of its own, found by going down through `Sequential`
and `ModuleList` only: the cells and residual blocks of NAS-Bench-201, the residual
blocks of a ResNet. A network of layers alone has none. The features are the input of
the first block and the output of every block.
"""

from __future__ import annotations

import math
from contextlib import nullcontext

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from zcbench.errors import Undefined
from zcbench.evidence.gaussian_response import gaussian
from zcbench.evidence.records import BlockFeatures
from zcbench.evidence.subject import Subject
from zcbench.evidence.watch import Watch, channel_axis
from zcbench.seeding import generator, reseed


def measure_block_features(subject: Subject) -> BlockFeatures:
    """One forward of as many Gaussian images as the minibatch has, and its backwards.

    The network's own weights, where the authors draw them by Kaiming's rule.

    Raises:
        Undefined: there is no block that makes feature maps of feature maps.
    """
    blocks, several = _forward(subject)
    if not blocks:
        raise Undefined("the network has no blocks between feature maps")
    if any(bool(output.isnan().any()) for _, output in blocks):
        raise Undefined("the features of a block are not numbers")
    entropy = [_entropy(blocks[0][0]), *(_entropy(output) for _, output in blocks)]
    if several:  # such as the cells of DARTS
        return BlockFeatures(tuple(entropy), ())
    gains = []
    for number, (value, output) in reversed(list(enumerate(blocks))):
        gains.append(_gain(value, output, subject.seed, number))
    return BlockFeatures(tuple(entropy), tuple(reversed(gains)))


def _forward(subject: Subject) -> tuple[list[tuple[Tensor, Tensor]], bool]:
    """First input and output of every block, in the order of the calls.

    And whether a block takes several feature maps.
    """
    x = subject.batch.x
    images = gaussian("block features", tuple(x.shape), subject.seed)
    features: list[tuple[Tensor, Tensor]] = []
    maps = [0]

    def note(_module: nn.Module, inputs: tuple[object, ...], output: object) -> None:
        value = inputs[0] if inputs else None
        if (
            isinstance(value, Tensor)
            and isinstance(output, Tensor)
            and value.dim() == output.dim() == 4
        ):
            if not subject.plain and {channel_axis(value), channel_axis(output)} != {1}:
                raise Undefined("a block's features are not known to be [N, C, H, W]")
            features.append((value, output))
            maps.append(sum(isinstance(i, Tensor) and i.dim() == 4 for i in inputs))

    blocks = blocks_of(subject.network)
    hooks = [block.register_forward_hook(note) for block in blocks]
    hooks += [block.register_forward_pre_hook(_with_gradient) for block in blocks]
    reseed(subject.seed)
    try:
        watch = nullcontext() if subject.plain else Watch()
        with subject.without_weight_gradients(), watch:
            subject.network(images_of(torch.empty_like(x).copy_(images)))
    finally:
        for hook in hooks:
            hook.remove()
    return features, max(maps) > 1


def images_of(x: Tensor) -> Tensor:
    """Images with a gradient, whose channels are the second axis by definition."""
    x.requires_grad_(True)
    x._zcbench_channels = 1  # type: ignore[attr-defined]
    return x


def _with_gradient(
    _module: nn.Module, inputs: tuple[object, ...]
) -> tuple[object, ...] | None:
    """Let a backward reach the input of a block that depends on no image."""
    value = inputs[0] if inputs else None
    if isinstance(value, Tensor) and not value.requires_grad:
        free = value.detach().requires_grad_(True)
        free._zcbench_channels = channel_axis(value)  # type: ignore[attr-defined]
        return (free, *inputs[1:])
    return None


def blocks_of(module: nn.Module) -> list[nn.Module]:
    """Blocks of a network, in order of definition."""
    blocks = []
    for child in module.children():
        if isinstance(child, nn.Sequential | nn.ModuleList):
            blocks += blocks_of(child)
        elif next(child.children(), None) is not None:
            blocks.append(child)
    return blocks


def _entropy(features: Tensor) -> float:
    """−Σ p log(p + 1e-8), p the spectrum of the covariance between channels."""
    rows = features.detach().permute(1, 0, 2, 3).flatten(1)
    rows = rows - rows.mean(1, keepdim=True)
    covariance = (rows @ rows.T).double() / rows.shape[1]
    # Rounding can make an eigenvalue that is 0 negative, which has no logarithm.
    spectrum = torch.linalg.eigvalsh(covariance.cpu()).clamp(min=0)
    share = spectrum / spectrum.sum()
    return float(-(share * (share + 1e-8).log()).sum())


def _gain(value: Tensor, output: Tensor, seed: int, number: int) -> float:
    """Largest singular value of the mean of g_in g_outᵀ, g_out random signs."""
    draw = generator(seed, "block gradients", number)
    signs = torch.randint(0, 2, tuple(output.shape), generator=draw) * 2 - 1
    upper = torch.empty_like(output).copy_(signs)
    lower = None
    if output.requires_grad:
        (lower,) = torch.autograd.grad(output, value, upper, allow_unused=True)
    if lower is None:
        return 0.0
    if lower.shape == upper.shape and torch.equal(lower, upper):
        return math.nan
    if lower.shape[2:] != upper.shape[2:]:
        factor = lower.shape[2] // upper.shape[2]
        if tuple(factor * size for size in upper.shape[2:]) != tuple(lower.shape[2:]):
            raise Undefined("a block changes height and width by different factors")
        lower = F.pixel_unshuffle(lower, factor)
    rows, columns = (g.permute(1, 0, 2, 3).flatten(1) for g in (lower, upper))
    matrix = (rows @ columns.T).double() / columns.shape[1]
    return float(torch.linalg.svdvals(matrix.cpu())[0])
