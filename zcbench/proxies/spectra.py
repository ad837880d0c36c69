"""Proxies of spectra: of what modules give, of correlations, of the Fisher matrix."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, Literal

from zcbench.errors import Undefined
from zcbench.evidence.spectra import (
    ActivationRank,
    ConstantWeights,
    FisherSpectrum,
    ImageSpectra,
    OutputCurvature,
    ResponseCorrelation,
)
from zcbench.proxies import proxy

if TYPE_CHECKING:
    from torch import Tensor


Part = Literal["sum", "mean", "count"]
"""Of a sum over modules: itself, its mean term, or how many terms it has."""


@proxy(reference="husistein2025near", label_free=True)
def near(a: ActivationRank, *, part: Part = "sum") -> float:
    """Σ over modules of the effective rank of their outputs. Higher is better.

    NEAR (Husistein et al. 2025): exp of the entropy of σ / Σσ, σ the singular values of
    a square matrix of outputs, of every module with weights and every activation
    function. One draw of the rows. The sum is ``near[part=count]`` times
    ``near[part=mean]``; so it is for dextr_svd and meco_opt.
    """
    return _part(a.effective, part)


def _part(terms: Sequence[float], part: Part) -> float:
    """The sum of terms, or what it consists of: count times mean."""
    if part == "count":
        return len(terms)
    return math.fsum(terms) / (len(terms) if part == "mean" else 1)


@proxy(reference="asthana2025dextr", label_free=True)
def dextr_svd(i: ImageSpectra, *, part: Part = "sum") -> float:
    """Log(1 + Σ σ_min / σ_max) over modules' outputs. Higher is better.

    The half of Dextr (Asthana et al. 2025) that looks at features of one image, alone.
    Every module counts, containers too.
    """
    if not i.inverse_condition:
        raise Undefined("no module gives anything but zeros")
    return math.log1p(_part(i.inverse_condition, part))


@proxy(reference="asthana2025dextr", version=2, label_free=True)
def dextr(i: ImageSpectra, o: OutputCurvature) -> float:
    """A k / (a + k), a = dextr_svd, k = log(1 + curvature). Higher is better.

    Dextr (Asthana et al. 2025). The curvature is that of ten outputs where the input
    goes round a circle, at one point of it. Undefined where the outputs do not move,
    for which the authors' code takes a alone.
    """
    a, k = dextr_svd(i), math.log1p(o.curvature)
    if a + k == 0:
        raise Undefined("neither features nor outputs vary")
    return a * k / (a + k)


@proxy(reference="jiang2023meco", label_free=True)
def meco_opt(i: ImageSpectra, *, part: Part = "sum") -> float:
    """Σ of C/8 times the least eigenvalue of the correlation of 8 of C channels.

    MeCo_opt (Jiang et al. 2023), of one image. Higher is better. Every module with
    eight channels counts, containers too.
    """
    if not i.sampled:
        raise Undefined("no module gives eight channels")
    return _part(i.sampled, part)


@proxy(reference="jing2025wrcor", version=2)
def wrcor(r: ResponseCorrelation) -> float:
    """Log det Σ 2^i (|corr| of ReLUs' inputs + |corr| of gradients). Higher is better.

    WRCor (Jing et al. 2025): i is the number of the ReLU's block; blocks are cells, in
    other networks modules with children below `Sequential` and `ModuleList`. ReLUs
    before the first block do not count. Undefined without blocks.
    """
    if r.weighted is None:
        raise Undefined("the network has no blocks, whose numbers are the weights")
    return _log_det(r.weighted)


@proxy(reference="jing2025wrcor", version=2)
def wrcor_unweighted(r: ResponseCorrelation) -> float:
    """Log det Σ (|corr| of ReLUs' inputs + |corr| of gradients). Higher is better.

    WRCor (Jing et al. 2025) without weights, every ReLU.
    """
    return _log_det(r.total)


def _log_det(matrix: Tensor) -> float:
    import torch

    values = torch.linalg.eigvalsh(matrix.cpu().double())
    if float(values[0]) <= float(values[-1]) * len(values) * 2.3e-16:
        raise Undefined("the sum of correlations is singular")
    return float(values.log().sum())


@proxy(reference="tybl2025training", data_independent=True, costly=True)
def vkdnw(f: FisherSpectrum) -> float:
    """Number of parameter tensors + vkdnw_entropy. Higher is better.

    VKDNW (Týbl & Neumann 2025). The entropy is at most log 9 = 2.2: the order is that
    of the number of tensors, the entropy breaks its ties.
    """
    return f.n_tensors + vkdnw_entropy(f)


@proxy(reference="tybl2025training", data_independent=True, costly=True)
def vkdnw_entropy(f: FisherSpectrum) -> float:
    """Entropy of the nine deciles of the Fisher spectrum. Higher is better.

    The part of VKDNW (Týbl & Neumann 2025) that is no size. F [128, 128] for the first
    weight of each of the first 128 parameter tensors, Gaussian images, Kaiming weights;
    64 images with ten classes, fewer with more. 640 gradients: not among `all`.
    """
    total = math.fsum(f.deciles)
    if total == 0:
        raise Undefined("the Fisher matrix is zero")
    shares = [value / (total + 1e-10) for value in f.deciles]
    return -math.fsum(share * math.log(share + 1e-10) for share in shares)


@proxy(version=3, reference="gracheva2023trainless", label_free=True, apart="partial")
def epsinas(c: ConstantWeights) -> float:
    """Mean |difference| / mean of outputs of two constant weights. Higher is better.

    epsinas (Gracheva 2023): all weights 1e-7, then 1; outputs scaled to [0, 1]; in
    float32. Undefined where all outputs are one number, as in four of ten cells of
    NAS-Bench-201, where 1e-7 passes float32's smallest, or nothing but rounding, as
    after LayerNorm: so it is in the set ``partial``, not among ``all``.
    """
    return c.difference / c.mean
