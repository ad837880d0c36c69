"""The losses that networks are trained with, as means over the minibatch."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import torch.nn.functional as F
from torch import Tensor

from zcbench.errors import Undefined
from zcbench.types import Batch, Loss


def _squared_error(outputs: Tensor, y: Tensor) -> Tensor:
    """Mean squared error of the one output, [N, 1], from y [N]."""
    return F.mse_loss(outputs.squeeze(1), y.to(outputs.dtype))


LOSSES: Mapping[Loss, Callable[[Tensor, Tensor], Tensor]] = {
    "cross_entropy": F.cross_entropy,
    "mse": _squared_error,
}
"""Name → function of outputs [N, n_classes] and y [N]."""


def check_labels(outputs: Tensor, batch: Batch) -> None:
    """Make sure that a loss of these outputs says something.

    Raises:
        Undefined: the labels do not fit the logits, or there is one logit, whose
            cross-entropy is 0 whatever it is.
    """
    n_outputs = outputs.shape[1]
    if batch.loss == "mse":
        if n_outputs != 1:
            raise Undefined(f"a regression has 1 output, the network {n_outputs}")
        return
    if n_outputs < 2:
        raise Undefined("the cross-entropy of one logit is 0 whatever the network")
    low, high = int(batch.y.min()), int(batch.y.max())
    if low < 0 or high >= n_outputs:
        wrong = low if low < 0 else high
        raise Undefined(f"label {wrong} does not fit the network's {n_outputs} logits")
