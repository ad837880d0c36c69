"""The losses that networks are trained with, as means over the minibatch."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import torch.nn.functional as F
from torch import Tensor

from zcbench.types import Loss


def _squared_error(outputs: Tensor, y: Tensor) -> Tensor:
    """Mean squared error of the one output, [N, 1], from y [N]."""
    return F.mse_loss(outputs.squeeze(1), y.to(outputs.dtype))


LOSSES: Mapping[Loss, Callable[[Tensor, Tensor], Tensor]] = {
    "cross_entropy": F.cross_entropy,
    "mse": _squared_error,
}
"""Name → function of outputs [N, n_classes] and y [N]."""
