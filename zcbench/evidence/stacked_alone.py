"""Images alone in a stack: BatchNorm has the places of one image to normalise by."""

from __future__ import annotations

from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor

from zcbench.evidence.passes import Record, attempt_each
from zcbench.evidence.per_image_pass import ONE_VALUE
from zcbench.networks.stacked import Rules
from zcbench.networks.stacked_layers import StackedBatchNorm


class ImagesAlone(Rules):
    """Each image is a minibatch of its own, which a network may be too small for."""

    def __init__(self) -> None:
        self._too_small: set[int] = set()

    def batchnorm(self, norm: StackedBatchNorm, x: Tensor) -> Tensor:
        """BatchNorm, whose networks are noted where it has one value per channel."""
        if x.shape[2:].numel() == 1:
            self._too_small.update(norm.members)
            return torch.zeros_like(x)
        return self.normalise(norm, x)

    def normalise(self, norm: StackedBatchNorm, x: Tensor) -> Tensor:
        """Maps [N, G·C, H, W] by the mean and variance of each channel and image."""
        return F.group_norm(x, x.shape[1], norm.weight, norm.bias, norm.eps)

    def of_each(self, make: Callable[[int], Record], n_networks: int) -> list[Record]:
        """Records of the networks by their positions, a `Missing` of the too small."""
        return attempt_each(make, n_networks, self._too_small, ONE_VALUE)
