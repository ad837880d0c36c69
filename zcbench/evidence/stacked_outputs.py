"""What every module of every network of a stack gives, and its spectra.

As `zcbench.evidence.activation_rank`, `image_spectra` and `channel_correlation` for one
network: outputs of one shape go through one decomposition, whoever they are of.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Sequence
from functools import partial

import torch
from torch import Tensor

from zcbench.evidence import activation_rank, channel_correlation, image_spectra
from zcbench.evidence.gaussian_response import gaussian
from zcbench.evidence.passes import Record
from zcbench.evidence.records import ChannelCorrelation, ImageCorrelation
from zcbench.evidence.spectra import ActivationRank, ImageSpectra
from zcbench.evidence.stacked_alone import ImagesAlone
from zcbench.evidence.subject import StackedSubject
from zcbench.networks.stacked import Kind
from zcbench.networks.stacked_layers import StackedBatchNorm, StackedLayer, StackedReLU

Reduce = Callable[[Tensor], Tensor | None]
"""Of outputs [G, N, C, H, W] or [G, N, C] a matrix of each member, or None."""


@torch.no_grad()
def stacked_activation_rank(subject: StackedSubject) -> list[ActivationRank]:
    """One forward of the minibatch; layers, BatchNorms and ReLUs count."""
    outputs = _Outputs(partial(activation_rank.windows, seed=subject.seed))
    subject.network(subject.network.images(subject.batch.x), outputs)
    ranks = outputs.spread(activation_rank.effective_ranks, subject.network.n_networks)
    return [ActivationRank(each) for each in ranks]


@torch.no_grad()
def stacked_image_spectra(subject: StackedSubject) -> list[ImageSpectra]:
    """One forward of one image; every module counts."""
    network = subject.network
    outputs = _Outputs(image_spectra.rows_of, everything=True)
    network(network.images(subject.batch.x[:1]), outputs)
    spread = partial(outputs.spread, n_networks=network.n_networks)
    conditions = spread(image_spectra.inverse_conditions)
    smallest = partial(image_spectra.smallest, seed=subject.seed)
    sampled = spread(smallest, least=image_spectra.SAMPLED)
    return outputs.of_each(
        lambda p: ImageSpectra(conditions[p], sampled[p]), network.n_networks
    )


def stacked_channel_correlation(subject: StackedSubject) -> list[ChannelCorrelation]:
    """One forward of one Gaussian image; modules without children count."""
    shape = (1, *subject.batch.x.shape[1:])
    image = gaussian("channel correlation", shape, subject.seed)
    image = image.to(subject.batch.x)
    return _correlations(subject, image, ChannelCorrelation, everything=False)


def stacked_image_correlation(subject: StackedSubject) -> list[ImageCorrelation]:
    """The same of the first image of the minibatch, and of every module."""
    image = subject.batch.x[:1]
    return _correlations(subject, image, ImageCorrelation, everything=True)


@torch.no_grad()
def _correlations(
    subject: StackedSubject,
    image: Tensor,
    record: Callable[[tuple[float, ...]], Record],
    *,
    everything: bool,
) -> list[Record]:
    network = subject.network
    outputs = _Outputs(channel_correlation.correlations, everything=everything)
    network(network.images(image), outputs)
    smallest = outputs.spread(
        channel_correlation.smallest_eigenvalues, network.n_networks
    )
    return outputs.of_each(lambda p: record(smallest[p]), network.n_networks)


class _Outputs(ImagesAlone):
    """Reduces what modules give, and keeps it by shape.

    Args:
        reduce: makes a matrix of each member's output.
        everything: whether containers count, and what stands for several as often.
    """

    def __init__(self, reduce: Reduce, *, everything: bool | None = None) -> None:
        super().__init__()
        self._reduce, self._everything = reduce, everything
        self._kept: dict[tuple[int, ...], list[tuple[Tensor, list[int]]]] = defaultdict(
            list
        )

    def layer(self, layer: StackedLayer, x: Tensor) -> Tensor:
        out = super().layer(layer, x)
        maps = out.flatten(1) if len(layer.shape) == 2 else out
        self._keep(maps, layer.members)
        return out

    def batchnorm(self, norm: StackedBatchNorm, x: Tensor) -> Tensor:
        out: Tensor = norm(x) if len(x) > 1 else super().batchnorm(norm, x)
        self._keep(out, norm.members)
        return out

    def relu(self, relu: StackedReLU, x: Tensor) -> Tensor:
        out = super().relu(relu, x)
        self._keep(out, relu.members)
        return out

    def output(
        self, x: Tensor, members: Sequence[int], kind: Kind, times: int = 1
    ) -> Tensor:
        if self._everything:
            self._keep(x, members, times)
        elif self._everything is False and kind != "container":
            self._keep(x, members)
        return x

    def _keep(self, maps: Tensor, members: Sequence[int], times: int = 1) -> None:
        n, channels, *size = maps.shape
        each = maps.reshape(n, len(members), channels // len(members), *size)
        matrices = self._reduce(each.transpose(0, 1))
        if matrices is not None:
            owners = [p for p in members for _ in range(times)]
            self._kept[tuple(matrices.shape[1:])].append(
                (matrices.repeat_interleave(times, 0), owners)
            )

    def spread(
        self,
        compute: Callable[[Tensor], Tensor],
        n_networks: int,
        least: int = 0,
    ) -> list[tuple[float, ...]]:
        """Numbers of each network's matrices that have one, ascending.

        NaN alone where a matrix holds what is no number.

        Args:
            compute: of matrices [B, rows, columns], [B].
            n_networks: P.
            least: rows that a matrix must have to count.
        """
        networks: list[list[float]] = [[] for _ in range(n_networks)]
        lost = set()
        for shape, kept in self._kept.items():
            matrices = torch.cat([some for some, _ in kept])
            owners = [p for _, members in kept for p in members]
            wrong = ~matrices.isfinite().flatten(1).all(1)
            lost |= {p for p, bad in zip(owners, wrong.tolist(), strict=True) if bad}
            if shape[0] < least:
                continue
            matrices[wrong] = 0
            values = compute(matrices).tolist()
            for p, value in zip(owners, values, strict=True):
                networks[p].append(value)
        return [
            (float("nan"),) if p in lost else tuple(sorted(v for v in values if v == v))
            for p, values in enumerate(networks)
        ]
