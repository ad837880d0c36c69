"""Seeds from identity, never from call order.

A weight depends on (seed, repeat, parameter name), a minibatch on (seed, task,
repeat): so resuming, sharding, reordering or adding a proxy changes no score.
"""

from __future__ import annotations

import hashlib
import random
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import torch


def derive(*parts: object) -> int:
    """Seed that is a pure function of what it is for.

    Args:
        *parts: the identity, such as ``(seed, "weights", repeat, name)``; each is
            taken by its ``repr``.

    Returns:
        An integer in [0, 2⁶³), equal on every platform and Python version.

    >>> derive(0, "minibatch", "cifar10")
    7300678932164881529
    """
    text = "\x1f".join(repr(part) for part in parts)
    digest = hashlib.blake2b(text.encode(), digest_size=8).digest()
    return int.from_bytes(digest, "big") >> 1


def repeat_seed(seed: int, repeat: int) -> int:
    """Seed of what the passes draw in one repeat of a run.

    The first repeat takes the seed itself, as `zcbench.score` does.
    """
    return derive(seed, "repeat", repeat) if repeat else seed


def generator(*parts: object) -> torch.Generator:
    """CPU random generator seeded by `derive` of the same parts."""
    import torch

    return torch.Generator().manual_seed(derive(*parts))


def normal(shape: tuple[int, ...], *parts: object) -> torch.Tensor:
    """Standard Gaussian float32 numbers of an identity, on the CPU.

    The same whatever torch's default dtype is, and whatever mode it runs in.
    """
    import torch

    with torch._C.DisableTorchFunction():
        return torch.randn(shape, generator=generator(*parts), dtype=torch.float32)


def uniform(shape: tuple[int, ...], *parts: object) -> torch.Tensor:
    """The same between 0 and 1."""
    import torch

    with torch._C.DisableTorchFunction():
        return torch.rand(shape, generator=generator(*parts), dtype=torch.float32)


def reseed(seed: int) -> None:
    """Start Python's, NumPy's and torch's generators anew.

    So what a network draws in a pass does not depend on the passes before.

    Args:
        seed: any integer.
    """
    import numpy as np
    import torch

    random.seed(seed)
    np.random.seed(seed % 2**32)  # noqa: NPY002 - what the code of others uses
    # torch.manual_seed would also note the seed, with the whole call stack, for a CUDA
    # that is not started: a millisecond, and the caller's own seed would be lost.
    torch.default_generator.manual_seed(seed % 2**63)
    if torch.cuda.is_initialized():  # type: ignore[no-untyped-call]
        torch.cuda.manual_seed_all(seed % 2**63)
    if torch.backends.mps.is_available() and not torch.mps._is_in_bad_fork():
        torch.mps.manual_seed(seed % 2**63)


@contextmanager
def random_state(seed: int) -> Iterator[None]:
    """Give Python, NumPy and torch the random state of a seed; restore all after.

    For code of others, which draws from whatever generator it likes.

    Args:
        seed: any integer.
    """
    import numpy as np
    import torch

    python, legacy = random.getstate(), np.random.get_state()  # noqa: NPY002
    on_gpu = torch.cuda.is_initialized()  # type: ignore[no-untyped-call]
    devices = range(torch.cuda.device_count()) if on_gpu else ()
    try:
        with torch.random.fork_rng(devices=list(devices)):
            reseed(seed)
            yield
    finally:
        random.setstate(python)
        np.random.set_state(legacy)  # noqa: NPY002
