"""Proxies of the features that Gaussian images give."""

from __future__ import annotations

import math
from itertools import pairwise
from statistics import fmean
from typing import Literal

from zcbench.aggregates import CONSTANT, UNCHANGED
from zcbench.errors import Undefined
from zcbench.evidence.records import (
    BlockFeatures,
    ChannelCorrelation,
    ImageCorrelation,
)
from zcbench.proxies import proxy


@proxy(
    reference="jiang2023meco",
    version=2,
    label_free=True,
    evidence={"image=gaussian": {"c": ChannelCorrelation}},
)
def meco(c: ImageCorrelation, *, image: Literal["real", "gaussian"] = "real") -> float:
    """Σ over modules of the smallest eigenvalue of their channels' correlation.

    MeCo (Jiang et al. 2023) as in the authors' script for NAS-Bench-201: one real
    image, every module, containers too. Higher is better. ``meco[image=gaussian]`` has
    one Gaussian image, as in their other code, and modules without children alone.
    """
    del image  # says which record this is
    return math.fsum(c.smallest)


@proxy(reference="lee2024aznas", data_independent=True)
def az_expressivity(b: BlockFeatures) -> float:
    """Σ over blocks of the entropy of the features' spectrum. Higher is better.

    AZ-NAS (Lee & Ham 2024), one of the four parts of az_nas.
    """
    return math.fsum(_entropies(b))


@proxy(reference="lee2024aznas", data_independent=True)
def az_progressivity(b: BlockFeatures) -> float:
    """Least increase of the entropy from one block to the next. Higher is better.

    AZ-NAS (Lee & Ham 2024).
    """
    return min(after - before for before, after in pairwise(_entropies(b)))


@proxy(reference="lee2024aznas", data_independent=True)
def az_trainability(b: BlockFeatures) -> float:
    """Mean over blocks of 2 − s − 1/s, s the gain of gradients. Higher is better.

    AZ-NAS (Lee & Ham 2024): highest, 0, where every block hands gradients on at their
    size. Undefined where a block does nothing at all: that is no score, and the
    authors' ranking, which az_nas is, puts it last. Undefined, too, where a block takes
    several feature maps.
    """
    if not b.gain:
        raise Undefined("a block takes several feature maps: it has no one gain")
    if any(math.isnan(gain) for gain in b.gain):
        raise Undefined(UNCHANGED)
    return fmean(2 - gain - 1 / (gain + 1e-6) for gain in b.gain)


def _entropies(b: BlockFeatures) -> tuple[float, ...]:
    if any(math.isnan(entropy) for entropy in b.entropy):
        raise Undefined(CONSTANT)
    return b.entropy
