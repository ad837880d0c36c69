"""Architectures as numbers, from their strings alone (White et al. 2020).

Columns are those of the architectures at hand; ones that do not vary among the training
architectures are dropped before a model sees them.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Hashable, Mapping, Sequence, Set
from itertools import combinations, pairwise

import numpy as np

from zcbench.errors import UsageError
from zcbench.networks.cell_graph import Cell, edges_of
from zcbench.spaces import Space
from zcbench.spaces.cell import CellSpace
from zcbench.stats.ranks import Floats


def operations(space: Space, specs: Sequence[str]) -> Floats:
    """One column for each (place, choice), 1 where an architecture has it, [n, d].

    Places are the edges of a cell. In a space without cells they are the parts of the
    architecture string between ``-`` and ``:``, or its characters if it has neither.

    Args:
        space: where the architectures are from.
        specs: architecture strings. [n]
    """
    rows = [enumerate(choices(space, spec)) for spec in specs]
    return _indicators([{(place, str(c)) for place, c in row} for row in rows])


def paths(space: Space, specs: Sequence[str]) -> Floats:
    """One column for each sequence of operations that leads through a cell, [n, d].

    It is 1 where some path from the input to the output has these operations in this
    order; a path over ``none`` is no path. The path encoding of BANANAS.

    Args:
        space: where the architectures are from.
        specs: architecture strings. [n]

    Raises:
        UsageError: its architectures are no cells.
    """
    cells = _cells(space, specs, "paths")
    return _indicators([paths_of(cell, _nodes(space)) for cell in cells])


def adjacency(space: Space, specs: Sequence[str]) -> Floats:
    """One column for each edge: the number of its operation, [n, edges].

    The categorical adjacency encoding: numbers that models take as ordered.

    Args:
        space: where the architectures are from.
        specs: architecture strings. [n]

    Raises:
        UsageError: its architectures are no cells.
    """
    cells = _cells(space, specs, "adjacency")
    names = space.operations if isinstance(space, CellSpace) else ()
    return np.array([[names.index(op) for op in cell] for cell in cells], dtype=float)


ENCODINGS: Mapping[str, Callable[[Space, Sequence[str]], Floats]] = {
    "encoding": operations,
    "paths": paths,
    "adjacency": adjacency,
}


def choices(space: Space, spec: str) -> tuple[str, ...]:
    """What an architecture has chosen at each place."""
    if isinstance(space, CellSpace):
        return space.cell(spec)
    parts = re.split(r"[-:]", spec)
    return tuple(parts if len(parts) > 1 else spec)


def paths_of(cell: Cell, n_nodes: int) -> set[tuple[str, ...]]:
    """Sequences of operations on the paths from the first node to the last.

    >>> sorted(paths_of(("conv", "none", "skip"), 3))
    [('conv', 'skip')]
    """
    on = dict(zip(edges_of(n_nodes), cell, strict=True))
    found = set()
    for between in range(n_nodes - 1):
        for middle in combinations(range(1, n_nodes - 1), between):
            nodes = (0, *middle, n_nodes - 1)
            path = tuple(on[edge] for edge in pairwise(nodes))
            if "none" not in path:
                found.add(path)
    return found


def _indicators(rows: Sequence[Set[Hashable]]) -> Floats:
    """1 where a row has a thing; a column for each thing that any row has."""
    things = sorted({thing for row in rows for thing in row}, key=repr)
    place = {thing: column for column, thing in enumerate(things)}
    found = np.zeros((len(rows), len(place)))
    for number, row in enumerate(rows):
        found[number, [place[thing] for thing in row]] = 1.0
    return found


def _cells(space: Space, specs: Sequence[str], name: str) -> list[Cell]:
    if not isinstance(space, CellSpace):
        raise UsageError(
            f"The features {name} need cells, and {space.name} has none.",
            "Use the features encoding.",
        )
    return [space.cell(spec) for spec in specs]


def _nodes(space: Space) -> int:
    return space.n_nodes if isinstance(space, CellSpace) else 0
