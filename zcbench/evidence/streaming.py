"""One run of a network for one proxy, whose function takes layer after layer.

Whatever the function does to its tensors, and the network to itself, every run is the
same. Arithmetic is full float32.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from functools import partial
from typing import Any, TypeVar

import torch
from torch import Tensor, nn

from zcbench.errors import Undefined
from zcbench.evidence.clock import Clock
from zcbench.evidence.copies import deep_copied
from zcbench.evidence.one_by_one import each_image
from zcbench.evidence.passes import arithmetic, manners
from zcbench.evidence.streams import Activations, ImageGradients, Of
from zcbench.evidence.subject import Subject
from zcbench.evidence.watch import LAYERS, RELUS, SMOOTH, Watch
from zcbench.seeding import random_state

T = TypeVar("T")
_ACTIVATIONS = frozenset(
    {
        *(name.rstrip("_") for name in RELUS | SMOOTH),
        *("hardtanh", "sigmoid", "hardsigmoid", "logsigmoid", "tanh", "tanhshrink"),
        *("softsign", "softshrink", "hardshrink", "threshold"),
    }
)
_FUNCTIONS: dict[str, frozenset[str]] = {
    "all": LAYERS | _ACTIVATIONS,
    "layers": LAYERS,
    "activations": _ACTIVATIONS,
}


def stream_activations(subject: Subject) -> Activations:
    """Nothing is run yet.

    Raises:
        Undefined: a ReLU is used in a way that is not seen.
    """
    if not subject.plain:
        subject.locate_images()
        subject.check_relus()
    return Activations(_Run(subject).activations)


def stream_image_gradients(subject: Subject) -> ImageGradients:
    """Nothing is run yet."""
    return ImageGradients(_Run(subject).gradients)


class _Run:
    """Runs a network, as it is now, whenever it is asked.

    A plain network keeps nothing of a run but BatchNorm's statistics, which train mode
    does not read. What others keep is unknown: each run is one of a copy.

    Args:
        subject: the network and its minibatch.
    """

    def __init__(self, subject: Subject) -> None:
        # Without its probe, which holds tensors.
        self._subject = subject if subject.plain else deep_copied(replace(subject))

    def __deepcopy__(self, memo: object) -> _Run:
        return self  # guests' records are copied, and they cannot change this one

    def activations(
        self, function: Callable[[str, Tensor], T], of: Of = "all"
    ) -> list[T]:
        """What the function makes of outputs: see `Activations`."""
        if of not in _FUNCTIONS:
            raise ValueError(f"of is {of!r}, not one of {', '.join(_FUNCTIONS)}")
        results: list[T] = []
        with self._running() as own, torch.no_grad(), _place(own.network) as place:

            def see(called: str, _args: tuple[Any, ...], output: Any) -> None:
                called = called.rstrip("_")
                if called not in _FUNCTIONS[of]:
                    return
                name, module = place[-1]
                if module._modules:  # it calls the function itself
                    name = f"{name}.{called}".lstrip(".")
                uses = range(getattr(module, "multiplicity", 1))
                results.extend(_call(function, name, _own(output)) for _ in uses)

            with Watch(on_call=see):
                own.network(own.batch.x)
        if not results:
            what = "convolution, linear layer or activation" if of == "all" else of
            raise Undefined(f"the network runs no {what}")
        return results

    def gradients(self, function: Callable[[str, Tensor], T]) -> list[T]:
        """What the function makes of gradients: see `ImageGradients`."""
        results: dict[int, T] = {}
        with self._running() as own:
            names = {module: name for name, module in own.network.named_modules()}
            _ = own.weights  # raises where there are none

            def visit(number: int, gradients: Tensor) -> None:
                name = names[own.layers[number]]
                results[number] = _call(function, name, gradients)

            clock = Clock(own.batch.x.device)
            each_image(own, frozenset(), clock).loss_gradients(visit)
        return [results[number] for number in sorted(results)]

    @contextmanager
    def _running(self) -> Iterator[Subject]:
        """The network, as passes run it."""
        subject = self._subject
        own = subject if subject.plain else deep_copied(subject)
        with (
            torch.enable_grad(),
            random_state(own.seed),
            arithmetic("float32", own.batch.x.device),
            manners(own),
        ):
            yield own


@contextmanager
def _place(network: nn.Module) -> Iterator[list[tuple[str, nn.Module]]]:
    """Names and modules that are running, the innermost last."""
    running: list[tuple[str, nn.Module]] = []

    def enter(at: tuple[str, nn.Module], *_: object) -> None:
        running.append(at)

    def leave(*_: object) -> None:
        running.pop()

    hooks = []
    for at in network.named_modules():
        begin = at[1].register_forward_pre_hook(partial(enter, at), prepend=True)
        end = at[1].register_forward_hook(leave, always_call=True)
        hooks += [begin, end]
    try:
        yield running
    finally:
        for hook in hooks:
            hook.remove()


def _own(value: Tensor) -> Tensor:
    """What may be written into."""
    return value.detach().clone(memory_format=torch.contiguous_format)


def _call(function: Callable[[str, Tensor], T], name: str, value: Tensor) -> T:
    """What the function makes of a tensor of its own, under nobody's modes."""
    with torch.enable_grad(), torch._C.DisableTorchFunction():
        return function(name, value)
