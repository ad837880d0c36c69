"""Proxies of how gradients with respect to the input differ between images."""

from __future__ import annotations

from collections.abc import Iterable
from itertools import permutations

from zcbench.errors import Undefined
from zcbench.evidence.records import InputCorrelation
from zcbench.proxies import proxy

K = 1e-5
"""Keeps logarithms finite, as in both papers' code."""

_FEW_CLASSES = 100
"""Up to here epe_nas adds the classes up; above, it compares them."""


@proxy(reference="mellor2020neural", aliases=("jacob_cov",), label_free=True)
def jacov(j: InputCorrelation) -> float:
    """−Σ log(v + k) + 1 / (v + k), v eigenvalues of the correlation. Higher is better.

    v [N] of corr [N, N] between images of ∂(Σ logits)/∂x (Mellor et al. 2020, v1),
    k = 1e-5. Symmetric eigenvalues: the authors' general solver can return complex
    ones. Undefined where an image's gradient is constant, or is 0 but for rounding, as
    in networks whose last maps are sums of BatchNorms, without a ReLU after.
    """
    import torch

    _require_varying(j)
    v = torch.linalg.eigvalsh(j.correlation) + K
    return -float((v.log() + 1 / v).sum())


@proxy(reference="lopes2021epe", version=2)
def epe_nas(j: InputCorrelation) -> float:
    """Correlation of input gradients in a class (Lopes et al. 2021). Higher is better.

    For each class present s_c = Σ_ij log(abs(corr_ij) + k) over the correlation matrix
    of its images. Up to 100 classes: Σ_c abs(s_c). More: s_c divided by the class's
    number of images, then Σ over ordered pairs of abs(s_c − s_d), divided by the number
    of classes; there a class with one image does not count, as in the authors' code.
    With 64 images of so many classes few have two, so that it says little. Undefined
    where jacov is, without classes, where no class has two images, whose correlation
    would be compared, and above 100 classes where only one has.
    """
    import torch

    _require_varying(j)
    if not j.labels:
        raise Undefined("a regression has no classes")
    if len(set(j.labels)) == len(j.labels):
        n = len(j.labels)
        raise Undefined(f"no class has two of the {n} images: take a larger minibatch")
    labels = torch.tensor(j.labels)
    logs = (j.correlation.cpu().abs() + K).log()
    members = [(labels == c).nonzero().flatten() for c in sorted(set(j.labels))]
    sums = [float(logs[m][:, m].sum()) for m in members]
    if j.n_classes <= _FEW_CLASSES:
        return sum(map(abs, sums))
    means = [s / len(m) for s, m in zip(sums, members, strict=True) if len(m) > 1]
    if len(means) == 1:
        raise Undefined("one class alone has two images: there is none to compare")
    return _spread(means) / len(means)


def _spread(values: Iterable[float]) -> float:
    return sum(abs(a - b) for a, b in permutations(values, 2))


def _require_varying(j: InputCorrelation) -> None:
    if bool(j.correlation.isnan().any()):
        raise Undefined(
            "the gradient of the summed outputs with respect to an image is constant, "
            "or rounding alone"
        )
