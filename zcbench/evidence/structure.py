"""Parameters, multiply-accumulates and layers on a path: one image, no training."""

from __future__ import annotations

from functools import partial
from typing import Any

from torch import Tensor, nn

from zcbench.evidence.prepare import Subject
from zcbench.evidence.records import Structure


def measure_structure(subject: Subject) -> Structure:
    """Forward of one image with a hook on every convolution and linear layer.

    A layer lies on a path when its output depends on the image and the logits depend
    on its output; both are read off the autograd graph, so a cut edge counts as cut.
    """
    network, layers = subject.network, subject.layers
    calls: list[tuple[int, int, Any]] = []
    hooks = [
        layer.register_forward_hook(partial(_note, calls, number))
        for number, layer in enumerate(layers)
    ]
    network.requires_grad_(False)
    network.eval()  # one image is too few for batch statistics
    try:
        x = subject.batch.x[:1].detach().requires_grad_(True)
        logits: Tensor = network(x)
    finally:
        for hook in hooks:
            hook.remove()
        network.train()
        for layer in layers:
            layer.weight.requires_grad_(True)
    reached = _ancestors(logits.grad_fn)
    return Structure(
        n_params=subject.n_params,
        macs=sum(macs for _, macs, _ in calls),
        n_layers=len(
            {n for n, _, node in calls if node is not None and node in reached}
        ),
        weights=tuple(w.detach() for w in subject.weights),
    )


def _note(
    calls: list[tuple[int, int, Any]],
    number: int,
    layer: nn.Module,
    _inputs: object,
    output: Tensor,
) -> None:
    weight: Tensor = layer.weight  # type: ignore[assignment]
    # Each output value takes one multiplication per weight of its channel.
    macs = output.numel() * weight[0].numel()
    calls.append((number, macs, output.grad_fn))


def _ancestors(node: Any) -> set[Any]:
    """Every autograd node that this one depends on, with itself."""
    seen: set[Any] = set()
    stack = [node] if node is not None else []
    while stack:
        current = stack.pop()
        if current not in seen:
            seen.add(current)
            stack += [parent for parent, _ in current.next_functions if parent]
    return seen
