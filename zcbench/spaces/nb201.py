"""NAS-Bench-201: 15,625 cells of 6 edges with 5 operations (Dong & Yang 2020).

The network: a 3×3 stem to 16 channels, three stages of five cells with 16, 32 and 64
channels, a residual block of stride 2 between stages, global average pooling and a
linear classifier.
"""

from __future__ import annotations

from zcbench.spaces.cell import CellSpace
from zcbench.types import Task


class NASBench201(CellSpace):
    """Cells of 6 edges with 5 operations; names and strings as published."""

    name = "nb201"
    tasks = {
        "cifar10": Task("cifar10", (3, 32, 32), 10),
        "cifar100": Task("cifar100", (3, 32, 32), 100),
        "ImageNet16-120": Task("ImageNet16-120", (3, 16, 16), 120),
    }
    operations = (
        "none",
        "skip_connect",
        "nor_conv_1x1",
        "nor_conv_3x3",
        "avg_pool_3x3",
    )
    n_nodes = 4
    stages = (16, 32, 64)
    depth = 5
