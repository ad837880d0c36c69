"""The features before global pooling of a network that promises nothing."""

from __future__ import annotations

from typing import Any

from torch import Tensor, nn

from zcbench.errors import Undefined
from zcbench.evidence.watch import NORMALISATIONS, LayerCall, Watch

_POOLS = frozenset(
    {"adaptive_avg_pool2d", "adaptive_max_pool2d", "avg_pool2d", "max_pool2d"}
)
_MEANS = frozenset({"mean", "amax", "sum"})


def watched_features(network: nn.Module, x: Tensor) -> Tensor:
    """Input of the last global pooling; else the last feature map [N, C, H, W].

    Global pooling is a pooling to 1×1, or a mean over height and width. A layer with
    several places an image after it makes it no global pooling of the features.

    Raises:
        Undefined: there are tokens or vectors, no feature maps, before the logits; or
            layers other than BatchNorm normalise, for which zen has no term.
    """
    finder = _Finder(len(x))
    with Watch(on_layer=finder.layer, on_call=finder.call):
        network(x)
    if finder.normalised:
        raise Undefined(
            f"it normalises by {finder.normalised}, zen's term is BatchNorm's"
        )
    features = finder.pooled if finder.pooled is not None else finder.last
    if features is None:
        raise Undefined("the network has no feature maps")
    return features


class _Finder:
    def __init__(self, n_images: int) -> None:
        self._n = n_images
        self.pooled: Tensor | None = None
        self.last: Tensor | None = None
        self.normalised = ""

    def layer(self, call: LayerCall, output: Tensor) -> Tensor:
        if call.places(output) > self._n:
            self.pooled = None
            self.last = output if output.dim() == 4 else None
        return output

    def call(self, name: str, args: tuple[Any, ...], output: object) -> None:
        value = args[0] if args else None
        if not isinstance(value, Tensor) or not isinstance(output, Tensor):
            return
        if name in NORMALISATIONS - {"batch_norm"}:
            self.normalised = name
        if value.dim() != 4:
            return
        # Gating by squeeze and excitation pools, too: a layer that follows undoes it.
        if _is_global(name, value, output):
            self.pooled = value
        elif (
            self.last is not None
            and self.pooled is None
            and output.dim() == 4
            and output.shape[1] == self.last.shape[1]
            and len(output) == self._n
        ):
            self.last = output


def _is_global(name: str, value: Tensor, output: Tensor) -> bool:
    places = value.shape[2] * value.shape[3]
    if name in _POOLS:
        adaptive = name.startswith("adaptive")  # also of small images' last 1×1 maps
        one = output.dim() == 4 and output[0, 0].numel() == 1
        return one and (places > 1 or adaptive)
    if name not in _MEANS or output.dim() == 0 or len(output) != len(value):
        return False
    per_image = value[0].numel() // max(1, output[0].numel())
    first = per_image == places and output.shape[1:2] == value.shape[1:2]
    last = value.shape[1] * value.shape[2] == per_image
    return (per_image > 1 or places == 1) and (
        first or (last and output.shape[-1] == value.shape[-1])
    )
