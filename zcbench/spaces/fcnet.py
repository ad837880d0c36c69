"""HPOLib's two-layer networks: 144 architectures on four regressions (Klein 2019).

Two fully connected layers of 16 to 512 units, each followed by ReLU or tanh, and one
linear output. The benchmark trained each with 432 settings of learning rate, batch
size, schedule and dropout; an architecture here is what those have in common, so
networks have no dropout. A string such as ``16-relu-512-tanh`` names units and
activation of the first layer, then of the second.

The benchmark's own initialisation was Keras's (Glorot uniform); this is PyTorch's, as
in every space here.
"""

from __future__ import annotations

from itertools import product
from typing import TYPE_CHECKING

from zcbench.spaces.base import SpaceBase
from zcbench.types import Task

if TYPE_CHECKING:
    from torch import nn

UNITS = (16, 32, 64, 128, 256, 512)
ACTIVATIONS = ("relu", "tanh")

_FEATURES = {
    "naval_propulsion": 15,
    "parkinsons_telemonitoring": 20,
    "protein_structure": 9,
    "slice_localization": 380,
}
_SPECS = tuple(
    f"{units[0]}-{activations[0]}-{units[1]}-{activations[1]}"
    for activations in product(ACTIVATIONS, repeat=2)
    for units in product(UNITS, repeat=2)
)
"""Activations first, then units, as HPOLib's keys."""


class FCNet(SpaceBase):
    """Two fully connected layers on four regressions of tables."""

    name = "fcnet"
    tasks = {
        name: Task(name, (features,), 1, "mse") for name, features in _FEATURES.items()
    }
    _specs = _SPECS
    _form = (
        f"One looks like {_SPECS[0]}; units are {', '.join(map(str, UNITS))}, "
        f"activations {' and '.join(ACTIVATIONS)}."
    )

    def _network(self, spec: str, task: Task) -> nn.Module:
        """[N, D] → [N, 1]."""
        from torch import nn

        from zcbench.networks.initialise import Linear

        first, activation_1, second, activation_2 = spec.split("-")
        activations = {"relu": nn.ReLU, "tanh": nn.Tanh}
        network = nn.Sequential(
            Linear(task.input_shape[0], int(first)),
            activations[activation_1](),
            Linear(int(first), int(second)),
            activations[activation_2](),
            Linear(int(second), 1),
        )
        network.plain_layers = True  # type: ignore[assignment]
        return network
