"""Which architectures a run covers."""

from __future__ import annotations

import csv
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Literal

from zcbench.errors import DataError, ZcbenchError
from zcbench.files import read, reason
from zcbench.seeding import derive
from zcbench.spaces import Space
from zcbench.spaces.base import Unlisted
from zcbench.types import Architecture


def sample(
    space: Space,
    n: int | Literal["all"],
    *,
    seed: int,
    population: str,
    trained: Iterable[int] = (),
) -> list[int]:
    """Random architectures of a population, without replacement.

    Every architecture has a random key that depends on (seed, space, index) alone, and
    the sample is the n members with the smallest keys. So samples are nested: the
    first 100 of 200 are those of 100.

    Args:
        space: the search space.
        n: how many, or ``"all"``; a smaller population is taken whole.
        seed: seed of the run.
        population: name of a population of the space.
        trained: what a population of an `Unlisted` space is a part of.

    Returns:
        Indices, in random order.

    Raises:
        UsageError: the population is unknown.
    """
    import numpy as np

    if isinstance(space, Unlisted):
        indices = np.array(sorted(trained), dtype=np.int64)
        members = space.among(population, indices)
    else:
        members = space.population(population)
    # Raw output of a bit generator: NumPy keeps it the same from version to version,
    # which it does not promise of permutations. The key of index i is its word i.
    bits = np.random.PCG64(derive(seed, "sample", space.name))
    keys, at = np.empty(len(members), dtype=np.uint64), 0
    starts = np.flatnonzero(np.diff(members, prepend=-2) != 1)  # of consecutive indices
    for part in map(slice, starts, [*starts[1:], len(members)]):
        indices = members[part]
        bits.advance(int(indices[0]) - at)
        keys[part] = bits.random_raw(len(indices))
        at = int(indices[-1]) + 1
    order = np.argsort(keys, kind="stable")
    return [int(index) for index in members[order[: None if n == "all" else n]]]


def read_archs(space: Space, file: Path) -> list[int]:
    """Architectures listed in a file, without repeats, in its order.

    Args:
        space: the search space.
        file: one architecture string or index a line; blank lines and what follows a
            ``#`` are ignored. Or a CSV file with a column ``arch``.

    Returns:
        Indices.

    Raises:
        DataError: the file is missing or empty, or a line is no architecture.
    """
    try:
        text = read(file).decode("utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        raise DataError(
            f"The list of architectures {file} cannot be read: {reason(error)}.",
            "Give a text file with one architecture string or index a line.",
        ) from None
    indices: dict[int, None] = {}
    for number, spec in _listed(text):
        try:
            indices[_architecture(space, spec).index] = None
        except ZcbenchError as error:
            raise DataError(
                f"{file}, line {number}: {error.what}", error.hint
            ) from None
    if not indices:
        raise DataError(
            f"The list of architectures {file} is empty.",
            "Write one architecture string or index a line.",
        )
    return list(indices)


def _listed(text: str) -> Iterator[tuple[int, str]]:
    """Number of its line and name of each architecture of a list or CSV."""
    lines = text.splitlines()
    names = next(csv.reader(lines[:1]), [])
    if "arch" in names:
        column = names.index("arch")
        for number, row in enumerate(csv.reader(lines[1:]), start=2):
            if row:
                yield number, row[column] if column < len(row) else ""
        return
    for number, line in enumerate(lines, start=1):
        spec = line.partition("#")[0].strip()
        if spec:
            yield number, spec


def _architecture(space: Space, spec: str) -> Architecture:
    try:
        return space.parse(spec)
    except DataError:  # a string of digits can be either: 02012100 in NAS-Bench-Macro
        if spec.isascii() and spec.isdigit() and len(spec) < 19:
            return space.architecture(int(spec))
        raise
