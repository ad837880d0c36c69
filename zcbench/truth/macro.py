"""NAS-Bench-Macro accuracies, from the official JSON file.

CIFAR-10 test accuracy of three trainings of each architecture (Su et al. 2021). The
file is `data/nas-bench-macro_cifar10.json` of the authors' repository.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from zcbench.errors import AbsentDataError, DataError
from zcbench.files import read as read_file
from zcbench.files import reason
from zcbench.truth import Truth, with_means

if TYPE_CHECKING:
    import pandas as pd

FILE = "nas-bench-macro_cifar10.json"
_N_SEEDS = 3
_OFFICIAL = (
    f"Give data/{FILE} of the repository xiusu/NAS-Bench-Macro on GitHub, with "
    f"--truth {FILE} or as a file of that name in the cache, folder truth."
)


def load(dataset: str) -> pd.DataFrame:
    """Table of the official file in the cache; see `read`.

    Raises:
        DataError: it is not there, or is not what it should be.
    """
    from zcbench.files import cache_dir

    return read(cache_dir() / "truth" / FILE, dataset)


def read(path: Path, dataset: str) -> pd.DataFrame:
    """Table with ``test``, ``test_seed0`` … ``test_seed2``, stored #params and FLOPs.

    Args:
        path: the official file.
        dataset: ``"cifar10"``, the only one.

    Returns:
        6,561 rows. Strings of the same network share one training, so that of their
        accuracies only 3,969 are independent.

    Raises:
        DataError: it cannot be read, or is not what it should be.
    """
    del dataset
    try:
        content = read_file(path)
    except FileNotFoundError:
        raise AbsentDataError(
            f"There are no accuracies of NAS-Bench-Macro in {path}.", _OFFICIAL
        ) from None
    except OSError as error:
        raise DataError(f"{path} cannot be read: {reason(error)}.", _OFFICIAL) from None
    try:
        entries = json.loads(content)
    except (ValueError, RecursionError):
        raise DataError(f"{path} is no valid JSON.", _OFFICIAL) from None
    table = _table(entries, path)
    table.attrs = {
        "truth": TRUTH.name,
        "release": "NAS-Bench-Macro",
        "digest": hashlib.sha256(content).hexdigest(),
    }
    return table


TRUTH = Truth(
    "nas-bench-macro",
    "macro",
    "official JSON file: CIFAR-10 test accuracy, 3 trainings",
    load,
    read,
    (".json",),
)


def _table(entries: object, path: Path) -> pd.DataFrame:
    import pandas as pd

    from zcbench.spaces import load_space

    space = load_space("macro")
    specs = [space.architecture(index).spec for index in range(len(space))]
    if not isinstance(entries, dict) or not entries.keys() >= set(specs):
        raise DataError(
            f"{path} does not have each of the {len(specs):,} architectures.", _OFFICIAL
        )
    try:
        rows = [_trainings(entries[spec]) for spec in specs]
    except (KeyError, ValueError, TypeError, OverflowError) as error:
        raise DataError(
            f"{path} has an unexpected entry ({type(error).__name__}: {error}).",
            _OFFICIAL,
        ) from None
    table = pd.DataFrame(rows)
    return with_means(table.assign(arch=specs, index=range(len(specs))))


def _trainings(entry: Mapping[str, Any]) -> dict[str, float]:
    accuracies = [float(value) for value in entry["test_acc"]]
    if len(accuracies) != _N_SEEDS or not all(0 <= a <= 100 for a in accuracies):
        raise ValueError(f"test_acc is {entry['test_acc']}")
    row = {f"test_seed{seed}": value for seed, value in enumerate(accuracies)}
    return row | {
        "stored_params": int(entry["params"]),
        "stored_flops": int(entry["flops"]),
    }
