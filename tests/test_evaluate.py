"""Passes are shared, failures are statuses, and the set of proxies changes nothing."""

from __future__ import annotations

import gc
import math
import re
import weakref
from contextlib import contextmanager

import pytest
import torch
from levels import few
from torch import nn

import zcbench
from zcbench.errors import UsageError
from zcbench.evaluate import evaluate
from zcbench.plan import make_plan
from zcbench.proxies import PROXIES, proxy

NB201 = zcbench.load_space("nb201")
TOY = zcbench.load_space("toy")
THIRTEEN = (
    "epe_nas,fisher,flops,grad_norm,grasp,jacov,l2_norm,nwot,params,plain,snip,"
    "synflow,zen"
)


def toy_batch(n: int = 8) -> zcbench.Batch:
    g = torch.Generator().manual_seed(1)
    return zcbench.Batch(torch.randn(n, 3, 8, 8, generator=g), torch.arange(n) % 4)


@contextmanager
def registered(function, **about):
    """A proxy for the time of a test."""
    proxy(reference="test", **about)(function)
    try:
        yield function.__name__
    finally:
        PROXIES.remove(function.__name__)


def count_passes(monkeypatch: pytest.MonkeyPatch, proxies: str) -> dict[str, int]:
    """Forwards over the whole minibatch and over one or two images; backwards."""
    counts = {"forward": 0, "forward_few": 0, "backward": 0}
    network = NB201.build(NB201.architecture(9_000), "ImageNet16-120")
    g = torch.Generator().manual_seed(1)
    batch = zcbench.Batch(torch.randn(8, 3, 16, 16, generator=g), torch.arange(8))

    def on_forward(_module, inputs) -> None:
        counts["forward_few" if len(inputs[0]) <= 2 else "forward"] += 1

    network.register_forward_pre_hook(on_forward)
    real = torch.autograd.grad

    def grad(*args, **kwargs):
        counts["backward"] += 1
        return real(*args, **kwargs)

    monkeypatch.setattr(torch.autograd, "grad", grad)
    evaluate(network, batch, make_plan(PROXIES.select(proxies)))
    return counts


@pytest.mark.parametrize(
    ("proxies", "forward", "forward_few", "backward"),
    [
        ("params,flops,n_layers,l2_norm", 0, 1, 1),
        ("nwot", 1, 0, 0),
        ("plain,snip,grad_norm,fisher", 1, 0, 1),
        ("jacov,epe_nas", 1, 0, 1),
        ("nwot,snip,fisher,jacov,epe_nas", 1, 0, 2),
        ("grasp", 2, 0, 2),
        ("synflow", 0, 1, 1),
        ("zen", 2, 0, 0),
        # One forward for all that look at the minibatch, one for grasp's second
        # derivative, two for zen; one or two images for the structure and synflow;
        # backwards of the loss, the second derivative and the logits, of the structure
        # and of synflow.
        (THIRTEEN, 4, 2, 5),
        # With the others: two halves, single images in one forward, Gaussian images;
        # one of them for meco; backwards of the halves, of single images' losses and
        # logits, and in every block. The minibatch for near, and forward and backward
        # for wrcor; one image for spectra, its way round a circle, and the graph.
        # 32 forwards of networks drawn for swap, one for ntk_cond's; single images for
        # its and knas' gradients, three thin networks for lin_regions.
        ("all", 43, 14, 26),
    ],
)
def test_proxies_share_passes(
    monkeypatch: pytest.MonkeyPatch,
    proxies: str,
    forward: int,
    forward_few: int,
    backward: int,
) -> None:
    counts = count_passes(monkeypatch, proxies)
    assert counts == {
        "forward": forward,
        "forward_few": forward_few,
        "backward": backward,
    }


def test_plan_names_who_shares_a_pass() -> None:
    plan = make_plan(PROXIES.select("nwot,snip,grasp"))
    assert plan.users == {
        "forward": ("nwot", "snip", "grasp"),
        "relu_codes": ("nwot",),
        "loss_backward": ("snip", "grasp"),
        "hessian_product": ("grasp",),
    }
    assert plan.passes == ("forward", "relu_codes", "loss_backward", "hessian_product")


@pytest.mark.parametrize("index", few([26, 3, 9, 17]))
def test_scores_do_not_depend_on_the_other_proxies(index: int) -> None:
    arch, batch = TOY.architecture(index), toy_batch()

    def scores(names: str):
        network = TOY.build(arch, "toy")
        found = evaluate(network, batch, make_plan(PROXIES.select(names))).scores
        return {name: (score.value, score.status) for name, score in found.items()}

    together = scores("all")
    for name in together:
        assert scores(name)[name] == together[name], name


def test_aliases_and_selection() -> None:
    names = [p.name for p in PROXIES.select("naswot,jacob_cov,zen_score,macs,nwot")]
    assert names == ["nwot", "jacov", "zen", "flops"]
    with pytest.raises(UsageError, match=r"Unknown proxy 'snpi'\. Did you mean snip\?"):
        PROXIES.select("snpi")
    with pytest.raises(UsageError, match="No proxy is named"):
        PROXIES.select(" , ")


def test_a_taken_name_is_an_error() -> None:
    def snip(s: zcbench.Structure) -> float:
        return 1.0

    with pytest.raises(UsageError, match="The proxy name 'snip' is already taken"):
        proxy(reference="test")(snip)


RESULTS = [
    (lambda: float("nan"), "nan", ""),
    (lambda: math.inf, "inf", ""),
    (lambda: -math.inf, "inf", ""),
    (lambda: torch.tensor(2.5), "ok", ""),
    (lambda: 3, "ok", ""),
    (lambda: "4", "error", "TypeError: the proxy returned str, not a number"),
    (lambda: None, "error", "TypeError: the proxy returned NoneType, not a number"),
    (lambda: True, "error", "TypeError: the proxy returned bool, not a number"),
    (
        lambda: torch.ones(2, 3),
        "error",
        "TypeError: the proxy returned a tensor of shape [2, 3] and torch.float32, not "
        "a number",
    ),
    *(
        (
            lambda value=value: torch.tensor(value),
            "error",
            f"TypeError: the proxy returned a tensor of shape [] and torch.{kind}, not "
            "a number",
        )
        for value, kind in ((True, "bool"), (1 + 0j, "complex64"))
    ),
    (lambda: 1 / 0, "error", "ZeroDivisionError: division by zero"),
    (lambda: (_ for _ in ()).throw(MemoryError("full")), "oom", "full"),
    (lambda: (_ for _ in ()).throw(zcbench.Undefined("why")), "undefined", "why"),
]


@pytest.mark.parametrize(("result", "status", "message"), RESULTS)
def test_what_a_proxy_returns_becomes_a_status(result, status, message) -> None:
    def oddity(s: zcbench.Structure) -> float:
        return result()

    oddity.__annotations__ = {"s": zcbench.Structure, "return": float}
    with registered(oddity):
        network = TOY.build(TOY.architecture(26), "toy")
        scores = zcbench.score(network, toy_batch(), "oddity,params")
    assert scores["oddity"].status == status
    assert scores["oddity"].message == message
    assert (scores["oddity"].value is None) == (status != "ok")
    assert scores["params"].status == "ok"


def test_a_proxy_without_evidence_annotations_is_refused() -> None:
    def lost(network: int) -> float:
        return 0.0

    lost.__annotations__ = {"network": int}
    with registered(lost), pytest.raises(UsageError, match="'network' of proxy 'lost'"):
        make_plan(PROXIES.select("lost"))


def test_fresh_networks_are_private_copies() -> None:
    def vandal(f: zcbench.FreshNetwork) -> float:
        for parameter in f.network.parameters():
            parameter.data.zero_()
        return 0.0

    def witness(f: zcbench.FreshNetwork) -> float:
        logits = f.network(f.batch.x)
        return f.loss(logits, f.batch.y).item()

    for function in (vandal, witness):
        function.__annotations__ = {"f": zcbench.FreshNetwork}
    network = TOY.build(TOY.architecture(26), "toy")
    with registered(vandal), registered(witness):
        both = zcbench.score(network, toy_batch(), "vandal,witness,snip")
        alone = zcbench.score(network, toy_batch(), "witness")
        snip = zcbench.score(network, toy_batch(), "snip")
    assert both["witness"].value == alone["witness"].value
    assert both["snip"].value == snip["snip"].value


class _Exploding(nn.Module):
    """A network whose forward fails."""

    def __init__(self, error: Exception) -> None:
        super().__init__()
        self.layer = nn.Linear(192, 4)
        self.error = error

    def forward(self, x):
        raise self.error


@pytest.mark.parametrize(
    ("error", "status"),
    [
        (ValueError("broken"), "error"),
        (torch.OutOfMemoryError("CUDA out of memory"), "oom"),
        (RuntimeError("DefaultCPUAllocator: not enough memory: you tried"), "oom"),
    ],
)
def test_a_failing_network_gives_statuses(error: Exception, status: str) -> None:
    scores = zcbench.score(_Exploding(error), toy_batch(), "snip,nwot,zen,flops,params")
    assert scores.pop("params").status == "ok"  # counts, and needs no forward
    assert {score.status for score in scores.values()} == {status}
    assert all(score.value is None for score in scores.values())


def test_a_failing_pass_spares_the_others() -> None:
    class NoDouble(nn.Module):
        """Fails in the float64 pass of synflow alone."""

        def __init__(self) -> None:
            super().__init__()
            self.inner = TOY.build(TOY.architecture(26), "toy")

        def forward(self, x):
            if x.dtype == torch.float64:
                raise RuntimeError("no double")
            return self.inner(x)

    scores = zcbench.score(
        NoDouble(), toy_batch(), "snip,synflow,jacov", precision="float32"
    )
    assert scores["synflow"].status == "error"
    assert scores["synflow"].message == "RuntimeError: no double"
    assert scores["snip"].status == scores["jacov"].status == "ok"


@pytest.mark.parametrize(
    ("batch", "fault"),
    [
        (
            zcbench.Batch(torch.zeros(4, 3, 8, 8, dtype=torch.uint8), torch.arange(4)),
            "x is torch.uint8 [4, 3, 8, 8], not floating point [N, C, H, W]",
        ),
        (
            zcbench.Batch(torch.zeros(4, 3, 8, 8), torch.zeros(4)),
            "y is torch.float32 [4], not int64 [4]",
        ),
        (
            zcbench.Batch(torch.zeros(4, 3, 8, 8), torch.arange(3)),
            "y is torch.int64 [3], not int64 [4]",
        ),
        (
            zcbench.Batch(torch.zeros(1, 3, 8, 8), torch.arange(1)),
            "it has fewer than 2 images",
        ),
    ],
)
def test_unusable_batches_are_refused(batch: zcbench.Batch, fault: str) -> None:
    network = TOY.build(TOY.architecture(26), "toy")
    message = f"The minibatch cannot be used: {fault}."
    with pytest.raises(UsageError, match=re.escape(message)):
        zcbench.score(network, batch)


def test_seconds_are_given_for_every_score_and_pass() -> None:
    network = TOY.build(TOY.architecture(26), "toy")
    plan = make_plan(PROXIES.select("all"))
    found = evaluate(network, toy_batch(), plan)
    assert set(plan.passes) | {"total"} == set(found.seconds)
    assert all(seconds > 0 for seconds in found.seconds.values())
    assert sum(found.seconds.values()) <= 2 * found.seconds["total"]
    for name, score in found.scores.items():
        parts = [found.seconds[p] for p in plan.passes_of(name)]
        assert score.seconds >= sum(parts)


class _Tracked(torch.autograd.Function):
    """The identity; its context lives as long as the graph."""

    @staticmethod
    def forward(ctx, x, alive):
        ctx.token = _Token()
        alive.append(weakref.ref(ctx.token))
        return x.clone()

    @staticmethod
    def backward(ctx, grad):
        return grad, None


class _Token:
    """Something to hold a weak reference to."""


@pytest.mark.parametrize("by_tangents", [False, True])
@pytest.mark.parametrize("proxies", few(["jacov,fisher", "grasp", "fisher", "all"], 2))
def test_the_graph_is_freed(proxies: str, by_tangents: bool) -> None:
    """Hooks once kept every graph alive: memory grew with each network."""
    alive: list = []

    class Network(nn.Module):
        linear_outside_layers = by_tangents

        def __init__(self) -> None:
            super().__init__()
            self.inner = TOY.build(TOY.architecture(26), "toy")

        def forward(self, x):
            return _Tracked.apply(self.inner(x), alive)

    zcbench.score(Network(), toy_batch(), proxies)
    gc.collect()
    assert alive
    assert not [token for token in alive if token() is not None]


def test_features_of_few_dimensions_have_an_entropy() -> None:
    """One input channel: 9 of 16 eigenvalues of the stem's features are rounding."""
    from torch import nn

    class Block(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.conv = nn.Conv2d(16, 16, 1)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return x + self.conv(x)

    with torch.random.fork_rng():
        torch.manual_seed(0)
        stem = nn.Conv2d(1, 16, 3, padding=1, bias=False)
        tail = (nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(16, 4))
        network = nn.Sequential(stem, Block(), Block(), *tail)
        batch = zcbench.Batch(torch.randn(16, 1, 12, 20), torch.arange(16) % 4)
    names = "az_expressivity,az_progressivity"
    exact = zcbench.score(network, batch, names)
    rough = zcbench.score(network, batch, names, precision="float32")
    for name, score in exact.items():
        assert rough[name].value == pytest.approx(score.value, rel=1e-3, abs=1e-3)
