"""References of the proxies of transformers, for the one of tests/test_transformers.py.

NaN for networks without blocks of attention.
"""

from __future__ import annotations

import math
from collections.abc import Iterator

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from reference.common import private_copy

HEADS = 3


def _walk(net: nn.Module, x: Tensor) -> Iterator[tuple[Tensor, Tensor, Tensor]]:
    """(attention weights, outputs of heads, hidden layer) of every block, by hand."""
    tokens = net.patches(x).flatten(2).transpose(1, 2)
    for block in net.blocks:
        inner = block.norm1(tokens)
        qkv = F.linear(inner, block.attention.qkv.weight, block.attention.qkv.bias)
        n, t, width = inner.shape
        q, k, v = qkv.view(n, t, 3, HEADS, width // HEADS).permute(2, 0, 3, 1, 4)
        scores = torch.einsum("nhid,nhjd->nhij", q, k) / math.sqrt(width // HEADS)
        e = torch.exp(scores)
        weights = e / e.sum(-1, keepdim=True)
        heads = torch.einsum("nhij,nhjd->nhid", weights, v)
        tokens = tokens + block.attention.proj(heads.permute(0, 2, 1, 3).flatten(2))
        hidden = block.fc1(block.norm2(tokens))
        yield weights, heads, hidden
        tokens = tokens + block.fc2(F.gelu(hidden))


def _seen(net: nn.Module, x: Tensor, dtype: torch.dtype):
    """What `_walk` gives; nothing of a network without attention."""
    if not hasattr(net, "blocks"):
        return []
    with torch.no_grad():
        return list(_walk(private_copy(net, dtype), x.to(dtype)))


def _sum(terms: list[float]) -> float:
    return sum(terms) if terms else math.nan


def head_confidence(net: nn.Module, x: Tensor, y: Tensor, dtype: torch.dtype) -> float:
    """Σ over attentions of the mean over images and heads of the largest output."""
    return _sum(
        [
            float(np.mean([head.max().item() for image in heads for head in image]))
            for _, heads, _ in _seen(net, x, dtype)
        ]
    )


def softmax_confidence(
    net: nn.Module, x: Tensor, y: Tensor, dtype: torch.dtype
) -> float:
    """Σ over attentions of the mean over queries of the largest weight."""
    return _sum(
        [
            float(np.mean([q.max() for image in w for head in image for q in head]))
            for w, _, _ in _seen(net, x, dtype)
        ]
    )


def activation_distance(
    net: nn.Module, x: Tensor, y: Tensor, dtype: torch.dtype
) -> float:
    """Σ over hidden layers of Σ over pairs of tokens of units with the same sign."""
    codes = [(hidden[0] > 0).numpy() for _, _, hidden in _seen(net, x, dtype)]
    return _sum([float(sum((a == b).sum() for a in c for b in c)) for c in codes])


def w_pca(net: nn.Module, x: Tensor, y: Tensor, dtype: torch.dtype) -> float:
    """Number of parameters · Σ of principal components with 99% of the variance."""
    dimensions = []
    for _, _, hidden in _seen(net, x, dtype):
        values = np.linalg.eigvalsh(np.cov(hidden.flatten(0, 1).numpy().T))[::-1]
        held, k = 0.0, 0
        while held <= 0.99:
            held += values[k] / values.sum()
            k += 1
        dimensions.append(float(k))
    return sum(p.numel() for p in net.parameters()) * _sum(dimensions)


def dss(net: nn.Module, x: Tensor, y: Tensor, dtype: torch.dtype) -> float:
    """Nuclear norms of attention, saliency of other linear layers (Zhou 2022)."""
    if not hasattr(net, "blocks"):
        return math.nan
    net = private_copy(net, dtype).eval()
    for parameter in net.parameters():
        parameter.data.abs_()
    net(torch.ones(1, *x.shape[1:], dtype=dtype)).sum().backward()
    total = 0.0
    for name, parameter in net.named_parameters():
        w, g = parameter.data.numpy(), parameter.grad.numpy()
        if name.endswith(("qkv.weight", "proj.weight")):
            nuclear = [np.linalg.svd(m, compute_uv=False).sum() for m in (w, g)]
            total += nuclear[0] * nuclear[1]
        elif name.endswith(("fc1.weight", "fc2.weight", "head.weight")):
            total += np.abs(w * g).sum()
    return float(total)
