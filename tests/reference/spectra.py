"""References of the proxies of spectra and of the graph of operations.

Random numbers are those that zcbench draws; what is done with them is written anew.
"""

from __future__ import annotations

import copy
import math

import numpy as np
import torch
from torch import Tensor, nn

from reference.common import loss_of, private_copy
from reference.features import _blocks
from zcbench.evidence.gaussian_response import gaussian
from zcbench.seeding import generator, normal

SEED = 0
ACTIVATIONS = nn.modules.activation.__all__


def near(net: nn.Module, x: Tensor, y: Tensor, dtype: torch.dtype) -> float:
    """Σ over modules with weights or activation functions of exp(entropy of σ)."""
    net = private_copy(net, dtype)
    found: dict[nn.Module, np.ndarray] = {}

    def keep(module: nn.Module, _: object, out: Tensor) -> None:
        found.setdefault(module, out.numpy().copy())

    for module in net.modules():
        if hasattr(module, "weight") or type(module).__name__ in ACTIVATIONS:
            module.register_forward_hook(keep)
    with torch.no_grad():
        net(x.to(dtype))
    score = 0.0
    for out in found.values():
        rows, step = out, 1
        if out.ndim == 3:  # tokens
            rows, step = out.reshape(-1, out.shape[-1]), out.shape[1]
        if out.ndim == 4:  # one column of a map after the other
            n, c, h, w = out.shape
            places = [
                out[i, :, r, q] for i in range(n) for q in range(w) for r in range(h)
            ]
            rows, step = np.stack(places), h
        total, c = rows.shape
        last = max(0, total - c) // step
        random = generator(SEED, "near", total, c)
        start = step * int(torch.randint(0, last + 1, (), generator=random))
        sigma = np.linalg.svd(rows[start : start + c], compute_uv=False)
        if sigma.sum() > 0:
            p = sigma / sigma.sum()
            score += math.exp(-sum(v * math.log(v) for v in p if v > 0))
    return score if found else math.nan


def _maps(net: nn.Module, x: Tensor, dtype: torch.dtype) -> list[np.ndarray]:
    """What every module makes of the first image, channels by places."""
    net = private_copy(net, dtype)
    found: list[np.ndarray] = []

    def keep(_: nn.Module, __: object, out: Tensor) -> None:
        found.append(out[0].reshape(len(out[0]), -1).numpy().copy())

    for module in net.modules():
        module.register_forward_hook(keep)
    with torch.no_grad():
        net(x[:1].to(dtype))
    return found


def dextr_svd(net: nn.Module, x: Tensor, y: Tensor, dtype: torch.dtype) -> float:
    """Log(1 + Σ σ_min / σ_max) (Asthana 2025)."""
    total = 0.0
    for m in _maps(net, x, dtype):
        sigma = np.linalg.svd(m, compute_uv=False)
        if sigma.max() > 0:
            total += sigma.min() / sigma.max()
    return math.log(1 + total)


def dextr(net: nn.Module, x: Tensor, y: Tensor, dtype: torch.dtype) -> float:
    """a k / (a + k), k = log(1 + curvature of ten outputs at θ = 0)."""
    a = dextr_svd(net, x, y, dtype)
    net = private_copy(net, dtype)
    plane = normal((x[0].numel(), 2), SEED, "circle").double().numpy()
    u = plane[:, 0] / np.linalg.norm(plane[:, 0])
    v = plane[:, 1] - (plane[:, 1] @ u) * u
    v /= np.linalg.norm(v)
    drawn, _ = torch.linalg.qr(torch.from_numpy(plane))  # for the signs of u and v
    u *= np.sign(u @ drawn[:, 0].numpy())
    v *= np.sign(v @ drawn[:, 1].numpy())
    theta = torch.zeros((), dtype=dtype, requires_grad=True)
    u, v = (torch.from_numpy(e).to(dtype).reshape(1, *x.shape[1:]) for e in (u, v))
    out = net(torch.cos(theta) * u + torch.sin(theta) * v).flatten()
    chosen = torch.randint(
        0, len(out), (10,), generator=generator(SEED, "coordinates", len(out))
    )
    first, second = [], []
    for i in chosen.tolist():
        (d,) = torch.autograd.grad(
            out[i], theta, create_graph=True, retain_graph=True, allow_unused=True
        )
        if d is None:
            return math.nan
        dd = torch.zeros_like(d)
        if d.requires_grad:
            (dd,) = torch.autograd.grad(d, theta, retain_graph=True)
        first.append(d.item())
        second.append(dd.item())
    v, a2 = np.array(first), np.array(second)
    if not v.any():
        return math.nan
    kappa = (v @ v) ** -1.5 * math.sqrt(max(0, (v @ v) * (a2 @ a2) - (v @ a2) ** 2))
    k = math.log(1 + kappa)
    return a * k / (a + k)


def meco_opt(net: nn.Module, x: Tensor, y: Tensor, dtype: torch.dtype) -> float:
    """Σ C/8 · least eigenvalue of corrcoef of 8 channels, NaN as 0 (Jiang 2023)."""
    values = []
    for m in _maps(net, x, dtype):
        c = len(m)
        if c < 8:
            continue
        chosen = torch.randperm(c, generator=generator(SEED, "sampled channels", c))
        rows = m[chosen[:8].numpy()]
        corr = np.zeros((8, 8))
        moving = np.flatnonzero(np.ptp(rows, axis=1))
        if len(moving):
            corr[np.ix_(moving, moving)] = np.corrcoef(rows[moving])
        values.append(np.linalg.eigvalsh(corr)[0] * c / 8)
    return sum(values) if values else math.nan


def _responses(net: nn.Module, x: Tensor, y: Tensor, dtype: torch.dtype):
    """(block, |corr|) of every ReLU's input and of its gradient that is defined."""
    net = private_copy(net, dtype)
    seen: list[tuple[int, Tensor]] = []
    blocks = _blocks(net)
    within = {m: i for i, block in enumerate(blocks) for m in block.modules()}
    passed = [-1]
    for number, block in enumerate(blocks):
        block.register_forward_hook(lambda *_, n=number: passed.append(n + 1))

    def note(module: nn.Module, inputs: tuple[Tensor]) -> Tensor:
        value = inputs[0].clone()
        if value.requires_grad:
            value.retain_grad()
        seen.append((within.get(module, passed[-1]), value))
        return value.clone()

    for module in net.modules():
        if isinstance(module, nn.ReLU):
            module.register_forward_pre_hook(note)
    loss_of(net, x.to(dtype), y).backward()
    terms = []
    for block, value in seen:
        for rows in (value.detach(), value.grad):
            if rows is not None:
                with np.errstate(invalid="ignore", divide="ignore"):
                    rows = rows.flatten(1).numpy()
                    constant = not np.ptp(rows, axis=1).all()
                    if not constant:
                        terms.append((block, np.abs(np.corrcoef(rows))))
    return blocks, terms


def _log_det(terms: list[np.ndarray]) -> float:
    if not terms:
        return math.nan
    values = np.linalg.eigvalsh(sum(terms))
    if values[0] <= values[-1] * len(values) * 2.3e-16:
        return math.nan
    return float(np.log(values).sum())


def wrcor(net: nn.Module, x: Tensor, y: Tensor, dtype: torch.dtype) -> float:
    """Log det Σ 2^i |corr| over ReLUs in blocks and after them (Jing 2025)."""
    blocks, terms = _responses(net, x, y, dtype)
    weighted = [2.0**i * term for i, term in terms if i >= 0]
    return _log_det(weighted) if blocks else math.nan


def wrcor_unweighted(net: nn.Module, x: Tensor, y: Tensor, dtype: torch.dtype) -> float:
    """Log det Σ |corr| over all ReLUs (Jing 2025)."""
    return _log_det([term for _, term in _responses(net, x, y, dtype)[1]])


def vkdnw_entropy(net: nn.Module, x: Tensor, y: Tensor, dtype: torch.dtype) -> float:
    """Entropy of the deciles of the Fisher spectrum (Týbl & Neumann 2025)."""
    net = private_copy(net, dtype).eval()
    for name, module in net.named_modules():
        if isinstance(module, nn.Conv2d | nn.Linear):
            w = module.weight.data
            drawn = normal(tuple(w.shape), SEED, "kaiming", name)
            w.copy_(drawn * math.sqrt(2 / w[0].numel()))
            if module.bias is not None:
                module.bias.data.zero_()
        elif isinstance(module, nn.BatchNorm2d):
            module.weight.data.fill_(1)
            module.bias.data.zero_()
            module.running_mean.zero_()
            module.running_var.fill_(1)
    parameters = list(net.parameters())[:128]
    classes = net(x[:1].to(dtype)).shape[1]
    n = min(len(x), math.ceil(640 / classes))
    images = gaussian("fisher", (n, *x.shape[1:]), SEED).to(dtype)
    fisher = np.zeros((len(parameters), len(parameters)))
    for image in images:
        logits = net(image[None])[0]
        p = torch.softmax(logits.detach(), 0).numpy() * 0.95 + 0.05 / classes
        jacobian = np.zeros((classes, len(parameters)))
        for c in range(classes):
            grads = torch.autograd.grad(
                logits[c], parameters, retain_graph=True, allow_unused=True
            )
            for i, g in enumerate(grads):
                jacobian[c, i] = 0.0 if g is None else g.flatten()[0].item()
        fisher += jacobian.T @ (np.diag(p) - np.outer(p, p)) @ jacobian / n
    values = np.maximum(np.linalg.eigvalsh(fisher), 0)
    deciles = np.quantile(values, np.arange(1, 10) / 10)
    if deciles.sum() == 0:
        return math.nan
    q = deciles / (deciles.sum() + 1e-10)
    return -float((q * np.log(q + 1e-10)).sum())


def vkdnw(net: nn.Module, x: Tensor, y: Tensor, dtype: torch.dtype) -> float:
    """Number of parameter tensors + vkdnw_entropy (Týbl & Neumann 2025)."""
    return len(list(net.parameters())) + vkdnw_entropy(net, x, y, dtype)


def epsinas(net: nn.Module, x: Tensor, y: Tensor, dtype: torch.dtype) -> float:
    """Mean |difference| / mean of outputs of two constant weights, float32."""
    net = private_copy(net, torch.float32)
    scaled = []
    for w in (1e-7, 1.0):
        for module in net.modules():
            if getattr(module, "bias", None) is not None:
                module.bias.data.zero_()
            if getattr(module, "weight", None) is not None:
                module.weight.data.fill_(w)
        with torch.no_grad():
            out = net(x.float()).double().numpy().ravel()
        low, high = out.min(), out.max()
        if high - low <= 1e-5 * abs(out).max():
            return math.nan
        scaled.append((out - low) / (high - low))
    a, b = scaled
    both = [abs(p - q) for p, q in zip(a, b, strict=True) if min(p, q) > 1e-5]
    nonzero = [v for v in (*a, *b) if v > 1e-5]
    return (sum(both) / len(both)) / (sum(nonzero) / len(nonzero))


class _Graph:
    """Operations: (module, channels, fan-in of a source, sources)."""

    def __init__(self) -> None:
        self.nodes: list[tuple[nn.Module, int, int, set[int]]] = []

    def add(self, module: nn.Module, sources: set[int]) -> set[int]:
        if not sources:  # it gets zeros
            return set()
        channels = self.nodes[min(sources)][1] if sources != {-1} else 0
        fan_in = 1
        if isinstance(module, nn.Conv2d):
            fan_in, channels = module.weight.shape[1], module.out_channels
        elif isinstance(module, nn.Linear):
            fan_in, channels = module.in_features, module.out_features
        self.nodes.append((module, channels, fan_in, sources))
        return {len(self.nodes) - 1}

    def cell(self, cell: nn.Module, now: set[int]) -> set[int]:
        """Edges of an InferCell; a node is the sum of what comes in."""
        values = [now]
        for incoming in cell.incoming:
            made: set[int] = set()
            for layer, source in incoming:
                kinds = (nn.Conv2d, nn.AvgPool2d, nn.Identity)
                for module in cell.layers[layer].modules():
                    if isinstance(module, kinds):
                        made |= self.add(module, values[source])
            values.append(made)
        return values[-1]

    def residual(self, block: nn.Module, now: set[int]) -> set[int]:
        inner = self.add(block.conv_b.op[1], self.add(block.conv_a.op[1], now))
        pool, conv = block.downsample
        return inner | self.add(conv, self.add(pool, now))


def _graph(net: nn.Module) -> list[tuple[nn.Module, int, int, set[int]]]:
    """What is on a path from input to output."""
    graph = _Graph()
    if hasattr(net, "cells"):
        now = graph.add(net.stem[0], {-1})
        for cell in net.cells:
            follow = graph.cell if hasattr(cell, "incoming") else graph.residual
            now = follow(cell, now)
        last = graph.add(net.classifier, graph.add(net.global_pooling, now))
    else:  # a chain
        last = {-1}
        kinds = (nn.Conv2d, nn.Linear, nn.MaxPool2d, nn.AdaptiveAvgPool2d)
        for module in net.modules():
            if isinstance(module, kinds):
                last = graph.add(module, last)
    wanted = set(last)
    for number in reversed(range(len(graph.nodes))):
        if number in wanted:
            wanted |= graph.nodes[number][3]
    return [node for number, node in enumerate(graph.nodes) if number in wanted]


def avg_degree(net: nn.Module, x: Tensor, y: Tensor, dtype: torch.dtype) -> float:
    """2 · edges / channels of the graph of operations; NaN without a path."""
    nodes = _graph(net)
    edges = sum(c * fan_in * len(sources) for _, c, fan_in, sources in nodes)
    channels = x.shape[1] + sum(c for _, c, _, _ in nodes)
    return 2 * edges / channels if nodes else math.nan


def n_relus(net: nn.Module, x: Tensor, y: Tensor, dtype: torch.dtype) -> float:
    """How many ReLU modules there are."""
    return sum(isinstance(module, nn.ReLU) for module in copy.deepcopy(net).modules())


def op_balance(net: nn.Module, x: Tensor, y: Tensor, dtype: torch.dtype) -> float:
    """Convolutions less poolings on a path; NaN without one."""
    kinds = [type(module) for module, *_ in _graph(net)]
    pools = (nn.AvgPool2d, nn.MaxPool2d, nn.AdaptiveAvgPool2d)
    found = kinds.count(nn.Conv2d) - sum(kind in pools for kind in kinds)
    return found if kinds else math.nan
