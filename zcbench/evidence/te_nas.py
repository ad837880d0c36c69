"""What TE-NAS measures (Chen et al. 2021): linear regions and a tangent kernel.

Linear regions: the network is one cell of one channel without a stem, which networks of
cells build by a method ``thin``; its weights are Kaiming's for the forward. The images
are 3,000 crops of 3×3 pixels of one channel, a thousand at once, here of the images of
the minibatch.

The kernel goes through the minibatch's BatchNorm, with Kaiming weights for the
backward; a row is the gradient of the sum of an image's logits, through the statistics
of all images, by every tensor called weight, BatchNorm's too. That is a backward of the
whole minibatch for each image: here it has 16, the default of the authors' code, which
takes 72 on NAS-Bench-201 and 14 on DARTS, and one draw of the weights where they
average three.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from zcbench.errors import Undefined
from zcbench.evidence.copies import deep_copied
from zcbench.evidence.drawn_weights import (
    DrawnWeights,
    draw_weights,
    fan_in,
    fan_out,
)
from zcbench.evidence.one_by_one import flat, in_parts
from zcbench.evidence.per_image_pass import check_loss
from zcbench.evidence.records import LinearRegions, MinibatchKernel
from zcbench.evidence.stacked_gradients import ByLayer, Module
from zcbench.evidence.stacked_minibatch import of_numbers
from zcbench.evidence.subject import StackedSubject, Subject
from zcbench.evidence.watched_forward import NO_NUMBER
from zcbench.networks.stacked_layers import StackedLayer, StackedReLU
from zcbench.seeding import generator, reseed

CROPS, AT_ONCE, SIDE = 3000, 1000, 3
DRAWS = 3
"""Of all weights, as in the authors' search."""
IMAGES = 16
"""Of the kernel."""


@torch.no_grad()
def measure_linear_regions(subject: Subject) -> LinearRegions:
    """Three forwards of a thousand crops for each draw.

    Raises:
        Undefined: the network cannot be built thin, or the images are too small.
    """
    x, network = subject.batch.x, _thin(subject)
    crops = _crops(x, subject.seed)
    codes: list[Tensor] = []
    for module in network.modules():
        if isinstance(module, nn.ReLU):
            module.register_forward_pre_hook(
                lambda _, inputs: codes.append((inputs[0] > 0).flatten(1))
            )
    counts = []
    for draw in range(DRAWS):
        draw_weights(network, fan_in, subject.seed, "thin", draw)
        rows = []
        for some in torch.split(crops, AT_ONCE):
            codes.clear()
            if bool(network(some).isnan().any()):
                raise Undefined(NO_NUMBER)
            rows.append(torch.cat(codes, dim=1))
        counts.append(len(torch.unique(torch.cat(rows), dim=0)))
    return LinearRegions(tuple(counts))


def _thin(subject: Subject | StackedSubject) -> Any:
    make, x = getattr(subject.network, "thin", None), subject.batch.x
    if not callable(make):
        raise Undefined("it has no thin version (one cell of one channel) to count in")
    return make().to(x.device, x.dtype).train()


def _crops(x: Tensor, seed: int) -> Tensor:
    """Random ones, [CROPS, 1, 3, 3]."""
    if x.dim() != 4 or min(x.shape[2:]) < SIDE:
        raise Undefined(f"{list(x.shape[1:])} holds no crops of {SIDE}×{SIDE} pixels")
    random = generator(seed, "crops")
    n, channels, height, width = x.shape
    sizes = (n, channels, height - SIDE + 1, width - SIDE + 1)
    places = [torch.randint(0, s, (CROPS, 1, 1), generator=random) for s in sizes]
    image, channel, top, left = (place.to(x.device) for place in places)
    side = torch.arange(SIDE, device=x.device)
    return x[image, channel, top + side[:, None], left + side][:, None]


def measure_minibatch_kernel(subject: Subject) -> MinibatchKernel:
    """One forward, and a backward for each image, of a copy.

    Raises:
        Undefined: the outputs are no logits, or depend on no weight.
    """
    check_loss(subject.batch)
    network = deep_copied(subject.network)
    draw_weights(network, fan_out, subject.seed, "ntk")
    named = network.named_parameters()
    weights = [p.requires_grad_(True) for name, p in named if "weight" in name]
    x = subject.batch.x[:IMAGES]
    reseed(subject.seed)
    logits = network(x)
    if not isinstance(logits, Tensor) or logits.dim() != 2 or len(logits) != len(x):
        raise Undefined("the network does not give logits [N, classes]")
    if not logits.requires_grad:
        raise Undefined("the logits do not depend on any weight")
    kernel = torch.zeros(len(x), len(x), dtype=torch.float64)
    for part in in_parts(weights, len(x)):
        by_image = (
            torch.autograd.grad(o, part, retain_graph=True, materialize_grads=True)
            for o in logits.sum(1)
        )
        rows = torch.stack(list(map(flat, by_image)))
        kernel += (rows @ rows.T).double().cpu()
    return MinibatchKernel(kernel)


@torch.no_grad()
def stacked_linear_regions(subject: StackedSubject) -> list[LinearRegions]:
    """The same of every network of a stack."""
    network = _thin(subject)
    crops = _crops(subject.batch.x, subject.seed)
    counts = []
    lost = torch.zeros(network.n_networks, dtype=torch.bool, device=crops.device)
    for draw in range(DRAWS):
        rules = _Regions(subject.seed, draw, network.n_networks)
        for some in torch.split(crops, AT_ONCE):
            rules.next_crops()
            maps = network(network.images(some), rules)
            lost |= maps.isnan().any(3).any(2).any(0)
        counts.append(rules.counts())
    regions = list(zip(*counts, strict=True))
    return of_numbers(lambda p: LinearRegions(regions[p]), len(regions), lost)


class _Regions(DrawnWeights):
    """Codes of the crops in each network."""

    def __init__(self, seed: int, draw: int, n_networks: int) -> None:
        super().__init__(fan_in, seed, "thin", draw)
        self._codes: list[list[list[Tensor]]] = [[] for _ in range(n_networks)]

    def next_crops(self) -> None:
        for rows in self._codes:
            rows.append([])

    def relu(self, relu: StackedReLU, x: Tensor) -> Tensor:
        codes = (x > 0).reshape(len(x), len(relu.members), -1)
        for p, each in zip(relu.members, codes.unbind(1), strict=True):
            self._codes[p][-1].append(each)
        return super().relu(relu, x)

    def counts(self) -> list[int]:
        """Different codes in each network."""
        rows = (torch.cat([torch.cat(r, dim=1) for r in c]) for c in self._codes)
        return [len(torch.unique(each, dim=0)) for each in rows]


def stacked_minibatch_kernel(subject: StackedSubject) -> list[MinibatchKernel]:
    """The same of every network of a stack."""
    network, x = subject.network, subject.batch.x[:IMAGES]
    check_loss(subject.batch)
    rules = ByLayer(DrawnWeights(fan_out, subject.seed, "ntk"))
    logits = network(network.images(x), rules)
    rows: dict[Module, list[Tensor]] = {}

    def visit(module: Module, value: Tensor, delta: Tensor) -> None:
        if isinstance(module, StackedLayer):
            grads = module.weight_gradient(delta, value)
        else:
            grads = (delta * value).sum((0, 2, 3))
        rows.setdefault(module, []).append(grads.reshape(len(module.members), -1))

    for image in range(len(x)):
        keep = image < len(x) - 1
        rules.backward(logits[image].sum(), visit, keep=keep)
    kernels = torch.zeros(network.n_networks, len(x), len(x), dtype=torch.float64)
    for module, grads in rows.items():
        jacobian = torch.stack(grads, 1)  # [G, n, weights]
        products = (jacobian @ jacobian.mT).cpu().double()
        kernels.index_add_(0, torch.tensor(module.members), products)
    return [MinibatchKernel(kernel) for kernel in kernels]
