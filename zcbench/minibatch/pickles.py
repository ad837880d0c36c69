"""Read pickles of plain data and arrays without running anything in them.

The official CIFAR and ImageNet16 files are pickles, and unpickling calls whatever a
pickle names. Here each name that a NumPy array needs stands for an inert stand-in,
and any other name ends the reading.
"""

from __future__ import annotations

import io
import math
import pickle
from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from zcbench.errors import DataError

_ITEM_SIZES = {"u1": 1, "i4": 4, "i8": 8}
_OFFICIAL = "Give one of the official files."


def _bytes(value: object) -> bytes:
    """Bytes, which Python 2 pickles as Latin-1 text; nothing of anything else."""
    if isinstance(value, str):
        return value.encode("latin1")
    return bytes(value) if isinstance(value, bytes | bytearray) else b""


class _Dtype:
    """Stands for `numpy.dtype`: keeps the name, such as ``u1``."""

    def __init__(self, name: object = "", *_: object) -> None:
        self.name = str(name)

    def __setstate__(self, state: tuple[object, ...]) -> None:
        if state[1] == ">":
            self.name = f">{self.name}"


class _Array:
    """Stands for `numpy.ndarray`: the bytes, not yet an array."""

    def __init__(self, *_: object) -> None:
        self.shape: object = None
        self.dtype: object = None
        self.order = "C"
        self.raw = b""

    def __setstate__(self, state: tuple[object, ...]) -> None:
        _, self.shape, self.dtype, fortran, raw = state
        self.order = "F" if fortran else "C"
        self.raw = _bytes(raw)


def _from_buffer(raw: object, dtype: object, shape: object, order: object) -> _Array:
    """Stands for the function that rebuilds an array in protocol 5."""
    array = _Array()
    array.__setstate__((1, shape, dtype, order == "F", raw))
    return array


def _encode(text: str, *_: object) -> bytes:
    """Stands for `codecs.encode`, by which protocol 2 writes bytes."""
    return text.encode("latin1")


_STAND_INS: dict[tuple[str, str], Callable[..., object]] = {
    ("numpy", "dtype"): _Dtype,
    ("numpy", "ndarray"): _Array,
    ("numpy.core.multiarray", "_reconstruct"): _Array,
    ("numpy._core.multiarray", "_reconstruct"): _Array,
    ("numpy.core.numeric", "_frombuffer"): _from_buffer,
    ("numpy._core.numeric", "_frombuffer"): _from_buffer,
    ("_codecs", "encode"): _encode,
}


class _PlainUnpickler(pickle._Unpickler):
    """Unpickler that knows the stand-ins and nothing else.

    The one written in Python: its memo is a dictionary, so a damaged file cannot make
    it claim all memory.
    """

    def __init__(self, data: bytes, where: str) -> None:
        super().__init__(io.BytesIO(data), encoding="latin1")
        self._where = where

    def find_class(self, module: str, name: str) -> Callable[..., object]:
        stand_in = _STAND_INS.get((module, name))
        if stand_in is None:
            raise DataError(
                f"{self._where} is a pickle that names {module}.{name}, so it is not "
                "plain data; nothing in it was run.",
                "Do not trust that file: fetch the official one.",
            )
        return stand_in


def load_plain(data: bytes, where: str) -> dict[str, object]:
    """Unpickle a dictionary of plain values and arrays.

    Args:
        data: the pickle, of any protocol, from Python 2 or 3.
        where: what the file is called in messages.

    Returns:
        The dictionary; its arrays are opaque until `integers` reads them.

    Raises:
        DataError: it names anything but array constructors, is damaged, or is no
            dictionary.
    """
    try:
        loaded = _PlainUnpickler(data, where).load()
    except DataError:
        raise
    except Exception as error:  # a damaged pickle can raise nearly anything
        raise DataError(
            f"{where} is a damaged pickle ({type(error).__name__}).",
            "Fetch or copy it again.",
        ) from None
    if not isinstance(loaded, dict):
        kind = type(loaded).__name__.strip("_").lower()
        raise DataError(f"{where} is a pickled {kind}, not a dictionary.", _OFFICIAL)
    return {
        key.decode("latin1") if isinstance(key, bytes) else str(key): value
        for key, value in loaded.items()
    }


def integers(entries: dict[str, object], name: str, where: str) -> NDArray[Any]:
    """Integer array of an entry that `load_plain` returned.

    Args:
        entries: the dictionary.
        name: key of an array or of a list of integers.
        where: what the file is called in messages.

    Raises:
        DataError: there is no such entry, or it is neither.
    """
    value = entries.get(name)
    if isinstance(value, list) and all(
        type(item) is int and abs(item) < 2**31 for item in value
    ):
        return np.array(value, dtype=np.int64)
    if isinstance(value, _Array) and isinstance(value.dtype, _Dtype):
        dtype, shape = value.dtype.name, value.shape
        if (
            dtype in _ITEM_SIZES
            and isinstance(shape, tuple)
            and all(type(size) is int and size >= 0 for size in shape)
            and math.prod(shape) * _ITEM_SIZES[dtype] == len(value.raw)
        ):
            array = np.frombuffer(value.raw, dtype=np.dtype(f"<{dtype}"))
            return array.reshape(shape, order="F" if value.order == "F" else "C")
    raise DataError(f"{where} has no integers under {name!r}.", _OFFICIAL)
