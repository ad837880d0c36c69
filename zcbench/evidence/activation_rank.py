"""Effective ranks of what modules give (NEAR, Husistein et al. 2025).

Of a module's output the rows are the places of all images, column by column of a
feature map as in the authors' code, and the columns its channels. As many consecutive
rows as columns are taken, from a random column of a map on; all rows where there are
fewer. The authors let the window run over the end of the minibatch, where it is
shorter; here it fits in. A module that is called several times counts the first time.
"""

from __future__ import annotations

from collections import defaultdict

import torch
from torch import Tensor, nn

from zcbench.errors import Undefined
from zcbench.evidence.spectra import (
    ActivationRank,
)
from zcbench.evidence.subject import Subject
from zcbench.seeding import generator, reseed

_FUNCTIONS = tuple(
    getattr(nn, name) for name in nn.modules.activation.__all__ if hasattr(nn, name)
)


@torch.no_grad()
def measure_activation_rank(subject: Subject) -> ActivationRank:
    """One forward of the minibatch.

    Raises:
        Undefined: no module has weights or is an activation function, or one gives
            what has no rows.
    """
    windows = _Windows(subject.seed, len(subject.batch.x))
    hooks = [
        module.register_forward_hook(windows.note)
        for module in subject.network.modules()
        if hasattr(module, "weight") or isinstance(module, _FUNCTIONS)
    ]
    reseed(subject.seed)
    try:
        subject.network(subject.batch.x)
    finally:
        for hook in hooks:
            hook.remove()
    return ActivationRank(tuple(sorted(windows.ranks())))


class _Windows:
    """Square matrices of modules' outputs, by their shape."""

    def __init__(self, seed: int, n_images: int) -> None:
        self._seed, self._n = seed, n_images
        self._seen: set[nn.Module] = set()
        self._windows: dict[tuple[int, ...], list[Tensor]] = defaultdict(list)
        self._times: dict[tuple[int, ...], list[int]] = defaultdict(list)

    def note(self, module: nn.Module, _inputs: object, output: object) -> None:
        """Forward hook."""
        if isinstance(output, tuple):
            output = output[0]
        if module in self._seen or not isinstance(output, Tensor):
            return
        if output.dim() < 2 or len(output) % self._n:
            shape = list(output.shape)
            raise Undefined(f"{type(module).__name__} gives {shape}, not images first")
        self._seen.add(module)
        window = windows(output[None], self._seed)[0]
        self._windows[tuple(window.shape)].append(window)
        times = getattr(module, "multiplicity", 1)
        self._times[tuple(window.shape)].append(times)

    def ranks(self) -> tuple[float, ...]:
        """Effective rank of each; 0 of one that is zero.

        Raises:
            Undefined: there is none.
        """
        if not self._seen:
            raise Undefined("no module has weights or is an activation function")
        ranks: list[float] = []
        for shape, windows in self._windows.items():
            stacked = torch.stack(windows)
            if bool(stacked.isnan().any()):
                return (float("nan"),)
            each = effective_ranks(stacked).tolist()
            for rank, times in zip(each, self._times[shape], strict=True):
                ranks += [rank] * times
        return tuple(ranks)


def windows(outputs: Tensor, seed: int) -> Tensor:
    """Rows of outputs [B, N, C], [B, N, tokens, C] or [B, N, C, H, W], as many as C.

    Returns:
        [B, rows, C] float64 on the CPU, the same rows of each.
    """
    if outputs.dim() > 4:
        outputs = outputs.transpose(2, -1)  # [B, N, W, H, C]
    n, columns = outputs.shape[1], outputs.shape[-1]
    step = outputs.shape[-2] if outputs.dim() > 3 else 1
    total = outputs[0].numel() // columns
    last = max(0, total - columns) // step
    random = generator(seed, "near", total, columns)
    start = step * int(torch.randint(0, last + 1, (), generator=random))
    each = total // n  # rows of one image
    first, stop = start // each, -(-(start + columns) // each)
    rows = outputs[:, first:stop].reshape(len(outputs), -1, columns)
    rows = rows[:, start - first * each :][:, :columns]
    return rows.to("cpu", torch.float64, copy=True)  # others may write into it


def effective_ranks(matrices: Tensor) -> Tensor:
    """Of [B, rows, columns], exp of the entropy of singular values; 0 of zeros."""
    values = torch.linalg.svdvals(matrices)
    share = values / values.sum(1, keepdim=True)
    entropy = -torch.special.xlogy(share, share).sum(1)
    ranks: Tensor = entropy.exp().nan_to_num(0.0)
    return ranks
