"""The table of records: all of it can be made, and one line adds to it."""

from __future__ import annotations

import subprocess
import sys
from importlib import import_module
from itertools import groupby
from pathlib import Path

import pytest
import torch
from torch import nn
from torch.nn.utils import parametrizations

import zcbench
from zcbench.engine.evaluator import StackEvaluator
from zcbench.errors import UsageError
from zcbench.evaluate import evaluate
from zcbench.evidence import passes
from zcbench.evidence.minibatch_pass import MinibatchPass
from zcbench.evidence.records import ActivationKernel, Gradients, LinearRegions
from zcbench.evidence.subject import promises_plain
from zcbench.evidence.table import RECORDS, Making
from zcbench.plan import cost_class, evidence_of, make_plan
from zcbench.proxies import PROXIES
from zcbench.types import Batch, Proxy

TOY = zcbench.load_space("toy")
BATCH = Batch(
    torch.randn(6, 3, 8, 8, generator=torch.Generator().manual_seed(0)),
    torch.arange(6) % 3,
)
FILE = """
from dataclasses import dataclass

from zcbench.networks.stacked import Rules


@dataclass(frozen=True, slots=True)
class Spread:
    variance: float


def measure_spread(subject):
    return Spread(float(subject.network(subject.batch.x).detach().var()))


def measure_spreads(subject):
    logits = subject.network(subject.network.images(subject.batch.x), Rules())
    return [Spread(float(each.var())) for each in logits.detach().unbind(1)]
"""


@pytest.mark.parametrize("record", RECORDS, ids=lambda record: record.__name__)
def test_every_maker_is_there(record: type) -> None:
    making = RECORDS[record]
    for maker in filter(None, (making.maker, making.stacked)):
        module, name, *method = maker.split(":")
        found = getattr(import_module(module, "zcbench.evidence"), name)
        assert callable(found)
        if isinstance(found, type):
            assert all(hasattr(found, step) for step in method)
    assert getattr(zcbench, record.__name__) is record
    assert record.__name__ in dir(zcbench)
    if making.requires:
        assert list(RECORDS).index(making.requires) < list(RECORDS).index(record)


@pytest.fixture
def spread(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Proxy:
    """A record of a file, its line in the table, and a proxy that reads it."""
    (tmp_path / "spread_record.py").write_text(FILE, encoding="utf-8")
    monkeypatch.syspath_prepend(tmp_path)
    record = import_module("spread_record").Spread
    line = Making(
        ("spread",),
        "spread_record:measure_spread",
        stacked="spread_record:measure_spreads",
        forward_only=True,
    )
    monkeypatch.setitem(RECORDS, record, line)

    def my_spread(s: record) -> float:  # type: ignore[valid-type]
        return s.variance

    my_spread.__annotations__["s"] = record
    return Proxy("my_spread", my_spread, "nobody2024")


def test_one_line_adds_a_record(spread: Proxy) -> None:
    plan, arch = make_plan([spread]), TOY.architecture(26)
    assert plan.passes == ("spread",)
    assert cost_class(spread) == "forward"
    network = TOY.build(arch, "toy")
    expected = float(TOY.build(arch, "toy")(BATCH.x).detach().var())
    alone = evaluate(network, BATCH, plan)
    assert alone.scores["my_spread"].value == pytest.approx(expected, rel=1e-6)
    assert set(alone.seconds) == {"spread", "total"}
    archs = [arch, TOY.architecture(13)]
    stacked = StackEvaluator(TOY, "toy", BATCH, plan)(archs)
    assert stacked[0].scores["my_spread"].value == pytest.approx(expected, rel=1e-5)


def test_a_maker_that_fails_costs_its_own_proxies_alone(
    spread: Proxy, monkeypatch: pytest.MonkeyPatch
) -> None:
    (record,) = evidence_of(spread)
    monkeypatch.setitem(RECORDS, record, Making(("spread",), "spread_record:nothing"))
    plan = make_plan([spread, PROXIES.get("snip")])
    scores = evaluate(TOY.build(TOY.architecture(26), "toy"), BATCH, plan).scores
    assert scores["my_spread"].status == "error"
    assert "nothing" in scores["my_spread"].message
    assert scores["snip"].status == "ok"


def test_what_is_not_in_the_table_is_no_evidence(
    spread: Proxy, monkeypatch: pytest.MonkeyPatch
) -> None:
    (record,) = evidence_of(spread)
    monkeypatch.delitem(RECORDS, record)
    with pytest.raises(UsageError, match="not annotated with an evidence type"):
        make_plan([spread])


@pytest.mark.parametrize("way", ["maker", "stacked"])
def test_records_of_one_forward_are_neighbours(way: str) -> None:
    """Another between them would make the forward twice."""
    sources = [str(getattr(making, way)).split(":") for making in RECORDS.values()]
    runs = [key for key, _ in groupby(":".join(s[:2]) for s in sources if s[2:])]
    assert len(runs) == len(set(runs))
    together = [key for key, _ in groupby(":".join(s[:2]) for s in sources)]
    assert all(together.count(key) == 1 for key in runs)


@pytest.fixture
def made(monkeypatch: pytest.MonkeyPatch) -> list[MinibatchPass]:
    """Every pass over a minibatch whose forward was run."""
    passes, forward = list[MinibatchPass](), MinibatchPass._forward

    def counted(self: MinibatchPass) -> None:
        passes.append(self)
        forward(self)

    monkeypatch.setattr(MinibatchPass, "_forward", counted)
    return passes


def test_all_proxies_make_one_forward_of_the_minibatch(
    made: list[MinibatchPass],
) -> None:
    network = TOY.build(TOY.architecture(7), "toy")
    evaluate(network, BATCH, make_plan(PROXIES.select("all")))
    whole = [p for p in made if p.needs & {ActivationKernel, Gradients}]  # no draws
    assert len(whole) == 1


def test_one_forward_in_any_order_of_the_table(
    made: list[MinibatchPass], monkeypatch: pytest.MonkeyPatch
) -> None:
    regions = RECORDS[LinearRegions]
    between = {ActivationKernel: RECORDS[ActivationKernel], LinearRegions: regions}
    monkeypatch.setattr(passes, "RECORDS", {**between, **RECORDS})
    network = TOY.build(TOY.architecture(7), "toy")
    evaluate(network, BATCH, make_plan(PROXIES.select("nwot,lin_regions,snip")))
    assert len(made) == 1


def test_the_table_imports_no_torch() -> None:
    code = "import sys, zcbench.plan; assert 'torch' not in sys.modules"
    subprocess.run([sys.executable, "-c", code], check=True)


def test_a_star_import_has_functions_and_records() -> None:
    names: dict[str, object] = {}
    exec("from zcbench import *", names)
    assert names["Gradients"] in RECORDS
    assert names["run"] is zcbench.run


def test_outputs_of_rounding_alone_are_not_ranked() -> None:
    # What LayerNorm gives sums to 0: with weights of 1 nothing but rounding is left.
    network = nn.Sequential(nn.Flatten(), nn.LayerNorm(192), nn.Linear(192, 10))
    x = torch.randn(16, 3, 8, 8, generator=torch.Generator().manual_seed(0))
    score = zcbench.score(network, zcbench.Batch(x, torch.arange(16) % 10), "epsinas")
    assert score["epsinas"].status == "undefined"
    assert "rounding" in score["epsinas"].message


class Forward(nn.Module):
    """A network that is what a function says, with two layers to use."""

    def __init__(self, forward) -> None:
        super().__init__()
        self.conv, self.head = nn.Conv2d(3, 8, 3), nn.Linear(8, 8)
        self.function = forward

    def forward(self, x):
        return self.function(self, x)


def pooled(n: Forward, x: torch.Tensor) -> torch.Tensor:
    return n.conv(x).relu().mean((2, 3))


@pytest.mark.parametrize(
    "forward",
    [
        lambda n, x: n.head(pooled(n, x.float())),
        lambda n, x: n.head(pooled(n, x) @ torch.eye(8)),
        lambda n, x: n.head(pooled(n, x).bfloat16().float()),
        lambda n, x: n.head(nn.functional.dropout(pooled(n, x), 0.5)),
        lambda n, x: n.head(added(pooled(n, x))),
        lambda n, x: n.head(pooled(n, checked(x))),
    ],
)
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_what_only_works_in_float32_has_outputs_of_its_own(forward, dtype) -> None:
    torch.manual_seed(0)
    batch = zcbench.Batch(torch.randn(2, 3, 8, 8).to(dtype), torch.arange(2))
    for seed in range(5):
        network = Forward(forward)
        score = zcbench.score(network, batch, "epsinas", seed=seed)["epsinas"]
        assert score.status == "ok", score.message


def added(x: torch.Tensor) -> torch.Tensor:
    """The same, by a write into what the forward makes."""
    return torch.zeros(x.shape).index_add_(1, torch.arange(x.shape[1]), x)


def checked(x: torch.Tensor) -> torch.Tensor:
    """Images that must be of one type."""
    if x.dtype != torch.float32:
        raise TypeError(x.dtype)
    return x


class Tied(nn.Sequential):
    """Two layers with one weight, of which module hooks see one."""

    def __init__(self) -> None:
        one, two = nn.Conv2d(3, 3, 3), nn.Conv2d(3, 3, 3)
        two.weight = one.weight
        super().__init__(one, nn.ReLU(), two, nn.Flatten(), nn.Linear(48, 5))


def test_a_promise_that_tied_weights_break_changes_no_score() -> None:
    torch.manual_seed(0)
    network = Tied()
    names = "gradsign,ntk_trace,zico,fisher,grasp,knas,snip,synflow,nwot"
    expected = zcbench.score(network, BATCH, names)
    network.plain_layers = network.linear_outside_layers = True
    found = zcbench.score(network, BATCH, names)
    for name, score in expected.items():
        assert (found[name].status, found[name].value) == (score.status, score.value)
    assert {score.status for score in expected.values()} == {"ok"}


def test_weights_that_are_made_anew_are_not_tied() -> None:
    network = nn.Sequential(*(nn.Linear(4, 4) for _ in range(5)))
    for layer in network:
        parametrizations.weight_norm(layer)
    network.plain_layers = True
    assert promises_plain(network)
