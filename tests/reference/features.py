"""References of the proxies of activation patterns and of features.

Where a definition draws random numbers the reference takes those that zcbench draws,
since nothing else could be compared exactly; what is done with them is written anew.
"""

from __future__ import annotations

import math

import numpy as np
import torch
from torch import Tensor, nn

from reference.baselines import params
from reference.common import private_copy
from zcbench.evidence.gaussian_response import gaussian
from zcbench.proxies.training import signals
from zcbench.seeding import generator, normal

SEED = 0


def _codes(net: nn.Module, x: Tensor, dtype: torch.dtype) -> np.ndarray:
    """1 where the input of a ReLU is positive, [N, units]."""
    net = private_copy(net, dtype)
    parts: list[np.ndarray] = []
    for module in net.modules():
        if isinstance(module, nn.ReLU):
            module.register_forward_pre_hook(
                lambda _, inputs: parts.append((inputs[0] > 0).flatten(1).numpy())
            )
    with torch.no_grad():
        net(x.to(dtype))
    return np.concatenate(parts, axis=1) if parts else np.zeros((len(x), 0))


def lin_regions(net: nn.Module, x: Tensor, y: Tensor, dtype: torch.dtype) -> float:
    """Different codes of 3,000 crops of 1×3×3 in a thin network, 3 draws (Chen 2021).

    The crops are those that zcbench draws.
    """
    if not hasattr(net, "thin"):
        return math.nan
    random = generator(SEED, "crops")
    n, channels, height, width = x.shape
    image, channel, top, left = (
        torch.randint(0, size, (3000, 1, 1), generator=random).flatten().tolist()
        for size in (n, channels, height - 2, width - 2)
    )
    crops = torch.stack(
        [
            x[i, c, t : t + 3, s : s + 3]
            for i, c, t, s in zip(image, channel, top, left, strict=True)
        ]
    )[:, None].to(dtype)
    counts = []
    for draw in range(3):
        fan_in = lambda shape: math.sqrt(2 / math.prod(shape[1:]))  # noqa: E731
        thin = with_drawn_weights(net.thin(), fan_in, "thin", draw)
        codes = [_codes(thin, crops[k : k + 1000], dtype) for k in (0, 1000, 2000)]
        counts.append(len({row.tobytes() for row in np.concatenate(codes)}))
    return sum(counts) / 3


def lin_regions_full(net: nn.Module, x: Tensor, y: Tensor, dtype: torch.dtype) -> float:
    """Different rows of the codes (Chen 2021); NaN without a ReLU."""
    codes = _codes(net, x, dtype)
    return len({row.tobytes() for row in codes}) if codes.size else math.nan


def swap(net: nn.Module, x: Tensor, y: Tensor, dtype: torch.dtype) -> float:
    """The same of 16 images, weights N(0, 1), no biases, mean of 32 (Peng 2024)."""
    counts = []
    for draw in range(32):
        drawn = with_drawn_weights(net, lambda shape: 1.0, "swap", draw)
        codes = _codes(drawn, x[:16], dtype)
        if not codes.size:
            return math.nan
        numbers = 1 << np.arange(len(codes))  # a column is a number of 16 bits
        counts.append(np.unique(numbers @ codes).size)
    return sum(counts) / 32


def with_drawn_weights(net: nn.Module, spread, *identity: object) -> nn.Module:
    """A copy with the Gaussian numbers that zcbench draws, BatchNorm at 1 and 0."""
    net = private_copy(net, torch.float64)
    for name, module in net.named_modules():
        if isinstance(module, nn.Conv2d | nn.Linear):
            drawn = normal(tuple(module.weight.shape), SEED, *identity, name)
            module.weight.data = drawn.double() * spread(module.weight.shape)
        elif isinstance(module, nn.BatchNorm2d | nn.LayerNorm | nn.GroupNorm):
            module.weight.data.fill_(1.0)
        else:
            continue
        if module.bias is not None:
            module.bias.data.fill_(0.0)
    return net


def swap_own(net: nn.Module, x: Tensor, y: Tensor, dtype: torch.dtype) -> float:
    """Different columns of the codes (Peng 2024); NaN without a ReLU."""
    codes = _codes(net, x, dtype)
    return len({column.tobytes() for column in codes.T}) if codes.size else math.nan


def reg_swap_own(net: nn.Module, x: Tensor, y: Tensor, dtype: torch.dtype) -> float:
    """swap_own · exp(−(p − 800)² / 800²)."""
    p = params(net, x, y, dtype) / 1000
    return swap_own(net, x, y, dtype) * math.exp(-((p - 800) ** 2) / 800**2)


def reg_swap(net: nn.Module, x: Tensor, y: Tensor, dtype: torch.dtype) -> float:
    """swap · exp(−(p − 800)² / 800²), p in thousands (Peng 2024)."""
    p = params(net, x, y, dtype) / 1000
    return swap(net, x, y, dtype) * math.exp(-((p - 800) ** 2) / 800**2)


def least_eigenvalue(rows: np.ndarray) -> float:
    """Of the correlation of rows; one that is constant correlates 0 with all."""
    corr = np.zeros((len(rows), len(rows)))
    moving = np.flatnonzero(np.ptp(rows, axis=1))
    if len(moving):
        corr[np.ix_(moving, moving)] = np.corrcoef(rows[moving])
    return np.linalg.eigvalsh(corr)[0]


def meco(net: nn.Module, x: Tensor, y: Tensor, dtype: torch.dtype) -> float:
    """Σ over all modules of the least eigenvalue of corrcoef, image 0 (Jiang 2023)."""
    return _meco(net, x[:1], dtype, leaves=False)


def meco_gaussian(net: nn.Module, x: Tensor, y: Tensor, dtype: torch.dtype) -> float:
    """The same for one Gaussian image, modules without children."""
    image = gaussian("channel correlation", (1, *x.shape[1:]), SEED)
    return _meco(net, image, dtype, leaves=True)


def _meco(net: nn.Module, image: Tensor, dtype: torch.dtype, *, leaves: bool) -> float:
    net = private_copy(net, dtype)
    total: list[float] = []

    def add(_: nn.Module, __: object, output: Tensor) -> None:
        if output.dim() != 4 or output.shape[1] < 2 or output[0, 0].numel() < 2:
            return
        total.append(least_eigenvalue(output[0].flatten(1).numpy()))

    for module in net.modules():
        if not leaves or not list(module.children()):
            module.register_forward_hook(add)
    with torch.no_grad():
        net(image.to(dtype))
    return sum(total) if total else math.nan


def _blocks(module: nn.Module) -> list[nn.Module]:
    found = []
    for child in module.children():
        if isinstance(child, nn.Sequential | nn.ModuleList):
            found += _blocks(child)
        elif list(child.children()):
            found.append(child)
    return found


def _passed(net: nn.Module, x: Tensor) -> list[tuple[Tensor, Tensor]]:
    found: list[tuple[Tensor, Tensor]] = []

    def keep(_: nn.Module, inputs: tuple[Tensor, ...], output: Tensor) -> None:
        if inputs[0].dim() == output.dim() == 4:
            found.append((inputs[0], output))

    for block in _blocks(net):
        block.register_forward_hook(keep)
    net(x)
    return found


def _az(net: nn.Module, x: Tensor, dtype: torch.dtype):
    net = private_copy(net, dtype)
    images = gaussian("block features", tuple(x.shape), SEED).to(dtype)
    return _passed(net, images.requires_grad_(True))


def _entropies(net: nn.Module, x: Tensor, dtype: torch.dtype) -> list[float]:
    passed = _az(net, x, dtype)
    if not passed:
        return []
    entropies = []
    for maps in (passed[0][0], *(output for _, output in passed)):
        rows = maps.detach().permute(0, 2, 3, 1).reshape(-1, maps.shape[1]).numpy()
        values = np.linalg.eigvalsh(np.cov(rows.T, bias=True))
        if values.sum() == 0:
            return [math.nan]
        entropies.append(sum(-p * np.log(p + 1e-8) for p in values / values.sum()))
    return entropies


def az_expressivity(net: nn.Module, x: Tensor, y: Tensor, dtype: torch.dtype) -> float:
    """Σ over blocks of the entropy of the covariance's spectrum (Lee & Ham 2024)."""
    found = _entropies(net, x, dtype)
    return sum(found) if found else math.nan


def az_progressivity(net: nn.Module, x: Tensor, y: Tensor, dtype: torch.dtype) -> float:
    """Least increase of the entropy between blocks (Lee & Ham 2024)."""
    found = _entropies(net, x, dtype)
    if len(found) < 2:
        return math.nan
    return min(found[i + 1] - found[i] for i in range(len(found) - 1))


def az_trainability(net: nn.Module, x: Tensor, y: Tensor, dtype: torch.dtype) -> float:
    """Mean over blocks of −s − 1/(s + 1e-6) + 2 (Lee & Ham 2024)."""
    scores = []
    for number, (value, output) in enumerate(_az(net, x, dtype)):
        draw = generator(SEED, "block gradients", number)
        signs = torch.randint(0, 2, tuple(output.shape), generator=draw) * 2 - 1
        upper = signs.to(dtype)
        (lower,) = torch.autograd.grad(
            output, value, upper, retain_graph=True, allow_unused=True
        )
        if lower is None:
            lower = torch.zeros_like(value)
        if lower.shape == upper.shape and torch.equal(lower, upper):
            return math.nan
        n, _, height, width = upper.shape
        step = lower.shape[2] // height
        matrix = 0.0
        for row in range(height):
            for column in range(width):
                pixels = lower[:, :, row * step : (row + 1) * step]
                pixels = pixels[:, :, :, column * step : (column + 1) * step]
                a = pixels.reshape(n, -1).numpy()  # the order that unshuffling gives
                matrix = matrix + a.T @ upper[:, :, row, column].numpy()
        s = np.linalg.norm(matrix / (n * height * width), 2)
        scores.append(-s - 1 / (s + 1e-6) + 2)
    return sum(scores) / len(scores) if scores else math.nan


def nngp(net: nn.Module, x: Tensor, y: Tensor, dtype: torch.dtype) -> float:
    """−mean squared error of kernel regression, second half from first (Park 2020)."""
    n = len(x) // 2
    kernel = np.zeros((len(x), len(x)))
    for draw in range(8):
        net = private_copy(net, dtype)
        linear = None
        with torch.no_grad():
            for name, module in net.named_modules():
                if isinstance(module, nn.Conv2d | nn.Linear):
                    shape = tuple(module.weight.shape)
                    random = generator(SEED, "nngp", draw, name)
                    drawn = torch.randn(shape, generator=random).to(dtype)
                    fan_in = math.prod(shape[1:])
                    module.weight.copy_(drawn * math.sqrt(2 / fan_in))
                    if module.bias is not None:
                        module.bias.zero_()
                if isinstance(module, nn.Linear):
                    linear = module
            linear.register_forward_pre_hook(
                lambda module, inputs: setattr(module, "seen", inputs[0])
            )
            net(x.to(dtype))
        features = linear.seen.numpy()
        for i, a in enumerate(features):
            for j, b in enumerate(features):
                kernel[i, j] += (a * b).sum() / len(a) / 8
    ridge = 1e-3 * np.trace(kernel) / len(x)
    if ridge == 0:
        return math.nan
    targets = np.eye(int(y.max()) + 1)[y.numpy()]
    inverse = np.linalg.inv(kernel[:n, :n] + ridge * np.eye(n))
    guess = kernel[n:, :n] @ inverse @ targets[:n]
    return -float(((guess - targets[n:]) ** 2).mean())


def gennas(net: nn.Module, x: Tensor, y: Tensor, dtype: torch.dtype) -> float:
    """−mean loss of the last 10 of 100 steps of momentum SGD (Li 2021)."""
    net, x = private_copy(net, dtype), x.to(dtype)
    last: dict[tuple[int, ...], int] = {}
    with torch.no_grad():
        outputs = [output for _, output in _passed(net, x)]
    for module in net.modules():
        module._forward_hooks.clear()
    for i, output in enumerate(outputs):
        last[tuple(output.shape[2:])] = i
    if not last:
        return math.nan
    targets, heads = [], []
    for number, (size, i) in enumerate(last.items()):
        targets.append(signals(SEED, number, len(x), size).to(dtype))
        shape = (targets[-1].shape[1], outputs[i].shape[1], 1, 1)
        random = generator(SEED, "gennas head", number)
        drawn = torch.randn(shape, generator=random).to(dtype)
        heads.append((drawn / math.sqrt(shape[1])).requires_grad_(True))
    everything = [*net.parameters(), *heads]
    velocity = [torch.zeros_like(p) for p in everything]
    losses = []
    for _ in range(100):
        features = [output for _, output in _passed(net, x)]
        for module in net.modules():
            module._forward_hooks.clear()
        loss = 0.0
        for i, head, target in zip(last.values(), heads, targets, strict=True):
            guess = torch.einsum("nchw,kc->nkhw", features[i], head[:, :, 0, 0])
            loss = loss + ((guess - target) ** 2).mean() / len(last)
        losses.append(loss.item())
        grads = torch.autograd.grad(loss, everything, allow_unused=True)
        grads = [
            torch.zeros_like(p) if g is None else g
            for p, g in zip(everything, grads, strict=True)
        ]
        norm = math.sqrt(sum(float((g**2).sum()) for g in grads))
        scale = min(1.0, 5.0 / (norm + 1e-6))
        with torch.no_grad():
            for p, g, v in zip(everything, grads, velocity, strict=True):
                v.mul_(0.9).add_(g * scale)
                p.sub_(0.1 * v)
    return -sum(losses[-10:]) / 10
