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
from zcbench.evidence.passes import attempt_each, positions
from zcbench.evidence.records import BlockFeatures
from zcbench.evidence.subject import StackedSubject, Subject
from zcbench.evidence.watch import Watch, channel_axis
from zcbench.networks.stacked import Rules
from zcbench.seeding import generator, reseed

_NO_NUMBERS = "the features of a block are not numbers"


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
        raise Undefined(_NO_NUMBERS)
    each = [blocks[0][0], *(output for _, output in blocks)]
    entropy = [float(_entropy(features)) for features in each]
    if several:  # such as the cells of DARTS
        return BlockFeatures(tuple(entropy), ())
    gains = []
    for number, (value, output) in reversed(list(enumerate(blocks))):
        gains.append(float(_gain(value, output, subject.seed, number)))
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


def _entropy(features: Tensor, n_networks: int = 1) -> Tensor:
    """−Σ p log(p + 1e-8), p the spectrum of the covariance between channels.

    Args:
        features: [N, P·C, H, W], numbers.
        n_networks: P.

    Returns:
        [P].
    """
    rows = _channels(features.detach(), n_networks)
    rows = rows - rows.mean(2, keepdim=True)
    covariance = (rows @ rows.mT).double() / rows.shape[2]
    # Rounding can make an eigenvalue that is 0 negative, which has no logarithm.
    spectrum = torch.linalg.eigvalsh(covariance.cpu()).clamp(min=0)
    share = spectrum / spectrum.sum(1, keepdim=True)
    entropy: Tensor = -(share * (share + 1e-8).log()).sum(1)
    return entropy


def _numbers(features: Tensor) -> Tensor:
    """Zeros in place of what is no number: no decomposition would end."""
    return features.detach().nan_to_num(0.0, 0.0, 0.0)


def _channels(maps: Tensor, n_networks: int) -> Tensor:
    """[N, P·C, H, W] → [P, C, N·H·W]."""
    rows = maps.transpose(0, 1).flatten(1)
    return rows.reshape(n_networks, -1, rows.shape[1])


def _gain(
    value: Tensor, output: Tensor, seed: int, number: int, n_networks: int = 1
) -> Tensor:
    """Largest singular value of the mean of g_in g_outᵀ, g_out random signs.

    Args:
        value: input of the block. [N, P·C, H, W]
        output: of the block.
        seed: of the signs, which are the same for every network.
        number: of the block.
        n_networks: P.

    Returns:
        [P], NaN where a block hands g_out on unchanged.
    """
    draw = generator(seed, "block gradients", number)
    n, channels, *size = output.shape
    shape = (n, channels // n_networks, *size)
    signs = torch.randint(0, 2, shape, generator=draw) * 2 - 1
    upper = torch.empty_like(output).copy_(signs.repeat(1, n_networks, 1, 1))
    lower = None
    if output.requires_grad:
        (lower,) = torch.autograd.grad(output, value, upper, allow_unused=True)
    if lower is None:
        return torch.zeros(n_networks, dtype=torch.float64)
    unchanged = torch.zeros(n_networks, dtype=torch.bool)
    if lower.shape == upper.shape:
        unchanged = (_channels(lower - upper, n_networks) == 0).all(2).all(1).cpu()
    if lower.shape[2:] != upper.shape[2:]:
        factor = lower.shape[2] // upper.shape[2]
        if tuple(factor * side for side in upper.shape[2:]) != tuple(lower.shape[2:]):
            raise Undefined("a block changes height and width by different factors")
        lower = F.pixel_unshuffle(lower, factor)
    rows, columns = (_channels(g, n_networks) for g in (lower, upper))
    matrix = (rows @ columns.mT).double() / columns.shape[2]
    overflow = ~matrix.isfinite().all(2).all(1).cpu()
    gains: Tensor = torch.linalg.svdvals(_numbers(matrix).cpu())[:, 0]
    return gains.masked_fill(unchanged, math.nan).masked_fill(overflow, math.inf)


def stacked_block_features(subject: StackedSubject) -> list[BlockFeatures]:
    """The same of every network of a stack."""
    network, x = subject.network, subject.batch.x
    images = gaussian("block features", tuple(x.shape), subject.seed).to(x)
    rules = _Blocks()
    network(network.images(images).requires_grad_(True), rules)
    each = [rules.seen[0][0], *(output for _, output in rules.seen)]
    n_networks = network.n_networks
    numbers = [_channels(f.isfinite(), n_networks).all(2).all(1) for f in each]
    lost = positions(~torch.stack(numbers).all(0))
    entropy = torch.stack([_entropy(_numbers(f), n_networks) for f in each], 1)
    gains = [
        _gain(value, output, subject.seed, number, n_networks)
        for number, (value, output) in reversed(list(enumerate(rules.seen)))
    ]
    gain = torch.stack(gains[::-1], 1)

    def record(p: int) -> BlockFeatures:
        return BlockFeatures(tuple(entropy[p].tolist()), tuple(gain[p].tolist()))

    return attempt_each(record, n_networks, lost, _NO_NUMBERS)


class _Blocks(Rules):
    """Keeps the input and output of every block."""

    dead = False

    def __init__(self) -> None:
        self.seen: list[tuple[Tensor, Tensor]] = []

    def block(self, block: nn.Module, number: int, x: Tensor) -> Tensor:
        if not x.requires_grad:
            x = x.detach().requires_grad_(True)
        out = super().block(block, number, x)
        self.seen.append((x, out))
        return out
