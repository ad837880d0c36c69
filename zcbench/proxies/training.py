"""Proxies that train or draw networks anew. Costly: run only when asked for by name."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from zcbench.errors import Undefined
from zcbench.evidence.records import FreshNetwork
from zcbench.proxies import proxy

if TYPE_CHECKING:
    import torch
    from torch import Tensor, nn

DRAWS = 8
"""Networks that the kernel of nngp is averaged over."""
RIDGE = 1e-3
"""Of nngp's regression, in units of the kernel's mean diagonal."""
STEPS = 100
"""Of gennas' training, on the same minibatch."""
RATE, MOMENTUM = 0.1, 0.9
FREQUENCIES = (1, 2, 4, 8)
"""Of gennas' sine waves, in periods along the side of a feature map."""


@proxy(reference="park2020nngp", costly=True)
def nngp(f: FreshNetwork) -> float:
    """−error of kernel regression with the network's NNGP kernel. Higher is better.

    Park et al. 2020: K = mean over Gaussian draws of the weights (variance 2 / fan-in,
    no biases) of features · featuresᵀ / width, the features being what the classifier
    reads. The first half of the minibatch predicts the (one-hot) labels of the second;
    the error is the mean squared one, as accuracy on so few images has few values. 8
    draws; says something only with real images and labels.
    """
    import torch

    n = len(f.batch.x) // 2
    kernel = _kernel(f)
    y = f.batch.y
    targets = y.reshape(len(y), -1).double()
    if f.batch.loss == "none":
        raise Undefined("a part of a network has no labels")
    if f.batch.loss == "cross_entropy":
        targets = torch.nn.functional.one_hot(y).double()
    ridge = RIDGE * kernel.diagonal().mean() * torch.eye(n, dtype=torch.float64)
    if not float(kernel.diagonal().mean()) > 0:
        raise Undefined("the features are zero")
    targets = targets.cpu()
    weights = torch.linalg.solve(kernel[:n, :n] + ridge, targets[:n])
    return -float((kernel[n:, :n] @ weights - targets[n:]).square().mean())


def _kernel(f: FreshNetwork) -> Tensor:
    """[N, N] float64 on the CPU."""
    import torch

    classifiers = [m for m in f.network.modules() if isinstance(m, torch.nn.Linear)]
    if not classifiers:
        raise Undefined("the network has no linear layer whose input could be read")
    seen: list[Tensor] = []
    hook = classifiers[-1].register_forward_pre_hook(
        lambda _, inputs: seen.append(inputs[0].double().cpu())
    )
    try:
        with torch.no_grad():
            for draw in range(DRAWS):
                _draw(f.network, f.seed, draw)
                f.network(f.batch.x)
    finally:
        hook.remove()
    if any(s.dim() < 2 or len(s) != len(f.batch.x) for s in seen):
        raise Undefined("the classifier does not read one row of features an image")
    rows = [features.flatten(1) for features in seen]
    parts = [features @ features.T / features.shape[1] for features in rows]
    return torch.stack(parts).mean(0)


def _draw(network: nn.Module, seed: int, draw: int) -> None:
    """Gaussian weights of variance 2 / fan-in, no biases."""
    import torch

    from zcbench.seeding import generator

    for name, module in network.named_modules():
        if isinstance(module, torch.nn.Linear | torch.nn.modules.conv._ConvNd):
            weight = module.weight
            random = generator(seed, "nngp", draw, name)
            values = torch.randn(tuple(weight.shape), generator=random)
            weight.copy_(values * math.sqrt(2 / weight[0].numel()))
            if module.bias is not None:
                module.bias.zero_()


@proxy(reference="li2021generic", costly=True)
def gennas(f: FreshNetwork) -> float:
    """−loss after training on synthetic signals. Higher is better.

    GenNAS (Li et al. 2021): the features of each resolution (of the last block that has
    it) go through a 1×1 convolution to sine waves of several frequencies, dots of
    several sizes and enlarged noise, by mean squared error; each image has signals of
    its own. 100 steps of SGD on the one minibatch (rate 0.1, momentum 0.9, norm of the
    gradient at most 5); the score is the mean loss of the last ten. The authors tune
    the mixture of signals to each space; here all count the same. 100 training steps:
    not among `all`.
    """
    import torch

    stages = _Stages(f)
    heads = [stages.head(number) for number in range(len(stages.targets))]
    weights = [*(p for p in f.network.parameters() if p.requires_grad), *heads]
    optimiser = torch.optim.SGD(weights, lr=RATE, momentum=MOMENTUM)
    losses = []
    for _ in range(STEPS):
        optimiser.zero_grad()
        loss = stages.loss(heads)
        loss.backward()  # type: ignore[no-untyped-call]
        torch.nn.utils.clip_grad_norm_(weights, 5.0)
        optimiser.step()
        losses.append(float(loss.detach()))
    return -math.fsum(losses[-10:]) / 10


class _Stages:
    """Features of the last block of each resolution, and what they are to become."""

    def __init__(self, f: FreshNetwork) -> None:
        import torch

        self._f = f
        with torch.no_grad():
            features = self._forward()
        if not features:
            raise Undefined("the network has no blocks between feature maps")
        self._last = list(
            {maps.shape[2:]: i for i, maps in enumerate(features)}.values()
        )
        self._channels = [features[i].shape[1] for i in self._last]
        self.targets = [
            signals(f.seed, number, len(f.batch.x), tuple(features[i].shape[2:])).to(
                features[i].device, features[i].dtype
            )
            for number, i in enumerate(self._last)
        ]

    def head(self, number: int) -> Tensor:
        """Weight of the 1×1 convolution of a resolution."""
        import torch

        from zcbench.seeding import generator

        target, channels = self.targets[number], self._channels[number]
        random = generator(self._f.seed, "gennas head", number)
        weight = torch.randn(target.shape[1], channels, 1, 1, generator=random)
        weight = weight.to(target.device, target.dtype) / math.sqrt(channels)
        return weight.requires_grad_(True)

    def loss(self, heads: list[Tensor]) -> Tensor:
        """Mean over resolutions of the mean squared error."""
        import torch

        features = self._forward()
        parts = [
            (torch.nn.functional.conv2d(features[i], head) - target).square().mean()
            for i, head, target in zip(self._last, heads, self.targets, strict=True)
        ]
        return torch.stack(parts).mean()

    def _forward(self) -> list[Tensor]:
        import torch

        from zcbench.evidence.block_features import blocks_of

        maps: list[Tensor] = []

        def note(_module: nn.Module, _inputs: object, output: object) -> None:
            if isinstance(output, torch.Tensor) and output.dim() == 4:
                maps.append(output)

        blocks = blocks_of(self._f.network)
        hooks = [block.register_forward_hook(note) for block in blocks]
        try:
            self._f.network(self._f.batch.x)
        finally:
            for hook in hooks:
                hook.remove()
        return maps


def signals(seed: int, number: int, n: int, size: tuple[int, ...]) -> torch.Tensor:
    """Sine waves, dots and enlarged noise, [n, signals, H, W], each of variance 1."""
    import torch

    from zcbench.seeding import generator

    random = generator(seed, "gennas", number)
    height, width = size
    rows = torch.linspace(0, 1, height)[:, None]
    columns = torch.linspace(0, 1, width)[None, :]
    maps = []
    for frequency in FREQUENCIES:
        angle, phase = 2 * math.pi * torch.rand(2, n, 1, 1, generator=random)
        along = rows * angle.sin() + columns * angle.cos()
        maps.append((2 * math.pi * frequency * along + phase).sin())
    for frequency in FREQUENCIES:
        centre = torch.rand(2, n, 1, 1, generator=random)
        away = (rows - centre[0]).square() + (columns - centre[1]).square()
        maps.append((-away * (2 * frequency) ** 2).exp())
    coarse = torch.randn(n, 1, 4, 4, generator=random)
    enlarged = torch.nn.functional.interpolate(coarse, size=(height, width))
    stacked = torch.stack([*maps, enlarged[:, 0]], dim=1)
    centred = stacked - stacked.mean((2, 3), keepdim=True)
    spread = stacked.std((2, 3), keepdim=True, correction=0)
    return torch.where(spread > 0, centred / spread, 0.0)
