"""Proxies of transformers against references, attention written in three ways."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from reference import reference
from reference.transformers import HEADS
from torch import Tensor, nn

import zcbench
from zcbench.types import Batch

NAMES = ("dss", "head_confidence", "softmax_confidence", "activation_distance", "w_pca")
WAYS = ("steps", "one function", "multi-head module")
WIDTH, HIDDEN, CLASSES = 12, 20, 5


class SelfAttention(nn.Module):
    """Queries, keys and values by one layer; in steps, or by PyTorch's function."""

    def __init__(self, way: str) -> None:
        super().__init__()
        self.way = way
        self.qkv, self.proj = nn.Linear(WIDTH, 3 * WIDTH), nn.Linear(WIDTH, WIDTH)
        self.drop = nn.Dropout(0.0)

    def forward(self, x: Tensor) -> Tensor:
        n, tokens, _ = x.shape
        parts = self.qkv(x).reshape(n, tokens, 3, HEADS, -1).permute(2, 0, 3, 1, 4)
        q, k, v = parts.unbind(0)
        if self.way == "steps":
            weights = (q @ k.transpose(-2, -1)) * q.shape[-1] ** -0.5
            out = self.drop(weights.softmax(dim=-1)) @ v
        else:
            out = F.scaled_dot_product_attention(q, k, v)
        return self.proj(out.transpose(1, 2).reshape(n, tokens, WIDTH))


class Multihead(nn.Module):
    """PyTorch's module with the weights of a `SelfAttention`."""

    def __init__(self, like: SelfAttention) -> None:
        super().__init__()
        self.inner = nn.MultiheadAttention(WIDTH, HEADS, batch_first=True)
        self.inner.in_proj_weight.data = like.qkv.weight.data.clone()
        self.inner.in_proj_bias.data = like.qkv.bias.data.clone()
        self.inner.out_proj.load_state_dict(like.proj.state_dict())

    def forward(self, x: Tensor) -> Tensor:
        return self.inner(x, x, x, need_weights=False)[0]


class Block(nn.Module):
    """Attention, then an MLP, each with LayerNorm before and a shortcut."""

    def __init__(self, way: str) -> None:
        super().__init__()
        self.norm1, self.norm2 = nn.LayerNorm(WIDTH), nn.LayerNorm(WIDTH)
        self.attention: nn.Module = SelfAttention(way)
        self.fc1, self.fc2 = nn.Linear(WIDTH, HIDDEN), nn.Linear(HIDDEN, WIDTH)

    def forward(self, x: Tensor) -> Tensor:
        x = x + self.attention(self.norm1(x))
        return x + self.fc2(F.gelu(self.fc1(self.norm2(x))))


class Transformer(nn.Module):
    """Patches of 4×4, two blocks, the mean of the tokens."""

    def __init__(self, way: str) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.patches = nn.Conv2d(3, WIDTH, 4, stride=4)
        self.blocks = nn.Sequential(*(Block(way) for _ in range(2)))
        self.head = nn.Linear(WIDTH, CLASSES)
        for block in self.blocks if way == "multi-head module" else ():
            block.attention = Multihead(block.attention)

    def forward(self, x: Tensor) -> Tensor:
        tokens = self.patches(x).flatten(2).transpose(1, 2)
        return self.head(self.blocks(tokens).mean(1))


@pytest.fixture(scope="module")
def batch() -> Batch:
    random = torch.Generator().manual_seed(0)
    x = torch.randn(6, 3, 16, 16, generator=random)
    return Batch(x, torch.arange(6) % CLASSES)


@pytest.fixture(scope="module")
def net() -> Transformer:
    with torch.random.fork_rng():
        return Transformer("steps")


@pytest.mark.parametrize("way", WAYS)
def test_scores_equal_the_reference(way: str, net: Transformer, batch: Batch) -> None:
    with torch.random.fork_rng():
        other = Transformer(way)
    scores = zcbench.score(other, batch, ",".join(NAMES))
    for name in NAMES:
        want = reference(name)(net, batch.x, batch.y)
        assert (scores[name].status, scores[name].message) == ("ok", "")
        assert scores[name].value == pytest.approx(want, rel=1e-6), name


def test_masked_attention_counts_as_the_function_computes_it(batch: Batch) -> None:
    class Causal(Transformer):
        def forward(self, x: Tensor) -> Tensor:
            tokens = self.patches(x).flatten(2).transpose(1, 2)[:, None]
            mask = torch.ones(16, 16, dtype=torch.bool).tril()
            out = F.scaled_dot_product_attention(tokens, tokens, tokens, mask)
            return self.head(out[:, 0].mean(1))

    with torch.random.fork_rng():
        net = Causal("steps")
    found = zcbench.score(net, batch, "softmax_confidence")["softmax_confidence"]
    tokens = net.patches(batch.x).flatten(2).transpose(1, 2).double().detach()
    scores = (tokens @ tokens.mT / math.sqrt(WIDTH)).numpy()
    largest = []
    for image in scores:
        for i, row in enumerate(image):
            e = np.exp(row[: i + 1])
            largest.append((e / e.sum()).max())
    assert found.value == pytest.approx(np.mean(largest), rel=1e-5)


@pytest.mark.parametrize("name", NAMES)
def test_without_attention_there_is_a_reason(name: str, batch: Batch) -> None:
    toy = zcbench.load_space("toy")
    plain = nn.Sequential(nn.Conv2d(3, 4, 3), nn.GELU(), nn.Flatten(), nn.LazyLinear(5))
    plain(batch.x)
    for network in (plain, toy.build(toy.architecture(5), "toy")):
        score = zcbench.score(network, batch, name)[name]
        assert (score.value, score.status) == (None, "undefined")
        assert score.message == "the network has no attention"


def test_a_softmax_that_weighs_no_values_is_no_attention(batch: Batch) -> None:
    class Gated(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.conv, self.head = nn.Conv2d(3, 4, 3), nn.Linear(4, 5)

        def forward(self, x: Tensor) -> Tensor:
            x = self.conv(x)
            return self.head((x * x.flatten(2).softmax(-1).view_as(x)).sum((2, 3)))

    score = zcbench.score(Gated(), batch, "head_confidence")["head_confidence"]
    assert (score.status, score.message) == (
        "undefined",
        "the network has no attention",
    )


def test_convolutional_proxies_on_a_transformer_say_what_they_lack(
    net: Transformer, batch: Batch
) -> None:
    names = "near,dextr,wrcor,wrcor_unweighted,nwot,avg_degree,n_relus"
    scores = zcbench.score(net, batch, names)
    assert scores["wrcor"].message == "the network has no ReLU module"
    assert scores["n_relus"].value == 0
    for name in ("near", "dextr", "avg_degree"):
        assert scores[name].status == "ok", scores[name].message
