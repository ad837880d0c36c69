"""Records that run the network when they are read, layer by layer. No torch here."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, Protocol, TypeVar

if TYPE_CHECKING:
    from torch import Tensor

T = TypeVar("T")
Of = Literal["all", "layers", "activations"]


class MapActivations(Protocol):
    """What `Activations.map` is."""

    def __call__(self, function: Callable[[str, Tensor], T], of: Of = "all") -> list[T]:
        """Results of the function."""
        ...


class MapGradients(Protocol):
    """What `ImageGradients.map` is."""

    def __call__(self, function: Callable[[str, Tensor], T]) -> list[T]:
        """Results of the function."""
        ...


@dataclass(frozen=True, slots=True)
class Activations:
    """Outputs of layers and activation functions in a forward of the minibatch.

    Attributes:
        map: runs one forward, in train mode. Calls
            ``function(name, output)`` for every convolution, linear layer and
            elementwise activation function in the order of execution, and returns what
            it gave. The name is the module's; that of a function that a module with
            children calls itself comes after the module's name (``stage1.relu``). The
            output is the function's own, contiguous, and is let go when it returns.
            ``of="layers"`` or ``"activations"`` leaves the others out. Raises
            `zcbench.Undefined` if there is none.
    """

    map: MapActivations


@dataclass(frozen=True, slots=True)
class ImageGradients:
    """Gradients of each image's loss, the image a minibatch of its own.

    See `zcbench.evidence.per_image_pass`.

    Attributes:
        map: runs the passes. Calls
            ``function(name, gradients)`` for every convolution and linear layer, the
            gradients [N, *shape of the weight], zeros where it does not reach the
            output, and returns what it gave in order of definition; it is called in
            another. The gradients are the function's own and are let go when it
            returns. Raises `zcbench.Undefined` if there is no layer, or where a
            network is not made for images alone.
    """

    map: MapGradients
