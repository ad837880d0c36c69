"""Literal float64 references for networks of any family, beside tests/reference.

Those of tests/reference hook modules and know [N, C, H, W]; networks of timm and
torchvision call functions, fold windows into the images and put channels last. Here
the functions themselves are replaced while the network runs (`Calls`), derivatives are
plain `torch.autograd.grad`, images are taken one by one, and what belongs to which
image is found by changing one image and looking what else changes. Slow and plain on
purpose; `zcbench.evidence` is not used but for the numbers that it draws.
"""

from __future__ import annotations

import copy
import math
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import lru_cache, partial
from typing import Any
from unittest.mock import patch

import numpy as np
import torch
import torch.nn.functional as F
from reference import REFERENCES
from reference.features import least_eigenvalue, with_drawn_weights
from torch import Tensor, nn
from torch.nn.attention import SDPBackend, sdpa_kernel

from zcbench.evidence.gaussian_response import gaussian

SEED = 0
Features = Callable[[nn.Module, Tensor], Tensor]
"""(network, images) → what its global pooling reads, as the network itself has it."""


@dataclass(frozen=True, eq=False)
class Setting:
    """A network, its minibatch, and where its features are (for zen)."""

    net: nn.Module
    x: Tensor
    y: Tensor
    features: Features | None = None


class NotDefined(Exception):
    """The definition gives no number here."""


def fresh(net: nn.Module) -> nn.Module:
    """A float64 copy in train mode that writes over nothing."""
    net = copy.deepcopy(net).double().train().requires_grad_(True)
    for module in net.modules():
        if hasattr(module, "inplace"):
            module.inplace = False
    return net


def layers(net: nn.Module) -> list[nn.Module]:
    """Convolutions and linear layers, one for each weight."""
    found: dict[int, nn.Module] = {}
    for module in net.modules():
        if isinstance(module, nn.Conv1d | nn.Conv2d | nn.Linear):
            found.setdefault(id(module.weight), module)
    return list(found.values())


def weights(net: nn.Module) -> list[Tensor]:
    """Their weights."""
    return [layer.weight for layer in layers(net)]


# --- what a network calls ----------------------------------------------------------


@dataclass
class Use:
    """One use of a layer, or of a ReLU (number −1, `value` its input)."""

    number: int
    value: Tensor
    channels: int


class Calls:
    """Replaces torch's functions for the time of a forward.

    Args:
        net: whose layers are numbered.
        change: (number of the use, output) → what the network gets instead.
    """

    def __init__(
        self, net: nn.Module, change: Callable[[int, Tensor], Tensor] | None = None
    ) -> None:
        self.layers = layers(net)
        self.numbers = {id(layer.weight): n for n, layer in enumerate(self.layers)}
        self.uses: list[Use] = []
        self.relus: list[Use] = []
        self._change = change
        self._running: list[int] = []
        self._inside_relu = 0

    def _layer(self, function: Callable[..., Tensor], axis: int) -> Callable[..., Any]:
        def call(x: Tensor, weight: Tensor, *args: Any, **kwargs: Any) -> Tensor:
            output = function(x, weight, *args, **kwargs)
            number = self.numbers.get(id(weight))
            if number is None and self._running:  # a weight made from the layer's own
                inside = self._running[-1]
                if self.layers[inside].weight.shape == weight.shape:
                    number = inside
            if number is None:
                return output
            self.uses.append(Use(number, output, axis))
            if self._change is not None:
                return self._change(len(self.uses) - 1, output)
            return output.clone()

        return call

    def _relu(self, where: Any, name: str) -> tuple[Any, str, Callable[..., Any]]:
        function = getattr(where, name)

        def call(x: Tensor, *args: Any, **kwargs: Any) -> Tensor:
            low = 0.0
            if name.startswith("hardtanh"):
                low = args[0] if args else kwargs.get("min_val", -1.0)
            if not self._inside_relu and low == 0:
                self.relus.append(Use(-1, x.detach().clone(), 1))
            self._inside_relu += 1
            try:
                return function(x, *args, **kwargs)
            finally:
                self._inside_relu -= 1

        return where, name, call

    def _enter(self, number: int, *_: object) -> None:
        self._running.append(number)

    def _leave(self, *_: object) -> None:
        self._running.pop()

    @contextmanager
    def seen(self) -> Iterator[None]:
        """Everything that is called in here."""
        places = [
            *((F, name, self._layer(getattr(F, name), 1)) for name in _CONVOLUTIONS),
            (F, "linear", self._layer(F.linear, -1)),
            *(self._relu(F, name) for name in _RELUS),
            *(self._relu(where, n) for where in (torch, Tensor) for n in _RELUS[:2]),
        ]
        hooks = []
        for number, layer in enumerate(self.layers):
            enter, leave = partial(self._enter, number), self._leave
            hooks.append(layer.register_forward_pre_hook(enter))
            hooks.append(layer.register_forward_hook(leave, always_call=True))
        patches = [patch.object(*place) for place in places]
        fast = torch.backends.mha.get_fastpath_enabled()
        torch.backends.mha.set_fastpath_enabled(False)  # it calls no functions
        try:
            for one in patches:
                one.start()
            yield
        finally:
            torch.backends.mha.set_fastpath_enabled(fast)
            for one in reversed(patches):
                one.stop()
            for hook in hooks:
                hook.remove()


_CONVOLUTIONS = ("conv1d", "conv2d")
_RELUS = ("relu", "relu_", "relu6", "hardtanh", "hardtanh_")


def _generic(net: nn.Module, x: Tensor) -> nn.Module:
    """A copy in evaluation mode whose parameters are all drawn anew.

    BatchNorm has seen the images, so that nothing drowns in what grows.
    """
    net = fresh(net)
    draw = torch.Generator().manual_seed(11)
    with torch.no_grad():
        for parameter in net.parameters():
            new = torch.randn(parameter.shape, generator=draw, dtype=torch.float64)
            if parameter.dim() > 1:
                new *= math.sqrt(2 / parameter[0].numel())
            else:
                new = 1 + 0.1 * new
            parameter.copy_(new)
        for module in net.modules():
            if isinstance(module, nn.modules.batchnorm._BatchNorm):
                module.momentum = None
                module.reset_running_stats()
        net(x.double())
    return net.eval()


def _run(net: nn.Module, x: Tensor) -> Calls:
    calls = Calls(net)
    with torch.no_grad(), calls.seen():
        net(x)
    return calls


@dataclass
class Owners:
    """Of each use: the axis that the images are on, and whose each place of it is."""

    uses: list[tuple[int, list[int]]]
    relus: list[tuple[int, list[int]]]


@lru_cache(maxsize=1)
def owners(net: nn.Module, x: Tensor) -> Owners:
    """Change one image after the other, and see what changes.

    Places that no image changes, such as those of a class token, do not matter as long
    as others of their row do.
    """
    net, x = _generic(net, x), x.double()
    other = torch.randn(x.shape, generator=torch.Generator().manual_seed(12)).double()
    base = _run(net, x)
    kinds = {"uses": base.uses, "relus": base.relus}
    owned: dict[str, list[list[list[set[int]]]]] = {
        kind: [[[set() for _ in range(n)] for n in u.value.shape] for u in uses]
        for kind, uses in kinds.items()
    }
    for image in range(len(x)):
        changed = x.clone()
        changed[image] = other[image]
        again = _run(net, changed)
        for kind, uses in kinds.items():
            for number, (a, b) in enumerate(
                zip(uses, getattr(again, kind), strict=True)
            ):
                scale = float(a.value.abs().max())
                moved = (a.value - b.value).abs() > 1e-9 * scale
                for axis, sets in enumerate(owned[kind][number]):
                    rest = [d for d in range(moved.dim()) if d != axis]
                    for place in moved.any(dim=rest).nonzero().flatten().tolist():
                        sets[place].add(image)
    return Owners(
        *([_axis(axes, len(x)) for axes in owned[kind]] for kind in ("uses", "relus"))
    )


def _axis(axes: list[list[set[int]]], n: int) -> tuple[int, list[int]]:
    if not any(axes[0]) and len(axes[0]) == n:  # the same for all images
        return 0, list(range(n))
    for axis, sets in enumerate(axes):
        if all(len(images) == 1 for images in sets):
            whose = [next(iter(images)) for images in sets]
            if {whose.count(image) for image in range(n)} == {len(sets) // n}:
                return axis, whose
    raise NotDefined("no axis of its own for the images")


def _apart(value: Tensor, axis: int, whose: list[int], n: int) -> list[Tensor]:
    """The parts of each image, its places first."""
    value = value.movedim(axis, 0)
    return [value[[p for p, w in enumerate(whose) if w == i]] for i in range(n)]


# --- gradients of the minibatch ----------------------------------------------------


def _loss(net: nn.Module, x: Tensor, y: Tensor) -> Tensor:
    return F.cross_entropy(net(x.double()), y)


@lru_cache(maxsize=1)
def _pairs(s: Setting) -> list[tuple[Tensor, Tensor]]:
    net = fresh(s.net)
    w = weights(net)
    grads = torch.autograd.grad(_loss(net, s.x, s.y), w, allow_unused=True)
    return [
        (a.detach(), torch.zeros_like(a) if g is None else g)
        for a, g in zip(w, grads, strict=True)
    ]


def plain(s: Setting) -> float:
    """Σ w · g."""
    return math.fsum(float((w * g).sum()) for w, g in _pairs(s))


def snip(s: Setting) -> float:
    """Σ abs(w · g)."""
    return math.fsum(float((w * g).abs().sum()) for w, g in _pairs(s))


def grad_norm(s: Setting) -> float:
    """Σ over layers of ‖g‖."""
    return math.fsum(float(g.square().sum().sqrt()) for _, g in _pairs(s))


def grasp(s: Setting) -> float:
    """−Σ w · (H g), by a backward through the backward."""
    net = fresh(s.net)
    w = weights(net)
    loss = _loss(net, s.x, s.y)
    g = torch.autograd.grad(loss, w, create_graph=True, allow_unused=True)
    dot = sum((d.detach() * d).sum() for d in g if d is not None)
    hg = torch.autograd.grad(dot, w, allow_unused=True)
    terms = zip(w, hg, strict=True)
    return -math.fsum(float((a.detach() * h).sum()) for a, h in terms if h is not None)


def fisher(s: Setting) -> float:
    """Σ over channels of fan-in · ½ mean_n (Σ_places a · ∂L/∂a)²."""
    net, n = fresh(s.net), len(s.x)
    where = owners(s.net, s.x).uses
    calls = Calls(net)
    with calls.seen():
        loss = _loss(net, s.x, s.y)
    outputs = [use.value for use in calls.uses]
    grads = torch.autograd.grad(loss, outputs, allow_unused=True)
    total = []
    for use, grad, (axis, whose) in zip(calls.uses, grads, where, strict=True):
        if grad is None:
            continue
        product = (use.value * grad).detach()
        channels = use.channels % product.dim()
        product = product.movedim(channels, -1)
        axis -= axis > channels
        fan_in = calls.layers[use.number].weight[0].numel()
        for part in _apart(product, axis, whose, n):
            saliency = part.flatten(0, -2).sum(0)
            total.append(fan_in * float(saliency.square().sum()) / 2 / n)
    return math.fsum(total)


def zico(s: Setting) -> float:
    """Σ over layers of log Σ_w mean_b abs(g) / std_b g over the two halves."""
    half = (len(s.x) + 1) // 2
    halves = [
        _pairs(Setting(s.net, s.x[part], s.y[part]))
        for part in (slice(None, half), slice(half, None))
    ]
    total = []
    for (_, a), (_, b) in zip(*halves, strict=True):
        deviation = (a - b).abs() / 2
        moving = deviation > 0
        ratios = ((a.abs() + b.abs()) / 2)[moving] / deviation[moving]
        if moving.any():
            total.append(math.log(float(ratios.sum())))
    return math.fsum(total)


# --- images alone ------------------------------------------------------------------


def _alone(s: Setting, *, of_loss: bool) -> list[list[Tensor]]:
    """Gradients of each image, a minibatch of its own, layer by layer."""
    net = fresh(s.net)
    w = weights(net)
    found = []
    for x, y in zip(s.x[:, None], s.y[:, None], strict=True):
        out = _loss(net, x, y) if of_loss else net(x.double()).sum()
        grads = torch.autograd.grad(out, w, allow_unused=True)
        found.append(
            [
                torch.zeros_like(a) if g is None else g
                for a, g in zip(w, grads, strict=True)
            ]
        )
    return found


def gradsign(s: Setting) -> float:
    """Mean over weights of abs(Σ_n sign g_n)."""
    images = _alone(s, of_loss=True)
    total = math.fsum(
        float(sum(torch.sign(g) for g in layer).abs().sum())
        for layer in zip(*images, strict=True)
    )
    return total / sum(w.numel() for w in weights(s.net))


@lru_cache(maxsize=1)
def _kernel(s: Setting) -> np.ndarray:
    images = _alone(s, of_loss=False)
    return np.array(
        [
            [
                math.fsum(float((a * b).sum()) for a, b in zip(one, other, strict=True))
                for other in images
            ]
            for one in images
        ]
    )


def ntk_trace(s: Setting) -> float:
    """√ of the mean of Θ's diagonal."""
    return math.sqrt(np.trace(_kernel(s)) / len(s.x))


# --- codes of ReLUs ----------------------------------------------------------------


@lru_cache(maxsize=1)
def _codes(s: Setting) -> np.ndarray:
    """1 where the input of a ReLU is positive, [N, units]."""
    n, where = len(s.x), owners(s.net, s.x).relus
    calls = _run(fresh(s.net), s.x.double())
    if not calls.relus:
        raise NotDefined("no ReLU")
    parts = []
    for use, (axis, whose) in zip(calls.relus, where, strict=True):
        rows = [part.flatten() for part in _apart(use.value, axis, whose, n)]
        parts.append((torch.stack(rows) > 0).numpy())
    return np.concatenate(parts, axis=1)


def nwot(s: Setting) -> float:
    """log det Σ b bᵀ + (1 − b)(1 − b)ᵀ."""
    b = _codes(s).astype(float)
    return float(np.linalg.slogdet(b @ b.T + (1 - b) @ (1 - b).T)[1])


def swap(s: Setting) -> float:
    """Different columns of the codes of 16 images, weights N(0, 1), mean of 32."""
    counts = []
    for draw in range(32):
        net = with_drawn_weights(s.net, lambda shape: 1.0, "swap", draw)
        codes = _codes(Setting(net, s.x[:16], s.y[:16]))
        counts.append(len({c.tobytes() for c in np.ascontiguousarray(codes.T)}))
    return sum(counts) / 32


def reg_swap(s: Setting) -> float:
    """swap · exp(−(p − 800)² / 800²)."""
    thousands = params(s) / 1000
    return swap(s) * math.exp(-(((thousands - 800) / 800) ** 2))


# --- the network itself ------------------------------------------------------------


def params(s: Setting) -> float:
    """Trainable parameters."""
    return sum(p.numel() for p in s.net.parameters() if p.requires_grad)


def flops(s: Setting) -> float:
    """Outputs of every use of a layer, times the weights of a channel."""
    calls = _run(fresh(s.net).eval(), s.x[:1].double())
    return sum(
        use.value.numel() * calls.layers[use.number].weight[0].numel()
        for use in calls.uses
    )


def l2_norm(s: Setting) -> float:
    """Σ over layers of ‖w‖."""
    return math.fsum(float(w.detach().double().norm()) for w in weights(s.net))


def n_layers(s: Setting) -> float:
    """Layers whose output the image changes and which change the logits, by trying.

    Each layer's output is disturbed in a forward of its own.
    """
    net = _generic(s.net, s.x)
    x = s.x[:1].double()
    base = _run(net, x)
    other = _run(net, s.x[1:2].double())
    pairs = zip(base.uses, other.uses, strict=True)
    fed = {n for n, (a, b) in enumerate(pairs) if not torch.equal(a.value, b.value)}
    draw = torch.Generator().manual_seed(13)
    with torch.no_grad():
        logits = net(x)
        counted: set[int] = set()
        for use in sorted(fed):
            if base.uses[use].number in counted:
                continue

            def disturb(number: int, output: Tensor, use: int = use) -> Tensor:
                if number != use:
                    return output.clone()
                noise = torch.randn(output.shape, generator=draw, dtype=torch.float64)
                return output + output.abs().mean() * noise

            calls = Calls(net, disturb)
            with calls.seen():
                moved = net(x)
            if not torch.equal(moved, logits):
                counted.add(base.uses[use].number)
    return len(counted)


class _Handed(nn.Module):
    """In place of a normalisation: its input, and the activation it holds."""

    def __init__(self, module: nn.Module) -> None:
        super().__init__()
        kept = [getattr(module, name, None) for name in ("drop", "act")]
        self.kept = nn.Sequential(*(m for m in kept if isinstance(m, nn.Module)))

    def forward(self, x: Tensor) -> Tensor:
        return self.kept(x)


_NORMALISATIONS = (nn.modules.batchnorm._NormBase, nn.LayerNorm, nn.GroupNorm)


def synflow(s: Setting) -> float:
    """log Σ w · ∂R/∂w for ones, every parameter absolute, nothing normalised.

    Nor are weights: standardised, they would be absolute no more.
    """
    net = fresh(s.net).eval()
    for module in net.modules():
        if isinstance(module, nn.Conv2d) and hasattr(module, "gain"):
            module.__class__ = nn.Conv2d
    for parent in list(net.modules()):
        for name, child in list(parent.named_children()):
            if isinstance(child, _NORMALISATIONS):
                setattr(parent, name, _Handed(child))
    with torch.no_grad():
        for parameter in net.parameters():
            parameter.abs_()
    w = weights(net)
    out = net(torch.ones_like(s.x[:1], dtype=torch.float64)).sum()
    grads = torch.autograd.grad(out, w, allow_unused=True)
    terms = zip(w, grads, strict=True)
    return math.log(
        math.fsum(float((a.detach() * g).sum()) for a, g in terms if g is not None)
    )


# --- features of Gaussian images ---------------------------------------------------


def zen(s: Setting) -> float:
    """log E abs(f(x) − f(x + .01 e)) + Σ_BN log σ, with the numbers zcbench draws."""
    if s.features is None:
        raise NotDefined("no features before a global pooling")
    net = fresh(s.net)
    of = {id(w) for w in weights(net)}
    seen: set[int] = set()
    with torch.no_grad():
        for prefix, module in net.named_modules():
            for name, value in module.named_parameters(prefix, recurse=False):
                if id(value) in of and id(value) not in seen:
                    value.copy_(gaussian(name, tuple(value.shape), SEED))
                elif name.endswith("bias"):
                    value.zero_()
                elif isinstance(module, nn.modules.batchnorm._BatchNorm):
                    value.fill_(1)
                seen.add(id(value))
            if isinstance(module, nn.modules.batchnorm._BatchNorm):
                module.momentum = 0.1
                module.reset_running_stats()
        shape = tuple(s.x.shape)
        x = gaussian("input", shape, SEED)
        e = gaussian("change", shape, SEED)
        # The images are float32 numbers, as in zcbench.
        before = s.features(net, x.double())
        after = s.features(net, (x + 0.01 * e).double())
    response = float((before - after).abs().flatten(1).sum(1).mean())
    scales = [
        math.log(math.sqrt(float(module.running_var.mean())))
        for module in net.modules()
        if isinstance(module, nn.modules.batchnorm._BatchNorm)
    ]
    return math.log(response) + math.fsum(scales)


def meco(s: Setting) -> float:
    """Σ over modules' maps of the least eigenvalue of corrcoef, the first image."""
    net = fresh(s.net)
    found: list[float] = []

    def add(module: nn.Module, _: object, output: object) -> None:
        if not isinstance(output, Tensor) or output.dim() != 4:
            return
        channels = _channels(module, output)
        rows = output.detach().movedim(channels, 1)[0].flatten(1).numpy()
        if min(rows.shape) > 1:
            found.append(least_eigenvalue(rows))

    for module in net.modules():
        module.register_forward_hook(add)
    with torch.no_grad():
        net(s.x[:1].double())
    return math.fsum(found)


def _channels(module: nn.Module, output: Tensor) -> int:
    """1 or 3: what the module says, else the odd one out of three sizes."""
    if isinstance(module, nn.Conv2d | nn.modules.batchnorm._BatchNorm | nn.GroupNorm):
        return 1
    if isinstance(module, nn.Linear):
        return 3
    _, a, b, c = output.shape
    if b == c:  # images are squares here
        return 1
    if a == b:
        return 3
    raise NotDefined(f"channels of {list(output.shape)} are not known")


def _of_modules(name: str) -> Callable[[Setting], float]:
    """A reference of tests/reference, which is right for any network."""

    def value(s: Setting) -> float:
        return REFERENCES[name](fresh(s.net), s.x, s.y, torch.float64)

    return value


LITERAL: dict[str, Callable[[Setting], float]] = {
    **{
        function.__name__: function
        for function in (
            *(params, flops, n_layers, l2_norm, plain, snip, grad_norm, fisher, grasp),
            *(synflow, nwot, swap, reg_swap, zen, zico, gradsign),
            *(ntk_trace, meco),
        )
    },
    **{
        name: _of_modules(name)
        for name in (
            *("lin_regions", "ntk_cond", "knas"),
            *("jacov", "epe_nas", "az_expressivity", "az_progressivity"),
            *("az_trainability", "near", "dextr_svd", "dextr", "meco_opt", "wrcor"),
            *("wrcor_unweighted", "epsinas", "avg_degree", "n_relus", "op_balance"),
            *("dss", "head_confidence", "softmax_confidence", "activation_distance"),
            *("w_pca", "vkdnw", "vkdnw_entropy", "nngp", "gennas"),
        )
    },
}
"""Name of a proxy → its reference."""


def literal(name: str, s: Setting) -> float:
    """What the definition of a proxy says.

    Attention by its formula: the backward of the fused kernel is wrong by more than a
    half where its logits are as large as in synflow, and has no second derivative.
    What a network asks for in float32 is float64, too.
    """
    with sdpa_kernel(SDPBackend.MATH), patch.object(torch, "float32", torch.float64):
        return float(LITERAL[name](s))


RELATIVE, ABSOLUTE = 1e-6, 1e-12
"""How far a score may be from its reference."""


def agrees(got: float, want: float) -> bool:
    """Whether they are the same number, but for rounding."""
    return math.isclose(got, want, rel_tol=RELATIVE, abs_tol=ABSOLUTE)
