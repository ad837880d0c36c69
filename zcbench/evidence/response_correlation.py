"""Correlation between images at the inputs of ReLUs, forward and backward (WRCor).

A ReLU that stands for several (`SharedReLU`) has one input, but each of those that it
stands for has a gradient of its own: that of the one operation which reads it.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn

from zcbench.errors import Undefined
from zcbench.evidence.block_features import blocks_of
from zcbench.evidence.passes import attempt_each
from zcbench.evidence.spectra import (
    ResponseCorrelation,
)
from zcbench.evidence.stacked_gradients import ByLayer
from zcbench.evidence.subject import (
    LOSSES,
    StackedSubject,
    Subject,
    check_labels,
    stacked_losses,
    summing_dtype,
)
from zcbench.evidence.watch import RELUS, Watch
from zcbench.networks.stacked import Rules
from zcbench.networks.stacked_layers import StackedReLU
from zcbench.seeding import reseed


def measure_response_correlation(subject: Subject) -> ResponseCorrelation:
    """Forward of the minibatch and backward of its loss.

    Raises:
        Undefined: there is no ReLU module or one is called outside of modules, no term
            is defined, or labels do not fit.
    """
    batch, network = subject.batch, subject.network
    terms = _Terms(network, len(batch.x), batch.x.device)
    hooks = terms.watch(network)
    reseed(subject.seed)
    calls: Counter[str] = Counter()
    try:
        with Watch(on_call=lambda name, *_: calls.update([name])):
            outputs = network(batch.x)
        if sum(calls[name] for name in RELUS) > terms.relus:
            raise Undefined("a ReLU is called outside of a module")
        if not isinstance(outputs, Tensor) or outputs.dim() != 2:
            raise Undefined(
                "in train mode the network does not give logits [N, classes]"
            )
        check_labels(outputs, batch)
        loss = LOSSES[batch.loss](outputs, batch.y)
        if loss.requires_grad:
            torch.autograd.grad(loss, subject.weights, allow_unused=True)
    finally:
        for hook in hooks:
            hook.remove()
    return terms.record()


class _Terms:
    """Sums of the correlations of ReLUs' inputs and of their gradients.

    Tensor hooks hold this, which holds nothing of the graph.
    """

    def __init__(self, network: nn.Module, n: int, device: torch.device) -> None:
        self._blocks = blocks_of(network)
        self._block: int | None = None
        self._next: int | None = None
        self._n, self._seen = n, False
        self.relus = 0
        dtype = summing_dtype(device)
        self._total = torch.zeros(n, n, dtype=dtype, device=device)
        self._weighted = torch.zeros_like(self._total)
        self._shared: dict[int, tuple[Tensor, Tensor, int | None]] = {}

    def watch(self, network: nn.Module) -> list[torch.utils.hooks.RemovableHandle]:
        """Hooks on blocks, on ReLUs, and on what may read a shared one."""
        hooks = []
        for number, block in enumerate(self._blocks):
            enter, leave = partial(self._enter, number), partial(self._leave, number)
            hooks.append(block.register_forward_pre_hook(enter))
            hooks.append(block.register_forward_hook(leave))
        for module in network.modules():
            if isinstance(module, nn.ReLU | nn.ReLU6):
                shared = hasattr(module, "multiplicity")
                if shared:
                    hooks.append(module.register_forward_hook(self._note_shared))
                else:
                    hooks.append(module.register_forward_pre_hook(self._note))
            else:
                hooks.append(module.register_forward_pre_hook(self._read))
        return hooks

    def _enter(self, number: int, *_: object) -> None:
        self._block = number

    def _leave(self, number: int, *_: object) -> None:
        self._block, self._next = None, number + 1

    @property
    def _place(self) -> int | None:
        return self._next if self._block is None else self._block

    def _note(self, _: nn.Module, inputs: tuple[Tensor, ...]) -> Tensor:
        """Pre-hook of a ReLU: gives it a view of its own, as others may read it."""
        if len(inputs[0]) != self._n:
            raise Undefined("a ReLU does not keep the images apart")
        self.relus += 1
        self._add(self._place, 1, inputs[0].detach())
        return _hooked(inputs[0], partial(self._add, self._place, 1))

    def _note_shared(
        self, module: nn.Module, inputs: tuple[Tensor, ...], output: Tensor
    ) -> None:
        times: Any = module.multiplicity
        self.relus += 1
        value = inputs[0].detach()
        self._add(self._place, times, value)
        self._shared[id(output)] = (output, value > 0, self._place)

    def _read(self, _: nn.Module, inputs: tuple[Any, ...]) -> tuple[Any, ...] | None:
        if not inputs or id(inputs[0]) not in self._shared:
            return None
        on, place = self._shared[id(inputs[0])][1:]
        read = _hooked(inputs[0], partial(self._add_masked, place, on))
        return (read, *inputs[1:])

    def _add_masked(self, place: int | None, on: Tensor, grad: Tensor) -> None:
        self._add(place, 1, grad.detach() * on)

    @torch.no_grad()
    def _add(self, place: int | None, times: int, value: Tensor) -> None:
        self._seen = True
        correlation = _correlation(value.detach().flatten(1))
        if bool(correlation.isnan().any()):
            return
        term = times * correlation.abs().to(self._total.dtype)
        self._total += term
        if place is not None:
            self._weighted += 2.0**place * term

    def record(self) -> ResponseCorrelation:
        """What was seen.

        Raises:
            Undefined: nothing that is defined.
        """
        self._shared.clear()
        if not self._seen:
            raise Undefined("the network has no ReLU module")
        if not bool(self._total.any()):
            raise Undefined(_ALIKE)
        weighted = self._weighted if self._blocks else None
        return ResponseCorrelation(self._total, weighted)


_ALIKE = "no ReLU responds differently to every image"


def _correlation(rows: Tensor) -> Tensor:
    """As `row_correlation`, by fewer walks through many numbers; NaN if constant."""
    low, high = rows.aminmax(dim=-1, keepdim=True)
    # Gradients can be so small that their squares are 0: the range is taken out first.
    centred = (rows - rows.mean(-1, keepdim=True)).div_(high - low)
    products = centred @ centred.mT
    scale = products.diagonal(dim1=-2, dim2=-1).rsqrt()
    return (products * scale[..., None, :] * scale[..., None]).clamp(-1, 1)


def _hooked(value: Tensor, hook: Callable[[Tensor], None]) -> Tensor:
    """A view of a tensor whose gradient goes to a hook."""
    view = value.view_as(value)
    if view.requires_grad:
        view.register_hook(hook)  # type: ignore[no-untyped-call]
    return view


def stacked_response_correlation(subject: StackedSubject) -> list[ResponseCorrelation]:
    """The same of every network of a stack."""
    network, batch = subject.network, subject.batch
    terms = _StackedTerms(network.n_networks, len(batch.x), batch.x.device)
    rules = _Responses(terms)
    logits = network(network.images(batch.x), rules)
    check_labels(logits[:, 0], batch)
    loss = stacked_losses(logits, batch).sum() / len(batch.x)
    rules.backward(loss, lambda *_: None)
    return attempt_each(terms.record, network.n_networks)


class _StackedTerms:
    """`_Terms` of every network; holds nothing of the graph."""

    def __init__(self, n_networks: int, n: int, device: torch.device) -> None:
        dtype = summing_dtype(device)
        self._total = torch.zeros(n_networks, n, n, dtype=dtype, device=device)
        self._weighted = torch.zeros_like(self._total)

    @torch.no_grad()
    def add(self, relu: StackedReLU, place: int | None, value: Tensor) -> None:
        """Of the input [N, G·C, H, W] of a ReLU, or of its gradient."""
        rows = value.detach().reshape(len(value), len(relu.members), -1)
        term = _correlation(rows.transpose(0, 1)).abs().to(self._total.dtype)
        term[term.isnan().any(2).any(1)] = 0
        self._total.index_add_(0, relu.index, term)
        if place is not None:
            self._weighted.index_add_(0, relu.index, 2.0**place * term)

    def record(self, p: int) -> ResponseCorrelation:
        """Of a network."""
        if not bool(self._total[p].any()):
            raise Undefined(_ALIKE)
        return ResponseCorrelation(self._total[p], self._weighted[p])


class _Responses(ByLayer):
    """Shows what goes into ReLUs, and the gradients that come out of them."""

    def __init__(self, terms: _StackedTerms) -> None:
        super().__init__(Rules())
        self._terms = terms
        self._place: int | None = None

    def block(self, block: nn.Module, number: int, x: Tensor) -> Tensor:
        self._place = number
        out: Tensor = super().block(block, number, x)
        self._place = number + 1
        return out

    def relu(self, relu: StackedReLU, x: Tensor) -> Tensor:
        add = partial(self._terms.add, relu, self._place)
        add(x)
        return super().relu(relu, _hooked(x, add))
