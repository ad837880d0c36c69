"""A smaller space: 16 cells."""

from __future__ import annotations

from zcbench.spaces.cell import CellSpace
from zcbench.types import Task


class Small(CellSpace):
    """Cells of 1 edge with 4 operations; networks take milliseconds."""

    name = "small"
    tasks = {"small": Task("small", (3, 8, 8), 4)}
    operations = ("none", "skip_connect", "nor_conv_1x1", "nor_conv_3x3")
    n_nodes = 2
    stages = (4, 8)
    depth = 2
