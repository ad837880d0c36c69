"""ReLU codes: b [N, units] is 1 where the input of a ReLU is positive."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from zcbench.errors import Undefined
from zcbench.evidence.records import ActivationPatterns
from zcbench.evidence.subject import summing_dtype

_TABLED = 16
"""Images of which all patterns that there could be fit into a table."""
_WORD = 24
"""Images in one number that float32 holds exactly."""


def codes_of(value: Tensor) -> Tensor:
    """1 where the input of a ReLU is positive, [N, units] float32."""
    value = value.detach()
    if value.dim() == 4:  # a view for channels-last memory; order is free
        value = value.permute(0, 2, 3, 1)
    return (value > 0).flatten(1).to(torch.float32)


class CodeAgreement:
    """Sums b bᵀ over ReLU layers; b [N, units] is 1 where the input is positive."""

    def __init__(self, n_images: int, device: torch.device) -> None:
        dtype = summing_dtype(device)
        self.both_on = torch.zeros(n_images, n_images, dtype=dtype, device=device)
        self.units = 0

    def add(self, codes: Tensor, multiplicity: int) -> None:
        """Codes [N, units] of a layer that stands for so many."""
        # Sums of zeros and ones: exact in float32 below 2²⁴ units a layer.
        with torch.autocast(codes.device.type, enabled=False):
            both = codes @ codes.T
        self.both_on += both.to(self.both_on.dtype) * multiplicity
        self.units += codes.shape[1] * multiplicity

    def kernel(self) -> Tensor:
        """Units that are both on or both off, [N, N]."""
        return agreement(self.both_on, self.units)


def agreement(both_on: Tensor, units: int | Tensor) -> Tensor:
    """B bᵀ + (1 − b)(1 − b)ᵀ = 2 b bᵀ + units − (1 b) − (1 b)ᵀ, of b bᵀ [..., N, N]."""
    on = both_on.diagonal(dim1=-2, dim2=-1)
    return 2 * both_on + units - on[..., :, None] - on[..., None, :]


class Patterns:
    """Counts the different columns of b [N, units], each packed into whole numbers.

    Args:
        n_images: N.
        device: of the codes.
        n_networks: how many are counted, each for itself.
    """

    def __init__(
        self, n_images: int, device: torch.device, n_networks: int = 1
    ) -> None:
        self._units = [0] * n_networks
        self._short = n_images <= 64  # fits into one number of 64 bits
        self._tabled = n_images <= _TABLED
        table = 2**n_images if self._tabled else 0
        self._seen = torch.zeros(n_networks, table, dtype=torch.bool, device=device)
        self._words: list[list[Tensor]] = [[] for _ in range(n_networks)]
        image = torch.arange(n_images)
        packing = torch.zeros(-(-n_images // _WORD), n_images, dtype=torch.float32)
        packing[image // _WORD, image] = 2.0 ** (image % _WORD)
        self._packing = packing.to(device)
        shifts = _WORD * torch.arange(len(packing), device=device)
        self._shifts = shifts[:, None]

    def add(
        self, codes: Tensor, members: Sequence[int] = (0,), multiplicity: int = 1
    ) -> None:
        """Codes [N, units] of a layer, or [G, N, units] of one of some networks."""
        for p in members:
            self._units[p] += codes.shape[-1] * multiplicity
        # Sums of different powers of two below 2²⁴: exact in float32.
        with torch.autocast(codes.device.type, enabled=False):
            words = (self._packing.to(codes.dtype) @ codes).to(torch.int64)
        words = words.reshape(len(members), *words.shape[-2:])
        if self._tabled:
            rows = torch.tensor(members, device=words.device)
            self._seen[rows[:, None], words[:, 0]] = True
            return
        if self._short:
            words = (words << self._shifts).sum(1, keepdim=True)
        for p, each in zip(members, words, strict=True):
            self._words[p].append(each if self._short else torch.unique(each, dim=1))

    def record(self, p: int = 0) -> ActivationPatterns:
        """How many there are in a network.

        Raises:
            Undefined: there is no ReLU.
        """
        if not self._units[p]:
            raise Undefined("the network has no ReLU")
        if self._tabled:
            return ActivationPatterns(int(self._seen[p].sum()), self._units[p])
        words = torch.cat(self._words[p], dim=1)
        # Single numbers are sorted much faster.
        words = words[0] if self._short else words
        distinct = torch.unique(words, dim=-1).shape[-1]
        return ActivationPatterns(distinct, self._units[p])
