"""What the numbers of a table are: percent or fractions, trainings or epochs."""

from __future__ import annotations

import itertools
import re
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from zcbench.errors import DataError
from zcbench.flat_file import FlatFile, is_accuracy, shown
from zcbench.truth import TARGETS

if TYPE_CHECKING:
    import pandas as pd

    from zcbench.spaces import Space

PLAIN = "accuracy"
"""Target of a column that is called after its dataset."""
_PERCENT = re.compile(rf"(val|test|{PLAIN})(?:_\d+)?(?:_seed\d+)?")
_OF_A_DATASET = re.compile(r".+_(val|test)(?:_\d+)?(?:_seed\d+)?")
_MOST_TRAININGS = 10
_ROWS_OF_A_CURVE, _RISING = 10, 0.9


def is_percent(label: str) -> bool:
    """Whether it is an accuracy in percent, by the short name of its column."""
    return _PERCENT.fullmatch(label) is not None


def in_percent(path: Path, values: pd.DataFrame, notes: list[str]) -> pd.DataFrame:
    """Accuracies where those of a target that are fractions have become percent.

    Raises:
        DataError: trainings of one target are partly in fractions, partly in percent.
    """
    values = values.copy()
    for target in (*TARGETS, PLAIN):
        own = [c for c in values if is_percent(c) and c.split("_")[0] == target]
        trainings = [c for c in own if re.fullmatch(rf"{target}(_seed\d+)?", c)]
        _check_mixture(path, values[trainings])
        if own and _are_fractions(values[own]):
            values[own] *= 100
            notes.append(
                f"{path}: {', '.join(own[:4])}{', …' * (len(own) > 4)}: all values lie "
                "between 0 and 1; read as fractions, and turned into percent."
            )
    return values


def _check_mixture(path: Path, trainings: pd.DataFrame) -> None:
    small = [c for c in trainings if _are_fractions(trainings[[c]])]
    large = [c for c in trainings if trainings[c].max() > 1]
    if small and large:
        raise DataError(
            f"{path}: the values of {small[0]} look like fractions, those of "
            f"{large[0]} like percent.",
            "Write all in percent.",
        )


def _are_fractions(values: pd.DataFrame) -> bool:
    """Whether none is above 1, and not all are 0 or 1."""
    known = values.to_numpy(float).ravel()
    known = known[~np.isnan(known)]
    return bool((known <= 1).all() and (known % 1 > 0).any())


def counted_trainings(file: FlatFile, prefix: str, notes: list[str]) -> dict[str, str]:
    """Columns test_1, test_2, … (two at least) → test_seed1, and so on.

    Many, or those that rise in nearly every row, are epochs of one training.
    """
    seed_names: dict[str, str] = {}
    for name in TARGETS:
        numbers = itertools.count(1)
        names = (f"{prefix}{name}_{k}" for k in numbers)
        run = list(itertools.takewhile(file.frame.columns.__contains__, names))
        if len(run) < 2:
            continue
        about = f"{file.path}: {run[0]} to {run[-1]} are read as "
        if len(run) > _MOST_TRAININGS or _is_curve(file.frame[run]):
            notes.append(f"{about}accuracies after 1 to {len(run)} epochs.")
            continue
        notes.append(f"{about}{len(run)} trainings, of which the mean is taken.")
        seed_names |= {c: f"{name}_seed{k}" for k, c in enumerate(run, start=1)}
    return seed_names


def _is_curve(run: pd.DataFrame) -> bool:
    import pandas as pd

    values = run.apply(pd.to_numeric, errors="coerce").dropna()
    rises = values.iloc[:, -1] > values.iloc[:, 0]
    return len(values) >= _ROWS_OF_A_CURVE and bool(rises.mean() >= _RISING)


def only_column(file: FlatFile, space: Space, dataset: str) -> str:
    """The one column that is called after accuracies, or the metric, in its own words.

    Raises:
        DataError: there is none, or several; says how to name one.
    """
    import pandas as pd

    columns = [str(c) for c in file.frame.columns]
    free = [c for c in columns if not _is_of_another(c, space, dataset)]
    metric = space.tasks[dataset].metric
    called = [
        c
        for c in free
        if c.casefold() == metric.casefold() or (metric == PLAIN and is_accuracy(c))
    ]
    if len(called) == 1:
        return called[0]
    numeric = pd.api.types.is_numeric_dtype
    numbers = [c for c in free if c != "index" and numeric(file.frame[c])]
    names = f"val, test, val_seed0, …, or {dataset}_val, {dataset}_test, …"
    asked = called or (numbers if len(numbers) == 1 else [])
    what = "several columns of" if called else "no"
    raise DataError(
        f"{file.path} has {what} accuracies for {dataset}: its columns are "
        f"{shown(columns)}.",
        f"If it is {asked[0]}, say --target {asked[0]}; or name them {names}."
        if asked
        else f"Name them {names}.",
    )


def _is_of_another(column: str, space: Space, dataset: str) -> bool:
    """Whether a column begins with the name of another dataset, as cifar10_val does."""
    names = [n for n in space.tasks if column.casefold().startswith(n.casefold())]
    named = max(names, key=len, default=dataset)
    return named != dataset or bool(_OF_A_DATASET.fullmatch(column))
