"""Correlation between the channels of feature maps, for one image (MeCo).

Jiang et al. 2023 add up the smallest eigenvalue over “layers”. A feature map is an
output [1, C, H, W], C and H · W at least 2, each time a module is called. In the
authors' script for NAS-Bench-201 the image is real and every module counts, containers
too, so that a block counts as its last layer once more; networks that share what the
published ones repeat say so by ``published_modules``. Elsewhere they have a Gaussian
image: here with it modules without children count, a ReLU that stands for several as
often.
"""

from __future__ import annotations

import math
from collections import defaultdict

import torch
from torch import Tensor, nn

from zcbench.errors import Undefined
from zcbench.evidence.gaussian_response import gaussian
from zcbench.evidence.per_image_pass import each_image_alone
from zcbench.evidence.records import ChannelCorrelation, ImageCorrelation
from zcbench.evidence.subject import Subject
from zcbench.evidence.watch import LayerCall, Watch, channel_axis
from zcbench.seeding import reseed


def measure_channel_correlation(subject: Subject) -> ChannelCorrelation:
    """One forward of one Gaussian image, the network's own weights, train mode.

    A channel that is constant correlates 0 with all, itself included, as in the
    authors' code.

    Raises:
        Undefined: no module gives a feature map, or BatchNorm cannot do one image.
    """
    shape = (1, *subject.batch.x.shape[1:])
    image = gaussian("channel correlation", shape, subject.seed)
    modules = subject.network.modules()
    leaves = [m for m in modules if next(m.children(), None) is None]
    return ChannelCorrelation(_smallest(subject, image, leaves, "multiplicity"))


def measure_image_correlation(subject: Subject) -> ImageCorrelation:
    """The same of the first image of the minibatch, and of every module."""
    image, modules = subject.batch.x[:1], list(subject.network.modules())
    return ImageCorrelation(_smallest(subject, image, modules, "published_modules"))


@torch.no_grad()
def _smallest(
    subject: Subject, image: Tensor, modules: list[nn.Module], times: str
) -> tuple[float, ...]:
    x, maps = subject.batch.x, _Maps(subject.plain, times)
    hooks = [module.register_forward_hook(maps.note) for module in modules]
    reseed(subject.seed)
    try:
        tokens = _forward(subject, image.to(x.device, x.dtype))
    finally:
        for hook in hooks:
            hook.remove()
    if tokens:
        raise Undefined(f"{tokens} layers give tokens, no feature map [C, H, W]")
    return maps.smallest()


class _Maps:
    """Correlations between the channels of the feature maps that modules give.

    Args:
        plain: whether channels are where PyTorch's modules have them.
        times: attribute of a module that says how often it counts.
    """

    def __init__(self, plain: bool, times: str) -> None:
        self._plain, self._times = plain, times
        self._correlations: dict[int, list[Tensor]] = defaultdict(list)

    def note(self, module: nn.Module, _inputs: object, output: object) -> None:
        """Forward hook of a module."""
        if not isinstance(output, Tensor) or output.dim() != 4 or len(output) != 1:
            return
        axis = 1 if self._plain else channel_axis(output)
        if axis is None:  # attention, say, has no channels
            return
        times = getattr(module, "multiplicity", 1)
        times = getattr(module, self._times, times) if self._plain else 1
        matrices = correlations(output.movedim(axis, 1)[None])
        if matrices is not None:
            self._correlations[matrices.shape[-1]] += [matrices[0]] * times

    def smallest(self) -> tuple[float, ...]:
        """Smallest eigenvalue of each, ascending.

        Raises:
            Undefined: there is none.
        """
        if not self._correlations:
            raise Undefined("the network has no feature maps")
        everything = [m for maps in self._correlations.values() for m in maps]
        if any(bool(m.isnan().any()) for m in everything):
            return (math.nan,)
        return tuple(
            sorted(
                value
                for maps in self._correlations.values()
                for value in smallest_eigenvalues(torch.stack(maps)).tolist()
            )
        )


def _forward(subject: Subject, image: Tensor) -> int:
    """Forward of one image; how many layers give tokens."""
    if not subject.plain:
        return _forward_counting_tokens(subject, image)
    with each_image_alone(subject.batchnorms):
        subject.network(image)
    return 0


def _forward_counting_tokens(subject: Subject, image: Tensor) -> int:
    """Layers with several places whose output is no [1, C, H, W] or [1, H, W, C]."""
    tokens = 0

    def count(call: LayerCall, output: Tensor) -> Tensor:
        nonlocal tokens
        tokens += call.places(output) > 1 and output.dim() != 4
        return output

    with Watch(on_layer=count):
        subject.network(image)
    return tokens


def correlations(maps: Tensor) -> Tensor | None:
    """Between the channels of one image's maps; None if these are no feature maps.

    Args:
        maps: [B, 1, C, H, W].

    Returns:
        [B, C, C] float64, 0 for constant channels. Centred channels span less than C
        dimensions if they have no more places: [B, 1, 1] zeros then.
    """
    if maps.dim() != 5 or maps.shape[2] < 2:
        return None
    rows = maps[:, 0].flatten(2).double()
    if rows.shape[1] >= rows.shape[2] > 1:
        return rows[:, :1, :1] * 0
    centred = rows - rows.mean(2, keepdim=True)
    constant = (rows == rows[..., :1]).all(2, keepdim=True)
    unit = torch.where(constant, 0.0, centred / centred.norm(dim=2, keepdim=True))
    return unit @ unit.mT


def smallest_eigenvalues(matrices: Tensor) -> Tensor:
    """Of symmetric [B, C, C]."""
    smallest: Tensor = torch.linalg.eigvalsh(matrices.cpu())[:, 0]
    return smallest
