"""The stacked engine gives every network the scores of the one-network engine.

Tolerances: in float64 1e-9 of the score for every proxy. In float32 rounding flips a
few ReLUs, others in each engine: 2% of the score, and for plain, grasp and epe_nas,
sums of signed terms, a rank correlation of .99 (docs/precision.md).
"""

from __future__ import annotations

import functools
import gc
import math
import weakref
from collections.abc import Sequence
from dataclasses import replace

import pytest
import torch
import torch.nn.functional as F
from levels import few
from scipy.stats import spearmanr
from torch import Tensor

import zcbench
from zcbench.engine.evaluator import StackEvaluator
from zcbench.engine.memory import (
    MOST,
    bytes_of_networks,
    largest_stack,
    stacks_that_fit,
)
from zcbench.evaluate import evaluate
from zcbench.evidence import stacked_minibatch
from zcbench.evidence.clock import Clock
from zcbench.evidence.minibatch_pass import MinibatchPass
from zcbench.evidence.passes import Missing, make_records
from zcbench.evidence.subject import StackedSubject, make_subject
from zcbench.evidence.table import RECORDS
from zcbench.networks import transnas
from zcbench.networks.routing import add_up, take
from zcbench.networks.stacked import Rules, StackedNetwork
from zcbench.networks.stacked_layers import StackedBatchNorm, StackedLayer, StackedReLU
from zcbench.plan import evidence_of, make_plan
from zcbench.proxies import PROXIES, proxy
from zcbench.seeding import repeat_seed
from zcbench.spaces.base import Stackable
from zcbench.tasks import GivenTask, with_tasks
from zcbench.types import Architecture, Batch, Evaluation, Score, Task

pytestmark = pytest.mark.usefixtures("few_draws")

NB201, TOY = zcbench.load_space("nb201"), zcbench.load_space("toy")
PLAN = make_plan(
    PROXIES.select(
        "params,flops,n_layers,l2_norm,plain,snip,grad_norm,fisher,grasp,synflow,jacov,"
        "epe_nas,nwot,zen"
    )
)
NAMES = [proxy.name for proxy in PLAN.proxies]
EVERY = make_plan(
    [
        proxy
        for proxy in map(PROXIES.get, PROXIES.names())
        if zcbench.FreshNetwork not in evidence_of(proxy)  # what trains
    ]
)
FLIPPING = ("plain", "grasp", "epe_nas")
NONE, SKIP, CONV1, CONV3, POOL = NB201.operations
DEGENERATE = (
    [NONE] * 6,
    [SKIP] * 6,
    [POOL] * 6,
    [CONV3] * 6,
    [CONV3, CONV1, NONE, NONE, NONE, NONE],  # no path, dead operations
    [CONV1, CONV3, CONV1, SKIP, CONV3, NONE],  # a dead branch
    [NONE, CONV1, CONV3, POOL, CONV1, CONV3],  # a node that nothing reaches
)


def spec_of(operations: Sequence[str]) -> str:
    a, b, c, d, e, f = operations
    return f"|{a}~0|+|{b}~0|{c}~1|+|{d}~0|{e}~1|{f}~2|"


@functools.cache
def nb201_sample() -> tuple[Architecture, ...]:
    """5 at random, and the degenerate ones."""
    g = torch.Generator().manual_seed(50)
    chosen = torch.randperm(len(NB201), generator=g)[:5].tolist()
    return (
        *(NB201.architecture(index) for index in chosen),
        *(NB201.parse(spec_of(operations)) for operations in DEGENERATE),
    )


def make_batch(n: int, shape: tuple[int, int, int], seed: int = 1) -> Batch:
    """Two images of a class, so that epe_nas has something to correlate."""
    g = torch.Generator().manual_seed(seed)
    return Batch(torch.randn(n, *shape, generator=g), torch.arange(n) % 2)


def one_by_one(
    space,
    architectures,
    task,
    batch,
    *,
    plan=PLAN,
    dtype=torch.float64,
    seed=0,
    repeat=0,
) -> list[Evaluation]:
    batch = replace(batch, x=batch.x.to(dtype))
    return [
        evaluate(
            space.build(arch, task, seed=seed, repeat=repeat).to(dtype),
            batch,
            plan,
            seed=repeat_seed(seed, repeat),
        )
        for arch in architectures
    ]


@functools.cache
def nb201_scores(dtype: torch.dtype) -> tuple[list[Evaluation], list[Evaluation]]:
    batch, task = make_batch(4, (3, 16, 16)), "ImageNet16-120"
    archs = nb201_sample() if dtype == torch.float64 else nb201_sample()[:15]
    together = StackEvaluator(NB201, task, batch, PLAN, dtype=dtype)(archs)
    return together, one_by_one(NB201, archs, task, batch, dtype=dtype)


def assert_same(
    found: Sequence[Evaluation], expected: Sequence[Evaluation], rel: float = 1e-9
) -> None:
    assert len(found) == len(expected)
    for mine, theirs in zip(found, expected, strict=True):
        assert list(mine.scores) == list(theirs.scores)
        for name, score in theirs.scores.items():
            assert_same_score(mine.scores[name], score, rel)


def assert_same_score(found: Score, expected: Score, rel: float = 1e-9) -> None:
    assert (found.status, found.message) == (expected.status, expected.message)
    if expected.value is None:
        assert found.value is None
    else:
        assert found.value == pytest.approx(expected.value, rel=rel)


@pytest.mark.parametrize("name", NAMES)
def test_random_and_the_degenerate_cells_agree_in_float64(name: str) -> None:
    for mine, theirs in zip(*nb201_scores(torch.float64), strict=True):
        assert_same_score(mine.scores[name], theirs.scores[name])


def test_the_sample_has_undefined_scores_and_many_defined_ones() -> None:
    """Otherwise the agreement above would say little."""
    together, _ = nb201_scores(torch.float64)
    statuses = [e.scores["synflow"].status for e in together]
    assert statuses.count("ok") >= 5
    assert statuses.count("undefined") >= 2


@pytest.mark.thorough
@pytest.mark.parametrize("name", NAMES)
def test_float32_agrees_as_far_as_rounding_lets_it(name: str) -> None:
    pairs = [
        (mine.scores[name].value, theirs.scores[name].value)
        for mine, theirs in zip(*nb201_scores(torch.float32), strict=True)
        if theirs.scores[name].value is not None
    ]
    assert all(mine is not None for mine, _ in pairs)
    if name in FLIPPING:
        assert (
            spearmanr(*zip(*pairs, strict=True)).statistic > 0.97
        )  # of 15, by kind of CPU
    else:
        for mine, theirs in pairs:
            assert mine == pytest.approx(theirs, rel=0.02)


@pytest.mark.thorough
@pytest.mark.parametrize(("seed", "repeat", "step"), [(0, 0, 3), (3, 2, 1)])
def test_the_toy_space_agrees(seed: int, repeat: int, step: int) -> None:
    """The whole of it by the proxies of `PLAN`, a third by every one."""
    archs = [TOY.architecture(index) for index in range(0, len(TOY), step)]
    batch = make_batch(8, (3, 8, 8))
    plan = PLAN if step == 1 else EVERY
    same = {"seed": seed, "repeat": repeat, "dtype": torch.float64}
    found = StackEvaluator(TOY, "toy", batch, plan, **same)(archs)
    expected = one_by_one(TOY, archs, "toy", batch, plan=plan, **same)
    assert_same(found, expected, 1e-5 if plan is EVERY else 1e-9)  # epsinas is float32


@pytest.mark.parametrize("space", ["nb201", "transnas_micro", "toy"])
def test_nothing_is_left_for_the_one_network_engine(space: str) -> None:
    assert isinstance(zcbench.load_space(space), Stackable)
    for plan in (EVERY, make_plan(PROXIES.select("all"))):
        assert {r for r in plan.records if not RECORDS[r].stacked} == set()
    assert len(EVERY.proxies) > 40


@pytest.mark.parametrize("indices", [(0, 0), (0, 1, 2), (26, 26, 26), (4, 13)], ids=str)
def test_stacks_without_a_path_or_all_alike_agree(indices) -> None:
    """0, 1 and 2 have no path from input to output: no gradient starts anywhere."""
    archs = [TOY.architecture(index) for index in indices]
    batch = make_batch(6, (3, 8, 8))
    found = StackEvaluator(TOY, "toy", batch, PLAN, dtype=torch.float64)(archs)
    assert_same(found, one_by_one(TOY, archs, "toy", batch))


SLOW = {zcbench.FisherSpectrum}


@pytest.mark.parametrize("name", few(["toy", "transnas_micro", "nb201"]))
def test_records_are_those_of_the_one_network_engine(
    name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Same types, same layers in the same order, same shapes, on the CPU."""
    monkeypatch.setattr(transnas, "BASE", 16)
    space = zcbench.load_space(name)
    if name == "nb201":
        archs = [NB201.parse(spec_of(DEGENERATE[k])) for k in (1, 4, 5)]
        archs += nb201_sample()[:1]
    else:
        some = (26, 5, 0, 20) if name == "toy" else (700, 3170)
        archs = [space.architecture(index) for index in some]
    task, side = next(iter(space.tasks)), {"toy": 8, "nb201": 16}.get(name, 64)
    batch = make_batch(6 if name == "toy" else 4, (3, side, side))
    batch = replace(batch, x=batch.x.double())
    clock = Clock(torch.device("cpu"))
    stack = space.stack(archs, task).double()
    offered = frozenset(record for record in RECORDS if RECORDS[record].stacked)
    if name != "toy":
        offered -= SLOW
    stacked = make_records(StackedSubject(stack, batch, 0), offered, clock)
    for p, arch in enumerate(archs):
        records = {r: m if isinstance(m, Missing) else m[p] for r, m in stacked.items()}
        subject = make_subject(space.build(arch, task).double(), batch, 0)
        expected = make_records(subject, offered, clock)
        assert set(records) == set(expected) == offered
        for kind, record in expected.items():
            assert type(records[kind]) is type(record)
            if isinstance(record, Missing):
                assert records[kind] == record
                continue
            for field in record.__dataclass_fields__:
                mine, theirs = getattr(records[kind], field), getattr(record, field)
                in_float32 = kind is zcbench.ConstantWeights
                assert_alike(mine, theirs, *((1e-3, 2e-6) if in_float32 else ()))


def assert_alike(
    found: object, expected: object, rel: float = 1e-9, floor: float = 1e-11
) -> None:
    assert type(found) is type(expected)
    if isinstance(expected, Tensor):
        atol = 1e-12 * max(1.0, float(expected.abs().max()))
        torch.testing.assert_close(found, expected, rtol=rel, atol=atol, equal_nan=True)
    elif isinstance(expected, tuple):
        assert len(found) == len(expected)
        for mine, theirs in zip(found, expected, strict=True):
            assert_alike(mine, theirs, rel, floor)
    else:
        assert found == pytest.approx(expected, rel=rel, abs=floor, nan_ok=True)


@pytest.mark.thorough
def test_order_and_size_of_the_stack_do_not_matter() -> None:
    archs = [TOY.architecture(index) for index in range(len(TOY))]
    batch = make_batch(8, (3, 8, 8))

    def scores(chosen, most=None) -> list[Evaluation]:
        evaluator = StackEvaluator(TOY, "toy", batch, PLAN, dtype=torch.float64)
        evaluator.most = most
        return evaluator(chosen)

    expected = scores(archs)
    for most in (1, 2, 5, 26):
        assert_same(scores(archs, most), expected)
    assert_same(scores(archs[::-1]), expected[::-1])
    assert StackEvaluator(TOY, "toy", batch, PLAN)([]) == []


def test_a_subset_of_proxies_gives_the_same_scores() -> None:
    archs = [TOY.architecture(index) for index in (26, 7, 0, 13)]
    batch = make_batch(8, (3, 8, 8))
    expected = StackEvaluator(TOY, "toy", batch, PLAN)(archs)
    for name in NAMES:
        plan = make_plan(PROXIES.select(name))
        found = StackEvaluator(TOY, "toy", batch, plan)(archs)
        for mine, theirs in zip(found, expected, strict=True):
            assert mine.scores[name].value == theirs.scores[name].value, name
            assert set(mine.seconds) == {*plan.passes, "total"}


def test_seconds_are_each_networks_share() -> None:
    archs = [TOY.architecture(index) for index in (26, 7, 13)]
    found = StackEvaluator(TOY, "toy", make_batch(8, (3, 8, 8)), PLAN)(archs)
    for evaluation in found:
        assert evaluation.seconds == found[0].seconds
        assert set(PLAN.passes) | {"total"} == set(evaluation.seconds)
        assert all(seconds > 0 for seconds in evaluation.seconds.values())
        for name, score in evaluation.scores.items():
            parts = [evaluation.seconds[p] for p in PLAN.passes_of(name)]
            assert score.seconds >= sum(parts)


def test_a_non_finite_network_does_not_spoil_the_others(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    archs = [TOY.architecture(index) for index in (26, 7, 20, 13)]
    batch = make_batch(8, (3, 8, 8))
    batch = replace(batch, x=batch.x.double())
    variants = PROXIES.select("lin_regions[network=full],swap[weights=own]")
    plan = make_plan([*EVERY.proxies, *variants])
    evaluator = StackEvaluator(TOY, "toy", batch, plan, dtype=torch.float64)
    expected = evaluator(archs)

    def poisoned(self: StackedNetwork, x: Tensor) -> Tensor:
        images = x.repeat(1, self.n_networks, 1, 1)
        images.view(len(x), self.n_networks, -1)[:, 1] = math.nan
        return images

    monkeypatch.setattr(StackedNetwork, "images", poisoned)
    found = evaluator(archs)
    assert_same([found[p] for p in (0, 2, 3)], [expected[p] for p in (0, 2, 3)], 1e-6)
    statuses = {name: score.status for name, score in found[1].scores.items()}
    unharmed = {"params", "flops", "l2_norm"}  # of no image
    counted = {"n_layers", "avg_degree", "n_relus", "op_balance"}
    numbers = {name for name, status in statuses.items() if status == "ok"}
    assert unharmed <= numbers <= unharmed | counted
    for name in ("plain", "snip", "grad_norm", "fisher", "grasp"):
        assert statuses[name] == "nan", name
    for name in ("jacov", "epe_nas", "nwot"):
        assert statuses[name] == "undefined", name


class _Registered:
    """A proxy for the time of a test."""

    def __init__(self, function, needs) -> None:
        function.__annotations__ = {"e": needs, "return": float}
        self.function = function

    def __enter__(self) -> None:
        proxy(reference="test")(self.function)

    def __exit__(self, *_error: object) -> None:
        PROXIES.remove(self.function.__name__)


def test_proxies_that_want_the_network_get_it_and_are_merged() -> None:
    def raw(e: zcbench.FreshNetwork) -> float:
        return e.loss(e.network(e.batch.x), e.batch.y).item()

    archs = [TOY.architecture(index) for index in (26, 7, 0)]
    batch = make_batch(8, (3, 8, 8))
    with _Registered(raw, zcbench.FreshNetwork):
        plan = make_plan(PROXIES.select("snip,raw,params"))
        found = StackEvaluator(TOY, "toy", batch, plan)(archs)
        alone = [evaluate(TOY.build(arch, "toy"), batch, plan) for arch in archs]
    assert_same(found, alone, 1e-5)
    assert [list(e.scores) for e in found] == [["snip", "raw", "params"]] * 3
    for mine, theirs in zip(found, alone, strict=True):
        assert mine.scores["raw"].value == theirs.scores["raw"].value
        assert set(mine.seconds) == set(theirs.seconds)
        assert mine.seconds["total"] >= mine.seconds["loss_backward"]


@pytest.mark.parametrize(
    ("space", "precision"), [("macro", "float32"), ("toy", "bf16")]
)
def test_what_cannot_be_stacked_is_scored_one_by_one(space, precision) -> None:
    space = zcbench.load_space(space)
    archs = [space.architecture(index) for index in (1, 5)]
    (task,) = space.tasks
    batch = make_batch(4, space.tasks[task].input_shape)
    plan = make_plan(PROXIES.select("params,snip,nwot"))
    found = StackEvaluator(space, task, batch, plan, precision=precision)(archs)
    for arch, mine in zip(archs, found, strict=True):
        network = space.build(arch, task)
        theirs = evaluate(network, batch, plan, precision=precision)
        for name, score in theirs.scores.items():
            assert mine.scores[name].value == score.value  # to the last bit


def test_a_regression_is_scored_one_by_one() -> None:
    """The loss of a stack is the cross-entropy."""
    task = Task("weight", (3, 8, 8), 1, loss="mse")
    space = with_tasks(TOY, [GivenTask("toy", task)])
    x, y = make_batch(4, (3, 8, 8)).x.double(), torch.rand(4, dtype=torch.float64)
    batch = Batch(x, y, loss="mse")
    archs = [TOY.architecture(index) for index in (26, 13)]
    plan = make_plan(PROXIES.select("snip,gradsign,zico,params"))
    found = StackEvaluator(space, "weight", batch, plan, dtype=torch.float64)(archs)
    assert_same(found, one_by_one(space, archs, "weight", batch, plan=plan))
    assert {s.status for e in found for s in e.scores.values()} == {"ok"}


def refuse(monkeypatch: pytest.MonkeyPatch, above: int, error: Exception) -> list[int]:
    """Let the minibatch pass fail for more than so many networks; sizes tried."""
    real, tried = stacked_minibatch.StackedMinibatchPass, []

    class Short(real):
        def __init__(self, subject, *rest) -> None:
            tried.append(subject.network.n_networks)
            if subject.network.n_networks > above:
                raise error
            super().__init__(subject, *rest)

    monkeypatch.setattr(stacked_minibatch, "StackedMinibatchPass", Short)
    return tried


@pytest.mark.parametrize(
    "error",
    [
        torch.OutOfMemoryError("CUDA out of memory"),
        RuntimeError("DefaultCPUAllocator: not enough memory: you tried"),
    ],
)
def test_a_stack_that_memory_does_not_hold_is_halved(
    monkeypatch: pytest.MonkeyPatch, error: Exception
) -> None:
    archs = [TOY.architecture(index) for index in range(13, 24)]
    batch = make_batch(8, (3, 8, 8))
    expected = StackEvaluator(TOY, "toy", batch, PLAN)(archs)
    tried = refuse(monkeypatch, 3, error)
    evaluator = StackEvaluator(TOY, "toy", batch, PLAN)
    assert_same(evaluator(archs), expected, 1e-4)
    assert tried == [11, 5, 2, 2, 2, 2, 2]  # and one alone, by the other engine
    assert evaluator.most == 2
    del tried[:]
    evaluator(archs[:4])
    assert tried == [2, 2]  # what was learned is kept


def test_down_to_one_network_and_then_out_of_memory(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    tried = refuse(monkeypatch, 0, torch.OutOfMemoryError("CUDA out of memory"))

    def full(*_: object) -> None:
        raise torch.OutOfMemoryError("CUDA out of memory")

    monkeypatch.setattr(MinibatchPass, "__init__", full)
    archs = [TOY.architecture(index) for index in (13, 14, 15)]
    plan = make_plan(PROXIES.select("snip,params"))
    found = StackEvaluator(TOY, "toy", make_batch(8, (3, 8, 8)), plan)(archs)
    assert tried == [3]
    for evaluation in found:
        assert evaluation.scores["snip"].status == "oom"
        assert evaluation.scores["params"].status == "ok"


def test_another_failure_of_a_pass_is_a_status_of_its_proxies(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    tried = refuse(monkeypatch, 0, ValueError("broken"))
    archs = [TOY.architecture(index) for index in (13, 14, 15)]
    found = StackEvaluator(TOY, "toy", make_batch(8, (3, 8, 8)), PLAN)(archs)
    assert tried == [3]
    for evaluation in found:
        assert evaluation.scores["snip"].status == "error"
        assert evaluation.scores["snip"].message == "ValueError: broken"
        assert evaluation.scores["zen"].status == "ok"


def test_a_stack_after_one_network_alone_has_its_vkdnw() -> None:
    """Both read the same Gaussian images, which one must leave as they are."""
    plan = make_plan(PROXIES.select("vkdnw"))
    evaluator = StackEvaluator(TOY, "toy", make_batch(4, (3, 8, 8)), plan)
    archs = [TOY.architecture(index) for index in (26, 7, 0)]
    expected = evaluator(archs)
    evaluator(archs[:1])
    assert_same(evaluator(archs), expected)


def test_the_graph_is_freed_when_a_backward_fails(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    alive: list = []
    monkeypatch.setattr(Rules, "features", lambda _, x: _Tracked.apply(x, alive))

    def full(*_: object) -> None:
        raise torch.OutOfMemoryError("CUDA out of memory")

    monkeypatch.setattr(StackedLayer, "image_gradients", full)
    stack = TOY.stack([TOY.architecture(index) for index in (26, 13)], "toy")
    subject = StackedSubject(stack, make_batch(8, (3, 8, 8)), 0)
    needs = frozenset({zcbench.SignAgreement, zcbench.TangentKernel})
    made = make_records(subject, needs, Clock(torch.device("cpu")))
    assert {record.status for record in made.values()} == {"oom"}
    gc.collect()
    assert alive
    assert not [token for token in alive if token() is not None]


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


@pytest.mark.parametrize(
    "names", few(["snip", "fisher", "grasp", "jacov", ",".join(NAMES)], 4)
)
def test_the_graph_is_freed(monkeypatch: pytest.MonkeyPatch, names: str) -> None:
    alive: list = []
    monkeypatch.setattr(Rules, "features", lambda _, x: _Tracked.apply(x, alive))
    archs = [TOY.architecture(index) for index in (26, 13)]
    plan = make_plan(PROXIES.select(names))
    StackEvaluator(TOY, "toy", make_batch(8, (3, 8, 8)), plan)(archs)
    gc.collect()
    assert alive
    assert not [token for token in alive if token() is not None]


# Layers and routing, against plain loops.


def doubles(*shape: int, seed: int = 0) -> Tensor:
    g = torch.Generator().manual_seed(seed)
    return torch.randn(shape, generator=g, dtype=torch.float64)


@pytest.mark.parametrize(("kernel", "stride"), [(1, 1), (3, 1), (3, 2)])
def test_a_stacked_layer_is_its_networks_layers(kernel: int, stride: int) -> None:
    n, members, c_in, c_out, size = 3, (0, 2, 5, 6), 2, 5, 8
    weight = doubles(c_out, c_in, kernel, kernel)
    layer = StackedLayer("x", members, weight, stride=stride)
    x = doubles(n, len(members) * c_in, size, size, seed=1)
    own = doubles(len(members), *weight.shape, seed=2)
    delta = doubles(n, len(members) * c_out, size // stride, size // stride, seed=3)
    by_shared, by_own = layer(x), layer.forward_each(x, own)
    for g in range(len(members)):
        mine = x[:, g * c_in : (g + 1) * c_in].clone().requires_grad_()
        theirs = delta[:, g * c_out : (g + 1) * c_out]
        shared, each = weight.clone().requires_grad_(), own[g].clone().requires_grad_()
        for kernels, found, before in (
            (shared, by_shared, layer.input_gradient(delta, x)),
            (each, by_own, layer.input_gradient_each(delta, x, own)),
        ):
            out = F.conv2d(mine, kernels, None, stride, kernel // 2)
            grad_x, grad_w = torch.autograd.grad(out, (mine, kernels), theirs)
            close(found[:, g * c_out : (g + 1) * c_out], out.detach())
            close(before[:, g * c_in : (g + 1) * c_in], grad_x)
            close(layer.weight_gradient(delta, x)[g], grad_w)


def close(found: Tensor, expected: Tensor) -> None:
    torch.testing.assert_close(found, expected, rtol=1e-12, atol=1e-12)


def test_a_stacked_linear_layer_is_a_linear_layer() -> None:
    weight, bias, x = doubles(4, 6), doubles(4, seed=1), doubles(3, 2 * 6, 1, 1, seed=2)
    layer = StackedLayer("classifier", (0, 1), weight, bias)
    expected = [F.linear(part.flatten(1), weight, bias) for part in x.split(6, 1)]
    close(layer(x).flatten(1), torch.cat(expected, 1))
    assert (layer.shape, layer.fan_in, layer.n_parameters) == ((4, 6), 6, 28)


def test_routing_takes_and_adds_the_right_channels() -> None:
    n, p, channels = 2, 4, 3
    members = [torch.tensor([1, 3]), torch.tensor([0, 1, 2])]
    maps = doubles(n, p * channels, 2, 2).requires_grad_()
    parts = take(maps, p, members)
    split = maps.detach().split(channels, 1)
    for part, index in zip(parts, members, strict=True):
        close(part.detach(), torch.cat([split[i] for i in index.tolist()], 1))
    total = add_up(parts, members, maps, p)
    factor = torch.tensor([1.0, 2, 1, 1]).repeat_interleave(channels)[:, None, None]
    close(total.detach(), maps.detach() * factor)  # network 1 is in both
    (grad,) = torch.autograd.grad(total.sum(), maps)
    close(grad, factor.double().expand_as(grad))
    assert torch.autograd.gradcheck(
        lambda x: add_up(take(x, p, members), members, x, p), maps
    )
    assert not add_up([], [], maps, p).any()


def test_rules_see_every_module_once_and_features_before_pooling() -> None:
    seen: list[object] = []

    class Watch(Rules):
        def layer(self, layer: StackedLayer, x: Tensor) -> Tensor:
            seen.append(layer)
            return super().layer(layer, x)

        def batchnorm(self, norm: StackedBatchNorm, x: Tensor) -> Tensor:
            seen.append(norm)
            return super().batchnorm(norm, x)

        def relu(self, relu: StackedReLU, x: Tensor) -> Tensor:
            seen.append(relu)
            return super().relu(relu, x)

        def features(self, x: Tensor) -> Tensor:
            assert x.shape == (2, 3 * 8, 4, 4)
            return x

    archs = [TOY.architecture(index) for index in (26, 7, 0)]
    stack = TOY.stack(archs, "toy")
    logits = stack(stack.images(make_batch(2, (3, 8, 8)).x), Watch())
    assert logits.shape == (2, 3, 4)
    kinds = (StackedLayer, StackedBatchNorm, StackedReLU)
    modules = [m for m in stack.modules() if isinstance(m, kinds)]
    assert len(seen) == len(set(seen))
    assert set(seen) == set(modules)


@pytest.mark.parametrize("dead", [True, False])
def test_dead_operations_are_run_without_gradients_or_not_at_all(dead: bool) -> None:
    class Watch(Rules):
        n = 0

        def layer(self, layer: StackedLayer, x: Tensor) -> Tensor:
            self.n += torch.is_grad_enabled()
            self.without += not torch.is_grad_enabled()
            return super().layer(layer, x)

    Watch.dead, Watch.without = dead, 0
    archs = [NB201.parse(spec_of(DEGENERATE[i])) for i in (4, 5)]
    stack, rules = NB201.stack(archs, "ImageNet16-120"), Watch()
    x = make_batch(2, (3, 8, 8)).x
    logits = stack(stack.images(x), rules)
    for p, arch in enumerate(archs):
        expected = NB201.build(arch, "ImageNet16-120")(x)
        torch.testing.assert_close(logits[:, p], expected, rtol=1e-4, atol=1e-5)
    # Live: stem, two blocks of three, classifier, and 2 edges of the second network.
    assert rules.n == 8 + 15 * 2
    assert rules.without == (15 * 4 if dead else 0)


# How many at once.


def test_largest_stack() -> None:
    assert largest_stack([10, 10, 10], free=30) == 3
    assert largest_stack([10, 10, 10], free=29) == 2
    assert largest_stack([10, 10, 10], free=0) == 1  # one is always tried
    assert largest_stack([1] * 1000, free=10**9) == MOST
    parts = list(stacks_that_fit([5, 20, 5, 5], free=15))
    assert parts == [slice(0, 1), slice(1, 2), slice(2, 4)]


def test_bytes_are_counted_by_hand_for_a_small_network() -> None:
    """Toy without operations: stem, block and classifier on 8×8 images."""
    gradients, second = zcbench.Gradients, zcbench.HessianGradient
    empty = TOY.architecture(0)
    maps = {  # layer: values of its input and output for one image
        "stem": (3 * 64, 4 * 64),
        "conv_a": (4 * 64, 8 * 16),
        "conv_b": (8 * 16, 8 * 16),
        "downsample": (4 * 16, 8 * 16),
        "classifier": (8, 4),
    }
    weights = 3 * 4 * 9 + 4 * 8 * 9 + 8 * 8 * 9 + 4 * 8 + 8 * 4 + 4
    for needs, of_output in ((gradients, 1), (second, 4)):
        kept = sum(before + of_output * after for before, after in maps.values())
        expected = 4 * (6 * (kept + 16 * 4 * 64) + 3 * weights)
        found = bytes_of_networks(TOY, [empty], "toy", 6, frozenset({needs}))
        assert found == [expected]


def test_a_kernel_of_the_minibatch_takes_gradients_of_sixteen_images() -> None:
    gradients = frozenset({zcbench.Gradients})
    needs = gradients | {zcbench.MinibatchKernel}
    arch = [NB201.architecture(5)]
    (less,), (more,) = (
        bytes_of_networks(NB201, arch, "cifar10", 4, records)
        for records in (gradients, needs)
    )
    n_weights = sum(p.numel() for p in NB201.build(arch[0], "cifar10").parameters())
    assert more - less == pytest.approx(4 * 16 * n_weights, rel=0.02)  # no BatchNorm


def test_bytes_grow_with_the_operations_and_do_not_depend_on_the_others() -> None:
    cells = [[NONE] * 6, DEGENERATE[4], [POOL] * 6, [CONV1] * 6, [CONV3] * 6]
    archs = [NB201.parse(spec_of(cell)) for cell in cells]
    needs = PLAN.records
    sizes = bytes_of_networks(NB201, archs, "cifar10", 64, needs)
    assert sizes[0] == sizes[1] == sizes[2] < sizes[3] < sizes[4]
    alone = [bytes_of_networks(NB201, [a], "cifar10", 64, needs)[0] for a in archs]
    assert sizes == alone
