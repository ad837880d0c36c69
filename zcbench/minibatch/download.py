"""Download the official CIFAR archives into the cache, checked by their sha256."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from zcbench.errors import DataError, unknown
from zcbench.minibatch.layouts import LAYOUTS, Layout

SERVER = "https://www.cs.toronto.edu/~kriz/"
"""Where the authors of CIFAR keep the archives."""


def fetchable() -> Mapping[str, Layout]:
    """Datasets that can be fetched."""
    return {layout.dataset: layout for layout in LAYOUTS if layout.sha256}


def image_folder(cache: Path) -> Path:
    """The part of the cache where ``--minibatch auto`` looks for images."""
    return cache / "images"


def fetch(name: str, cache: Path | None = None, *, progress: bool = False) -> Path:
    """Download an archive unless the cache has it.

    Args:
        name: ``"cifar10"`` or ``"cifar100"``.
        cache: the cache, `zcbench.cache.cache_dir()` by default.
        progress: show a bar on stderr.

    Returns:
        Path of the archive, which has the known checksum.

    Raises:
        UsageError: there is no such archive.
        DataError: the server or the disk refuses, or the checksum is wrong; then
            nothing new stays in the cache.
    """
    import pooch
    from requests.exceptions import RequestException

    from zcbench.cache import cache_dir

    known = fetchable()
    if name not in known:
        raise unknown("dataset to fetch", name, known)
    layout = known[name]
    folder = image_folder(cache or cache_dir())
    url = SERVER + layout.archive
    by_hand = f"Or download it yourself and put it into {folder}."
    try:
        path = pooch.retrieve(
            url,
            known_hash=f"sha256:{layout.sha256}",
            fname=layout.archive,
            path=folder,
            progressbar=progress,
        )
    except RequestException as error:
        raise DataError(
            f"{url} could not be downloaded ({type(error).__name__}).",
            f"Check the connection and try again. {by_hand}",
        ) from None
    except OSError as error:
        raise DataError(
            f"{folder} cannot be written: {error.strerror or error}.",
            "Make room there, or set ZCBENCH_CACHE to another folder.",
        ) from None
    except ValueError:  # how pooch says that the checksum differs
        raise DataError(
            f"What {url} sent does not have the known checksum; it was not kept.",
            f"Try again later. {by_hand}",
        ) from None
    return Path(path)
