"""Download the official CIFAR archives into the cache, checked by their sha256."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import Any

from zcbench.errors import DataError, unknown
from zcbench.minibatch.layouts import LAYOUTS, Layout

SERVER = "https://www.cs.toronto.edu/~kriz/"
"""Where the authors of CIFAR keep the archives."""
CHUNK = 1 << 16
"""Bytes that a transfer that breaks off may lose."""


def fetchable() -> Mapping[str, Layout]:
    """Datasets that can be fetched."""
    return {layout.dataset: layout for layout in LAYOUTS if layout.sha256}


def image_folder(cache: Path) -> Path:
    """The part of the cache where ``--minibatch auto`` looks for images."""
    return cache / "images"


def fetch(name: str, cache: Path | None = None, *, progress: bool = False) -> Path:
    """Download an archive unless the cache has it.

    A transfer that breaks off is gone on with the next time.

    Args:
        name: ``"cifar10"`` or ``"cifar100"``.
        cache: the cache, `zcbench.files.cache_dir()` by default.
        progress: show a bar on stderr.

    Returns:
        Path of the archive, which has the known checksum.

    Raises:
        UsageError: there is no such archive.
        DataError: the server or the disk refuses, or the checksum is wrong, and then
            nothing of it is kept.
    """
    import pooch
    from requests.exceptions import RequestException

    from zcbench.files import cache_dir

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
            downloader=partial(_resume, folder / f".{layout.archive}.part", progress),
        )
    except RequestException as error:
        raise DataError(
            f"{url} could not be downloaded ({type(error).__name__}).",
            f"Check the connection and try again: it goes on where it was. {by_hand}",
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


def _resume(part: Path, progress: bool, url: str, output: str, _pooch: Any) -> None:
    """Download into a partial file that outlives us, then put it where pooch wants it.

    Args:
        part: what was received so far.
        progress: show a bar on stderr.
        url: what to download.
        output: where pooch checks it, and from where it is moved into place.

    Raises:
        RequestException: the server refuses, or the transfer breaks off.
        OSError: the disk refuses.
    """
    import requests
    from tqdm import tqdm

    there = part.stat().st_size if part.exists() else 0
    headers = {"Range": f"bytes={there}-"} if there else {}
    with requests.get(url, headers=headers, stream=True, timeout=30) as response:
        if response.status_code == requests.codes.requested_range_not_satisfiable:
            part.unlink()  # longer than the archive: not a part of it
        response.raise_for_status()
        goes_on = response.status_code == requests.codes.partial_content
        there = there if goes_on else 0
        left = int(response.headers.get("Content-Length", 0))
        bar = tqdm(
            total=there + left,
            initial=there,
            unit="B",
            unit_scale=True,
            leave=False,
            disable=not progress,
        )
        with bar, part.open("ab" if goes_on else "wb") as file:
            for chunk in response.iter_content(CHUNK):
                file.write(chunk)
                bar.update(len(chunk))
    part.replace(output)
