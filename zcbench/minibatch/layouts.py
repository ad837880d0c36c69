"""How the standard image collections lay out their files."""

from __future__ import annotations

import io
import math
import re
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
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


Parsed = tuple[NDArray[np.uint8], NDArray[np.int64]]
"""Pixels [N, C·H·W] and labels [N]."""


def _pickled(labels_key: str, first_label: int, data: bytes, where: str) -> Parsed:
    """Python version: a pickled dictionary of ``data`` [N, C·H·W] and labels."""
    entries = load_plain(data, where)
    pixels = integers(entries, "data", where)
    labels = integers(entries, labels_key, where).astype(np.int64) - first_label
    if pixels.dtype != np.uint8 or pixels.ndim != 2 or labels.shape != pixels.shape[:1]:
        raise DataError(
            f"{where} does not hold one row of bytes and one label per image.",
            "Give one of the official files.",
        )
    return pixels, labels


def _records(label_bytes: int, data: bytes, where: str) -> Parsed:
    """Binary version: per image its labels, the last of which counts, then pixels."""
    size = label_bytes + 3 * 32 * 32
    if not data or len(data) % size:
        raise DataError(
            f"{where} has {len(data)} bytes, which is no multiple of {size}.",
            "Fetch or copy it again.",
        )
    rows = np.frombuffer(data, dtype=np.uint8).reshape(-1, size)
    return rows[:, label_bytes:], rows[:, label_bytes - 1].astype(np.int64)


@dataclass(frozen=True, slots=True)
class Layout:
    """A collection's training files.

    Attributes:
        name: what tables call it.
        dataset: key of the dataset, as `dataset_key` gives it.
        folder: folder that the official archive unpacks to.
        members: files in that folder; those that are there are read.
        side: height and width of an image.
        parse: reads the bytes of one member.
        archive: file name of the official archive, if there is one.
        sha256: its checksum.
    """

    name: str
    dataset: str
    folder: str
    members: tuple[str, ...]
    side: int
    parse: Callable[[bytes, str], Parsed]
    archive: str = ""
    sha256: str = ""

    def fits(self, task_name: str) -> bool:
        """Whether it holds the images of that task."""
        key = dataset_key(task_name)
        if self.dataset == "imagenet16":  # ImageNet16-120 is its first 120 classes
            return key.startswith(self.dataset)
        return key == self.dataset


LAYOUTS = (
    Layout(
        "cifar-10-python",
        "cifar10",
        "cifar-10-batches-py",
        tuple(f"data_batch_{number}" for number in range(1, 6)),
        32,
        partial(_pickled, "labels", 0),
        "cifar-10-python.tar.gz",
        "6d958be074577803d12ecdefd02955f39262c83c16fe9348329d7fe0b5c001ce",
    ),
    Layout(
        "cifar-10-binary",
        "cifar10",
        "cifar-10-batches-bin",
        tuple(f"data_batch_{number}.bin" for number in range(1, 6)),
        32,
        partial(_records, 1),
        "cifar-10-binary.tar.gz",
    ),
    Layout(
        "cifar-100-python",
        "cifar100",
        "cifar-100-python",
        ("train",),
        32,
        partial(_pickled, "fine_labels", 0),
        "cifar-100-python.tar.gz",
        "85cd44d02ba6437773c5bbd22e183051d648de2e7d6b014e1ef29b855ba677a7",
    ),
    Layout(
        "cifar-100-binary",
        "cifar100",
        "cifar-100-binary",
        ("train.bin",),
        32,
        partial(_records, 2),
        "cifar-100-binary.tar.gz",
    ),
    Layout(
        "ImageNet16",
        "imagenet16",
        "ImageNet16",
        tuple(f"train_data_batch_{number}" for number in range(1, 11)),
        16,
        partial(_pickled, "labels", 1),
    ),
)


def dataset_key(name: str) -> str:
    """Letters and digits of a name in lower case: ``CIFAR-10`` is ``cifar10``."""
    return re.sub(r"[^a-z0-9]", "", name.casefold())


def names_dataset(file_name: str, task_name: str) -> bool:
    """Whether a file or folder is called after the dataset of a task.

    >>> names_dataset("cifar-10_sample.npz", "cifar10")
    True
    >>> names_dataset("cifar100.npz", "cifar10")
    False
    """
    keys = {dataset_key(task_name)}
    keys |= {layout.dataset for layout in LAYOUTS if layout.fits(task_name)}
    named = dataset_key(file_name)
    return any(re.search(rf"{key}(?![0-9])", named) for key in keys if key)


def other_dataset(file_name: str, task_name: str) -> str | None:
    """A known dataset that a file is called after, if it is not the task's."""
    if names_dataset(file_name, task_name):
        return None
    known = ("cifar10", "cifar100", "ImageNet16-120")
    return next((name for name in known if names_dataset(file_name, name)), None)
