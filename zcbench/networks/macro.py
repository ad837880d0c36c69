"""Networks of NAS-Bench-Macro: a chain of identities and inverted residuals.

State-dict names are the benchmark's: ``stem.0 features.{i}.conv.{0,1,3,4,6,7}
features.{i}.downsample.{0,1} out.0 classifier``.
"""

from __future__ import annotations

from torch import Tensor, nn

from zcbench.networks.initialise import Conv2d, Linear
from zcbench.networks.mnasnet import InvertedResidual
from zcbench.types import Task

_STEM, _HEAD = 32, 1280
"""Channels after the stem and before the classifier."""

_INVERTED = {"1": (3, 3), "2": (5, 6)}
"""Block → (kernel, expansion)."""


class Identity(nn.Module):
    """Nothing, or a 1×1 convolution and BatchNorm where the shape changes."""

    def __init__(self, c_in: int, c_out: int, stride: int) -> None:
        super().__init__()
        self.downsample = None
        if stride != 1 or c_in != c_out:
            self.downsample = nn.Sequential(
                Conv2d(c_in, c_out, 1, stride, bias=False), nn.BatchNorm2d(c_out)
            )

    def forward(self, x: Tensor) -> Tensor:
        """[N, C_in, H, W] → [N, C_out, H / stride, W / stride]."""
        return x if self.downsample is None else self.downsample(x)


class MacroNetwork(nn.Module):
    """Stem, the chain, a 1×1 convolution to 1,280 channels, classifier.

    Args:
        spec: one digit a layer.
        stages: layers of each stage; the first of them has stride 2.
        task: gives the input channels and the number of classes.
    """

    linear_outside_layers = True
    """Sums, pooling and flattening: see `zcbench.evidence.hessian_product`."""

    def __init__(self, spec: str, stages: tuple[int, ...], task: Task) -> None:
        super().__init__()
        self.stem = nn.Sequential(
            Conv2d(task.input_shape[0], _STEM, 3, padding=1, bias=False),
            nn.BatchNorm2d(_STEM),
            nn.ReLU(),
        )
        strides = [1 + (layer == 0) for layers in stages for layer in range(layers)]
        blocks: list[nn.Module] = []
        channels = _STEM
        for digit, stride in zip(spec, strides, strict=True):
            shape = channels, channels * stride, stride
            if digit in _INVERTED:
                blocks.append(InvertedResidual(*shape, *_INVERTED[digit]))
            else:
                blocks.append(Identity(*shape))
            channels *= stride
        self.features = nn.Sequential(*blocks)
        self.out = nn.Sequential(
            Conv2d(channels, _HEAD, 1, bias=False),
            nn.BatchNorm2d(_HEAD),
            nn.ReLU(),
            nn.AdaptiveAvgPool2d(1),
        )
        self.classifier = Linear(_HEAD, task.n_classes)

    def forward(self, x: Tensor) -> Tensor:
        """[N, C, H, W] images → [N, n_classes] logits."""
        x = self.out(self.features(self.stem(x)))
        logits: Tensor = self.classifier(x.flatten(1))
        return logits
