"""Read pickles of plain data: nothing in them runs.

Unpickling calls whatever a pickle names. Here a pickle may name nothing but the few
containers, numbers and arrays below, which stand for themselves or for an inert
stand-in; any other name ends the reading.
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


class Dtype:
    """Stands for `numpy.dtype`: a name such as ``f8`` and a byte order."""

    def __init__(self, name: object = "", *_: object) -> None:
        self.name = str(name)
        self.order = "<"

    def __setstate__(self, state: tuple[object, ...]) -> None:
        self.order = ">" if state[1] == ">" else "<"


class Array:
    """Stands for `numpy.ndarray`: the bytes, not yet an array."""

    def __init__(self, *_: object) -> None:
        self.shape: object = None
        self.dtype: object = None
        self.order = "C"
        self.raw = b""

    def __setstate__(self, state: tuple[object, ...]) -> None:
        _, self.shape, self.dtype, fortran, raw = state
        self.order = "F" if fortran else "C"
        # Python 2 pickles bytes as text.
        raw = raw.encode("latin1") if isinstance(raw, str) else raw
        self.raw = bytes(raw) if isinstance(raw, bytes | bytearray) else b""


def _from_buffer(raw: object, dtype: object, shape: object, order: object) -> Array:
    """Stands for the function that rebuilds an array in protocol 5."""
    array = Array()
    array.__setstate__((1, shape, dtype, order == "F", raw))
    return array


def _scalar(dtype: Dtype, raw: bytes) -> float | int | bool:
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
    ("numpy", "dtype"): Dtype,
    ("numpy.core.multiarray", "scalar"): _scalar,
    ("numpy._core.multiarray", "scalar"): _scalar,
    ("_codecs", "encode"): _encode,
}
ARRAYS: Constructors = {
    ("numpy", "dtype"): Dtype,
    ("numpy", "ndarray"): Array,
    ("numpy.core.multiarray", "_reconstruct"): Array,
    ("numpy._core.multiarray", "_reconstruct"): Array,
    ("numpy.core.numeric", "_frombuffer"): _from_buffer,
    ("numpy._core.numeric", "_frombuffer"): _from_buffer,
    ("_codecs", "encode"): _encode,
}


class _Plain:
    """An unpickler's answer to names: a few that are known, and no other."""

    known: Constructors

    def find_class(self, module: str, name: str) -> Callable[..., object]:
        if (module, name) not in self.known:
            raise pickle.UnpicklingError(f"it names {module}.{name}")
        return self.known[module, name]


class _Fast(_Plain, pickle.Unpickler):
    """The one written in C, for gigabytes."""


class _Careful(_Plain, pickle._Unpickler):
    """The one written in Python.

    Its memo is a dictionary, so that a damaged file cannot make it claim all memory.
    """


_SMALL = 2**24
"""Bytes of a file that fits into memory: one that asks for more is damaged."""


def read_plain(
    stream: IO[bytes],
    where: str,
    hint: str,
    known: Constructors | None = None,
    *,
    careful: bool = False,
) -> object:
    """The next pickle of a stream.

    Args:
        stream: opened for reading bytes; is left behind the pickle.
        where: what the file is called in messages.
        hint: what to do if it is not plain data.
        known: names that it may use; none by default, which leaves dictionaries,
            lists, tuples, text, bytes and numbers.
        careful: whether the memory must suffice for damaged ones too, which is slow.

    Raises:
        DataError: it names anything else, or is no complete pickle.
        MemoryError: it is large, and does not fit into memory.
    """
    try:
        # Latin-1 is how Python 2 writes bytes.
        unpickler = (_Careful if careful else _Fast)(stream, encoding="latin1")
        unpickler.known = known or {}
        value: object = unpickler.load()
    except Exception as error:  # a damaged pickle can raise nearly anything
        if isinstance(error, MemoryError) and stream.seek(0, 2) > _SMALL:
            raise
        what = str(error).rstrip(".") or type(error).__name__
        raise DataError(
            f"{where} is not plain data ({what}); nothing in it was run.", hint
        ) from None
    return value
