"""Read labelled images from the files that people have.

CIFAR-10 and CIFAR-100 (Python and binary version, archive or folder), ImageNet16
folders, and `.npz` files with ``images`` and ``labels``. Nothing is extracted to
disk and nothing in a file is run.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from zcbench.errors import DataError
from zcbench.files import read
from zcbench.minibatch.archives import is_npz, is_tar, read_npz, read_tar
from zcbench.minibatch.layouts import LAYOUTS, Layout, names_dataset, other_dataset
from zcbench.types import Task

_MAX_FILE = 2 << 30
_OFFICIAL = {one.archive: one.sha256 for one in LAYOUTS if one.sha256}
_FORMATS = (
    "It reads .npz files with images and labels, the CIFAR-10 and CIFAR-100 archives "
    "or folders, and the ImageNet16 folder."
)


@dataclass(frozen=True, slots=True, eq=False)
class Images:
    """A collection of labelled images.

    Attributes:
        name: where they come from, for tables.
        digest: sha256 of the bytes of the files that were read, one after another.
        pixels: [N, C, H, W] bytes.
        labels: [N], from 0.
    """

    name: str
    digest: str
    pixels: NDArray[np.uint8]
    labels: NDArray[np.int64]


def read_images(path: Path, task: Task, *, verify: bool = False) -> Images:
    """Read the images of a task from a file, or from a folder that holds them.

    Args:
        path: an `.npz`, an archive, the folder of an extracted archive, or a folder
            in which one of these is called after the dataset.
        task: gives the dataset, the image size and the number of classes.
        verify: refuse an archive that has an official name but other content.

    Returns:
        All its training images; those of other classes are left out.

    Raises:
        FileNotFoundError: there is nothing at the path.
        DataError: there are no images, or they are damaged or do not fit the task.
    """
    with _reading(path):
        if not path.exists():
            raise FileNotFoundError(path)
        if path.is_dir():
            path, layout = _find(path, task)
        else:
            fitting = (layout for layout in LAYOUTS if layout.fits(task.name))
            layout = next((one for one in fitting if path.name in one.members), None)
        if layout is None:
            images = _from_file(path, task, verify)
        else:
            images = _from_members(path, layout, task)
    _check(images, path, task)
    return images


def holds_images(folder: Path, task: Task) -> bool:
    """Whether a folder has something that is called after the dataset of a task."""
    with _reading(folder):
        return folder.is_dir() and bool(_search(folder, task))


@contextmanager
def _reading(path: Path) -> Iterator[None]:
    """Turn what an unreadable file raises into one clear error."""
    try:
        yield
    except FileNotFoundError:
        raise
    except MemoryError:
        raise DataError(
            f"{path} does not fit into memory.", "Give a smaller file."
        ) from None
    except OSError as error:
        raise DataError(
            f"{path} cannot be read: {error.strerror or error}.",
            "Check the file and its permissions.",
        ) from None


def _search(folder: Path, task: Task) -> list[tuple[Path, Layout | None]]:
    """All that a folder holds for a task, the most standard first."""
    layouts = [layout for layout in LAYOUTS if layout.fits(task.name)]
    entries = sorted(folder.iterdir())
    named = [entry for entry in entries if names_dataset(entry.name, task.name)]
    places: list[tuple[Path, Layout | None]] = [
        (place, layout)
        for place in [folder, *(entry for entry in named if entry.is_dir())]
        for layout in layouts
        if any((place / member).is_file() for member in layout.members)
    ]
    places += [
        (folder / layout.archive, None)
        for layout in layouts
        if layout.archive and (folder / layout.archive).is_file()
    ]
    if places:
        return places
    suffixes = (".npz", ".tar", ".tar.gz", ".tgz")
    return [
        (entry, None)
        for entry in named
        if entry.is_file() and entry.name.casefold().endswith(suffixes)
    ]


def _is_standard(path: Path, layout: Layout | None) -> bool:
    return layout is not None or path.name in {one.archive for one in LAYOUTS}


def _find(folder: Path, task: Task) -> tuple[Path, Layout | None]:
    """The one thing in a folder that holds the images of a task."""
    places = _search(folder, task)
    if not places:
        raise DataError(
            f"The folder {folder} holds no images of {task.name}.",
            f"Put an archive, its folder or a file such as {task.name}.npz there.",
        )
    if len(places) > 1 and not _is_standard(*places[0]):
        names = ", ".join(path.name for path, _ in places)
        raise DataError(
            f"The folder {folder} holds several files of {task.name}: {names}.",
            "Name the one to use.",
        )
    return places[0]


def _load(path: Path) -> bytes:
    """Bytes of a regular file of sensible size."""
    if not path.is_file() or path.stat().st_size > _MAX_FILE:
        raise DataError(
            f"{path} is no regular file of at most {_MAX_FILE >> 20} MiB.", _FORMATS
        )
    return read(path, _MAX_FILE)


def _from_file(path: Path, task: Task, verify: bool) -> Images:
    """Images of an `.npz` or an archive."""
    data = _load(path)
    other = other_dataset(path.name, task.name)
    if other is not None:
        raise DataError(
            f"{path} is called after {other}, but the dataset is {task.name}.",
            "Give a folder with a file for each dataset, or rename the file.",
        )
    digest = hashlib.sha256(data).hexdigest()
    if verify and digest != _OFFICIAL.get(path.name, digest):
        raise DataError(
            f"{path} does not have the checksum of the official file.",
            "Delete it and fetch it again.",
        )
    if is_npz(data):
        pixels, labels = read_npz(data, str(path))
        pixels = np.ascontiguousarray(pixels.transpose(0, 3, 1, 2))
        return Images(f"npz:{path.name}", digest, pixels, labels.astype(np.int64))
    if is_tar(data):
        return _from_tar(path, data, digest, task)
    raise DataError(f"{path} is in no format that zcbench reads.", _FORMATS)


def _from_tar(path: Path, data: bytes, digest: str, task: Task) -> Images:
    """Images of the archive of a standard collection."""
    wanted = frozenset(
        f"{one.folder}/{name}" for one in LAYOUTS for name in one.members
    )
    members = read_tar(data, str(path), wanted)
    for layout in LAYOUTS:
        names = [f"{layout.folder}/{name}" for name in layout.members]
        parts = [(f"{path}/{name}", members[name]) for name in names if name in members]
        if parts and not layout.fits(task.name):
            raise DataError(
                f"{path} holds {layout.name}, but the dataset is {task.name}.",
                "Give a folder with an archive for each dataset.",
            )
        if parts:
            official = not layout.sha256 or digest == layout.sha256
            name = layout.name if official else f"{layout.name}:{path.name}"
            return Images(name, digest, *_join(layout, parts, task))
    raise DataError(f"{path} holds no collection that zcbench reads.", _FORMATS)


def _from_members(path: Path, layout: Layout, task: Task) -> Images:
    """Images of the folder that an archive unpacks to, or of one file of it."""
    files = [path] if path.is_file() else [path / name for name in layout.members]
    digest = hashlib.sha256()

    def parts() -> Iterator[tuple[str, bytes]]:
        for file in files:
            if file.exists():
                data = _load(file)
                digest.update(data)
                yield str(file), data

    pixels, labels = _join(layout, parts(), task)
    return Images(layout.name, digest.hexdigest(), pixels, labels)


def _join(
    layout: Layout, parts: Iterable[tuple[str, bytes]], task: Task
) -> tuple[NDArray[np.uint8], NDArray[np.int64]]:
    """Images of several members, with only the classes that the task has."""
    all_pixels, all_labels = [], []
    for where, data in parts:
        pixels, labels = layout.parse(data, where)
        if pixels.shape[1] != 3 * layout.side**2:
            raise DataError(
                f"{where} has {pixels.shape[1]} bytes an image, not "
                f"{3 * layout.side**2}.",
                "Give one of the official files.",
            )
        if layout.dataset == "imagenet16":
            keep = labels < task.n_classes
            pixels, labels = pixels[keep], labels[keep]
        all_pixels.append(pixels)
        all_labels.append(labels)
    labels = np.concatenate(all_labels)
    shape = (len(labels), 3, layout.side, layout.side)
    return np.concatenate(all_pixels).reshape(shape), labels


def _check(images: Images, path: Path, task: Task) -> None:
    """Raise `DataError` unless sizes and labels are those of the task."""
    if images.pixels.shape[1:] != task.input_shape:
        given, needed = (
            "×".join(map(str, shape))
            for shape in (images.pixels.shape[1:], task.input_shape)
        )
        raise DataError(
            f"The images in {path} are {given}, but {task.name} needs {needed}.",
            "Give images of that size, or say --minibatch builtin.",
        )
    labels = images.labels
    if task.loss == "none":  # they do not matter
        return
    if len(labels) and not 0 <= labels.min() <= labels.max() < task.n_classes:
        raise DataError(
            f"The labels in {path} run from {labels.min()} to {labels.max()}, but "
            f"{task.name} has classes 0 to {task.n_classes - 1}.",
            "Number the classes from 0.",
        )
