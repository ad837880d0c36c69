"""Networks of blocks of inverted residuals with squeeze-excite (Tan et al. 2019)."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from torch import Tensor, nn

from zcbench.networks.initialise import Conv2d, Linear
from zcbench.types import Task

_STEM, _HEAD = 32, 1280
"""Channels after the stem and before the classifier."""

_WIDTHS = (16, 24, 40, 80, 112, 192, 320)
_STRIDES = (1, 2, 2, 2, 1, 2, 1)

Activation = Callable[[], nn.Module]


def _conv_bn(
    c_in: int, c_out: int, kernel: int, stride: int = 1, groups: int = 1
) -> list[nn.Module]:
    conv = Conv2d(c_in, c_out, kernel, stride, kernel // 2, groups=groups, bias=False)
    return [conv, nn.BatchNorm2d(c_out)]


class SqueezeExcite(nn.Module):
    """Channels times a gate from 0 to 1 that the means of all channels decide.

    Args:
        channels: of the input.
        hidden: units of the layer between.
        activation: between the two layers.
    """

    def __init__(self, channels: int, hidden: int, activation: Activation) -> None:
        super().__init__()
        self.reduce = Conv2d(channels, hidden, 1)
        self.activation = activation()
        self.expand = Conv2d(hidden, channels, 1)

    def forward(self, x: Tensor) -> Tensor:
        """[N, C, H, W] → the same."""
        inner = self.activation(self.reduce(x.mean((2, 3), keepdim=True)))
        out: Tensor = x * self.expand(inner).sigmoid()
        return out


class InvertedResidual(nn.Module):
    """Expansion, depthwise convolution, squeeze-excite, projection; a shortcut.

    Args:
        c_in: channels of the input.
        c_out: channels of the output.
        stride: of the depthwise convolution.
        kernel: of the depthwise convolution.
        expansion: inner channels for each of the input; 1 has no layer of its own.
        excite: whether there is squeeze-excite.
        activation: after expansion and depthwise convolution.
    """

    def __init__(
        self,
        c_in: int,
        c_out: int,
        stride: int,
        kernel: int,
        expansion: int,
        excite: bool = False,
        activation: Activation = nn.ReLU,
    ) -> None:
        super().__init__()
        inner = c_in * expansion
        expand = [*_conv_bn(c_in, inner, 1), activation()] if expansion > 1 else []
        depthwise = _conv_bn(inner, inner, kernel, stride, groups=inner)
        gate = [SqueezeExcite(inner, c_in // 4, activation)] if excite else []
        project = _conv_bn(inner, c_out, 1)
        self.conv = nn.Sequential(*expand, *depthwise, activation(), *gate, *project)
        self.use_shortcut = stride == 1 and c_in == c_out

    def forward(self, x: Tensor) -> Tensor:
        """[N, C_in, H, W] → [N, C_out, H / stride, W / stride]."""
        out: Tensor = self.conv(x)
        return out + x if self.use_shortcut else out


class MnasNetwork(nn.Module):
    """Stem, seven blocks, a 1×1 convolution to 1,280 channels, classifier.

    Args:
        blocks: seven words such as ``e6k3l2s``.
        task: gives the input channels and the number of classes.
        activation: everywhere; ``nn.SiLU`` is the other choice.
    """

    plain_layers = True
    """See `zcbench.evidence.subject.promises_plain`."""

    def __init__(
        self, blocks: Sequence[str], task: Task, activation: Activation = nn.ReLU
    ) -> None:
        super().__init__()
        self.linear_outside_layers = not any(word.endswith("s") for word in blocks)
        stem = _conv_bn(task.input_shape[0], _STEM, 3, 2)
        self.stem = nn.Sequential(*stem, activation())
        stages: list[nn.Module] = []
        channels = _STEM
        for word, width, first in zip(blocks, _WIDTHS, _STRIDES, strict=True):
            expansion, kernel, layers = int(word[1]), int(word[3]), int(word[5])
            shapes = [(channels, width, first)] + [(width, width, 1)] * (layers - 1)
            excite = word.endswith("s")
            rows = (
                InvertedResidual(*shape, kernel, expansion, excite, activation)
                for shape in shapes
            )
            stages.append(nn.Sequential(*rows))
            channels = width
        self.blocks = nn.Sequential(*stages)
        self.head = nn.Sequential(*_conv_bn(channels, _HEAD, 1), activation())
        self.pool = nn.AdaptiveAvgPool2d(1)
        self.classifier = Linear(_HEAD, task.n_classes)

    def forward(self, x: Tensor) -> Tensor:
        """[N, C, H, W] images → [N, n_classes] logits."""
        x = self.pool(self.head(self.blocks(self.stem(x))))
        logits: Tensor = self.classifier(x.flatten(1))
        return logits
