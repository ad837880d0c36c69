"""Images in pickles: the official CIFAR and ImageNet16 files, read as plain data."""

from __future__ import annotations

import io
import math
from typing import Any

import numpy as np
from numpy.typing import NDArray

from zcbench.errors import DataError
from zcbench.pickles import ARRAYS, Array, Dtype, read_plain

_ITEM_SIZES = {"u1": 1, "i4": 4, "i8": 8}
_OFFICIAL = "Give one of the official files."
_FETCH = "Do not trust that file: fetch the official one."


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
    loaded = read_plain(io.BytesIO(data), where, _FETCH, ARRAYS, careful=True)
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
    if isinstance(value, Array) and isinstance(value.dtype, Dtype):
        dtype, shape = value.dtype.name, value.shape
        if (
            dtype in _ITEM_SIZES
            and value.dtype.order == "<"
            and isinstance(shape, tuple)
            and all(type(size) is int and size >= 0 for size in shape)
            and math.prod(shape) * _ITEM_SIZES[dtype] == len(value.raw)
        ):
            array = np.frombuffer(value.raw, dtype=np.dtype(f"<{dtype}"))
            return array.reshape(shape, order="F" if value.order == "F" else "C")
    raise DataError(f"{where} has no integers under {name!r}.", _OFFICIAL)
