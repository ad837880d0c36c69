"""Correlation between the channels of feature maps, for one Gaussian image (MeCo).

Jiang et al. 2023 add up the smallest eigenvalue over “layers”. Here a feature map is
the output [1, C, H, W] of every module without children, C and H · W at least 2, each
time it is called; a ReLU that stands for several counts as often. The authors' code
hooks every module, so that a block counts as its last layer once more.
"""

from __future__ import annotations

from collections import defaultdict

import torch
from torch import Tensor, nn

from zcbench.errors import Undefined
from zcbench.evidence.gaussian_response import gaussian
from zcbench.evidence.image_alone import each_image_alone
from zcbench.evidence.prepare import Subject
from zcbench.evidence.records import ChannelCorrelation
from zcbench.evidence.watch import LayerCall, Watch, channel_axis


@torch.no_grad()
def measure_channel_correlation(subject: Subject) -> ChannelCorrelation:
    """One forward of one Gaussian image, the network's own weights, train mode.

    A channel that is constant correlates 0 with all, itself included, as in the
    authors' code.

    Raises:
        Undefined: no module gives a feature map, or BatchNorm cannot do one image.
    """
    x = subject.batch.x
    shape = (1, *x.shape[1:])
    image = gaussian("channel correlation", shape, subject.seed)
    found: dict[int, list[Tensor]] = defaultdict(list)
    nothing: list[float] = []
    tokens = 0

    def note(module: nn.Module, _inputs: object, output: object) -> None:
        if not isinstance(output, Tensor) or output.dim() != 4 or len(output) != 1:
            return
        if not subject.plain:
            axis = channel_axis(output)
            if axis is None:  # attention, say, has no channels
                return
            output = output.movedim(axis, 1)
        rows = output[0].flatten(1)
        times = getattr(module, "multiplicity", 1)
        if len(rows) >= rows.shape[1] > 1:  # singular: centred rows span less than C
            nothing.extend([0.0] * times)
        elif len(rows) > 1:
            found[len(rows)] += [_correlation(rows.double())] * times

    leaves = [m for m in subject.network.modules() if next(m.children(), None) is None]
    hooks = [module.register_forward_hook(note) for module in leaves]
    try:
        image = image.to(x.device, x.dtype)
        if subject.plain:
            with each_image_alone(subject.batchnorms):
                subject.network(image)
        else:
            tokens = _forward_counting_tokens(subject, image)
    finally:
        for hook in hooks:
            hook.remove()
    if tokens:
        raise Undefined(f"{tokens} layers give tokens, no feature map [C, H, W]")
    if not (found or nothing):
        raise Undefined("the network has no feature maps")
    smallest = [
        value
        for maps in found.values()
        for value in torch.linalg.eigvalsh(torch.stack(maps).cpu())[:, 0].tolist()
    ]
    return ChannelCorrelation((*smallest, *nothing))


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


def _correlation(rows: Tensor) -> Tensor:
    """Pearson correlation between rows [C, D]; 0 for constant rows."""
    centred = rows - rows.mean(1, keepdim=True)
    constant = (rows == rows[:, :1]).all(1, keepdim=True)
    unit = torch.where(constant, 0.0, centred / centred.norm(dim=1, keepdim=True))
    return unit @ unit.T
