"""Activations and gradients of images that a proxy takes layer by layer."""

from __future__ import annotations

import gc
import weakref
from collections.abc import Callable
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

import zcbench
from zcbench.engine.evaluator import StackEvaluator
from zcbench.evaluate import evaluate, gather
from zcbench.evidence import per_image_pass
from zcbench.evidence.clock import Clock
from zcbench.evidence.passes import Missing
from zcbench.evidence.streams import Activations, ImageGradients
from zcbench.networks.cell import SharedReLU
from zcbench.plan import cost_class, make_plan
from zcbench.proxies import PROXIES
from zcbench.types import Batch, Proxy, Score

TOY = zcbench.load_space("toy")
BOTH = (Activations, ImageGradients)
N = 5


class Small(nn.Module):
    """A grouped layer, one that is used twice, one that nothing reads, dropout."""

    def __init__(self, plain: bool) -> None:
        super().__init__()
        self.stem = nn.Conv2d(3, 4, 3, padding=1)
        self.twice = nn.Conv2d(4, 4, 3, padding=1, bias=False)
        self.norm = nn.BatchNorm2d(4)
        self.groups = nn.Conv2d(4, 6, 3, stride=2, groups=2)
        self.relu = nn.ReLU(inplace=True)
        self.dead = nn.Conv2d(4, 2, 1)
        self.drop = nn.Dropout(0.5)
        self.head = nn.Linear(6, 3)
        self.plain_layers = plain
        self.runs = 0

    def forward(self, x: Tensor) -> Tensor:
        self.runs += 1
        x = self.relu(self.norm(self.twice(self.relu(self.stem(x)))))
        self.dead(x)
        x = self.groups(self.twice(x))
        x = self.relu(x) if self.plain_layers else F.silu(x)
        x = x + self.runs if not self.plain_layers else x
        return self.head(self.drop(x.mean((2, 3)) + x.amax((2, 3))))


def small(plain: bool) -> nn.Module:
    torch.manual_seed(1)
    return Small(plain).double()


def batch(n: int = N) -> Batch:
    draw = torch.Generator().manual_seed(0)
    x = torch.randn(n, 3, 8, 8, generator=draw, dtype=torch.float64)
    return Batch(x, torch.arange(n) % 3)


def evidence(network: nn.Module, *records: type, seed: int = 3) -> Any:
    device = torch.device("cpu")
    made, _ = gather(
        *(network, batch(), frozenset(records or BOTH), Clock(device)),
        seed=seed,
        precision="float32",
    )
    return tuple(made[r] for r in records or BOTH)


def kept(name: str, value: Tensor) -> tuple[str, Tensor]:
    return name, value.clone()


def same(found: list[tuple[str, Tensor]], expected: list[tuple[str, Tensor]]) -> None:
    assert [name for name, _ in found] == [name for name, _ in expected]
    for (_, a), (_, b) in zip(found, expected, strict=True):
        torch.testing.assert_close(a, b, rtol=1e-9, atol=1e-12)


def literal_activations(plain: bool) -> list[tuple[str, Tensor]]:
    """Hooks on a network of its own, and the function by hand."""
    network, found = small(plain), []
    for name, module in network.named_modules():
        if isinstance(module, nn.Conv2d | nn.Linear | nn.ReLU):
            module.register_forward_hook(
                lambda _m, _i, out, name=name: found.append((name, out.clone()))
            )
    torch.manual_seed(3)
    network(batch().x)
    if not plain:
        found.insert(-1, ("silu", F.silu(found[-2][1])))
    return [(name, value.detach()) for name, value in found]


@pytest.mark.parametrize("plain", [True, False])
def test_activations_are_those_of_hooks(plain: bool) -> None:
    (a,) = evidence(small(plain), Activations)
    expected = literal_activations(plain)
    assert len(expected) == 9
    same(a.map(kept), expected)
    layers = ("stem", "twice", "dead", "groups", "head")
    same(a.map(kept, of="layers"), [e for e in expected if e[0] in layers])
    same(a.map(kept, of="activations"), [e for e in expected if e[0] not in layers])


@pytest.mark.parametrize("plain", [True, False])
def test_gradients_are_those_of_a_loop_over_images(plain: bool) -> None:
    network = small(plain)
    network.drop.p = 0.0
    (g,) = evidence(network, ImageGradients)
    network = small(plain)
    network.drop.p = 0.0
    layers = [
        (name, m.weight)
        for name, m in network.named_modules()
        if isinstance(m, nn.Conv2d | nn.Linear)
    ]
    expected = {name: torch.zeros(N, *w.shape, dtype=w.dtype) for name, w in layers}
    for n, (x, y) in enumerate(zip(batch().x, batch().y, strict=True)):
        loss = F.cross_entropy(network(x[None]), y[None])
        grads = torch.autograd.grad(loss, [w for _, w in layers], allow_unused=True)
        for (name, _), grad in zip(layers, grads, strict=True):
            expected[name][n] = 0 if grad is None else grad
    assert not expected["dead"].any()
    same(g.map(kept), list(expected.items()))


def test_an_order_is_that_of_definition_and_parts_make_a_whole(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    order: list[str] = []
    (g,) = evidence(small(True), ImageGradients)
    whole = g.map(lambda name, d: (order.append(name), (name, d))[1])
    assert order == ["head", "groups", "twice", "stem", "dead"]
    monkeypatch.setattr(per_image_pass, "MOST_NUMBERS", 40)
    same(g.map(kept), whole)


def test_what_a_relu_stands_for_is_handed_over_as_often() -> None:
    network = nn.Sequential(nn.Flatten(), nn.Linear(192, 4), SharedReLU(3))
    (a,) = evidence(network.double(), Activations)
    assert a.map(lambda name, _: name) == ["1", "2", "2", "2"]


@pytest.mark.parametrize("plain", [True, False])
@pytest.mark.parametrize("record", BOTH)
def test_one_tensor_lives_at_a_time(record: type, plain: bool) -> None:
    (streamed,) = evidence(small(plain), record)
    alive: list[weakref.ref[Tensor]] = []

    def look(_: str, value: Tensor) -> int:
        alive.append(weakref.ref(value))
        return sum(ref() is not None for ref in alive)

    gc.disable()  # counted references alone must do
    try:
        counts = streamed.map(look)
    finally:
        gc.enable()
    assert len(counts) == (9 if record is Activations else 5)
    assert set(counts) == {1}
    assert [ref() for ref in alive] == [None] * len(alive)


def layers_alive(plain: bool) -> int:
    """Most gradients [N, ...] of layers that are held while one is handed over."""
    shapes = {(N, *p.shape) for n, p in small(plain).named_parameters() if p.dim() > 1}
    (g,) = evidence(small(plain), ImageGradients)

    def count(_: str, __: Tensor) -> int:
        tensors = [o for o in gc.get_objects() if type(o) is Tensor]
        return len({o.data_ptr() for o in tensors if tuple(o.shape) in shapes})

    return max(g.map(count))


@pytest.mark.thorough
def test_no_other_layer_is_held_meanwhile(monkeypatch: pytest.MonkeyPatch) -> None:
    assert layers_alive(True) == 1
    assert layers_alive(False) > 1  # as many as memory is meant for
    monkeypatch.setattr("zcbench.evidence.one_by_one.MOST_NUMBERS", 1)
    assert layers_alive(False) == 1


def test_the_same_again_whoever_writes_into_what() -> None:
    for plain in (True, False):
        a, g = evidence(small(plain))
        before = torch.get_rng_state()
        first = a.map(kept), g.map(kept)
        same(a.map(lambda n, x: (kept(n, x), x.data.zero_())[0]), first[0])
        same(g.map(lambda n, d: (kept(n, d), d.data.zero_())[0]), first[1])
        a.map(lambda _, x: torch.rand(3))
        same(a.map(kept), first[0])
        same(g.map(kept), first[1])
        assert torch.equal(torch.get_rng_state(), before)


def guest(function: Callable[..., Any], record: type) -> Proxy:
    function.__annotations__ = {"r": record}
    return Proxy(function.__name__, function, "me", origin="<stdin>")


def scores(*guests: Proxy, network: nn.Module | None = None) -> dict[str, Score]:
    plan = make_plan([*guests, *PROXIES.select("snip,zen,nwot,gradsign")])
    network = network or TOY.build(TOY.architecture(26), "toy")
    x = batch().x.to(next(network.parameters()).dtype)
    return dict(evaluate(network, Batch(x, batch().y), plan).scores)


@pytest.mark.parametrize("record", BOTH)
def test_faults_of_a_guest_are_its_own(record: type) -> None:
    def writes(r: Any) -> float:
        return sum(r.map(lambda _, x: float(x.zero_().sum())))

    def raises(r: Any) -> float:
        return sum(r.map(lambda name, x: 1 / 0))

    def undefined(r: Any) -> float:
        def refuse(name: str, x: Tensor) -> float:
            raise zcbench.Undefined(f"not of {name}")

        return sum(r.map(refuse))

    def total(r: Any) -> float:
        return sum(r.map(lambda _, x: float(x.abs().sum())))

    alone = scores(guest(total, record))
    faults = [guest(f, record) for f in (writes, raises, undefined)]
    beside = scores(*faults, guest(total, record))
    assert beside["total"].value == alone["total"].value > 0
    assert beside["writes"].value == 0
    assert beside["raises"].status == "error"
    assert beside["raises"].message == "ZeroDivisionError: division by zero"
    assert beside["undefined"].status == "undefined"
    assert beside["undefined"].message.startswith("not of ")
    for name in ("snip", "zen", "nwot", "gradsign"):
        assert beside[name].value == alone[name].value == scores()[name].value


def test_tensors_may_be_viewed_and_differentiated() -> None:
    for streamed in evidence(TOY.build(TOY.architecture(26), "toy").double()):

        def length(_: str, x: Tensor) -> float:
            y = x.view(len(x), -1).requires_grad_()
            return float(torch.autograd.grad(y.pow(2).sum() / 2, y)[0].norm())

        with torch.no_grad():
            lengths = streamed.map(lambda _, x: float(x.norm()))
        assert streamed.map(length) == pytest.approx(lengths)


def test_built_in_proxies_may_read_them_too() -> None:
    def total(r: Any) -> float:
        return sum(r.map(lambda _, x: float(x.abs().sum())))

    for record, cost in zip(BOTH, ("forward", "backward"), strict=True):
        proxy = guest(total, record)
        assert cost_class(proxy) == cost
        one = scores(proxy)["total"].value
        built_in = Proxy("total", total, "me")
        assert scores(built_in)["total"].value == one
        archs = [TOY.architecture(i) for i in (26, 13)]
        x = Batch(batch().x.float(), batch().y)
        plan = make_plan([proxy, PROXIES.get("snip")])
        stacked = StackEvaluator(TOY, "toy", x, plan)(archs)
        assert stacked[0].scores["total"].value == pytest.approx(one, rel=1e-6)


def test_where_there_is_nothing_it_is_undefined() -> None:
    def total(r: Any) -> float:
        return sum(r.map(lambda _, x: float(x.abs().sum())))

    class Scale(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.scale = nn.Parameter(torch.ones(1))

        def forward(self, x: Tensor) -> Tensor:
            return x.flatten(1)[:, :3] * self.scale

    for record, why in (
        (Activations, "the network runs no convolution, linear layer or activation"),
        (ImageGradients, "the network has no convolution or linear modules"),
    ):
        score = scores(guest(total, record), network=Scale())["total"]
        assert (score.status, score.message) == ("undefined", why)
    (a,) = evidence(nn.Sequential(nn.Flatten(), nn.Linear(192, 3)).double(), BOTH[0])
    with pytest.raises(zcbench.Undefined, match="runs no activations"):
        a.map(kept, of="activations")
    with pytest.raises(ValueError, match="of is 'relus', not one of all, layers, act"):
        a.map(kept, of="relus")


def test_a_normalised_vector_has_no_image_of_its_own() -> None:
    network = nn.Sequential(nn.Flatten(), nn.Linear(192, 4), nn.BatchNorm1d(4))

    def total(r: Any) -> float:
        return sum(r.map(lambda _, x: float(x.abs().sum())))

    score = scores(guest(total, ImageGradients), network=network)["total"]
    assert score.status == "undefined"
    assert "BatchNorm has one value per channel" in score.message


def test_a_relu_that_no_function_shows_is_said() -> None:
    class Hidden(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.head = nn.Linear(192, 3)

        def forward(self, x: Tensor) -> Tensor:
            with torch._C.DisableTorchFunction():
                return torch.relu(self.head(x.flatten(1)))

    (a,) = evidence(Hidden().double(), Activations)
    assert isinstance(a, Missing)
    assert a.status == "undefined"
    assert a.message == "a ReLU is used in a way that is not seen"
