"""The graph of every network's operations, by one forward of a stack that counts.

As `zcbench.evidence.dataflow`. Maps hold no image: an operation gives 1 in the first of
its channels and 0 in the others, everything else adds up, so that what an operation
reads says how many operations it reads. All cells of a network are alike here: if its
last layer reads none, no operation lies on a path.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

import torch
from torch import Tensor

from zcbench.evidence.records import Dataflow
from zcbench.evidence.subject import StackedSubject
from zcbench.networks.stacked import Kind, Rules
from zcbench.networks.stacked_layers import StackedBatchNorm, StackedLayer, StackedReLU


@torch.no_grad()
def stacked_dataflow(subject: StackedSubject) -> list[Dataflow]:
    """One forward without any convolution."""
    network, x = subject.network, subject.batch.x
    image = torch.zeros_like(x[:1], dtype=torch.float32)
    image[:, 0] = 1
    rules = _Counts(network.n_networks)
    logits = network(network.images(image), rules)
    reached = logits[0].any(1).tolist()
    relus = Counter(
        p for m in network.modules() if isinstance(m, StackedReLU) for p in m.members
    )
    return [
        _record(rules.counts[p] if on else Counter(), relus[p], x.shape[1])
        for p, on in enumerate(reached)
    ]


def _record(counts: Counter[str], relus: int, image_channels: int) -> Dataflow:
    degree = 2 * counts["edges"] / (counts["channels"] + image_channels)
    return Dataflow(
        counts["convolution"], counts["identity"], counts["pooling"], relus, degree
    )


class _Counts(Rules):
    """Counts operations, channels and edges between channels in each network."""

    dead = False

    def __init__(self, n_networks: int) -> None:
        self.counts: list[Counter[str]] = [Counter() for _ in range(n_networks)]

    def layer(self, layer: StackedLayer, x: Tensor) -> Tensor:
        kind = "convolution" if len(layer.shape) == 4 else "linear"
        sides = ((side - 1) // layer.stride + 1 for side in x.shape[2:])
        members, channels = layer.members, layer.channels
        out = x.new_zeros(1, len(members) * channels, *sides)
        return self._operation(x, members, kind, layer.shape[1], out)

    def batchnorm(self, norm: StackedBatchNorm, x: Tensor) -> Tensor:
        del norm
        return x

    def relu(self, relu: StackedReLU, x: Tensor) -> Tensor:
        del relu
        return x

    def output(
        self, x: Tensor, members: Sequence[int], kind: Kind, times: int = 1
    ) -> Tensor:
        del times
        if kind == "container":
            return x
        return self._operation(x, members, kind, 1, torch.zeros_like(x))

    def _operation(
        self, x: Tensor, members: Sequence[int], kind: str, fan_in: int, out: Tensor
    ) -> Tensor:
        """Count an operation; `out` are zeros of the shape of what it gives."""
        groups = len(members)
        read = x.amax((2, 3)).reshape(groups, -1).sum(1).round()
        channels = out.shape[1] // groups
        for p, sources in zip(members, read.long().tolist(), strict=True):
            if sources:
                edges = channels * fan_in * sources
                self.counts[p].update({kind: 1, "channels": channels, "edges": edges})
        out[:, ::channels] = (read > 0).to(out)[:, None, None]
        return out
