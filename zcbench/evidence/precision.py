"""How the passes calculate: float32, TensorFloat-32 or bfloat16."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Literal, get_args

import torch

from zcbench.errors import UsageError

Precision = Literal["float32", "tf32", "bf16"]
PRECISIONS: tuple[Precision, ...] = get_args(Precision)


@contextmanager
def arithmetic(precision: Precision, device: torch.device) -> Iterator[None]:
    """Let convolutions and linear layers calculate in a precision.

    float32 means full float32: PyTorch's own default lets CUDA convolutions round to
    TensorFloat-32. bf16 is autocast: weights and sums over a minibatch stay float32.

    Args:
        precision: one of `PRECISIONS`.
        device: where the network is.

    Raises:
        UsageError: the device has no such arithmetic.
    """
    if precision == "tf32" and device.type != "cuda":
        raise UsageError(
            f"tf32 is arithmetic of CUDA devices, and this is {device.type}.",
            "Leave --precision out, or give --precision bf16 or --device cuda.",
        )
    rounding = precision == "tf32"
    matmul, cudnn = torch.backends.cuda.matmul, torch.backends.cudnn
    before = matmul.allow_tf32, cudnn.allow_tf32
    matmul.allow_tf32, cudnn.allow_tf32 = rounding, rounding
    try:
        with torch.autocast(device.type, torch.bfloat16, enabled=precision == "bf16"):
            yield
    finally:
        matmul.allow_tf32, cudnn.allow_tf32 = before
