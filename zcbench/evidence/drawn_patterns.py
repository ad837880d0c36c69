"""Activation patterns of networks with standard Gaussian weights (SWAP, Peng 2024)."""

from __future__ import annotations

from dataclasses import replace

import torch

from zcbench.evidence.clock import Clock
from zcbench.evidence.copies import deep_copied
from zcbench.evidence.drawn_weights import draw_weights, standard
from zcbench.evidence.minibatch_pass import MinibatchPass
from zcbench.evidence.records import ActivationPatterns, DrawnPatterns
from zcbench.evidence.subject import Subject, layers_of

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
