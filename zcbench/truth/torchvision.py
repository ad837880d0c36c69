"""ImageNet accuracies that the installed torchvision states of its weights.

Top-1 on the validation images, at the size of images that the weights were made for:
what ``torchvision.models.get_model_weights(name)`` says in its ``meta``. No weights are
downloaded. The tasks are the recipes: ``IMAGENET1K_V1`` and ``IMAGENET1K_V2``.
"""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING

from zcbench.errors import AbsentDataError, UsageError
from zcbench.truth import Truth

if TYPE_CHECKING:
    import pandas as pd


def load(dataset: str) -> pd.DataFrame:
    """Table with ``val`` and the stored #params of the networks of one recipe.

    Raises:
        DataError: torchvision cannot be imported.
    """
    import pandas as pd

    from zcbench.networks.loading import import_zoo
    from zcbench.spaces import load_space

    try:
        zoo = import_zoo("torchvision")
    except UsageError as error:
        raise AbsentDataError(error.what, error.hint) from None
    space, recipe = load_space("torchvision"), f"IMAGENET1K_{dataset[-2:].upper()}"
    there = set(zoo.models.list_models(module=zoo.models))
    rows = []
    for arch in map(space.architecture, range(len(space))):
        weights = zoo.models.get_model_weights(arch.spec) if arch.spec in there else ()
        for entry in (weight for weight in weights if weight.name == recipe):
            accuracy = entry.meta["_metrics"]["ImageNet-1K"]["acc@1"]
            row = arch.spec, arch.index, accuracy, entry.meta["num_params"]
            rows.append(row)
    table = pd.DataFrame(rows, columns=["arch", "index", "val", "stored_params"])
    table.attrs = {
        "truth": TRUTH.name,
        "release": f"torchvision {zoo.__version__}",
        "digest": hashlib.sha256(repr(rows).encode()).hexdigest(),
    }
    return table


TRUTH = Truth(
    "torchvision",
    "torchvision",
    "of the installed torchvision: ImageNet top-1 of each recipe",
    load,
)
