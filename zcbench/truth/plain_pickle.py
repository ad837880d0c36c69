"""Read pickles of plain data: nothing in them runs.

Unpickling calls whatever a pickle names. Here a pickle may name nothing but the few
containers and numbers below, which stand for themselves or for an inert stand-in; any
other name ends the reading.
"""

from __future__ import annotations

import pickle
import struct
from collections import OrderedDict
from collections.abc import Callable, Mapping
from typing import IO

from zcbench.errors import DataError

Constructors = Mapping[tuple[str, str], Callable[..., object]]

_FORMATS = {"f8": "d", "f4": "f", "f2": "e", "i8": "q", "i4": "i", "b1": "?"}


class _Dtype:
    """Stands for `numpy.dtype`: a name such as ``f8`` and a byte order."""

    def __init__(self, name: str = "", *_: object) -> None:
        self.name = name
        self.order = "<"

    def __setstate__(self, state: tuple[object, ...]) -> None:
        self.order = ">" if state[1] == ">" else "<"


def _scalar(dtype: _Dtype, raw: bytes) -> float | int | bool:
    """Stands for the constructor of a NumPy number: a Python number instead."""
    number: float | int | bool
    (number,) = struct.unpack(dtype.order + _FORMATS[dtype.name], raw)
    return number


def _encode(text: str, *_: object) -> bytes:
    """Stands for `codecs.encode`, by which protocol 2 writes bytes."""
    return text.encode("latin1")


CONTAINERS_AND_NUMBERS: Constructors = {
    ("collections", "OrderedDict"): OrderedDict,
    ("builtins", "set"): set,
    ("__builtin__", "set"): set,
    ("numpy", "dtype"): _Dtype,
    ("numpy.core.multiarray", "scalar"): _scalar,
    ("numpy._core.multiarray", "scalar"): _scalar,
    ("_codecs", "encode"): _encode,
}


class _PlainUnpickler(pickle.Unpickler):
    """The fast unpickler, knowing these names and no other."""

    def __init__(self, stream: IO[bytes], known: Constructors) -> None:
        super().__init__(stream)
        self._known = known

    def find_class(self, module: str, name: str) -> Callable[..., object]:
        if (module, name) not in self._known:
            raise pickle.UnpicklingError(f"it names {module}.{name}")
        return self._known[module, name]


_SMALL = 2**24
"""Bytes of a file that fits into memory: one that asks for more is damaged."""


def read_plain(
    stream: IO[bytes], where: str, hint: str, known: Constructors | None = None
) -> object:
    """The next pickle of a stream.

    Args:
        stream: opened for reading bytes; is left behind the pickle.
        where: what the file is called in messages.
        hint: what to do if it is not plain data.
        known: names that it may use; none by default, which leaves dictionaries,
            lists, tuples, text, bytes and numbers.

    Raises:
        DataError: it names anything else, or is no complete pickle.
        MemoryError: it is large, and does not fit into memory.
    """
    try:
        value: object = _PlainUnpickler(stream, known or {}).load()
    except Exception as error:  # a damaged pickle can raise nearly anything
        if isinstance(error, MemoryError) and stream.seek(0, 2) > _SMALL:
            raise
        what = str(error).rstrip(".") or type(error).__name__
        raise DataError(
            f"{where} is not plain data ({what}); nothing in it was run.", hint
        ) from None
    return value
