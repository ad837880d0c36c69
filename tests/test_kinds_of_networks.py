"""Kinds of networks that module hooks, or the first axis, would not see rightly.

Each is compared with the definition, written out here in float64 and by autograd, of
the network itself or of a twin: the same function made of ordinary modules. Or it has
to be `undefined`, with a reason.
"""

from __future__ import annotations

import collections
import copy
import math
import random
import threading
import warnings
import weakref
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from levels import few
from torch import Tensor, nn
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.nn.modules.batchnorm import _BatchNorm
from torch.nn.modules.conv import _ConvNd, _ConvTransposeNd
from torch.nn.utils import parametrizations, parametrize, prune
from torch.utils.checkpoint import checkpoint, checkpoint_sequential
from torch.utils.flop_counter import FlopCounterMode

import zcbench
from zcbench.errors import UsageError
from zcbench.proxies import PROXIES, proxy
from zcbench.spaces.base import build_network

pytestmark = pytest.mark.usefixtures("few_draws")

K = 4
RELU = ("nwot", "lin_regions[network=full]", "swap[weights=own]")
BY_MODULES = {"flops", "n_layers", "meco", "meco_opt", "near", "dextr", "dextr_svd"}
BY_MODULES |= {"wrcor", "wrcor_unweighted"}
"""What counts modules, or multiplies what a network writes without one."""


def batch(n: int = 8, shape: tuple[int, ...] = (3, 8, 8)) -> zcbench.Batch:
    generator = torch.Generator().manual_seed(11)
    x = torch.randn(n, *shape, generator=generator, dtype=torch.float32)
    return zcbench.Batch(x, torch.arange(n) % K)


def seeded(build: Callable[..., nn.Module], *arguments: object) -> nn.Module:
    with torch.random.fork_rng(), warnings.catch_warnings():
        warnings.simplefilter("ignore")  # that old ways are old
        torch.manual_seed(5)
        return build(*arguments)


def scored(net: nn.Module, names: object, images: zcbench.Batch | None = None):
    return zcbench.score(net, images or batch(), names)


def values(scores) -> dict[str, float | str]:
    return {n: s.value if s.status == "ok" else s.message for n, s in scores.items()}


def same(found: dict, wanted: dict) -> None:
    assert values(found) == {n: pytest.approx(w, rel=1e-6) for n, w in wanted.items()}


def undefined(scores, reason: str = "") -> None:
    for name, score in scores.items():
        assert (score.status, score.value) == ("undefined", None), (name, score)
        assert score.message
        assert reason in score.message, (name, score)


# --- the definitions --------------------------------------------------------------


def layers(net: nn.Module) -> list[nn.Module]:
    found: dict[int, nn.Module] = {}
    for module in net.modules():
        if isinstance(module, _ConvNd | nn.Linear):
            found.setdefault(id(module.weight), module)
    return list(found.values())


def _ready(net: nn.Module) -> tuple[nn.Module, list[Tensor]]:
    net = copy.deepcopy(net).double()
    net.train()
    net.requires_grad_(True)
    torch.manual_seed(0)
    return net, [layer.weight for layer in layers(net)]


def _flat(grads, weights) -> Tensor:
    zeros = [
        torch.zeros_like(w) if g is None else g
        for g, w in zip(grads, weights, strict=True)
    ]
    return torch.cat([g.flatten() for g in zeros])


def _of_loss(net, images) -> dict[str, float]:
    net, w = _ready(net)
    seen: dict[nn.Module, list[Tensor]] = collections.defaultdict(list)
    for layer in {m for m in net.modules() if isinstance(m, _ConvNd | nn.Linear)}:
        layer.register_forward_hook(lambda m, _, out: seen[m].append(out))
    loss = F.cross_entropy(net(images.x.double()), images.y)
    found = torch.autograd.grad(loss, w, create_graph=True, allow_unused=True)
    graph = [
        torch.zeros_like(a) if d is None else d for d, a in zip(found, w, strict=True)
    ]
    used = [(layer, out) for layer, outs in seen.items() for out in outs]
    of_outputs = torch.autograd.grad(
        loss, [out for _, out in used], retain_graph=True, allow_unused=True
    )
    fisher = 0.0
    for (layer, out), grad in zip(used, of_outputs, strict=True):
        if grad is None:
            continue
        product = (out * grad).detach()
        if isinstance(layer, _ConvNd):
            product = product.flatten(2).sum(2)
        channels = getattr(layer, "out_channels", len(layer.weight))
        fan_in = layer.weight.numel() / channels
        fisher += fan_in * float(product.square().mean(0).sum()) / 2
    inner = sum((d * d.detach()).sum() for d in graph)
    second = torch.autograd.grad(inner, w, allow_unused=True)
    g = [d.detach() for d in graph]
    product = [
        float((a.detach() * h).sum())
        for a, h in zip(w, second, strict=True)
        if h is not None
    ]
    w = [a.detach() for a in w]
    return {
        "plain": sum(float((a * d).sum()) for a, d in zip(w, g, strict=True)),
        "snip": sum(float((a * d).abs().sum()) for a, d in zip(w, g, strict=True)),
        "grad_norm": sum(float(d.norm()) for d in g),
        "l2_norm": sum(float(a.norm()) for a in w),
        "fisher": fisher,
        "grasp": -sum(product),
    }


def _alone(net, images, what: Callable[[Tensor, Tensor], Tensor]) -> Tensor:
    net, w = _ready(net)
    rows = []
    for x, y in zip(images.x.double(), images.y, strict=True):
        grads = torch.autograd.grad(what(net(x[None]), y[None]), w, allow_unused=True)
        rows.append(_flat(grads, w))
    return torch.stack(rows)


def _of_images(net, images) -> dict[str, float]:
    jacobian = _alone(net, images, lambda z, _: z.sum())
    kernel = jacobian @ jacobian.T
    return {
        "gradsign[part=sum]": float(
            _alone(net, images, F.cross_entropy).sign().sum(0).abs().sum()
        ),
        "ntk_trace": math.sqrt(float(kernel.diagonal().mean())),
        "knas[of=kernel]": float(kernel.mean()),
    }


def _of_halves(net, images) -> dict[str, float]:
    net, w = _ready(net)
    halves = []
    for x, y in zip(images.x.double().chunk(2), images.y.chunk(2), strict=True):
        halves.append(torch.autograd.grad(F.cross_entropy(net(x), y), w))
    total = 0.0
    for one, two in zip(*halves, strict=True):
        mean, deviation = (one.abs() + two.abs()) / 2, (one - two).abs() / 2
        total += math.log(float((mean / deviation)[deviation > 0].sum()))
    return {"zico": total}


def _of_input(net, images) -> dict[str, float]:
    net, _ = _ready(net)
    leaf = images.x.double().requires_grad_(True)
    rows = torch.autograd.grad(net(leaf.clone()).sum(), leaf)[0].flatten(1).numpy()
    v = np.linalg.eigvalsh(np.corrcoef(rows)) + 1e-5
    return {"jacov": -float((np.log(v) + 1 / v).sum())}


def _of_relus(net, images) -> dict[str, float]:
    """Of a network whose ReLUs are modules, images first."""
    net, _ = _ready(net)
    parts: list[Tensor] = []
    for module in net.modules():
        if isinstance(module, nn.ReLU | nn.ReLU6):
            module.register_forward_pre_hook(
                lambda _, inputs: parts.append((inputs[0] > 0).flatten(1))
            )
    with torch.no_grad():
        net(images.x.double())
    codes = torch.cat(parts, dim=1).double().numpy()
    kernel = codes @ codes.T + (1 - codes) @ (1 - codes).T
    return {
        "nwot": float(np.linalg.slogdet(kernel)[1]),
        "lin_regions[network=full]": len({row.tobytes() for row in codes}),
        "swap[weights=own]": len({column.tobytes() for column in codes.T}),
    }


def _of_flow(net, images) -> dict[str, float]:
    """Of a network whose normalisations are BatchNorm modules."""
    net, w = _ready(net)
    net.eval()
    for module in net.modules():
        if isinstance(module, _BatchNorm):
            module.forward = lambda x: x
    with torch.no_grad():
        for parameter in net.parameters():
            parameter.copy_(parameter.abs())
    ones = torch.ones(1, *images.x.shape[1:], dtype=torch.float64)
    grads = torch.autograd.grad(net(ones).sum(), w, allow_unused=True)
    flow = sum(
        float((a.detach() * g).sum())
        for a, g in zip(w, grads, strict=True)
        if g is not None
    )
    return {"synflow": math.log(flow)}


def _of_structure(net, images) -> dict[str, float]:
    """Of a network all of whose layers reach the logits."""
    trainable = sum(p.numel() for p in net.parameters() if p.requires_grad)
    net, w = _ready(net)
    net.eval()
    macs = 0

    def count(layer, inputs, output) -> None:
        nonlocal macs
        places = inputs[0] if isinstance(layer, _ConvTransposeNd) else output
        macs += places.numel() * layer.weight[0].numel()

    for layer in {m for m in net.modules() if isinstance(m, _ConvNd | nn.Linear)}:
        layer.register_forward_hook(count)
    with torch.no_grad():
        net(images.x[:1].double())
    return {"params": trainable, "flops": macs, "n_layers": len(w)}


LOSS = ("plain", "snip", "grad_norm", "l2_norm", "fisher", "grasp")
ALONE = ("gradsign[part=sum]", "ntk_trace", "knas[of=kernel]")
SOURCES = {
    **dict.fromkeys(LOSS, _of_loss),
    **dict.fromkeys(ALONE, _of_images),
    **dict.fromkeys(RELU, _of_relus),
    **dict.fromkeys(("params", "flops", "n_layers"), _of_structure),
    "zico": _of_halves,
    "jacov": _of_input,
    "synflow": _of_flow,
}
EVERY = tuple(SOURCES)
SMOOTH = tuple(name for name in EVERY if name not in RELU)


def right(net: nn.Module, names, images: zcbench.Batch | None = None) -> dict:
    found: dict[str, float] = {}
    with torch.random.fork_rng(), sdpa_kernel(SDPBackend.MATH):
        for source in dict.fromkeys(SOURCES[name] for name in names):
            found |= source(net, images or batch())
    return {name: found[name] for name in names}


# --- networks ---------------------------------------------------------------------


def tail(channels: int, classes: int = K) -> list[nn.Module]:
    return [nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(channels, classes)]


def ordinary() -> nn.Sequential:
    return nn.Sequential(
        nn.Conv2d(3, 6, 3, padding=1, bias=False),
        nn.BatchNorm2d(6),
        nn.ReLU(),
        nn.Conv2d(6, 5, 3),
        nn.ReLU(),
        *tail(5),
    )


def simple() -> nn.Sequential:
    return nn.Sequential(
        nn.Conv2d(3, 6, 3), nn.ReLU(), nn.Conv2d(6, 5, 3), nn.ReLU(), *tail(5)
    )


class Around(nn.Module):
    """A network used by a function of (its module, images)."""

    def __init__(self, inner: nn.Module, forward) -> None:
        super().__init__()
        self.inner, self.how = inner, forward

    def forward(self, x):
        return self.how(self.inner, x)


def around(forward, inner=ordinary) -> tuple[nn.Module, nn.Module]:
    """A network used in an odd way, and the ordinary one of the same weights."""
    plain = seeded(inner)
    return Around(copy.deepcopy(plain), forward), plain


def shared_parameters(to: nn.Module, source: nn.Module) -> None:
    for p, q in zip(to.parameters(), source.parameters(), strict=True):
        p.data.copy_(q.data.reshape(p.shape))


def test_the_ordinary_networks_are_scored_by_the_definitions():
    for net in (seeded(ordinary), seeded(simple)):
        same(scored(net, EVERY), right(net, EVERY))


# --- BatchNorm --------------------------------------------------------------------


def activated(kind: type[nn.Module], act: type[nn.Module]) -> type[nn.Module]:
    class Activated(kind):
        def __init__(self, channels: int) -> None:
            super().__init__(channels)
            self.drop, self.act = nn.Identity(), act()

        def forward(self, x):
            return self.act(self.drop(super().forward(x)))

    return Activated


class Flat(nn.Module):
    """Images as rows of pixels, for convolutions of fewer dimensions."""

    def forward(self, x):
        return x.flatten(2)


class Deep(nn.Module):
    """Images with an axis more."""

    def forward(self, x):
        return x[:, None]


DIMENSIONS = {
    1: (Flat, lambda i, o: nn.Conv1d(i, o, 3), nn.AdaptiveAvgPool1d, 3),
    2: (nn.Identity, lambda i, o: nn.Conv2d(i, o, 3), nn.AdaptiveAvgPool2d, 3),
    3: (Deep, lambda i, o: nn.Conv3d(i, o, (2, 3, 3)), nn.AdaptiveAvgPool3d, 1),
}


def chain(dimensions: int, norm: Callable[[int], list[nn.Module]]) -> nn.Module:
    first, conv, pool, channels = DIMENSIONS[dimensions]
    return nn.Sequential(
        first(),
        *(conv(channels, 4), *norm(4), conv(4, 5), *norm(5)),
        *(pool(1), nn.Flatten(), nn.Linear(5, K)),
    )


@pytest.mark.parametrize("act", [nn.SiLU, nn.ReLU])
@pytest.mark.parametrize(
    ("dimensions", "norm"),
    [
        (1, nn.BatchNorm1d),
        (2, nn.BatchNorm2d),
        (3, nn.BatchNorm3d),
        (2, nn.SyncBatchNorm),
    ],
)
def test_a_batchnorm_that_carries_its_activation(dimensions, norm, act):
    carries = activated(norm, act)
    net = seeded(chain, dimensions, lambda c: [carries(c)])
    twin = seeded(chain, dimensions, lambda c: [norm(c), act()])
    shared_parameters(net, twin)
    names = EVERY if act is nn.ReLU else SMOOTH
    same(scored(net, names), right(twin, names))


class Frozen(nn.Module):
    """BatchNorm stays in evaluation mode; `train` gives what it likes."""

    def __init__(self, gives_itself: bool) -> None:
        super().__init__()
        self.gives_itself = gives_itself
        self.inner = ordinary()
        with torch.no_grad():
            self.inner[1].running_mean.uniform_(-1, 1)
            self.inner[1].running_var.uniform_(0.5, 2)

    def train(self, mode=True):
        super().train(mode)
        self.inner[1].eval()
        return self if self.gives_itself else None

    def forward(self, x):
        return self.inner(x)


def with_batchnorm(**about) -> nn.Module:
    net = ordinary()
    net[1] = nn.BatchNorm2d(6, **about)
    return net


ODD_BATCHNORMS = {
    "no statistics": lambda: with_batchnorm(track_running_stats=False),
    "no momentum": lambda: with_batchnorm(momentum=None),
    "large momentum": lambda: with_batchnorm(momentum=0.9),
    "not affine": lambda: with_batchnorm(affine=False),
    "bare": lambda: with_batchnorm(affine=False, track_running_stats=False),
    "frozen": lambda: Frozen(True),
    "frozen, train gives None": lambda: Frozen(False),
}


@pytest.mark.parametrize("kind", ODD_BATCHNORMS)
def test_odd_batchnorms(kind):
    net = seeded(ODD_BATCHNORMS[kind])
    same(scored(net, EVERY), right(net, EVERY))
    # By Zen-NAS's definition BatchNorm is as new: its own state does not matter.
    plain = (
        seeded(lambda: Around(ordinary(), None))
        if "frozen" in kind
        else seeded(ordinary)
    )
    plain.how = lambda inner, x: inner(x)
    assert scored(net, "zen")["zen"].value == scored(plain, "zen")["zen"].value


def test_batchnorm_of_one_value_a_channel_has_no_image_alone():
    net = seeded(
        lambda: nn.Sequential(
            *(nn.Conv2d(3, 6, 3), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten()),
            *(nn.Linear(6, 5), nn.BatchNorm1d(5), nn.ReLU(), nn.Linear(5, K)),
        )
    )
    names = [n for n in EVERY if n not in ALONE]
    same(scored(net, names), right(net, names))
    undefined(scored(net, [*ALONE, "ntk_cond[kernel=image]"]), "one value per channel")


@pytest.mark.parametrize(
    ("norm", "called"),
    [
        (lambda: nn.GroupNorm(2, 6), "group_norm"),
        (lambda: nn.InstanceNorm2d(6, affine=True), "instance_norm"),
        (lambda: nn.LayerNorm([6, 8, 8]), "layer_norm"),
    ],
)
def test_other_normalisations(norm, called):
    def build():
        net = ordinary()
        net[1] = norm()
        return net

    net = seeded(build)
    names = [n for n in EVERY if n != "synflow"]
    same(scored(net, names), right(net, names))
    flow = scored(net, "synflow")["synflow"]
    without = copy.deepcopy(net)
    without[1] = nn.Identity()
    assert flow.value == pytest.approx(right(without, ["synflow"])["synflow"], rel=1e-6)
    assert called in flow.note
    undefined(scored(net, "zen"), called)


# --- weights made from others -----------------------------------------------------


class Halved(nn.Module):
    def forward(self, weight):
        return weight / 2


def _each_conv(wrap: Callable[[nn.Module], object]) -> nn.Module:
    net = simple()
    for layer in (net[0], net[2]):
        wrap(layer)
    return net


def _pruned(layer: nn.Module) -> None:
    prune.random_unstructured(layer, "weight", 0.4)
    prune.l1_unstructured(layer, "bias", 0.5)


def _pruned_twice(layer: nn.Module) -> None:
    prune.random_unstructured(layer, "weight", 0.3)
    prune.ln_structured(layer, "weight", 0.2, n=2, dim=0)


MADE = {
    "spectral norm": parametrizations.spectral_norm,
    "weight norm": parametrizations.weight_norm,
    "orthogonal": parametrizations.orthogonal,
    "of one's own": partial(
        parametrize.register_parametrization,
        tensor_name="weight",
        parametrization=Halved(),
    ),
    "two": lambda m: parametrizations.spectral_norm(parametrizations.weight_norm(m)),
    "old spectral norm": nn.utils.spectral_norm,
    "old weight norm": nn.utils.weight_norm,
    "pruned": _pruned,
    "pruned twice": _pruned_twice,
}


@pytest.mark.parametrize("kind", MADE)
def test_weights_that_are_made_from_others(kind):
    net = seeded(_each_conv, MADE[kind])
    effective = seeded(_each_conv, MADE[kind]).double()  # cannot always be copied
    effective.train()
    effective(batch().x.double())  # as a forward in train mode makes it
    effective.eval()
    for place in (0, 2):
        for hook in effective[place]._forward_pre_hooks.values():
            hook(effective[place], (None,))
    twin = seeded(simple)
    with torch.no_grad():
        for a, b in zip(twin, effective, strict=True):
            if hasattr(a, "weight"):
                a.double().weight.copy_(b.weight)
                a.bias.copy_(b.bias)
    names = [n for n in EVERY if n != "params"]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        same(scored(net, names), right(twin, names))


# --- layers that are not called ---------------------------------------------------

USES = {
    "F.conv2d": lambda n, x: n[2:](n[1](F.conv2d(x, n[0].weight, n[0].bias))),
    "by keyword": lambda n, x: n[2:](
        n[1](F.conv2d(weight=n[0].weight, input=x, bias=n[0].bias))
    ),
    "torch.conv2d": lambda n, x: n[2:](n[1](torch.conv2d(x, n[0].weight, n[0].bias))),
    "bias apart": lambda n, x: n[2:](
        n[1](F.conv2d(x, n[0].weight) + n[0].bias.view(1, -1, 1, 1))
    ),
    "forward": lambda n, x: n[2:](n[1](n[0].forward(x))),
    "_conv_forward": lambda n, x: n[2:](
        n[1](n[0]._conv_forward(x, n[0].weight, n[0].bias))
    ),
    "F.linear": lambda n, x: F.linear(n[:-1](x), n[-1].weight, n[-1].bias),
    "all by hand": lambda n, x: F.linear(
        F.conv2d(F.relu(n[0].forward(x)), n[2].weight, n[2].bias).relu().mean((2, 3)),
        n[-1].weight,
        n[-1].bias,
    ),
}


@pytest.mark.parametrize("use", USES)
def test_layers_that_are_used_without_a_call(use):
    net, twin = around(USES[use], simple)
    names = [n for n in EVERY if use != "bias apart" or n != "fisher"]
    same(scored(net, names), right(twin, names))


@pytest.mark.parametrize(
    "use",
    [
        lambda n, x: n[:-1](x) @ n[-1].weight.T + n[-1].bias,
        lambda n, x: torch.addmm(n[-1].bias, n[:-1](x), n[-1].weight.T),
        lambda n, x: torch.einsum("nc,kc->nk", n[:-1](x), n[-1].weight) + n[-1].bias,
        lambda n, x: F.linear(n[:-1](x), n[-1].weight * 1.0, n[-1].bias),
    ],
)
def test_a_use_that_is_not_seen_is_said_and_changes_no_gradient(use):
    net, twin = around(use, simple)
    names = [n for n in SMOOTH if n not in ("flops", "n_layers", "fisher")]
    same(scored(net, names), right(twin, names))
    undefined(scored(net, "fisher,flops,n_layers"), "used in a way that is not seen")


def test_activations_by_any_call():
    for relu in (
        F.relu,
        F.relu_,
        torch.relu,
        torch.relu_,
        Tensor.relu,
        Tensor.relu_,
        lambda x: F.relu(input=x, inplace=True),
    ):
        net, twin = around(
            lambda n, x, relu=relu: n[5:](relu(n[3](relu(n[:2](x))))), ordinary
        )
        same(scored(net, (*RELU, "fisher")), right(twin, (*RELU, "fisher")))
    for relu6 in (
        F.relu6,
        nn.ReLU6(inplace=True),
        lambda x: F.hardtanh(x, 0.0, 6.0),
        lambda x: F.hardtanh_(x, min_val=0.0, max_val=6.0),
        lambda x: F.hardtanh(x, 0.0, 6.0, True),
    ):
        net, twin = around(
            lambda n, x, relu6=relu6: n[5:](relu6(n[3](relu6(n[:2](x)))))
        )
        same(scored(net, RELU), right(twin, RELU))


# --- attention --------------------------------------------------------------------


class Tokens(nn.Module):
    """Patches, something on tokens, their mean and a head."""

    def __init__(self, first: bool, mixer: nn.Module) -> None:
        super().__init__()
        self.first, self.stem, self.mixer = first, nn.Conv2d(3, 8, 4, stride=4), mixer
        self.head = nn.Linear(8, K)

    def forward(self, x):
        t = self.stem(x).flatten(2).permute((2, 0, 1) if self.first else (0, 2, 1))
        return self.head(self.mixer(t).mean(0 if self.first else 1))


class Attends(nn.Module):
    def __init__(self, batch_first: bool, need_weights: bool, **about) -> None:
        super().__init__()
        self.m = nn.MultiheadAttention(8, 2, batch_first=batch_first, **about)
        self.need_weights = need_weights

    def forward(self, t):
        return t + self.m(t, t, t, need_weights=self.need_weights)[0]


class Fused(nn.Module):
    """torch's fused attention, called in one way or another."""

    def __init__(self, call) -> None:
        super().__init__()
        self.qkv, self.out, self.call = nn.Linear(8, 24), nn.Linear(8, 8), call

    def forward(self, t):
        q, k, v = self.qkv(t).unflatten(-1, (3, 2, 4)).permute(2, 0, 3, 1, 4)
        return t + self.out(self.call(q, k, v).transpose(1, 2).flatten(2))


def encoder(**about) -> nn.Module:
    return nn.TransformerEncoderLayer(8, 2, 12, dropout=0.0, **about)


FUSED = F.scaled_dot_product_attention
PATCHES = 4
STEM, HEAD = PATCHES * 8 * 48, 8 * K
ATTENTION = {  # build, multiply-accumulates, layers
    "images first": (lambda: Tokens(False, Attends(True, False)), PATCHES * 64, 3),
    "tokens first": (lambda: Tokens(True, Attends(False, False)), PATCHES * 64, 3),
    "weights wanted": (lambda: Tokens(False, Attends(True, True)), PATCHES * 64, 3),
    "no bias": (lambda: Tokens(True, Attends(False, True, bias=False)), 256, 3),
    "encoder": (lambda: Tokens(False, encoder(batch_first=True)), PATCHES * 256, 5),
    "encoder, tokens first": (lambda: Tokens(True, encoder()), PATCHES * 256, 5),
    "encoder, norm first": (
        lambda: Tokens(True, encoder(norm_first=True, activation="gelu")),
        PATCHES * 256,
        5,
    ),
    "encoders": (
        lambda: Tokens(
            False,
            nn.TransformerEncoder(
                encoder(batch_first=True), 2, enable_nested_tensor=False
            ),
        ),
        2 * PATCHES * 256,
        8,
    ),
    "fused": (lambda: Tokens(False, Fused(FUSED)), PATCHES * 256, 4),
    "fused, by keyword": (
        lambda: Tokens(
            False, Fused(lambda q, k, v: FUSED(key=k, value=v, query=q, is_causal=True))
        ),
        PATCHES * 256,
        4,
    ),
    "by products": (
        lambda: Tokens(
            False,
            Fused(
                lambda q, k, v: torch.matmul(
                    other=v, input=torch.matmul(q, k.mT).softmax(-1)
                )
            ),
        ),
        PATCHES * 256,
        4,
    ),
    "by einsum": (
        lambda: Tokens(
            False,
            Fused(
                lambda q, k, v: torch.einsum(
                    "nhqk,nhkd->nhqd",
                    torch.einsum("...qd,...kd->...qk", q, k).softmax(-1),
                    v,
                )
            ),
        ),
        PATCHES * 256,
        4,
    ),
}


@pytest.mark.parametrize("kind", ATTENTION)
def test_attention(kind):
    build, macs, count = ATTENTION[kind]
    net = seeded(build)
    names = ["plain", "snip", "grad_norm", "l2_norm", "grasp", *ALONE, "zico", "jacov"]
    scores = scored(net, [*names, "flops", "n_layers"])
    wanted = {"flops": STEM + HEAD + macs, "n_layers": count}
    same(scores, right(net, names) | wanted)
    assert "multiply-accumulates outside" in scores["flops"].note
    undefined(scored(net, "zen,meco,az_expressivity"))
    left_out = int(scores["flops"].note.split()[0].replace(",", ""))
    products = 2 * PATCHES**2 * 8 * (2 if kind == "encoders" else 1)
    projected = 3 * 64 * PATCHES * (2 if kind == "encoders" else 1)
    own = not kind.startswith(("fused", "by "))
    assert left_out == products + own * projected


@pytest.mark.parametrize("kind", ["fused", "fused, by keyword", "by einsum"])
def test_fisher_of_attention_equals_that_of_convolutions(kind):
    """A linear layer on tokens is a 1 × 1 convolution."""

    class Convolved(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.stem = nn.Conv2d(3, 8, 4, stride=4)
            self.qkv, self.out = nn.Conv1d(8, 24, 1), nn.Conv1d(8, 8, 1)
            self.head = nn.Linear(8, K)

        def forward(self, x):
            t = self.stem(x).flatten(2)
            q, k, v = self.qkv(t).mT.unflatten(-1, (3, 2, 4)).permute(2, 0, 3, 1, 4)
            logits = q @ k.mT / (2 if kind.startswith("fused") else 1)
            if "keyword" in kind:
                logits = logits + torch.full((4, 4), -math.inf).triu(1)
            y = (logits.softmax(-1) @ v).transpose(1, 2).flatten(2)
            return self.head((t + self.out(y.mT)).mean(2))

    net, twin = seeded(ATTENTION[kind][0]), seeded(Convolved)
    by_name = dict(net.named_parameters())
    for name, p in twin.named_parameters():
        ours = by_name[name if name in by_name else f"mixer.{name}"]
        p.data.copy_(ours.data.reshape(p.shape))
    same(scored(net, "fisher,flops"), right(twin, ["fisher", "flops"]))


# --- where images and channels are ------------------------------------------------


class Norm(nn.Module):
    """LayerNorm over channels that are the second axis, by its formula."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.rand(channels))
        self.bias = nn.Parameter(torch.rand(channels))

    def forward(self, x):
        centred = x - x.mean(1, keepdim=True)
        scaled = centred / (centred.square().mean(1, keepdim=True) + 1e-5).sqrt()
        return scaled * self.weight.view(1, -1, 1, 1) + self.bias.view(1, -1, 1, 1)


class Mlp(nn.Module):
    """The same on [N, C, H, W], or by linear layers on tokens in another order."""

    def __init__(self, how: str, norm: bool) -> None:
        super().__init__()
        self.how, self.stem, self.act = how, nn.Conv2d(3, 8, 2, stride=2), nn.ReLU()
        second = how == "conv"
        kinds = partial(nn.Conv2d, kernel_size=1) if second else nn.Linear
        self.norm = (Norm if second else nn.LayerNorm)(8) if norm else nn.Identity()
        self.a, self.b, self.head = kinds(8, 10), kinds(10, 8), nn.Linear(8, K)

    def mlp(self, t):
        return self.b(self.act(self.a(self.norm(t))))

    def forward(self, x):  # noqa: C901 - an order each
        x = self.stem(x)
        n, c, h, w = x.shape
        if self.how == "conv":
            return self.head((x + self.mlp(x)).mean((2, 3)))
        if self.how == "nhwc":
            x = x.permute(0, 2, 3, 1)
            return self.head((x + self.mlp(x)).mean((1, 2)))
        if self.how == "nhwc and back":
            y = torch.permute(dims=(0, 2, 3, 1), input=x)
            return self.head((x + self.mlp(y).permute(dims=(0, 3, 1, 2))).mean((2, 3)))
        if self.how == "images first":
            t = x.flatten(2).mT
            return self.head((t + self.mlp(t)).mean(1))
        if self.how == "tokens first":
            t = x.flatten(2).permute(2, 0, 1)
            return self.head((t + self.mlp(t)).mean(0))
        if self.how == "rows, images, columns":
            t = x.permute(2, 0, 3, 1)
            return self.head((t + self.mlp(t)).mean((0, 2)))
        if self.how == "height, width, images":
            t = x.permute(2, 3, 0, 1)
            return self.head((t + self.mlp(t)).mean((0, 1)))
        if self.how == "rows of all images":
            t = x.permute(0, 2, 3, 1).reshape(-1, c)
            return self.head((t + self.mlp(t)).view(n, h * w, c).mean(1))
        if self.how == "images within a pixel":
            t = x.permute(2, 3, 0, 1).reshape(-1, c)
            return self.head((t + self.mlp(t)).view(h * w, n, c).mean(0))
        if self.how == "windows":
            t = x.unflatten(3, (2, 2)).unflatten(2, (2, 2)).permute(0, 2, 4, 3, 5, 1)
            t = t.reshape(n * 4, 4, c)
            return self.head((t + self.mlp(t)).view(n, 16, c).mean(1))
        if self.how == "rolled windows":
            t = x.roll((1, 1), (2, 3)).unflatten(3, (2, 2)).unflatten(2, (2, 2))
            t = t.permute(2, 4, 0, 3, 5, 1).reshape(4 * n, 2, 2, c)
            return self.head((t + self.mlp(t)).view(4, n, 4, c).mean((0, 2)))
        raise ValueError(self.how)


ORDERS = (
    *("nhwc", "nhwc and back", "images first", "tokens first"),
    *("rows, images, columns", "height, width, images", "rows of all images"),
    *("images within a pixel", "windows", "rolled windows"),
)


@pytest.mark.parametrize("norm", few([True, False]))
@pytest.mark.parametrize("how", ORDERS)
def test_images_and_channels_in_any_axis(how, norm):
    net, twin = seeded(Mlp, how, norm), seeded(Mlp, "conv", norm)
    shared_parameters(net, twin)
    images = batch(16)  # as many as there are pixels after the stem
    names = [n for n in EVERY if n != "synflow" or not norm]
    same(scored(net, names, images), right(twin, names, images))
    if norm:
        assert "layer_norm" in scored(net, "synflow")["synflow"].note
        undefined(scored(net, "zen"), "layer_norm")
    if how in ("nhwc", "nhwc and back") and not norm:
        ours, theirs = (scored(n, "meco,zen") for n in (net, twin))
        assert ours["meco"].value == pytest.approx(theirs["meco"].value, rel=1e-6)


def test_images_that_are_mixed_have_no_codes():
    """Attention across the minibatch: no axis holds one image alone."""
    net, _ = around(lambda n, x: n(x + (x.flatten(1) @ x.flatten(1).T).mean()), simple)
    undefined(scored(net, RELU), "which axis")


# --- shared weights ---------------------------------------------------------------


class Tied(nn.Module):
    def __init__(self, how: str) -> None:
        super().__init__()
        self.stem = nn.Conv2d(3, 6, 3, padding=1)
        self.a = nn.Conv2d(6, 6, 3, padding=1, bias=False)
        self.act, self.head, self.how = nn.ReLU(), nn.Linear(6, K), how
        if how in ("parameter", "dilated"):
            rate = 2 if how == "dilated" else 1
            self.b = nn.Conv2d(6, 6, 3, padding=rate, dilation=rate, bias=False)
            self.b.weight = self.a.weight
        if how == "alias":
            self.b = self.a
        if how == "list":
            self.more = nn.ModuleList([self.a, self.a])

    def forward(self, x):
        x = self.act(self.stem(x))
        x = self.act(self.a(x))
        if self.how in ("parameter", "alias", "dilated"):
            x = self.b(x)
        elif self.how == "functional":
            x = F.conv2d(x, self.a.weight, padding=1)
        else:
            x = (self.more[1] if self.how == "list" else self.a)(x)
        return self.head(self.act(x).mean((2, 3)))


@pytest.mark.parametrize(
    "how", ["twice", "parameter", "alias", "list", "functional", "dilated"]
)
def test_a_weight_that_several_share_counts_once(how):
    net = seeded(Tied, how)
    twin = seeded(Tied, "dilated" if how == "dilated" else "twice")
    names = [n for n in EVERY if n not in ("fisher", "flops")]
    same(scored(net, names), right(twin, names))
    conv = 64 * 6 * 54
    assert scored(net, "flops")["flops"].value == 64 * 6 * 27 + 2 * conv + 6 * K
    same(scored(net, ["fisher"]), right(twin, ["fisher"]))
    zen = scored(net, "zen")["zen"].value
    if how != "dilated":
        assert zen == pytest.approx(scored(twin, "zen")["zen"].value, rel=1e-9)


# --- random layers ----------------------------------------------------------------


class DropPath(nn.Module):
    def __init__(self, p: float) -> None:
        super().__init__()
        self.p = p

    def forward(self, x):
        if not self.training or not self.p:
            return x
        kept = torch.rand(len(x), *[1] * (x.dim() - 1), dtype=x.dtype) >= self.p
        return x * kept / (1 - self.p)


class Noise(nn.Module):
    """Draws from generators that are not torch's."""

    def forward(self, x):
        return x * (1 + random.random() * float(np.random.rand()))  # noqa: NPY002


DROPS = {
    "dropout": lambda: nn.Dropout(0.3),
    "dropout2d": lambda: nn.Dropout2d(0.3),
    "in place": lambda: nn.Dropout(0.3, inplace=True),
    "path": lambda: DropPath(0.4),
}


def dropping(drop) -> nn.Module:
    net = ordinary()
    net.insert(3, drop())
    return net


@pytest.mark.parametrize("kind", DROPS)
def test_dropout_is_drawn_from_the_seed(kind):
    net = seeded(dropping, DROPS[kind])
    names = [n for n in EVERY if n not in RELU]
    found = scored(net, names)
    # torch itself refuses a dropout that writes into what a ReLU gave.
    twin = seeded(dropping, DROPS["dropout" if kind == "in place" else kind])
    same(found, right(twin, names))
    zen = scored(net, "zen,nwot")
    calm = scored(seeded(dropping, lambda: nn.Dropout(0.0)), "zen,nwot")
    assert zen["zen"].value == calm["zen"].value
    assert zen["nwot"].value != calm["nwot"].value  # is in train mode
    other = zcbench.score(net, batch(), "snip", seed=1)["snip"].value
    assert other != found["snip"].value


@pytest.mark.parametrize("drop", few([*DROPS.values(), Noise], 2))
def test_random_layers_do_not_see_which_proxies_are_asked_for(drop):
    net = seeded(dropping, drop)
    together = scored(net, "all")
    for name, score in together.items():
        alone = scored(net, name)[name]
        assert (alone.value, alone.status) == (score.value, score.status), name


# --- convolutions -----------------------------------------------------------------


def _conv(conv: Callable[[], nn.Module], dimensions: int, c_out: int = 6) -> nn.Module:
    first, _, pool, _ = DIMENSIONS[dimensions]
    return nn.Sequential(
        *(first(), conv(), nn.ReLU(), pool(1), nn.Flatten()), nn.Linear(c_out, K)
    )


CONVOLUTIONS = {
    "1d": (lambda: nn.Conv1d(3, 6, 5, stride=2), 1),
    "1d transposed": (lambda: nn.ConvTranspose1d(3, 6, 4, stride=2, padding=1), 1),
    "2d dilated": (lambda: nn.Conv2d(3, 6, 3, dilation=2), 2),
    "2d grouped": (lambda: nn.Conv2d(3, 6, 3, groups=3), 2),
    "2d reflecting": (lambda: nn.Conv2d(3, 6, 3, padding=1, padding_mode="reflect"), 2),
    "2d of one size": (lambda: nn.Conv2d(3, 6, (4, 2), padding="same"), 2),
    "2d transposed": (lambda: nn.ConvTranspose2d(3, 6, 3, stride=2), 2),
    "2d transposed, grouped": (
        lambda: nn.ConvTranspose2d(3, 6, 3, stride=2, groups=3, output_padding=1),
        2,
    ),
    "3d": (lambda: nn.Conv3d(1, 6, 3, padding=(1, 0, 0)), 3),
    "3d transposed": (lambda: nn.ConvTranspose3d(1, 6, 2, stride=2), 3),
}


@pytest.mark.filterwarnings("ignore:Using padding='same' with even kernel")
@pytest.mark.parametrize("kind", CONVOLUTIONS)
def test_convolutions(kind):
    net = seeded(_conv, *CONVOLUTIONS[kind])
    same(scored(net, EVERY), right(net, EVERY))
    assert counted(net) == scored(net, "flops")["flops"].value


def counted(net: nn.Module, shape: tuple[int, ...] = (3, 8, 8)) -> float:
    """Multiply-accumulates as PyTorch counts floating point operations, over two."""
    with FlopCounterMode(display=False) as counter:  # without fused encoders
        copy.deepcopy(net).eval()(torch.zeros(1, *shape))
    return counter.get_total_flops() / 2


@pytest.mark.parametrize(
    "build", [ordinary, simple, Tied, Mlp, *[ATTENTION[k][0] for k in ATTENTION]]
)
def test_flops_are_those_that_torch_counts(build):
    arguments = {Tied: ("parameter",), Mlp: ("windows", True)}.get(build, ())
    net = seeded(build, *arguments)
    score = scored(net, "flops")["flops"]
    with sdpa_kernel(SDPBackend.MATH):
        total = counted(net)
    noted = int(score.note.split()[0].replace(",", "")) if score.note else 0
    assert score.value + noted == total


def test_recurrent_layers_are_no_layers_and_their_flops_are_noted():
    class Recurrent(nn.Module):
        def __init__(self, kind) -> None:
            super().__init__()
            self.stem = nn.Conv2d(3, 6, 4, stride=2)
            self.cell = kind(6, 5, num_layers=2, bidirectional=True, batch_first=True)
            self.head = nn.Linear(10, K)

        def forward(self, x):
            t = self.stem(x).relu().flatten(2).mT
            if isinstance(self.cell, nn.LSTM):  # of torch's default dtype
                zeros = torch.zeros(4, len(x), 5)
                return self.head(self.cell(t, (zeros, zeros))[0][:, -1])
            return self.head(self.cell(t)[0][:, -1])

    for kind, gates in ((nn.LSTM, 4), (nn.GRU, 3), (nn.RNN, 1)):
        net = seeded(Recurrent, kind)
        names = [*LOSS, *ALONE, "zico", "jacov"]
        with torch.random.fork_rng():
            torch.set_default_dtype(torch.float64)
            try:
                wanted = right(net, names)
            finally:
                torch.set_default_dtype(torch.float32)
        same(scored(net, names), wanted)
        flops = scored(net, "flops,n_layers")
        assert flops["flops"].value == 9 * 6 * 48 + 10 * K
        assert flops["n_layers"].value == 2
        left_out = 9 * 2 * gates * 5 * (6 + 5 + 10 + 5)
        assert flops["flops"].note.startswith(f"{left_out:,} multiply-accumulates")


def test_embeddings():
    class Embedded(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.net, self.table = simple(), nn.Embedding(4, 3)

        def forward(self, x):
            level = (x[:, 0].mean((1, 2)) > 0).long()
            return self.net(x + self.table(level)[:, :, None, None])

    net = seeded(Embedded)
    names = [n for n in EVERY if n != "synflow"]
    same(scored(net, names), right(net, names))


# --- outputs, labels and layers that are none ---------------------------------------


@dataclass
class Outputs:
    logits: Tensor
    features: Tensor


Pair = collections.namedtuple("Pair", "logits aux")
OUTPUTS = {
    "tuple": lambda z: (z, z),
    "list": lambda z: [z],
    "dict": lambda z: {"logits": z},
    "dataclass": lambda z: Outputs(z, z),
    "namedtuple": lambda z: Pair(z, z),
    "None": lambda z: None,
}
READS_LOGITS = (*LOSS[:3], "fisher", "grasp", "zico", "jacov", "epe_nas", *ALONE)


@pytest.mark.parametrize("kind", OUTPUTS)
def test_outputs_of_train_mode_that_are_no_logits(kind):
    class Many(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.net = ordinary()

        def forward(self, x):
            logits = self.net(x)
            return OUTPUTS[kind](logits) if self.training else logits

    net = seeded(Many)
    undefined(scored(net, READS_LOGITS))
    of_one = seeded(ordinary)
    names = ("params", "flops", "n_layers", "synflow", "l2_norm", *RELU)
    same(scored(net, names), right(of_one, names))


@pytest.mark.parametrize("kind", OUTPUTS)
def test_outputs_that_are_never_logits(kind):
    net, _ = around(lambda n, x: OUTPUTS[kind](n(x)))
    undefined(scored(net, (*READS_LOGITS, "flops", "n_layers", "synflow")))
    assert values(scored(net, "params,l2_norm")).keys() == {"params", "l2_norm"}


@pytest.mark.parametrize(
    "shape", [lambda z: z[:, :, None], lambda z: z[:, 0], lambda z: z[:4], Tensor.sum]
)
def test_outputs_of_another_shape(shape):
    net, _ = around(lambda n, x: shape(n(x)))
    names = [n for n in READS_LOGITS if n not in (*ALONE, "zico")]
    found = scored(net, names)
    undefined(found)


def test_labels_that_do_not_fit():
    def labelled(net, y):
        return scored(net, "snip,fisher,gradsign,zico", zcbench.Batch(batch().x, y))

    net = seeded(ordinary)
    undefined(labelled(net, torch.arange(8)), "does not fit the network's 4 logits")
    undefined(labelled(net, torch.arange(8) % K - 1), "label -1 does not fit")
    few = zcbench.Batch(batch().x, torch.arange(8) % 2)
    same(scored(net, [*LOSS, *ALONE], few), right(net, [*LOSS, *ALONE], few))
    one = seeded(lambda: nn.Sequential(nn.Conv2d(3, 5, 3), nn.ReLU(), *tail(5, 1)))
    undefined(labelled(one, torch.zeros(8, dtype=torch.int64)), "one logit")
    assert (
        scored(net, "jacov,nwot,ntk_trace", zcbench.Batch(batch().x, torch.arange(8)))[
            "jacov"
        ].value
        == scored(net, "jacov")["jacov"].value
    )


def test_a_loss_that_does_not_depend_on_the_weights():
    zero, _ = around(lambda n, x: n(x) * 0)
    found = scored(zero, "snip,grad_norm,fisher,gradsign,n_layers")
    assert {s.value for s in found.values()} == {0}
    assert "3 of 3 layers have no gradient" in found["snip"].note
    names = ("snip", "grad_norm", "fisher", "grasp", "zico", *ALONE)
    cut, _ = around(lambda n, x: n(x).detach())
    undefined(scored(cut, names))
    without, _ = around(lambda n, x: torch.no_grad()(n)(x))
    undefined(scored(without, names))
    constant, _ = around(lambda n, x: x.new_ones(len(x), K))
    undefined(scored(constant, names))


class Bare(nn.Module):
    """Convolutions by parameters of its own."""

    def __init__(self) -> None:
        super().__init__()
        self.a = nn.Parameter(torch.randn(6, 3, 3, 3) / 5)
        self.b = nn.Parameter(torch.randn(K, 6) / 2)
        self.act = nn.ReLU()

    def forward(self, x):
        return self.act(F.conv2d(x, self.a)).mean((2, 3)) @ self.b.T


def test_networks_without_layers():
    net = seeded(Bare)
    names = [n for n in SMOOTH if n not in ("params", "jacov")]
    undefined(scored(net, [*names, "zen"]), "no convolution or linear modules")
    # What speaks of ReLUs, images or parameters alone is defined all the same.
    names = ("params", "jacov", *RELU)
    wanted = right(net, ("jacov", *RELU)) | {"params": 6 * 27 + K * 6}
    same(scored(net, names), wanted)
    nothing = nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Flatten())
    assert scored(nothing, "params")["params"].value == 0
    undefined(scored(nothing, "snip,flops,zen,ntk_trace,synflow,nwot,grasp,l2_norm"))


@pytest.mark.parametrize("which", ["all", "some", "norms"])
def test_frozen_weights(which):
    net = seeded(ordinary)
    for name, p in net.named_parameters():
        p.requires_grad_(
            {"all": False, "some": name[0] != "0", "norms": name[:2] != "1."}[which]
        )
    before = {name: p.requires_grad for name, p in net.named_parameters()}
    names = [n for n in EVERY if n != "params"]
    same(scored(net, names), right(net, names))
    trainable = sum(p.numel() for p in net.parameters() if p.requires_grad)
    assert scored(net, "params")["params"].value == trainable
    assert {name: p.requires_grad for name, p in net.named_parameters()} == before


# --- wrappers, modes and dtypes ---------------------------------------------------


class Checkpointed(nn.Module):
    def __init__(self, how: str) -> None:
        super().__init__()
        self.net, self.how = ordinary(), how

    def forward(self, x):
        if self.how == "sequential":
            return self.net[5:](
                checkpoint_sequential(self.net[:5], 2, x, use_reentrant=False)
            )
        old = self.how == "reentrant"
        return self.net[3:](checkpoint(self.net[:3], x, use_reentrant=old))


def _compiled_inside() -> nn.Module:
    relu = torch.compile(lambda x: F.relu(x) + 0.0, backend="eager")
    net = ordinary()
    return Around(net, lambda n, x: n[3:](relu(n[:2](x))))


def _compiled_method() -> nn.Module:
    class CompiledMethod(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.net = ordinary()

        @torch.compile(backend="eager")
        def forward(self, x):
            return self.net(x)

    return CompiledMethod()


def _compiled_in_place() -> nn.Module:
    net = ordinary()
    net.compile(backend="eager")
    return net


def _compiled_part() -> nn.Module:
    net = ordinary()
    net[0] = torch.compile(net[0], backend="eager")
    return net


WRAPPED = {
    "parallel": lambda: nn.DataParallel(ordinary()),
    "parallel part": lambda: nn.Sequential(
        nn.DataParallel(ordinary()[:3]), *ordinary()[3:]
    ),
    "compiled": lambda: torch.compile(ordinary(), backend="eager"),
    "compiled in place": _compiled_in_place,
    "compiled part": _compiled_part,
    "compiled function": _compiled_inside,
    "compiled method": _compiled_method,
    "compiled and parallel": lambda: nn.DataParallel(
        torch.compile(ordinary(), backend="eager")
    ),
    "reentrant": lambda: Checkpointed("reentrant"),
    "not reentrant": lambda: Checkpointed("new"),
    "sequential": lambda: Checkpointed("sequential"),
}


@pytest.mark.filterwarnings("ignore:.*[Rr]equires.grad")
@pytest.mark.parametrize("kind", WRAPPED)
def test_wrapped_networks(kind):
    net, twin = seeded(WRAPPED[kind]), seeded(ordinary)
    shared_parameters(net, twin)
    same(scored(net, EVERY), right(twin, EVERY))


def _float64_default():
    class Default:
        def __enter__(self):
            torch.set_default_dtype(torch.float64)

        def __exit__(self, *_):
            torch.set_default_dtype(torch.float32)

    return Default()


CONTEXTS = {
    "no grad": torch.no_grad,
    "inference": torch.inference_mode,
    "autocast": lambda: torch.autocast("cpu", torch.bfloat16),
    "float64": _float64_default,
    "grad": torch.enable_grad,
}


@pytest.mark.parametrize("kind", few(CONTEXTS, 2))
def test_what_surrounds_the_call_does_not_matter(kind):
    net = seeded(ordinary)
    for precision in ("float64", "float32"):
        wanted = zcbench.score(net, batch(), PROXIES.names(), precision=precision)
        with CONTEXTS[kind]():
            found = zcbench.score(net, batch(), PROXIES.names(), precision=precision)
            after = torch.get_default_dtype(), torch.is_grad_enabled()
        assert values(found) == values(wanted)
        with CONTEXTS[kind]():
            assert after == (torch.get_default_dtype(), torch.is_grad_enabled())


def test_a_network_and_images_made_in_inference_mode():
    with torch.inference_mode():
        net, images = seeded(ordinary), batch()
    found = scored(net, EVERY, images)
    same(found, right(seeded(ordinary), EVERY))


def test_images_that_have_a_gradient():
    images = batch()
    leaf = images.x.clone().requires_grad_(True)
    net = seeded(ordinary)
    found = scored(net, EVERY, zcbench.Batch(leaf * 1, images.y))
    same(found, right(net, EVERY))
    assert leaf.grad is None


def _table(n, x):
    picture = torch.tensor([[0.5, -1.0, 2.0]]).T.view(3, 1, 1)  # torch's default dtype
    return n(x + picture)


class Unregistered(nn.Module):
    """Blurs by a kernel that is no buffer, and ends in a constant of NumPy's."""

    def __init__(self) -> None:
        super().__init__()
        self.net, self.kernel = ordinary(), torch.ones(3, 1, 3, 3) / 9
        self.mix = [np.eye(K, dtype=np.float32) + 1]

    def forward(self, x):
        blurred = F.conv2d(x, self.kernel.to(x), padding=1, groups=3)
        return self.net(blurred) @ torch.from_numpy(self.mix[0]).to(x)


class UnregisteredAsItIs(Unregistered):
    def forward(self, x):
        blurred = F.conv2d(x, self.kernel, padding=1, groups=3)
        return self.net(blurred) @ torch.from_numpy(self.mix[0])


CASTS = {
    "float": lambda n, x: n(x.float()),
    "to": lambda n, x: n[3:](n[:3](x).to(torch.float32)),
    "type": lambda n, x: n[3:](n[:3](x).type(torch.float32)),
    "tensor type": lambda n, x: n[3:](
        n[:3](x.type(torch.FloatTensor)).type("torch.FloatTensor")
    ),
    "by keyword": lambda n, x: n(x.to(dtype=torch.float32)).to(dtype=torch.float32),
    "eye": lambda n, x: n(x) @ torch.eye(K),
    "ones": lambda n, x: n(x) * torch.ones(K, dtype=torch.float32),
    "written into": lambda n, x: torch.zeros(len(x), K).add_(n(x)),
    "autocast": lambda n, x: torch.autocast("cpu", torch.bfloat16)(n)(x).float(),
    "arange": lambda n, x: n(x) + 0 * torch.arange(0.0, K),
}


@pytest.mark.parametrize("kind", CASTS)
def test_networks_that_ask_for_float32_are_scored_in_float64(kind):
    net, twin = around(CASTS[kind])
    same(scored(net, EVERY), right(twin, EVERY))
    rough = zcbench.score(net, batch(), "snip,synflow,flops", precision="float32")
    wanted = right(twin, ["snip", "synflow", "flops"])
    assert {n: s.value for n, s in rough.items()} == pytest.approx(
        wanted, rel=0.05 if kind == "autocast" else 1e-3
    )


def test_constants_that_are_not_registered():
    net, twin = seeded(UnregisteredAsItIs), seeded(Unregistered)
    twin.kernel = twin.kernel.double()
    names = [n for n in EVERY if n != "flops"]
    found = scored(net, [*names, "flops"])
    assert found.pop("flops").note.startswith("1,744 multiply-accumulates outside")
    wanted = right(twin, names)
    # The kernel is 1 / 9 in float32.
    assert values(found) == {n: pytest.approx(w, rel=1e-5) for n, w in wanted.items()}


def test_networks_that_round_to_half_inside():
    net, _ = around(lambda n, x: n[3:](n[:3](x).half().to(x.dtype)))
    names = [n for n in EVERY if n not in ("zico", "gradsign[part=sum]")]
    found, wanted = scored(net, names), right(net, names)
    assert values(found) == {n: pytest.approx(w, rel=1e-6) for n, w in wanted.items()}


class Constants(nn.Module):
    """Complex numbers, indices and flags that are buffers or parameters."""

    def __init__(self, as_parameters: bool) -> None:
        super().__init__()
        self.net = ordinary()
        turn = torch.polar(torch.tensor(1.5), torch.tensor(0.4)).view(1, 1, 1)
        held = {
            "turn": turn,
            "order": torch.tensor([-1, 0, 1]),
            "shown": torch.tensor([True, True, False])[:, None, None],
        }
        for name, value in held.items():
            if as_parameters:
                value = nn.Parameter(value, requires_grad=value.is_complex())
                self.register_parameter(name, value)
            else:
                self.register_buffer(name, value)

    def forward(self, x):
        x = torch.where(self.shown, x, x / 2)[:, self.order]
        return self.net((x * self.turn).imag)


@pytest.mark.parametrize("as_parameters", [False, True])
def test_buffers_and_parameters_of_other_types(as_parameters):
    net = seeded(Constants, as_parameters)
    twin, _ = around(None)
    twin.inner = net.net
    turned = complex(net.turn.detach().flatten()[0])

    def turned_about(n, x):
        x = torch.cat([x[:, :2], x[:, 2:] / 2], dim=1)[:, [2, 0, 1]]
        return n(x * turned.imag)

    twin.how = turned_about
    names = [n for n in EVERY if n not in ("params", "synflow")]
    found = scored(net, names)
    same(found, right(twin, names))
    extra = 1 if as_parameters else 0
    ordinary_ones = sum(p.numel() for p in net.net.parameters())
    assert scored(net, "params")["params"].value == ordinary_ones + extra
    assert scored(net, "zen,nngp,meco")["zen"].status == "ok"


# --- in place ---------------------------------------------------------------------


def _add(n, x):
    y = n[:2](x)
    y += 1
    return n[2:](y)


def _scale_input(n, x):
    x -= 0.5
    x *= 2
    return n(x)


def _write_input(n, x):
    x[:, 0] = 0
    return n(x.clamp_(-1, 1))


def _write_output(n, x):
    y = n[0](x)
    y[:, 0] = 0
    y.mul_(2)
    return n[1:](y)


IN_PLACE = {  # in place, and not
    "relu_": (
        lambda n, x: n[5:](F.relu_(n[3](n[:3](x)))),
        lambda n, x: n(x),
    ),
    "+=": (_add, lambda n, x: n[2:](n[:2](x) + 1)),
    "input": (_scale_input, lambda n, x: n((x - 0.5) * 2)),
    "input written into": (
        _write_input,
        lambda n, x: n(torch.cat([x[:, :1] * 0, x[:, 1:]], dim=1).clamp(-1, 1)),
    ),
    "output": (
        _write_output,
        lambda n, x: n[1:](2 * torch.cat([n[0](x)[:, :1] * 0, n[0](x)[:, 1:]], dim=1)),
    ),
    "modules": (
        lambda n, x: n[3:](
            nn.ReLU(inplace=True)(nn.Dropout(0.0, inplace=True)(n[:2](x)))
        ),
        lambda n, x: n(x),
    ),
    "leaky": (
        lambda n, x: n[3:](F.leaky_relu_(n[1](n[0](x)), 0.1)),
        lambda n, x: n[3:](F.leaky_relu(n[1](n[0](x)), 0.1)),
    ),
}


@pytest.mark.parametrize("kind", few(IN_PLACE, 3))
def test_networks_that_write_in_place(kind):
    written, not_written = (
        seeded(lambda h=h: Around(ordinary(), h)) for h in IN_PLACE[kind]
    )
    images = batch()
    names = [n for n in LOSS if n != "fisher" or kind != "output"] + [
        *(*ALONE, "zico", "jacov", "synflow", "l2_norm")
    ]
    if kind in ("input", "input written into", "+="):
        names += RELU
    before = images.x.clone()
    same(scored(written, names, images), right(not_written, names))
    assert torch.equal(images.x, before)
    everything = [n for n in PROXIES.names() if n not in ("nngp", "gennas")]
    for precision in ("float32", "float64"):
        a, b = (
            zcbench.score(n, images, everything, precision=precision)
            for n in (written, not_written)
        )
        skipped = {"fisher"} if kind == "output" else set()
        for name in set(everything) - skipped - BY_MODULES:
            assert a[name].status == b[name].status, (name, a[name])
            if b[name].value is not None:
                assert a[name].value == pytest.approx(b[name].value, rel=1e-3), name


# --- numbers that are none --------------------------------------------------------


@pytest.mark.parametrize("bad", [math.nan, math.inf, -math.inf])
def test_a_pixel_that_is_not_finite_is_refused(bad):
    images = batch()
    images.x[3, 1, 2, 2] = bad
    with pytest.raises(UsageError, match=r"image 3 .* not finite"):
        scored(seeded(ordinary), "nwot", images)


@pytest.mark.parametrize("bad", [math.nan, math.inf])
@pytest.mark.parametrize("where", ["0.weight", "1.weight", "3.weight", "7.bias"])
def test_weights_that_are_not_finite_give_no_finite_score(where, bad):
    net = seeded(ordinary)
    with torch.no_grad():
        net.get_parameter(where).flatten()[1] = bad
    names = [*LOSS, *ALONE, "zico", "jacov", "ntk_cond[kernel=image]", *RELU]
    found = scored(net, [*names, "flops", "n_layers", "params", "synflow", "meco"])
    same(
        {n: found.pop(n) for n in ("flops", "n_layers", "params")},
        right(seeded(ordinary), ("flops", "n_layers", "params")),
    )
    unharmed = {
        "1.weight": {"l2_norm", "synflow"},
        "7.bias": {
            "l2_norm",
            "synflow",
            "jacov",
            "ntk_cond[kernel=image]",
            "ntk_trace",
            "knas[of=kernel]",
            "meco",
            *RELU,
        },
    }
    for name, score in found.items():
        if name not in unharmed.get(where, ()):
            assert score.value is None, (name, score)
            assert score.status in ("nan", "inf", "undefined"), (name, score)


# --- initialisation that hides ----------------------------------------------------


class Residual(nn.Module):
    """A block whose last scale starts at zero, as that of torchvision's ResNets may."""

    def __init__(self) -> None:
        super().__init__()
        self.a = nn.Conv2d(6, 6, 3, padding=1, bias=False)
        self.b = nn.Conv2d(6, 6, 3, padding=1, bias=False)
        self.norm, self.scale = nn.BatchNorm2d(6), nn.Parameter(torch.zeros(6, 1, 1))

    def forward(self, x):
        return x + self.scale * self.norm(self.b(self.a(x).relu()))


@pytest.mark.parametrize("head", [False, True])
def test_what_starts_at_zero_is_noted_and_is_structure_all_the_same(head):
    def build():
        net = nn.Sequential(nn.Conv2d(3, 6, 3), nn.ReLU(), Residual(), *tail(6))
        if head:
            nn.init.zeros_(net[-1].weight)
        return net

    net = seeded(build)
    names = [*LOSS, *ALONE]
    found = scored(net, [*names, "n_layers", "flops"])
    wanted = {"n_layers": 4, "flops": 36 * 6 * (27 + 2 * 54) + 24}
    same(found, right(net, names) | wanted)
    said = "not ranked: 3" if head else "2"  # all but the head: they are noise
    for name in ("snip", "fisher", "grasp", "grad_norm", "plain"):
        assert (
            found[name].note == f"{said} of 4 layers have no gradient at initialisation"
        )


@pytest.mark.parametrize("in_place", [False, True])
def test_units_that_are_dead_are_structure_all_the_same(in_place):
    body = nn.Conv2d(3, 4, 3), *tail(4)[:-1], nn.Linear(4, 5)
    net = nn.Sequential(*body, nn.ReLU(in_place), *tail(5)[-1:])
    names = ["avg_degree", "op_balance", "n_relus"]
    alive = scored(net, names)
    nn.init.constant_(net[-3].bias, -1e3)
    for name, score in scored(net, names).items():
        assert (score.status, score.value) == ("ok", alive[name].value)


@pytest.mark.parametrize(
    ("act", "name"),
    [
        (nn.GELU, "gelu"),
        (nn.SiLU, "silu"),
        (nn.Hardswish, "hardswish"),
        (nn.Mish, "mish"),
        (nn.ELU, "elu"),
        (nn.PReLU, "prelu"),
        (nn.LeakyReLU, "leaky_relu"),
        (nn.Softplus, "softplus"),
    ],
)
def test_activations_that_are_no_relu(act, name):
    def build():
        net = ordinary()
        net[2] = act()
        net[4] = act()
        return net

    net = seeded(build)
    undefined(scored(net, (*RELU, "reg_swap")), f"no ReLU: its activations are {name}")
    same(scored(net, SMOOTH), right(net, SMOOTH))


def test_some_relus_among_others_are_noted():
    net, _ = around(lambda n, x: n[5:](F.hardswish(n[3](n[:3](x)))))
    found = scored(net, RELU)
    twin, _ = around(lambda n, x: n[5:](n[3](n[:3](x)) * 1))
    same(found, right(twin, RELU))
    assert {s.note for s in found.values()} == {
        "sees the 1 ReLU of 2 activations, not hardswish"
    }


@pytest.mark.parametrize(
    "gate", [nn.Hardsigmoid(), F.hardsigmoid, lambda x: F.hardsigmoid(x, inplace=True)]
)
def test_grasp_needs_a_second_derivative(gate):
    net, _ = around(lambda n, x: n[3:](n[:3](x) * gate(n[:3](x).mean((2, 3), True))))
    found = scored(net, "grasp,snip,grad_norm,fisher,zico,gradsign")
    undefined({"grasp": found.pop("grasp")}, "second derivative")
    assert {s.status for s in found.values()} == {"ok"}


# --- networks that misbehave ------------------------------------------------------


class Fails(nn.Module):
    """Raises where a condition of (itself, images) holds."""

    def __init__(self, when) -> None:
        super().__init__()
        self.net, self.when, self.calls = ordinary(), when, 0

    def forward(self, x):
        self.calls += 1
        if self.when(self, x):
            raise ValueError("not like this\nat all")
        return self.net(x)


FAILURES = {  # condition, some that have a number all the same, some that have none
    "eval": (
        lambda m, x: not m.training,
        ("snip", "grasp", "jacov", *ALONE, "zico"),
        ("flops", "n_layers", "synflow", "nwot", "fisher", "zen"),
    ),
    "train": (
        lambda m, x: m.training,
        ("flops", "n_layers", "synflow", "zen"),
        ("snip", "nwot", "gradsign", "zico", "jacov", "meco"),
    ),
    "one image": (
        lambda m, x: len(x) == 1,
        ("snip", "grasp", "jacov", "zico", "zen"),
        ("gradsign", "ntk_trace", "flops", "synflow", "meco", "nwot"),
    ),
    "halves": (lambda m, x: len(x) == 4, ("snip", "gradsign", "zen"), ("zico",)),
    "images with a gradient": (
        lambda m, x: x.requires_grad,
        ("snip", "nwot", "fisher", "grasp", "gradsign", "zen"),
        ("jacov", "epe_nas"),
    ),
    "always": (lambda m, x: True, (), ("snip", "nwot", "zen", "flops", "gradsign")),
}


@pytest.mark.parametrize("kind", FAILURES)
def test_a_network_that_fails_somewhere_is_scored_elsewhere(kind):
    when, fine, failing = FAILURES[kind]
    net = seeded(Fails, when)
    names = ["all", *ALONE]
    found = scored(net, names)
    twin = scored(seeded(Around, seeded(ordinary), lambda n, x: n(x)), names)
    zen = {"zen"}  # its numbers are those of the parameters' names
    for name in ("params", "l2_norm", *fine):
        assert found[name].status == "ok", (name, found[name])
        if name not in zen:
            assert found[name].value == pytest.approx(twin[name].value, rel=1e-9)
    for name in failing:
        assert found[name].value is None
        assert "not like this" in found[name].message
        assert "\n" not in found[name].message
        assert found[name].status in ("error", "undefined")
    assert net.calls == 0  # only copies ran


@pytest.mark.parametrize("call", [2, 3, 5])
def test_a_network_that_fails_at_a_later_call(call):
    found = scored(seeded(Fails, lambda m, x: m.calls == call), "all")
    assert {s.status for s in found.values()} <= {"ok", "error", "undefined"}
    assert found["params"].status == "ok"
    assert all(s.message for s in found.values() if s.status != "ok")


class Numpy(nn.Module):
    """Takes its images out of torch."""

    def __init__(self) -> None:
        super().__init__()
        self.net = ordinary()

    def forward(self, x):
        return self.net(torch.from_numpy(np.clip(x.numpy(), -1, 1)))


def test_one_proxy_takes_no_other_with_it():
    net, twin = (
        seeded(Numpy),
        seeded(lambda: Around(ordinary(), lambda n, x: n(x.clamp(-1, 1)))),
    )
    names = [n for n in EVERY if n != "jacov"]
    found = scored(net, [*names, "jacov"])
    assert found.pop("jacov").status == "error"
    same(found, right(twin, names))

    class Once(torch.autograd.Function):
        @staticmethod
        def forward(ctx, x):
            return x * 2

        @staticmethod
        def backward(ctx, grad):
            if torch.is_grad_enabled():
                raise RuntimeError("no graph of a gradient")
            return grad * 2

    net, _ = around(lambda n, x: Once.apply(n(x)))
    twin, _ = around(lambda n, x: n(x) * 2)
    names = [n for n in EVERY if n != "grasp"]
    found = scored(net, [*names, "grasp"])
    assert found.pop("grasp").message == "RuntimeError: no graph of a gradient"
    same(found, right(twin, names))


def test_a_proxy_that_fails_takes_no_other_with_it():
    def breaks(g: zcbench.Gradients) -> float:
        raise KeyError("lost")

    breaks.__annotations__ = {"g": zcbench.Gradients, "return": float}
    proxy(reference="test")(breaks)
    try:
        found = scored(seeded(ordinary), "snip,breaks,grasp")
    finally:
        PROXIES.remove("breaks")
    assert found.pop("breaks").status == "error"
    same(found, right(seeded(ordinary), ["snip", "grasp"]))


BRANCHES = {
    "by an image": lambda n, x: n(x) if float(x.sum()) > 0 else n(x) * 1.5,
    "by the number of images": lambda n, x: (
        n(x) if len(x) > 1 else n(torch.cat([x, x]))[:1]
    ),
    "a loop over images": lambda n, x: torch.cat([n(image[None]) for image in x]),
    "rows one by one": lambda n, x: torch.stack([n[-1](row) for row in n[:-1](x)]),
    "as often as a number says": lambda n, x: n[4:](
        sum(n[3](n[:3](x)) for _ in range(1 + int(x[0, 0, 0, 0] > 0)))
    ),
}


@pytest.mark.parametrize("kind", BRANCHES)
def test_control_flow_that_depends_on_the_images(kind):
    net, _ = around(BRANCHES[kind])
    names = [*[n for n in LOSS if n != "fisher"], *ALONE, "zico", "jacov", "synflow"]
    same(scored(net, names), right(net, names))
    assert scored(net, "n_layers")["n_layers"].value == 3
    found = scored(net, (*RELU, "fisher"))
    for name, score in found.items():
        if score.status != "ok":
            undefined({name: score}, "which axis")
    if kind == "by an image":
        same(found, right(net, (*RELU, "fisher")))


class Experts(nn.Module):
    """Each image goes through one of three linear layers."""

    def __init__(self) -> None:
        super().__init__()
        self.net = ordinary()[:-1]
        self.experts = nn.ModuleList([nn.Linear(5, K) for _ in range(3)])

    def forward(self, x):
        x = self.net(x)
        chosen = (x[:, :3] * torch.tensor([1.0, 2.0, 3.0])).argmax(1)
        out = x.new_zeros(len(x), K)
        for number, expert in enumerate(self.experts):
            here = chosen == number
            out[here] = expert(x[here])
        return out


def test_layers_that_see_some_of_the_images():
    net = seeded(Experts)
    names = [*[n for n in LOSS if n != "fisher"], *ALONE, "jacov"]
    found = scored(net, [*names, "fisher", "zen", *RELU])
    undefined({"fisher": found.pop("fisher")}, "which axis")
    assert found.pop("zen").status == "ok"
    same(found, right(net, (*names, *RELU)))


def test_a_mean_over_everything_is_no_pooling():
    net, _ = around(lambda n, x: n(x - x.mean()))
    names = [n for n in SMOOTH if n not in ("fisher", "synflow")]
    same(scored(net, names), right(net, names))
    undefined(scored(net, (*RELU, "fisher")), "which axis")  # it mixes the images
    plain, _ = around(lambda n, x: n(x))
    zen = scored(plain, "zen")["zen"].value
    assert scored(net, "zen")["zen"].value == pytest.approx(zen, rel=1e-2)


class Stateful(nn.Module):
    """Counts, keeps what it computed, has hooks and a call of its own."""

    def __init__(self) -> None:
        super().__init__()
        self.net = ordinary()
        self.register_buffer("calls", torch.zeros((), dtype=torch.int64))
        self.register_buffer("mean", torch.zeros(3, 1, 1))
        self.kept: list[object] = []
        self.last = None
        self.net[3].register_forward_hook(lambda _, __, out: out * 1.5)
        self.net[0].register_forward_pre_hook(lambda _, inputs: (inputs[0] + 0.25,))
        self.net[5].register_full_backward_hook(self.note)

    def note(self, _module, _inputs, grads) -> None:
        self.seen = len(grads)

    def __call__(self, *arguments):
        return super().__call__(*arguments) * 2

    def forward(self, x):
        self.calls += 1
        with torch.no_grad():
            self.mean.mul_(0.9).add_(0.1 * x.mean((0, 2, 3)).view(3, 1, 1))
        self.last = self.net[:3](x)
        self.kept.append({"features": self.last, "here": [self.last.mean()]})
        return self.net[3:](self.last)


def _equal(a: object, b: object) -> bool:
    if isinstance(a, Tensor):
        return a.dtype == b.dtype and torch.equal(a, b)
    return a == b


def test_the_network_is_left_as_it_was():
    net = seeded(Stateful)
    F.cross_entropy(net(batch().x), batch().y).backward()
    net.eval()
    net.net[1].train()
    net.net[0].weight.requires_grad_(False)
    images = batch()
    state = copy.deepcopy(net.state_dict())
    flags = [m.training for m in net.modules()]
    needs = [p.requires_grad for p in net.parameters()]
    grads = [None if p.grad is None else p.grad.clone() for p in net.parameters()]
    hooks = [
        (list(m._forward_hooks), list(m._forward_pre_hooks), list(m._backward_hooks))
        for m in net.modules()
    ]
    last, kept, modules = net.last, len(net.kept), list(net.modules())
    names = sorted(vars(net))
    python, legacy = random.getstate(), np.random.get_state()  # noqa: NPY002
    torchs = torch.get_rng_state()
    scores = scored(net, PROXIES.names(), images)
    assert {s.status for s in scores.values()} <= {"ok", "undefined"}
    assert random.getstate() == python
    assert all(map(np.array_equal, np.random.get_state(), legacy))  # noqa: NPY002
    assert torch.equal(torch.get_rng_state(), torchs)
    assert torch.get_default_dtype() == torch.float32
    assert all(_equal(a, state[n]) for n, a in net.state_dict().items())
    assert [m.training for m in net.modules()] == flags
    assert [p.requires_grad for p in net.parameters()] == needs
    for p, grad in zip(net.parameters(), grads, strict=True):
        assert (p.grad is None) == (grad is None)
        assert grad is None or torch.equal(p.grad, grad)
    assert hooks == [
        (list(m._forward_hooks), list(m._forward_pre_hooks), list(m._backward_hooks))
        for m in net.modules()
    ]
    assert net.last is last
    assert len(net.kept) == kept
    assert list(net.modules()) == modules
    assert sorted(vars(net)) == names
    assert torch.equal(images.x, batch().x)
    assert values(scored(net, "all")) == values(scored(net, "all"))


def test_hooks_calls_and_kept_features_take_part():
    net = seeded(Stateful)

    def written_out(n, x):
        hidden = n[2](n[1](F.conv2d(x + 0.25, n[0].weight, padding=1)))
        return n[5:](n[4](n[3](hidden) * 1.5)) * 2

    twin = seeded(lambda: Around(ordinary(), written_out))
    net(batch().x)  # what it keeps has a graph now, which torch would not copy
    net.net[1].reset_running_stats()
    names = [n for n in EVERY if n not in ("fisher", "flops", "n_layers")]
    same(scored(net, names), right(twin, names))
    assert scored(net, "flops,n_layers,zen")["n_layers"].value == 3


def test_a_forward_that_was_put_onto_the_network():
    net = seeded(ordinary)
    before = net.forward
    net.forward = lambda x: before(x) * 2
    state = copy.deepcopy(net.state_dict())
    names = [n for n in SMOOTH if n not in ("params", "l2_norm")]
    undefined(scored(net, names), "calls the network itself")
    assert all(torch.equal(a, state[n]) for n, a in net.state_dict().items())
    net(batch().x)  # is not refused afterwards
    bound = seeded(ordinary)
    bound.forward = nn.Sequential.forward.__get__(bound)
    same(scored(bound, EVERY), right(seeded(ordinary), EVERY))


def test_a_network_that_refers_to_itself():
    class Referring(nn.Module):
        def __init__(self, held) -> None:
            super().__init__()
            self.net = ordinary()
            self.held = held(self.net)

        def forward(self, x):
            held = self.held
            return (held[0] if isinstance(held, list) else held())(x)

    net = seeded(Referring, lambda n: [n.forward])
    twin = seeded(lambda: Around(ordinary(), lambda n, x: n(x)))
    same(scored(net, EVERY), right(twin, EVERY))
    for outside in (weakref.ref, lambda n: lambda: n):
        net = seeded(Referring, outside)
        undefined(scored(net, "snip,flops,gradsign,zen"), "calls the network itself")
        assert int(net.net[1].num_batches_tracked) == 0


@pytest.mark.filterwarnings("ignore:.*torch.jit", "ignore:The .grad attribute")
def test_scripts_are_not_seen():
    net = torch.jit.script(seeded(ordinary))
    undefined(scored(net, "all"), "TorchScript")
    net = nn.Sequential(torch.jit.script(seeded(ordinary)[:3]), *seeded(ordinary)[3:])
    undefined(scored(net, "all"), "TorchScript")

    @torch.jit.script
    def relu(x: Tensor):
        return torch.relu(x)

    net, twin = around(lambda n, x: n[3:](relu(n[:2](x))))
    undefined(scored(net, RELU), "a ReLU is used in a way that is not seen")
    same(scored(net, SMOOTH), right(twin, SMOOTH))


def test_a_network_that_cannot_be_copied_says_so():
    net = seeded(ordinary)
    net.lock = threading.Lock()
    found = scored(net, "all")
    assert {s.status for s in found.values()} == {"error"}
    assert all("cannot be copied" in s.message for s in found.values())


def test_an_attribute_of_the_name_of_a_promise_is_none():
    class Grouped(nn.Conv2d):
        multiplicity = 3

    def build():
        net = ordinary()
        net[0].__class__ = Grouped
        return Around(net, lambda n, x: n[2:](n[1](n[0].forward(x))))

    twin = seeded(lambda: Around(ordinary(), lambda n, x: n(x)))
    same(scored(seeded(build), EVERY), right(twin, EVERY))
    ours, theirs = scored(seeded(build), "meco"), scored(twin, "meco")
    assert ours["meco"].status == theirs["meco"].status == "ok"


# --- builders ---------------------------------------------------------------------


class Drawn:
    """A space whose networks come from every generator that there is."""

    def build(self, arch, task, *, seed=0, repeat=0):
        width = random.randint(3, 9) + int(np.random.randint(0, 5))  # noqa: NPY002
        net = nn.Sequential(nn.Conv2d(3, width, 3), nn.ReLU(), *tail(width))
        with torch.no_grad():
            net[0].bias.fill_(random.gauss(0, 1) + float(np.random.randn()))  # noqa: NPY002
        return net


def test_builders_that_draw_are_reproducible():
    def state(seed, repeat=0):
        net = build_network(Drawn(), None, "task", seed=seed, repeat=repeat)
        return torch.cat([p.detach().flatten() for p in net.parameters()])

    before = random.getstate(), torch.get_rng_state()
    first = state(3)
    random.random()
    np.random.rand()  # noqa: NPY002
    torch.rand(1)
    assert torch.equal(state(3), first)
    for other in (state(4), state(3, 1)):
        assert other.shape != first.shape or not torch.equal(other, first)
    random.setstate(before[0])
    torch.set_rng_state(before[1])
    state(5)
    assert random.getstate() == before[0]
    assert torch.equal(torch.get_rng_state(), before[1])


@pytest.mark.parametrize("depth", [8, 20])
def test_dextr_of_a_deep_network_without_batchnorm(depth):
    """Outputs that are nearly their biases bend all the same: nothing is rounding."""
    layers = [nn.Linear(48 if not i else 32, 32) for i in range(depth)]
    torch.manual_seed(0)
    steps = [step for layer in layers for step in (layer, nn.ReLU())]
    network = nn.Sequential(nn.Flatten(), *steps, nn.Linear(32, 5))
    batch = zcbench.Batch(torch.randn(4, 3, 4, 4), torch.arange(4))
    values = [
        zcbench.score(network, batch, ["dextr"], precision=precision)["dextr"].value
        for precision in ("float32", "float64")
    ]
    assert values[0] == pytest.approx(values[1], rel=1e-5)


class Gated(nn.Module):
    """A layer of one input, times the other."""

    def __init__(self):
        super().__init__()
        self.layer = nn.Conv2d(4, 4, 3, padding=1)

    def forward(self, x, by):
        return self.layer(x) * by


class Sharing(nn.Module):
    """One ReLU that stands for two, whose readers take more than its output."""

    def __init__(self):
        super().__init__()
        self.first, self.relu = nn.Conv2d(3, 4, 3), nn.ReLU()
        self.relu.multiplicity = 2
        self.gates = nn.ModuleList(Gated() for _ in range(2))
        self.last = nn.Linear(4, 5)

    def forward(self, x):
        x = self.first(x)
        rectified = self.relu(x)
        both = sum(gate(rectified, x) for gate in self.gates)
        return self.last(both.mean((2, 3)))


def test_who_reads_a_shared_relu_keeps_its_other_inputs():
    torch.manual_seed(0)
    batch = zcbench.Batch(torch.randn(4, 3, 8, 8), torch.arange(4))
    score = zcbench.score(Sharing(), batch, ["wrcor_unweighted"])["wrcor_unweighted"]
    assert score.status == "ok"
