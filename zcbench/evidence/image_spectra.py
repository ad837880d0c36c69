"""Spectra of modules' outputs for one image (Dextr, and MeCo's cheaper form).

The image is the first of the minibatch, alone, in train mode. Every module counts each
time it is called, containers too, as in both papers' code: a block's output is that of
its last layer once more. Networks that share what the published ones repeat say so by
``published_modules``, the number of modules whose output theirs is.
"""

from __future__ import annotations

from collections import defaultdict

import torch
from torch import Tensor, nn

from zcbench.errors import Undefined
from zcbench.evidence.minibatch_pass import row_correlation
from zcbench.evidence.spectra import (
    ImageSpectra,
)
from zcbench.evidence.subject import Subject
from zcbench.seeding import generator, reseed

SAMPLED = 8
"""Channels that MeCo_opt draws of each output."""


@torch.no_grad()
def measure_image_spectra(subject: Subject) -> ImageSpectra:
    """One forward of one image.

    Raises:
        Undefined: no module gives a tensor, or BatchNorm has one value per channel.
    """
    outputs: dict[tuple[int, ...], list[tuple[Tensor, int]]] = defaultdict(list)

    def note(module: nn.Module, _inputs: object, output: object) -> None:
        if isinstance(output, Tensor) and output.dim() > 1:
            (rows,) = rows_of(output[None])
            times = getattr(module, "multiplicity", 1)
            times = getattr(module, "published_modules", times)
            outputs[tuple(rows.shape)].append((rows, times))

    hooks = [m.register_forward_hook(note) for m in subject.network.modules()]
    reseed(subject.seed)
    try:
        subject.network(subject.batch.x[:1])
    finally:
        for hook in hooks:
            hook.remove()
    if not outputs:
        raise Undefined("no module gives a tensor")
    conditions: list[float] = []
    sampled: list[float] = []
    for some in outputs.values():
        rows = torch.stack([rows for rows, _ in some])
        times = [count for _, count in some]
        if bool(rows.isnan().any()):
            return ImageSpectra((float("nan"),), (float("nan"),))
        conditions += _repeated(inverse_conditions(rows), times)
        if rows.shape[1] >= SAMPLED:
            sampled += _repeated(smallest(rows, subject.seed), times)
    defined = sorted(c for c in conditions if c == c)
    return ImageSpectra(tuple(defined), tuple(sorted(sampled)))


def rows_of(outputs: Tensor) -> Tensor:
    """Channels by places of the first image: [B, N, C, …] → [B, C, D] on the CPU."""
    rows = outputs[:, 0].reshape(len(outputs), outputs.shape[2], -1)
    # A copy: what comes next may write into the output.
    return rows.to("cpu", torch.float64, copy=True)


def inverse_conditions(rows: Tensor) -> Tensor:
    """σ_min / σ_max of each of [B, C, D]; NaN of zeros."""
    values = torch.linalg.svdvals(rows)
    conditions: Tensor = values[:, -1] / values[:, 0]
    return conditions


def smallest(rows: Tensor, seed: int) -> Tensor:
    """Least eigenvalue of the correlation of some of C rows, times C / 8.

    Rows that are constant correlate 0 with all. The same channels of all outputs with
    as many: at initialisation one is like another.
    """
    channels = rows.shape[1]
    random = generator(seed, "sampled channels", channels)
    chosen = torch.randperm(channels, generator=random)[:SAMPLED]
    correlation = row_correlation(rows[:, chosen]).nan_to_num(0.0)
    least: Tensor = torch.linalg.eigvalsh(correlation)[:, 0] * channels / SAMPLED
    return least


def _repeated(values: Tensor, times: list[int]) -> list[float]:
    each = zip(values.tolist(), times, strict=True)
    return [value for value, count in each for _ in range(count)]
