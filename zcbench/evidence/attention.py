"""Attention, found by what is computed: softmax(q kᵀ) v, by one function or in steps.

A network without it has none of these records. Tokens are what activation functions of
such a network see in tensors [N, …, D]: their last axis holds the units.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import partial
from typing import Any, NoReturn

import torch
from torch import Tensor, nn

from zcbench.errors import Undefined
from zcbench.evidence.copies import cast, deep_copied
from zcbench.evidence.modes import doubled
from zcbench.evidence.spectra import (
    Attention,
    HiddenDimensions,
    SynapticDiversity,
)
from zcbench.evidence.subject import Subject
from zcbench.evidence.watch import Watch
from zcbench.seeding import reseed

SHARE = 0.99
"""Of the variance, which the components of W-PCA hold."""
_PRODUCTS = frozenset({"matmul", "__matmul__", "bmm", "einsum"})

OnAttention = Callable[[Tensor, Tensor], None]
"""Takes the weights [..., queries, keys] and the output [..., queries, D]."""


class _Attending:
    """Tells of every attention that a watched network computes."""

    def __init__(self, on_attention: OnAttention) -> None:
        self._on_attention = on_attention
        self.seen = False

    def on_call(self, name: str, args: tuple[Any, ...], output: Any) -> None:
        """Of a `Watch`."""
        if name == "softmax" and isinstance(output, Tensor) and output.dim() > 2:
            output._zcbench_weights = output  # type: ignore[attr-defined]
        elif name == "dropout":
            weights = getattr(args[0], "_zcbench_weights", None)
            if weights is not None:
                output._zcbench_weights = weights
        elif name in _PRODUCTS:
            operands = args[1:] if name == "einsum" else args
            weights = getattr(operands[0], "_zcbench_weights", None)
            if weights is not None:
                self._tell(weights, output)
        elif name == "scaled_dot_product_attention":
            self._tell(_weights(*args), output)

    def _tell(self, weights: Tensor, output: Tensor) -> None:
        self.seen = True
        with torch._C.DisableTorchFunction():
            self._on_attention(weights.detach(), output.detach())


def _weights(
    query: Tensor,
    key: Tensor,
    _value: Tensor,
    mask: Tensor | None = None,
    *_: object,
) -> Tensor:
    """Of scaled dot product attention, [..., queries, keys]."""
    with torch._C.DisableTorchFunction():
        scores = query.detach() @ key.detach().mT / math.sqrt(query.shape[-1])
        if mask is not None and mask.dtype == torch.bool:
            scores = scores.masked_fill(~mask, -math.inf)
        elif mask is not None:
            scores = scores + mask
        return scores.softmax(-1)


@torch.no_grad()
def _run(
    subject: Subject,
    on_attention: OnAttention,
    on_activation: Callable[[Tensor], None],
) -> None:
    """A forward of the minibatch, watched.

    Raises:
        Undefined: the network has no attention.
    """

    def activation(_: str, value: Tensor) -> None:
        if value.dim() > 2:
            on_activation(value.detach())

    attending = _Attending(on_attention)
    reseed(subject.seed)
    with Watch(on_call=attending.on_call, on_activation=activation):
        subject.network(subject.batch.x)
    if not attending.seen:
        raise Undefined(NONE)


NONE = "the network has no attention"


def measure_attention(subject: Subject) -> Attention:
    """One forward of the minibatch; raises `Undefined` without attention."""
    if subject.plain:
        raise Undefined(NONE)
    head: list[float] = []
    softmax: list[float] = []
    agreement: list[float] = []

    def attend(weights: Tensor, output: Tensor) -> None:
        head.append(float(output.amax((-2, -1)).double().mean()))
        softmax.append(float(weights.amax(-1).double().mean()))

    def activate(value: Tensor) -> None:
        tokens = value[0].reshape(-1, value.shape[-1]) > 0
        on = tokens.double().sum(0)
        agreement.append(float((on.square() + (len(tokens) - on).square()).sum()))

    _run(subject, attend, activate)
    return Attention(tuple(head), tuple(softmax), tuple(agreement))


def measure_hidden_dimensions(subject: Subject) -> HiddenDimensions:
    """One forward of the minibatch; raises `Undefined` without attention."""
    if subject.plain:
        raise Undefined(NONE)
    dimensions: list[int] = []

    def activate(value: Tensor) -> None:
        rows = value.reshape(-1, value.shape[-1]).double()
        rows = rows - rows.mean(0)
        if rows.shape[0] < rows.shape[1]:  # its other product has the same spectrum
            rows = rows.T
        spectrum = torch.linalg.eigvalsh((rows.T @ rows).cpu()).flip(0)
        held = spectrum.cumsum(0) / spectrum.sum()
        dimensions.append(1 + int((held <= SHARE).sum()))

    _run(subject, lambda *_: None, activate)
    return HiddenDimensions(tuple(dimensions))


def measure_synaptic_diversity(subject: Subject) -> SynapticDiversity:
    """Forward and backward of one image, float64, absolute weights, evaluation mode.

    An attention module is the innermost one in whose forward attention is computed.

    Raises:
        Undefined: there is none.
    """
    if subject.plain:
        raise Undefined(NONE)
    device = subject.batch.x.device
    if device.type == "mps":  # has no float64
        device = torch.device("cpu")
    network = cast(deep_copied(subject.network).to(device), torch.float64).eval()
    for parameter in network.parameters():
        if parameter.is_floating_point():
            parameter.data.abs_()
            parameter.requires_grad_(True)
    attending = _inner_modules(network, subject)
    matrices = {
        parameter: None
        for module in attending
        for name, parameter in module.named_parameters()
        if parameter.dim() == 2 and name.endswith("weight")
    }
    others = {m.weight: None for m in network.modules() if isinstance(m, nn.Linear)}
    others = {weight: None for weight in others if weight not in matrices}
    with doubled(), torch.enable_grad():
        output = network(_ones(subject, device))
    wanted = [*matrices, *others]
    grads = torch.autograd.grad(output.sum(), wanted, allow_unused=True)
    flows = {
        w: torch.zeros_like(w) if g is None else g
        for w, g in zip(wanted, grads, strict=True)
    }
    nuclear = partial(torch.linalg.matrix_norm, ord="nuc")
    return SynapticDiversity(
        tuple(float(nuclear(w.detach()) * nuclear(flows[w])) for w in matrices),
        tuple(float((w.detach() * flows[w]).abs().sum()) for w in others),
    )


def _ones(subject: Subject, device: torch.device) -> Tensor:
    return torch.ones(
        (1, *subject.batch.x.shape[1:]), dtype=torch.float64, device=device
    )


def _inner_modules(network: nn.Module, subject: Subject) -> list[nn.Module]:
    """Modules in whose forward, and no inner one's, attention is computed."""
    inside: list[nn.Module] = []
    attending: dict[nn.Module, None] = {}

    def enter(module: nn.Module, _: object) -> None:
        inside.append(module)

    def leave(*_: object) -> None:
        inside.pop()

    hooks = []
    for module in network.modules():
        hooks.append(module.register_forward_pre_hook(enter))
        hooks.append(module.register_forward_hook(leave, always_call=True))
    told = _Attending(lambda *_: attending.setdefault(inside[-1]))
    image = _ones(subject, next(network.parameters()).device)
    try:
        with doubled(), Watch(on_call=told.on_call):
            output = network(image)
    finally:
        for hook in hooks:
            hook.remove()
    if not attending:
        raise Undefined(NONE)
    if not isinstance(output, Tensor):
        raise Undefined("the network does not give one tensor of outputs")
    return list(attending)


def no_attention(*_: object) -> NoReturn:
    """Raise `Undefined`: no network of a stack has it."""
    raise Undefined(NONE)
