"""Multiply-accumulates of what is neither a convolution nor a linear layer."""

from __future__ import annotations

import math
from collections import Counter
from typing import Any

from torch import Tensor

_MATRIX = frozenset(
    {"matmul", "__matmul__", "__rmatmul__", "bmm", "mm", "mv", "baddbmm", "addmm"}
)
_ADDED = frozenset({"baddbmm", "addmm"})
"""Those whose first argument is added."""
_RECURRENT = frozenset({"lstm", "gru", "rnn_tanh", "rnn_relu"})


def products(name: str, args: tuple[Any, ...], output: Any) -> int:
    """Of one call of a torch function.

    Args:
        name: of the function.
        args: its arguments, in the order of its signature.
        output: what it gave.
    """
    if name in _MATRIX and isinstance(output, Tensor):
        second = name in _ADDED or name == "__rmatmul__"
        factor: Tensor = args[1 if second else 0]
        return output.numel() * factor.shape[-1]
    if name == "einsum" and isinstance(output, Tensor):
        return output.numel() * _summed(*args)
    if name == "scaled_dot_product_attention":
        q, k, v = args[:3]
        pairs: int = q[..., 0].numel() * k.shape[-2]
        depth: int = q.shape[-1] + v.shape[-1]
        return pairs * depth
    if name in _RECURRENT:
        weights = next((a for a in args if isinstance(a, list)), [])
        steps: int = args[0][..., 0].numel()
        matrices: int = sum(w.numel() for w in weights if w.dim() == 2)
        return steps * matrices
    return 0


def _summed(equation: object, *operands: Any) -> int:
    """Product of the sizes of what an einsum sums over; 1 if it is not written out."""
    if not isinstance(equation, str):
        return 1
    if len(operands) == 1 and isinstance(operands[0], list | tuple):
        operands = tuple(operands[0])
    left, arrow, right = equation.replace(" ", "").partition("->")
    sizes: dict[str, int] = {}
    for letters, operand in zip(left.split(","), operands, strict=False):
        before, _, after = letters.partition("...")
        sizes.update(zip(before, operand.shape, strict=False))
        if after:
            sizes.update(zip(after, operand.shape[-len(after) :], strict=True))
    if not arrow:
        times = Counter(left)
        right = "".join(letter for letter in sizes if times[letter] == 1)
    return math.prod(size for letter, size in sizes.items() if letter not in right)
