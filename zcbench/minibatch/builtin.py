"""Images and tables made without any download that stand in for real ones.

An image is a pile of dead leaves (Lee, Mumford and Huang 2001): opaque disks with
power-law radii that cover each other, which gives natural images their edges, their
1/f spectrum and their uniform patches. Colour channels are correlated as in
photographs; disks carry 1/f texture; images differ in brightness and contrast. What
each of these is worth for the scores is measured by scripts/tune_minibatch.py.

Tables of numbers stand in for real ones. Features of real tables are correlated: here
each is a mixture of a few hidden factors and of noise of its own, with mean 0 and
variance 1 as after the usual normalisation. What a table is about, its factors'
weights, belongs to the task; rows belong to the minibatch. The regression target is a
mixture of the same factors, and noise.

Everything is made of raw PCG64 words, whose stream NumPy guarantees, and ends as
bytes, so the rounding of a platform's FFT or exponential does not show.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from zcbench.minibatch.normalise import statistics
from zcbench.seeding import derive
from zcbench.types import Task

VERSION = 1
"""Raised whenever the images change."""

Floats = NDArray[np.float64]

_UNEVEN = 0.7
"""Standard deviation of the logarithm of a leaf's texture."""
_LIGHT_COLOUR = 0.83
"""Correlation between neighbouring channels of an image's brightness."""
_STRETCH = 1.15
"""Restores the contrast that smoothing and clipping take away."""
_MARGIN = 0.3
"""How far outside the image leaves may be centred, as a share of its side."""


@dataclass(frozen=True, slots=True)
class Recipe:
    """How to paint.

    Radii are shares of the image side; a leaf's colour has standard deviation 1.

    Attributes:
        leaves: number of disks in an image.
        smallest: smallest radius.
        largest: largest radius.
        texture: size of the texture on a leaf.
        brightness: share of the brightness of a whole image in a pixel's standard
            deviation.
        contrast: standard deviation of the logarithm of an image's contrast.
        colour: correlation between neighbouring colour channels of a leaf.
    """

    leaves: int = 150
    smallest: float = 0.03
    largest: float = 1.0
    texture: float = 0.3
    brightness: float = 0.4
    contrast: float = 0.25
    colour: float = 0.9


class Random:
    """Uniform and normal numbers from raw PCG64 words.

    Args:
        *parts: identity that seeds it, for `zcbench.seeding.derive`.
    """

    def __init__(self, *parts: object) -> None:
        self._bits = np.random.PCG64(derive(*parts))

    def words(self, size: int) -> NDArray[np.uint64]:
        """Uniform 64-bit words [size]."""
        return np.asarray(self._bits.random_raw(size), dtype=np.uint64)

    def uniform(self, *shape: int) -> Floats:
        """Uniform in [0, 1)."""
        size = int(np.prod(shape))
        high = (self.words(size) >> np.uint64(11)).astype(np.float64)
        return (high * 2.0**-53).reshape(shape)

    def normal(self, *shape: int) -> Floats:
        """Standard normal, by Box and Muller."""
        radius, angle = self.uniform(2, *shape)
        normal: Floats = np.sqrt(-2 * np.log1p(-radius)) * np.cos(2 * np.pi * angle)
        return normal

    def classes(self, size: int, n_classes: int) -> NDArray[np.int64]:
        """Independent uniform labels [size], as in a random batch of a dataset."""
        return (self.uniform(size) * n_classes).astype(np.int64)

    def permutation(self, size: int) -> NDArray[np.int64]:
        """A random order of 0 … size − 1."""
        return np.argsort(self.words(size), kind="stable").astype(np.int64)


RECIPE = Recipe()


def builtin_pixels(
    count: int, task: Task, *parts: object, recipe: Recipe = RECIPE
) -> NDArray[np.uint8]:
    """Images for a task, with the mean and contrast of its dataset.

    Args:
        count: number of images; fewer are the first of more.
        task: gives the image size and the dataset's statistics.
        *parts: identity that seeds them.
        recipe: how to paint.

    Returns:
        [N, C, H, W] bytes.
    """
    random = Random(*parts)
    painted = np.stack([_paint(random, task.input_shape, recipe) for _ in range(count)])
    mean, std = (value.reshape(-1, 1, 1) for value in statistics(task))
    return np.rint(np.clip(mean + _STRETCH * std * painted, 0, 1) * 255).astype(
        np.uint8
    )


def _paint(random: Random, shape: tuple[int, ...], recipe: Recipe) -> Floats:
    """One image [C, H, W] with mean 0 and variance near 1 over many."""
    channels, height, width = shape
    # Twice as fine, so that edges come out smooth.
    leaf = _pile(random, 2 * height, 2 * width, recipe)
    colours = _correlated(random.normal(recipe.leaves, channels), recipe.colour)
    strength = recipe.texture * np.exp(_UNEVEN * random.normal(recipe.leaves))
    texture = strength[leaf] * _pink(random, *leaf.shape)
    image = colours[leaf].transpose(2, 0, 1) + texture
    image /= np.sqrt(1 + recipe.texture**2 * np.exp(2 * _UNEVEN**2))
    contrast = np.exp(recipe.contrast * random.normal(1) - recipe.contrast**2)
    light = _correlated(random.normal(channels), _LIGHT_COLOUR).reshape(-1, 1, 1)
    share = recipe.brightness
    image = np.sqrt(1 - share**2) * contrast * image + share * light
    fine: Floats = image.reshape(channels, height, 2, width, 2).mean((2, 4))
    return fine


def _pile(random: Random, height: int, width: int, recipe: Recipe) -> NDArray[np.intp]:
    """Number of the topmost disk at each pixel [H, W]; disk 0 lies under all."""
    side = max(height, width)
    low, high = recipe.smallest**-2, recipe.largest**-2
    # Density ∝ radius⁻³: as many disks at every scale as there is room for.
    radius = (low + random.uniform(recipe.leaves) * (high - low)) ** -0.5
    centre = random.uniform(2, recipe.leaves, 1) * (1 + 2 * _MARGIN) - _MARGIN
    y, x = (np.arange(size) + 0.5 for size in (height, width))
    dy = (y / side - centre[0] * height / side) ** 2
    dx = (x / side - centre[1] * width / side) ** 2
    top = np.zeros((height, width), dtype=np.intp)
    square = radius**2
    rows, columns = (_spans(d <= square[:, None]) for d in (dy, dx))
    for number in range(1, recipe.leaves):
        down, across = rows[number], columns[number]
        inside = dy[number, down, None] + dx[number, across] <= square[number]
        top[down, across][inside] = number
    return top


def _spans(inside: NDArray[np.bool_]) -> list[slice]:
    """Of each row, from the first to the last that is true, of neighbours."""
    first, count = inside.argmax(axis=1).tolist(), inside.sum(axis=1).tolist()
    return [slice(f, f + n) for f, n in zip(first, count, strict=True)]


def _pink(random: Random, height: int, width: int) -> Floats:
    """Noise [H, W] of variance 1 with amplitude spectrum frequency^(-1.5)."""
    frequency = np.hypot(np.fft.fftfreq(height)[:, None], np.fft.rfftfreq(width))
    frequency[0, 0] = np.inf
    spectrum = np.fft.rfft2(random.normal(height, width)) * frequency**-1.5
    noise = np.fft.irfft2(spectrum, s=(height, width))
    unit: Floats = noise / noise.std()
    return unit


def _correlated(values: Floats, correlation: float) -> Floats:
    """Make neighbours along the last axis correlate, standard normal as before."""
    own = (1 - correlation**2) ** 0.5
    mixed = values.copy()
    for channel in range(1, values.shape[-1]):
        mixed[..., channel] = (
            correlation * mixed[..., channel - 1] + own * values[..., channel]
        )
    return mixed


VECTORS = ("vectors", 1)
"""Name and version; the latter is raised whenever the numbers change."""

_FEATURES_A_FACTOR = 3
_SHARE_X, _SHARE_Y = 0.7, 0.8
"""Shares of the variance of features and targets that the factors explain."""


def builtin_vectors(count: int, task: Task, *parts: object) -> tuple[Floats, Floats]:
    """Rows for a task, and what a regression would predict.

    Args:
        count: number of rows.
        task: gives the number of features D, and seeds what the table is about.
        *parts: identity that seeds the rows.

    Returns:
        Features [N, D] and targets [N], both of variance 1.
    """
    (features,) = task.input_shape
    factors = max(1, features // _FEATURES_A_FACTOR)
    weights = Random("vectors", task.name).normal(features + 1, factors)
    weights /= np.linalg.norm(weights, axis=1, keepdims=True)
    random = Random(*parts)
    rows = random.normal(count, factors + features + 1)
    hidden, own = rows[:, :factors], rows[:, factors:]
    share = np.full(features + 1, _SHARE_X)
    share[-1] = _SHARE_Y
    mixed = np.sqrt(share) * (hidden @ weights.T) + np.sqrt(1 - share) * own
    return mixed[:, :-1], mixed[:, -1]
