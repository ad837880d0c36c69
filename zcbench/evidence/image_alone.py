"""Networks in train mode on images that are each a minibatch of their own.

BatchNorm then takes its statistics over the height and width of that image, as in code
that hands a network one image after the other (Zhang & Jia 2022, GradSign).
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial

import torch.nn.functional as F
from torch import Tensor
from torch.nn.modules.batchnorm import _BatchNorm

from zcbench.errors import Undefined


@contextmanager
def each_image_alone(batchnorms: tuple[_BatchNorm, ...]) -> Iterator[None]:
    """BatchNorm with the statistics of each image, for the time of a forward."""
    for module in batchnorms:
        module.__dict__["forward"] = partial(_normalise_alone, module)
    try:
        yield
    finally:
        for module in batchnorms:
            del module.__dict__["forward"]


def _normalise_alone(module: _BatchNorm, x: Tensor) -> Tensor:
    if math.prod(x.shape[2:]) == 1:
        raise Undefined(
            "BatchNorm has one value per channel in an image, and cannot normalise it"
        )
    # A group for every channel: the statistics of one channel of one image.
    return F.group_norm(x, x.shape[1], module.weight, module.bias, module.eps)
