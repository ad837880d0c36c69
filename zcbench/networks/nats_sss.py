"""Networks of NATS-Bench's size space (Dong et al. 2021).

All have the cell that was best on CIFAR-100: 3×3 convolutions on every edge but the one
from input to output, which is a shortcut. State-dict names are the benchmark's. As in
`cell_network`, a ReLU is computed once for all the convolutions that read it.
"""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor, nn

from zcbench.networks.cell import ConvBN, ResidualBlock, SharedReLU, Skeleton
from zcbench.networks.initialise import Conv2d
from zcbench.types import Task


class Projection(nn.Module):
    """The shortcut between different numbers of channels: 1×1 convolution, BatchNorm.

    The benchmark's block has a ReLU too, which it does not use at stride 1.
    """

    def __init__(self, c_in: int, c_out: int) -> None:
        super().__init__()
        self.conv = Conv2d(c_in, c_out, 1, bias=False)
        self.bn = nn.BatchNorm2d(c_out)

    def forward(self, x: Tensor) -> Tensor:
        """[N, C_in, H, W] → [N, C_out, H, W]."""
        out: Tensor = self.bn(self.conv(x))
        return out


class SizeCell(nn.Module):
    """The one cell of the space.

    Args:
        c_in: channels of its input.
        c_out: channels of its other nodes.
    """

    def __init__(self, c_in: int, c_out: int) -> None:
        super().__init__()
        shortcut = nn.Identity() if c_in == c_out else Projection(c_in, c_out)
        self.layers = nn.ModuleList(
            [
                ConvBN(c_in, c_out, 3),
                ConvBN(c_in, c_out, 3),
                ConvBN(c_out, c_out, 3),
                shortcut,
                ConvBN(c_out, c_out, 3),
                ConvBN(c_out, c_out, 3),
            ]
        )
        self.relus = nn.ModuleList(SharedReLU(readers) for readers in (2, 2, 1))

    def forward(self, x: Tensor) -> Tensor:
        """[N, C_in, H, W] → [N, C_out, H, W]: value of the last node."""
        a, b, c, shortcut, d, e = self.layers
        x_on = self.relus[0](x)
        first = a(x_on)
        first_on = self.relus[1](first)
        second = b(x_on) + c(first_on)
        out: Tensor = shortcut(x) + d(first_on) + e(self.relus[2](second))
        return out


class SizeNetwork(Skeleton):
    """Three cells with residual blocks between.

    Args:
        channels: of the five; the stem has those of the first.
        task: gives the input channels and the number of classes.
    """

    def __init__(self, channels: Sequence[int], task: Task) -> None:
        before = (channels[0], *channels)
        kinds = (SizeCell, ResidualBlock, SizeCell, ResidualBlock, SizeCell)
        cells = (
            kind(c_in, c_out)
            for kind, c_in, c_out in zip(kinds, before, channels, strict=False)
        )
        super().__init__(channels[0], cells, channels[-1], task)
