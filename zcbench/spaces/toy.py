"""27 cells whose networks take milliseconds: for tests, docs and plug-ins."""

from __future__ import annotations

from zcbench.spaces.cell import CellSpace
from zcbench.types import Task


class Toy(CellSpace):
    """Cells of 3 edges with 3 operations; networks take milliseconds.

    Two stages of one cell each. It has every oddity of the real spaces: disconnected
    cells, dead operations, cells without any convolution.
    """

    name = "toy"
    tasks = {"toy": Task("toy", (3, 8, 8), 4)}
    operations = ("none", "skip_connect", "nor_conv_3x3")
    n_nodes = 3
    stages = (4, 8)
    depth = 1
