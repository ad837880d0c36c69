"""Activation patterns of networks with standard Gaussian weights (SWAP, Peng 2024)."""

from __future__ import annotations

from dataclasses import replace

import torch
from torch import Tensor

from zcbench.evidence.clock import Clock
from zcbench.evidence.copies import deep_copied
from zcbench.evidence.drawn_weights import DrawnWeights, draw_weights, standard
from zcbench.evidence.minibatch_pass import MinibatchPass
from zcbench.evidence.records import ActivationPatterns, DrawnPatterns
from zcbench.evidence.relu_codes import Patterns
from zcbench.evidence.stacked_minibatch import codes_of_each, of_numbers
from zcbench.evidence.subject import StackedSubject, Subject, layers_of
from zcbench.networks.stacked_layers import StackedReLU

IMAGES = 16
"""The first of the minibatch."""
DRAWS = 32
"""Of all weights."""
_NEEDS = frozenset({ActivationPatterns})


@torch.no_grad()
def measure_drawn_patterns(subject: Subject) -> DrawnPatterns:
    """One forward of a copy for each draw.

    Raises:
        Undefined: there is no ReLU, or it could not be seen.
    """
    network, batch = deep_copied(subject.network), subject.batch
    few = replace(batch, x=batch.x[:IMAGES], y=batch.y[:IMAGES])
    drawn = replace(
        subject, network=network, batch=few, layers=layers_of(network), remarks={}
    )
    counts = []
    for draw in range(DRAWS):
        draw_weights(network, standard, subject.seed, "swap", draw)
        held = MinibatchPass(drawn, _NEEDS, Clock(batch.x.device))
        counts.append(held.activation_patterns().distinct)
    if ActivationPatterns in drawn.remarks:
        subject.remarks[DrawnPatterns] = drawn.remarks[ActivationPatterns]
    return DrawnPatterns(tuple(counts))


@torch.no_grad()
def stacked_drawn_patterns(subject: StackedSubject) -> list[DrawnPatterns]:
    """The same of every network of a stack."""
    network, x = subject.network, subject.batch.x[:IMAGES]
    images, counts = network.images(x), list[Patterns]()
    lost = torch.zeros(network.n_networks, dtype=torch.bool, device=x.device)
    for draw in range(DRAWS):
        patterns = Patterns(len(x), x.device, network.n_networks)
        rules = _Counting(patterns, subject.seed, draw)
        lost |= network(images, rules).isnan().any(2).any(0)
        counts.append(patterns)

    def record(p: int) -> DrawnPatterns:
        return DrawnPatterns(tuple(each.record(p).distinct for each in counts))

    return of_numbers(record, network.n_networks, lost)


class _Counting(DrawnWeights):
    def __init__(self, patterns: Patterns, seed: int, draw: int) -> None:
        super().__init__(standard, seed, "swap", draw)
        self._patterns = patterns

    def relu(self, relu: StackedReLU, x: Tensor) -> Tensor:
        out = super().relu(relu, x)
        self._patterns.add(codes_of_each(relu, out), relu.members)
        return out
