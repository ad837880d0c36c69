"""Stacked networks: P networks of one skeleton side by side as channels.

A feature map is [N, P·C, H, W], network after network. An operation that only some
networks have works on their G maps, [N, G·C, H, W]. Weights depend on (seed, repeat,
parameter name) alone, so that all networks that have a layer have the same weights in
it: its forward is one ordinary convolution of N·G images, the same memory seen as
[N·G, C, H, W]. What differs between networks, such as the gradients, goes through
grouped convolutions. BatchNorm, ReLU and pooling see every channel alone in any case.

For devices that one network leaves idle: zcbench/engine/evaluator.py scores a stack,
zcbench/evidence/table.py says which records it gives. A space takes part by its method
`stack` (zcbench/spaces/base.py); that of the cell spaces is in cell_stack.py.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from functools import cached_property
from typing import Any, Literal

import torch.nn.functional as F
from torch import Tensor, nn

from zcbench.networks.stacked_layers import StackedBatchNorm, StackedLayer, StackedReLU

Kind = Literal["pooling", "identity", "container"]


class Rules:
    """What a pass does at each layer of a stack; this one just runs the networks.

    Attributes:
        dead: whether operations are run that lie on no path from input to output. No
            gradient goes through them in any case.
        constants: whether gradients go through operations on zeros that reach the
            output: of their biases some are left.
    """

    dead = True
    constants = False

    def layer(self, layer: StackedLayer, x: Tensor) -> Tensor:
        """Convolution or linear layer."""
        out: Tensor = layer(x)
        return out

    def batchnorm(self, norm: StackedBatchNorm, x: Tensor) -> Tensor:
        """BatchNorm."""
        out: Tensor = norm(x)
        return out

    def relu(self, relu: StackedReLU, x: Tensor) -> Tensor:
        """ReLU."""
        out: Tensor = relu(x)
        return out

    def block(self, block: nn.Module, number: int, x: Tensor) -> Tensor:
        """A cell or residual block, numbered from 0, of [N, P·C, H, W]."""
        del number
        out: Tensor = block(x, self)
        return out

    def output(
        self, x: Tensor, members: Sequence[int], kind: Kind, times: int = 1
    ) -> Tensor:
        """What modules give that are none of these.

        Args:
            x: [N, G·C, H, W], or the logits [N, P·n_classes].
            members: positions of the networks that have them.
            kind: of the modules; a container gives what its last module gives.
            times: how many modules of the published network give the same.
        """
        del members, kind, times
        return x

    def features(self, x: Tensor) -> Tensor:
        """Maps [N, P·C, H, W] that go into the global pooling."""
        return x


class StackedNetwork(nn.Module):
    """P networks of one space, at initialisation.

    A space makes a subclass whose `forward` goes through the skeleton once. Everything
    but layers, BatchNorms and ReLUs must be linear and treat each network and image
    alone; each of these modules is used at most once. Modules are defined in the order
    in which the one network defines them. Operations on no path from input to output
    are modules of their own, left out or run without gradients as the rules say.

    Args:
        n_networks: P.
        n_classes: outputs of each network.
    """

    def __init__(self, n_networks: int, n_classes: int) -> None:
        super().__init__()
        self.n_networks = n_networks
        self.n_classes = n_classes

    def forward(self, images: Tensor, rules: Rules) -> Tensor:
        """[N, P·C, H, W], an image for each network, → logits [N, P, n_classes]."""
        raise NotImplementedError

    @cached_property
    def layers(self) -> tuple[StackedLayer, ...]:
        """Every layer, in order of definition."""
        return tuple(m for m in self.modules() if isinstance(m, StackedLayer))

    @cached_property
    def tensors(self) -> list[list[tuple[StackedLayer | StackedBatchNorm, str]]]:
        """For each network, weights and biases by module, in order of definition."""
        of_each: list[list[tuple[StackedLayer | StackedBatchNorm, str]]]
        of_each = [[] for _ in range(self.n_networks)]
        for module in self.modules():
            if isinstance(module, StackedLayer | StackedBatchNorm):
                kinds = [
                    k for k in ("weight", "bias") if getattr(module, k) is not None
                ]
                for p in module.members:
                    of_each[p] += [(module, kind) for kind in kinds]
        return of_each

    @cached_property
    def batchnorms(self) -> tuple[StackedBatchNorm, ...]:
        """Every BatchNorm, in order of definition."""
        return tuple(m for m in self.modules() if isinstance(m, StackedBatchNorm))

    def images(self, x: Tensor) -> Tensor:
        """The same images for each network: [N, C, H, W] → [N, P·C, H, W]."""
        return x.repeat(1, self.n_networks, 1, 1)

    def head(self, x: Tensor, layer: StackedLayer, rules: Rules) -> Tensor:
        """Global pooling and the linear layer: [N, P·C, H, W] → [N, P, n_classes]."""
        everyone = range(self.n_networks)
        pooled = F.adaptive_avg_pool2d(rules.features(x), 1)
        logits = rules.layer(layer, rules.output(pooled, everyone, "pooling"))
        logits = rules.output(logits.flatten(1), everyone, "container")
        return logits.reshape(len(x), self.n_networks, -1)

    def split(self, values: Mapping[Any, Iterable[Any]]) -> list[list[Any]]:
        """For each network, the values of its modules in the order of the mapping.

        Args:
            values: layer or BatchNorm → a value for each of its members.
        """
        networks: list[list[Any]] = [[] for _ in range(self.n_networks)]
        for module, each in values.items():
            for p, value in zip(module.members, each, strict=True):
                networks[p].append(value)
        return networks

    def weights(self) -> list[tuple[Tensor, ...]]:
        """For each network, its layers' weights on the CPU, as the one has them."""
        shared = {
            layer: [layer.weight.reshape(layer.shape).cpu()] * len(layer.members)
            for layer in self.layers
        }
        return [tuple(weights) for weights in self.split(shared)]
