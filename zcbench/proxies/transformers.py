"""Proxies of transformers. Undefined for networks without attention."""

from __future__ import annotations

import math

from zcbench.errors import Undefined
from zcbench.evidence.records import (
    Parameters,
)
from zcbench.evidence.spectra import (
    Attention,
    HiddenDimensions,
    SynapticDiversity,
)
from zcbench.proxies import proxy

KIND = "transformers"


@proxy(reference="zhou2022training", data_independent=True, apart=KIND)
def dss(s: SynapticDiversity) -> float:
    """Σ ‖w‖ ‖∂R/∂w‖ of attention + Σ |w ∂R/∂w| of other layers. Higher is better.

    DSS of TF-TAS (Zhou et al. 2022): nuclear norms for the matrices of attention, their
    diversity; saliency for the MLPs and the classifier. R is the sum of outputs for an
    all-ones image, weights absolute, normalisation left in. Evaluation mode, where the
    authors have train mode and no dropout.
    """
    return math.fsum((*s.attention, *s.others))


@proxy(reference="serianni2023training", label_free=True, apart=KIND)
def head_confidence(a: Attention) -> float:
    """Σ over attentions of the mean largest output of a head. Higher is better.

    Serianni & Kalita 2023: the largest entry of a head's output for an image, mean over
    images and heads. The authors' code takes it of queries, keys and values instead.
    """
    return math.fsum(a.head)


@proxy(reference="serianni2023training", label_free=True, apart=KIND)
def softmax_confidence(a: Attention) -> float:
    """Σ over attentions of the mean largest weight of a query. Higher is better.

    Serianni & Kalita 2023, after Voita et al. 2019: mean over images, heads, queries.
    The authors' code takes the largest over heads.
    """
    return math.fsum(a.softmax)


@proxy(reference="serianni2023training", label_free=True, apart=KIND)
def activation_distance(a: Attention) -> float:
    """Σ over activations of Σ_ij agreement of tokens' codes. Higher is better.

    Serianni & Kalita 2023: K = b bᵀ + (1 − b)(1 − b)ᵀ as for nwot, b [tokens, units] of
    the first image; the sum of its entries, where nwot has the log determinant.
    """
    if not a.agreement:
        raise Undefined("no activation function works on tokens")
    return math.fsum(a.agreement)


@proxy(reference="wang2025wpca", label_free=True, apart=KIND)
def w_pca(h: HiddenDimensions, p: Parameters) -> float:
    """Number of parameters · Σ of hidden layers' dimensions. Higher is better.

    W-PCA (Wang et al. 2025): a dimension is the number of principal components that
    hold 99% of the variance of an MLP's hidden layer, before its activation.
    """
    if not h.dimensions:
        raise Undefined("no activation function works on tokens")
    return p.n_params * sum(h.dimensions)
