"""How the passes calculate: float32, TensorFloat-32 or bfloat16."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch

from zcbench.errors import UsageError
from zcbench.types import Precision


def check_arithmetic(precision: Precision, device: torch.device) -> None:
    """Make sure that a device has an arithmetic.

    Raises:
        UsageError: it has not.
    """
    if precision == "tf32" and device.type != "cuda":
        raise UsageError(
            f"tf32 is arithmetic of CUDA devices, and this is {device.type}.",
            "Leave --precision out, or give --precision bf16 or --device cuda.",
        )


@contextmanager
def arithmetic(precision: Precision, device: torch.device) -> Iterator[None]:
    """Let convolutions and linear layers calculate in a precision.

    float32 means full float32: PyTorch's own default lets CUDA convolutions round to
    TensorFloat-32. bf16 is autocast: weights and sums over a minibatch stay float32.

    Args:
        precision: ``"float32"``, ``"tf32"`` or ``"bf16"``.
        device: where the network is.

    Raises:
        UsageError: the device has no such arithmetic.
    """
    check_arithmetic(precision, device)
    rounding = precision == "tf32"
    matmul, cudnn = torch.backends.cuda.matmul, torch.backends.cudnn
    before = matmul.allow_tf32, cudnn.allow_tf32
    matmul.allow_tf32, cudnn.allow_tf32 = rounding, rounding
    try:
        with torch.autocast(device.type, torch.bfloat16, enabled=precision == "bf16"):
            yield
    finally:
        matmul.allow_tf32, cudnn.allow_tf32 = before
