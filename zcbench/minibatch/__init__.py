"""Sources of minibatches: real images, built-in ones or tables, Gaussian noise.

A minibatch is a pure function of (seed, task, repeat, index): every network of a run
sees the same one. Images are normalised by the standard mean and standard deviation
of their dataset; there is no augmentation. Importing this does not import torch.
"""

from __future__ import annotations

import hashlib
import math
from abc import ABC, abstractmethod
from dataclasses import dataclass
from difflib import get_close_matches
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from zcbench.errors import DataError, UsageError
from zcbench.files import expanded
from zcbench.minibatch.builtin import (
    RECIPE,
    VECTORS,
    VERSION,
    Random,
    builtin_pixels,
    builtin_vectors,
)
from zcbench.minibatch.download import fetch, image_folder
from zcbench.minibatch.image_files import Images, holds_images, read_images
from zcbench.minibatch.normalise import normalise
from zcbench.types import Task

if TYPE_CHECKING:
    from zcbench.types import Batch

OPTIONS = ("auto", "builtin", "gaussian")
"""What ``--minibatch`` takes besides a path."""

MOST_NUMBERS = 1 << 30
"""Of a minibatch: 64 images of 3×2,364×2,364."""

Targets = NDArray[np.int64] | NDArray[np.float32]
Drawn = tuple[NDArray[np.float32], Targets]


@dataclass(frozen=True)
class Source(ABC):
    """Where the minibatches of a task come from.

    Attributes:
        name: what tables call it.
        digest: sha256 of the files read, or of the generator's name and version.
        task: gives image size and number of classes.
    """

    name: str
    digest: str
    task: Task

    def batch(self, n: int, *, seed: int, repeat: int = 0, index: int = 0) -> Batch:
        """Minibatch of ``n`` images, normalised, with their labels.

        Args:
            n: number of images.
            seed: seed of the run.
            repeat: which repeat of the run, from 0.
            index: which minibatch of the repeat, for proxies that want several. Of
                real images those of one repeat share none as long as they last.

        Raises:
            UsageError: ``n`` is not positive, or repeat or index is negative.
            DataError: there are not that many images.
        """
        import torch

        from zcbench.types import Batch

        if n < 1 or repeat < 0 or index < 0:
            raise UsageError(
                f"No minibatch has {n} images, repeat {repeat} and index {index}.",
                "Ask for at least 1 image; repeat and index count from 0.",
            )
        numbers = n * math.prod(self.task.input_shape)
        if numbers > MOST_NUMBERS:
            raise UsageError(
                f"A minibatch of {n} inputs of {self.task.name} has {numbers:.3g} "
                f"numbers; {MOST_NUMBERS:,} are the most.",
                "Lower --batch-size, or give smaller inputs.",
            )
        x, y = self._draw(n, index, (seed, "minibatch", self.task.name, repeat))
        x = np.ascontiguousarray(x)
        return Batch(torch.from_numpy(x), torch.from_numpy(y), self.task.loss)

    def collection(self) -> Images | None:
        """All the images there are; None where they are made as they are asked for."""
        return None

    @abstractmethod
    def _draw(self, n: int, index: int, identity: tuple[object, ...]) -> Drawn:
        """Images [N, C, H, W] or vectors [N, D], and labels or targets: see `Batch`."""


@dataclass(frozen=True)
class _Files(Source):
    """Real images, drawn without replacement."""

    images: Images

    def collection(self) -> Images:
        """All of them."""
        return self.images

    def _draw(self, n: int, index: int, identity: tuple[object, ...]) -> Drawn:
        total = len(self.images.labels)
        if n > total:
            raise DataError(
                f"{self.name} has {total} images of {self.task.name}, but the batch "
                f"needs {n}.",
                "Give more images or lower the batch size.",
            )
        # When one shuffle is used up, the next begins.
        shuffle, place = divmod(index, total // n)
        order = Random(*identity, shuffle).permutation(total)
        chosen = order[place * n : (place + 1) * n]
        pixels, labels = self.images.pixels[chosen], self.images.labels[chosen]
        return normalise(pixels, self.task), labels


@dataclass(frozen=True)
class _Builtin(Source):
    """Dead leaves with random labels or targets."""

    def _draw(self, n: int, index: int, identity: tuple[object, ...]) -> Drawn:
        pixels = builtin_pixels(n, self.task, *identity, index, "images")
        random = Random(*identity, index, "labels")
        return normalise(pixels, self.task), _targets(random, n, self.task)


@dataclass(frozen=True)
class _Vectors(Source):
    """Correlated features, with what is to be predicted, or random labels."""

    def _draw(self, n: int, index: int, identity: tuple[object, ...]) -> Drawn:
        x, y = builtin_vectors(n, self.task, *identity, index, "vectors")
        if self.task.loss == "mse":
            return x.astype(np.float32), y.astype(np.float32)
        labels = Random(*identity, index, "labels").classes(n, self.task.n_classes)
        return x.astype(np.float32), labels


@dataclass(frozen=True)
class _Gaussian(Source):
    """Standard normal noise in every number, with random labels or targets."""

    def _draw(self, n: int, index: int, identity: tuple[object, ...]) -> Drawn:
        x = Random(*identity, index, "noise").normal(n, *self.task.input_shape)
        random = Random(*identity, index, "labels")
        return x.astype(np.float32), _targets(random, n, self.task)


def _targets(random: Random, n: int, task: Task) -> Targets:
    """Uniform labels [n]; in a regression standard normal numbers, [n] or [n, K]."""
    if task.loss == "mse":
        size = (n, task.n_classes) if task.n_classes > 1 else (n,)
        return random.normal(*size).astype(np.float32)
    return random.classes(n, task.n_classes)


def open_source(option: str, task: Task, *, cache: Path | None = None) -> Source:
    """Source of minibatches for a task.

    Args:
        option: ``"auto"`` (the real images if the cache has them, else built-in
            ones), ``"builtin"``, ``"gaussian"``, or the path of an image file or of
            a folder with one for each dataset. Vectors are built in or Gaussian.
        task: gives the dataset, the image size and the number of classes.
        cache: the cache, `zcbench.files.cache_dir()` by default.

    Raises:
        DataError: the path leads to no images, or they do not fit the task.
    """
    if option not in OPTIONS:
        return _open_files(option, task)
    if option == "gaussian":
        return _Gaussian(option, _text_digest(option, VERSION), task)
    if len(task.input_shape) == 1:
        return _Vectors("builtin", _text_digest("builtin", *VECTORS), task)
    if option == "auto" and task.loss != "mse":
        from zcbench.files import cache_dir

        folder = image_folder(cache or cache_dir())
        if holds_images(folder, task):
            images = read_images(folder, task, verify=True)
            return _Files(images.name, images.digest, task, images)
    return _Builtin("builtin", _text_digest("builtin", VERSION, RECIPE), task)


def _open_files(option: str, task: Task) -> Source:
    if len(task.input_shape) != 3 or task.loss == "mse":
        shape = "×".join(map(str, task.input_shape))
        raise DataError(
            f"zcbench has labelled images, but {task.name} has inputs of {shape} and "
            f"the loss {task.loss}.",
            "Say builtin for vectors, or gaussian for anything.",
        )
    try:
        images = read_images(expanded(option), task)
    except FileNotFoundError:
        close = get_close_matches(option.casefold(), OPTIONS, n=1)
        raise DataError(
            f"There is no {option!r} to take images from.",
            f"Did you mean {close[0]}?"
            if close
            else "Give an image file or folder, or say auto, builtin or gaussian.",
        ) from None
    return _Files(images.name, images.digest, task, images)


def batch_digest(batch: Batch) -> str:
    """Sha256 of shapes, images and labels."""
    digest = hashlib.sha256()
    real = batch.loss == "mse"
    for tensor, kind in ((batch.x, "<f4"), (batch.y, "<f4" if real else "<i8")):
        array = tensor.detach().cpu().contiguous().numpy()
        digest.update(repr(array.shape).encode())
        digest.update(array.astype(kind, copy=False).tobytes())
    return digest.hexdigest()


def _text_digest(*parts: object) -> str:
    return hashlib.sha256(repr(parts).encode()).hexdigest()


__all__ = [
    "OPTIONS",
    "Source",
    "batch_digest",
    "fetch",
    "image_folder",
    "open_source",
]
