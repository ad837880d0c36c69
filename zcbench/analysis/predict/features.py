"""Architectures as numbers: encodings of their strings, scores, and controls.

Columns are those of the architectures at hand; ones that do not vary among the training
architectures are dropped before a model sees them. Encodings: White et al. 2020.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Hashable, Iterable, Mapping, Sequence, Set
from dataclasses import dataclass
from itertools import combinations, pairwise

import numpy as np

from zcbench.analysis.study import Study
from zcbench.errors import DataError, UsageError, unknown
from zcbench.networks.cell_graph import Cell, edges_of
from zcbench.spaces import Space, load_space
from zcbench.spaces.cell import CellSpace
from zcbench.stats.ranks import Floats, Ints

SHUFFLED = "shuffled"
GROUPS: Mapping[str, str] = {
    "proxies": "all scores, those of baselines too",
    "measured": "the scores that are no baselines",
    "baselines": "the scores of baselines",
    SHUFFLED: "all scores, exchanged among architectures: they know nothing",
}
"""Names that stand for several scores."""


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
    paths = set()
    for between in range(n_nodes - 1):
        for middle in combinations(range(1, n_nodes - 1), between):
            nodes = (0, *middle, n_nodes - 1)
            path = tuple(on[edge] for edge in pairwise(nodes))
            if "none" not in path:
                paths.add(path)
    return paths


def _indicators(rows: Sequence[Set[Hashable]]) -> Floats:
    """1 where a row has a thing; a column for each thing that any row has."""
    things = sorted({thing for row in rows for thing in row}, key=repr)
    place = {thing: column for column, thing in enumerate(things)}
    marks = np.zeros((len(rows), len(place)))
    for number, row in enumerate(rows):
        marks[number, [place[thing] for thing in row]] = 1.0
    return marks


def _cells(space: Space, specs: Sequence[str], name: str) -> list[Cell]:
    if not isinstance(space, CellSpace):
        raise UsageError(
            f"The features {name} need cells, and {space.name} has none.",
            "Use the features encoding.",
        )
    return [space.cell(spec) for spec in specs]


def _nodes(space: Space) -> int:
    return space.n_nodes if isinstance(space, CellSpace) else 0


@dataclass(frozen=True, slots=True, eq=False)
class Feature:
    """Some columns that belong together.

    Attributes:
        name: of the encoding or the proxy.
        values: [n, d]; NaN where a score is missing.
        score: whether it is a score: one column, used by its rank, perhaps missing.
        shuffled: whether its rows are exchanged in every trial.
    """

    name: str
    values: Floats
    score: bool
    shuffled: bool = False


@dataclass(frozen=True, slots=True, eq=False)
class Pool:
    """Architectures to train on and to test on.

    Attributes:
        space: where they are from.
        archs: [n] architecture strings.
        accuracy: [n] finite.
        scores: proxy → [n] higher is better; NaN where there is none.
        baselines: those of the proxies that are baselines.
        classes: [n] equal for architectures that compute the same function.
        isomorphs: what was done about those, a clause for the reader.
    """

    space: Space
    archs: list[str]
    accuracy: Floats
    scores: Mapping[str, Floats]
    baselines: tuple[str, ...]
    classes: Ints
    isomorphs: str


def pool_of(
    study: Study, *, proxies: Iterable[str] = (), keep_isomorphs: bool = False
) -> Pool:
    """The architectures of one dataset of a run that have an accuracy.

    Args:
        study: the dataset.
        proxies: the scores to have; all if none is named.
        keep_isomorphs: whether architectures that compute the same function may stand
            on both sides of a split.

    Raises:
        DataError: no architecture has an accuracy.
        UsageError: there are no such scores.
    """
    if not study.known.any():
        raise DataError(
            f"No architecture of {study.run} has an accuracy.",
            "Give another --target or --truth.",
        )
    part = study.among(study.known)
    names = list(dict.fromkeys(proxies)) or list(part.scores)
    for name in names:
        if name not in part.scores:
            raise unknown("proxy of this run", name, part.scores)
    classes, words = _classes(part, keep_isomorphs)
    return Pool(
        space=load_space(part.space),
        archs=part.archs,
        accuracy=part.accuracy,
        scores={name: part.scores[name] for name in names},
        baselines=tuple(name for name in names if name in part.baselines),
        classes=classes,
        isomorphs=words,
    )


def default_features(pool: Pool) -> tuple[str, ...]:
    """The encoding, the scores, both, and the controls that the run has scores for."""
    size = "+".join(name for name in ("params", "flops") if name in pool.scores)
    controls = (size, f"encoding+{size}") if size else ()
    return (
        "encoding",
        *controls,
        "proxies",
        "encoding+proxies",
        f"encoding+{SHUFFLED}",
    )


def features_of(pool: Pool, wanted: str) -> list[Feature]:
    """The features that a word such as ``encoding+params+flops`` asks for, each once.

    Args:
        pool: the architectures.
        wanted: names joined by +: of `ENCODINGS`, of `GROUPS` or of proxies.

    Raises:
        UsageError: there is no such encoding, group or proxy, or none of a group.
    """
    features: dict[tuple[str, bool], Feature] = {}
    for name in (part.strip() for part in wanted.split("+")):
        for feature in _named(pool, name):
            features.setdefault((feature.name, feature.shuffled), feature)
    return list(features.values())


def _named(pool: Pool, name: str) -> list[Feature]:
    if name in ENCODINGS:
        return [Feature(name, ENCODINGS[name](pool.space, pool.archs), score=False)]
    if name in pool.scores:
        return [Feature(name, pool.scores[name][:, None], score=True)]
    if name not in GROUPS:
        raise unknown("feature", name, (*ENCODINGS, *GROUPS, *pool.scores))
    members = {
        "measured": [n for n in pool.scores if n not in pool.baselines],
        "baselines": list(pool.baselines),
    }.get(name, list(pool.scores))
    if not members:
        raise UsageError(
            f"The features {name} are empty: this run has no such scores.",
            f"It has {', '.join(pool.scores)}.",
        )
    mixed = name == SHUFFLED
    return [Feature(n, pool.scores[n][:, None], True, mixed) for n in members]


def _classes(study: Study, keep: bool) -> tuple[Ints, str]:
    alone = np.arange(len(study.archs), dtype=np.int64)
    if keep:
        return alone, "Test architectures may compute the same as a training one"
    if study.functions is None:
        return alone, f"Which architectures of {study.space} are isomorphic is unknown"
    _, classes = np.unique(study.functions, return_inverse=True)
    text = "No test architecture is isomorphic to a training one"
    return classes.astype(np.int64), text
