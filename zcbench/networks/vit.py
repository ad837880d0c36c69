"""Vision transformers of Auto-Prox (Wei et al. 2024): AutoFormer and PiT.

State-dict names are the authors'. Dropping paths at random, which trains them, is left
out.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

import torch
from torch import Tensor, nn

from zcbench.networks.initialise import Conv2d, Linear
from zcbench.types import Task

_PATCH, _STRIDE = 16, 8
"""Side of a patch, and how far apart PiT's are; AutoFormer's do not overlap."""


def _norm(width: int) -> nn.LayerNorm:
    return nn.LayerNorm(width, eps=1e-6)


def _table(*shape: int) -> nn.Parameter:
    """Token or positions; `initialised` draws what is not all equal."""
    return nn.Parameter(torch.randn(shape))


class Attention(nn.Module):
    """Self-attention of several heads, each of width / heads channels."""

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.qkv_transform = Linear(width, 3 * width)
        self.projection = Linear(width, width)

    def forward(self, x: Tensor) -> Tensor:
        """[N, L, D] → the same."""
        split = self.qkv_transform(x).unflatten(2, (3, self.heads, -1))
        query, key, value = split.permute(2, 0, 3, 1, 4)
        weights = (query @ key.transpose(2, 3) / key.shape[3] ** 0.5).softmax(3)
        out: Tensor = self.projection((weights @ value).transpose(1, 2).flatten(2))
        return out


class MLP(nn.Module):
    """Two linear layers with GELU between."""

    def __init__(self, width: int, ratio: float) -> None:
        super().__init__()
        hidden = int(width * ratio)
        self.fc1, self.gelu = Linear(width, hidden), nn.GELU()
        self.fc2 = Linear(hidden, width)

    def forward(self, x: Tensor) -> Tensor:
        """[N, L, D] → the same."""
        out: Tensor = self.fc2(self.gelu(self.fc1(x)))
        return out


class TransformerLayer(nn.Module):
    """Attention, then an MLP, each after LayerNorm and with a shortcut.

    Args:
        width: channels of a token.
        heads: of the attention.
        ratio: hidden channels of the MLP for each of the width.
    """

    def __init__(self, width: int, heads: int, ratio: float) -> None:
        super().__init__()
        self.norm1, self.attn = _norm(width), Attention(width, heads)
        self.norm2, self.mlp = _norm(width), MLP(width, ratio)

    def forward(self, x: Tensor) -> Tensor:
        """[N, L, D] → the same."""
        x = x + self.attn(self.norm1(x))
        out: Tensor = x + self.mlp(self.norm2(x))
        return out


class AutoFormer(nn.Module):
    """One width throughout; the classifier reads the mean of the patches.

    Args:
        task: gives side and channels of the images, and the number of classes.
        width: channels of a token.
        heads: of each layer.
        ratios: of each layer's MLP.
    """

    def __init__(
        self, task: Task, width: int, heads: Sequence[int], ratios: Sequence[float]
    ) -> None:
        super().__init__()
        channels, side, _ = task.input_shape
        conv = Conv2d(channels, width, _PATCH, _PATCH)
        self.patch_embed = nn.ModuleDict({"projection": conv})
        self.cls_token = _table(1, 1, width)
        self.pos_embed = _table(1, 1 + (side // _PATCH) ** 2, width)
        layers = zip(heads, ratios, strict=True)
        self.blocks = nn.Sequential(*(TransformerLayer(width, *of) for of in layers))
        self.norm, self.head = _norm(width), Linear(width, task.n_classes)

    def forward(self, x: Tensor) -> Tensor:
        """[N, C, H, W] images → [N, n_classes] logits."""
        patches = self.patch_embed["projection"](x).flatten(2).transpose(1, 2)
        tokens = torch.cat([self.cls_token.expand(len(x), -1, -1), patches], 1)
        tokens = self.norm(self.blocks(tokens + self.pos_embed))
        logits: Tensor = self.head(tokens[:, 1:].mean(1))
        return logits


class _Stage(nn.Module):
    """Layers of one width on the class token and the patches [N, C, H, W]."""

    def __init__(self, width: int, depth: int, heads: int, ratio: float) -> None:
        super().__init__()
        layers = (TransformerLayer(width, heads, ratio) for _ in range(depth))
        self.blocks = nn.Sequential(*layers)

    def forward(self, x: Tensor, token: Tensor) -> tuple[Tensor, Tensor]:
        tokens = torch.cat([token, x.flatten(2).transpose(1, 2)], 1)
        tokens = self.blocks(tokens)
        patches = tokens[:, 1:].transpose(1, 2).unflatten(2, tuple(x.shape[2:]))
        return patches, tokens[:, :1]


class _Pool(nn.Module):
    """A depthwise convolution of stride 2 on the patches, a linear layer beside."""

    def __init__(self, width: int, wider: int) -> None:
        super().__init__()
        self.conv = Conv2d(width, wider, 3, 2, 1, groups=width)
        self.fc = Linear(width, wider)

    def forward(self, x: Tensor, token: Tensor) -> tuple[Tensor, Tensor]:
        return self.conv(x), self.fc(token)


class PiT(nn.Module):
    """Three stages, with pooling between; the classifier reads the class token.

    Args:
        task: gives side and channels of the images, and the number of classes.
        base: channels of each head.
        depths: layers of each stage.
        heads: of each stage.
        ratio: of every MLP.
    """

    def __init__(
        self,
        task: Task,
        base: int,
        depths: Sequence[int],
        heads: Sequence[int],
        ratio: float,
    ) -> None:
        super().__init__()
        channels, side, _ = task.input_shape
        widths = [base * count for count in heads]
        conv = Conv2d(channels, widths[0], _PATCH, _STRIDE)
        self.patch_embed = nn.ModuleDict({"conv": conv})
        side = (side - _PATCH) // _STRIDE + 1
        self.pos_embed = _table(1, widths[0], side, side)
        self.cls_token = _table(1, 1, widths[0])
        stages = zip(widths, depths, heads, strict=True)
        self.transformers = nn.ModuleList(_Stage(*of, ratio) for of in stages)
        self.pools = nn.ModuleList(_Pool(*pair) for pair in pairwise(widths))
        self.norm, self.head = _norm(widths[-1]), Linear(widths[-1], task.n_classes)

    def forward(self, x: Tensor) -> Tensor:
        """[N, C, H, W] images → [N, n_classes] logits."""
        x = self.patch_embed["conv"](x) + self.pos_embed
        token = self.cls_token.expand(len(x), -1, -1)
        for number, stage in enumerate(self.transformers):
            if number:
                x, token = self.pools[number - 1](x, token)
            x, token = stage(x, token)
        logits: Tensor = self.head(self.norm(token)[:, 0])
        return logits
