"""Labelled images to train a supernet on, and to judge its paths by."""

from __future__ import annotations

import hashlib
import math
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import adaptive_avg_pool2d, pad

from zcbench.errors import DataError
from zcbench.minibatch import open_source
from zcbench.minibatch.builtin import VERSION, Random, Recipe, builtin_pixels
from zcbench.minibatch.image_files import Images
from zcbench.minibatch.normalise import statistics
from zcbench.oneshot.paths import Setting
from zcbench.types import Task

BUILTIN = 1024
"""Built-in images."""
FINEST, COARSEST = 0.03, 0.4
"""Smallest leaf of the built-in classes, as a share of the image side."""
ROUGHEST = 1.2
"""Largest texture of the built-in classes."""


def labelled_images(option: str, task: Task) -> Images:
    """All images of a source with labels that mean something.

    ``builtin`` are dead leaves, as everywhere here, but their class says how large the
    leaves are and how rough their texture is, so that there is something to learn.

    Args:
        option: ``"auto"``, ``"builtin"`` or a path, as ``--minibatch`` takes.
        task: gives the dataset, the image size and the number of classes.

    Raises:
        DataError: there are no labelled images.
    """
    source = open_source(option, task)
    images = source.collection()
    if images is not None:
        return images
    if source.name != "builtin" or len(task.input_shape) != 3:
        raise DataError(
            f"The labels of {source.name} are random: there is nothing to learn.",
            "Say builtin, or give an image file or folder.",
        )
    side = math.ceil(math.sqrt(task.n_classes))
    each = -(-BUILTIN // task.n_classes)
    classes = []
    for number in range(task.n_classes):
        rough, coarse = (part / max(1, side - 1) for part in divmod(number, side))
        recipe = Recipe(
            smallest=FINEST * (COARSEST / FINEST) ** coarse, texture=ROUGHEST * rough
        )
        identity = ("oneshot", task.name, number)
        classes.append(builtin_pixels(each, task, *identity, recipe=recipe))
    about = ("leaves by class", VERSION, BUILTIN, FINEST, COARSEST, ROUGHEST)
    digest = hashlib.sha256(repr(about).encode()).hexdigest()
    labels = np.repeat(np.arange(task.n_classes), each)
    return Images("builtin, leaves by class", digest, np.concatenate(classes), labels)


@dataclass(frozen=True, slots=True, eq=False)
class Split:
    """Images of one training, on its device.

    Attributes:
        pixels: [N, C, H, W] bytes, the training images first.
        labels: [N].
        n_train: how many are for training; the others are for validation.
        mean: per channel, in bytes. [C, 1, 1]
        std: likewise.
        identity: seeds the order of batches.
    """

    pixels: Tensor
    labels: Tensor
    n_train: int
    mean: Tensor
    std: Tensor
    identity: tuple[object, ...]

    @classmethod
    def of(
        cls,
        images: Images,
        task: Task,
        setting: Setting,
        identity: tuple[object, ...],
        device: str,
    ) -> Split:
        """Divide images at random, and reduce them to a side.

        Args:
            images: all of them.
            task: gives the statistics that normalise them.
            setting: gives the side and the share of validation images.
            identity: seeds it.
            device: where to.
        """
        n, side = len(images.labels), setting.image_size
        order = torch.from_numpy(Random(*identity, "split").permutation(n))
        pixels = torch.from_numpy(images.pixels)[order]
        if side != pixels.shape[-1]:
            pixels = adaptive_avg_pool2d(pixels.float(), side).round().byte()
        mean, std = (
            torch.from_numpy(255 * value).float().reshape(-1, 1, 1).to(device)
            for value in statistics(task)
        )
        labels = torch.from_numpy(images.labels)[order].to(device)
        n_train = n - max(1, round(setting.validation * n))
        return cls(pixels.to(device), labels, n_train, mean, std, identity)

    def batch(self, number: int, size: int, *, augment: bool) -> tuple[Tensor, Tensor]:
        """Training images and labels; every image once an epoch, in a new order.

        Args:
            number: of the batch, from 0.
            size: images in it.
            augment: whether to shift and mirror them.
        """
        epoch, place = divmod(number, self.n_train // size)
        order = Random(*self.identity, "order", epoch).permutation(self.n_train)
        chosen = torch.from_numpy(order[place * size : (place + 1) * size])
        chosen = chosen.to(self.pixels.device)
        x = self._normal(self.pixels[chosen])
        if augment:
            x = _moved(x, Random(*self.identity, "augment", number))
        return x, self.labels[chosen]

    def known(self, count: int, size: int) -> list[Tensor]:
        """The first training images in batches, without augmentation."""
        x = self._normal(self.pixels[: min(count, self.n_train)])
        return list(torch.split(x, size))

    def validation(self, size: int) -> tuple[list[Tensor], Tensor]:
        """Validation images in batches, and their labels."""
        x = self._normal(self.pixels[self.n_train :])
        return list(torch.split(x, size)), self.labels[self.n_train :]

    def _normal(self, pixels: Tensor) -> Tensor:
        return (pixels.float() - self.mean) / self.std


def _moved(x: Tensor, random: Random) -> Tensor:
    """Shift each image by up to an eighth of its side, and mirror half of them."""
    n, _, height, width = x.shape
    most = max(1, height // 8)
    padded = pad(x, (most,) * 4)
    shifts = random.classes(2 * n, 2 * most + 1).reshape(2, n)
    turned = random.uniform(n) < 0.5
    rows = shifts[0][:, None] + np.arange(height)
    columns = shifts[1][:, None] + np.arange(width)
    columns = np.where(turned[:, None], columns[:, ::-1], columns)
    image, row, column = (
        torch.from_numpy(np.ascontiguousarray(index)).to(x.device)
        for index in (np.arange(n)[:, None, None], rows[:, :, None], columns[:, None])
    )
    return padded.permute(0, 2, 3, 1)[image, row, column].permute(0, 3, 1, 2)
