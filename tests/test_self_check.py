"""Wrong kernels are planted; none of their numbers may reach a table."""

from __future__ import annotations

import dataclasses
import json
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from click.testing import CliRunner
from levels import few
from torch import Tensor, nn

import zcbench
import zcbench.evaluate
from zcbench.cli import main
from zcbench.config import RunConfig
from zcbench.engine import evaluator, run
from zcbench.engine.self_check import check, is_needed, questions, taking, ways_on
from zcbench.engine.self_check import networks as sample
from zcbench.engine.self_check.check import find
from zcbench.engine.self_check.compare import difference, numbers_of
from zcbench.engine.self_check.networks import images, networks_of, without_noise
from zcbench.engine.self_check.questions import OfSpace
from zcbench.evidence import minibatch_pass
from zcbench.evidence.passes import Missing
from zcbench.evidence.records import (
    FreshNetwork,
    Gradients,
    InputCorrelation,
    Structure,
)
from zcbench.evidence.spectra import Attention, HiddenDimensions, SynapticDiversity
from zcbench.evidence.streams import Activations, ImageGradients
from zcbench.evidence.table import RECORDS
from zcbench.plan import make_plan
from zcbench.proxies import PROXIES
from zcbench.report import make_report
from zcbench.store import load_run, read_records
from zcbench.types import Proxy

pytestmark = pytest.mark.usefixtures("few_draws")

OFFERED = [record for record in RECORDS if RECORDS[record].stacked]
DOCS = Path(__file__).resolve().parent.parent / "docs"
TOY = RunConfig(
    space="toy",
    n=2,
    batch_size=4,
    truth="none",
    workers=1,
    device="cpu",
    minibatch="builtin",
)
POOLED = (
    "|avg_pool_3x3~0|+|nor_conv_3x3~0|avg_pool_3x3~1|+|skip_connect~0|none~1|none~2|"
)
NB201 = zcbench.load_space("nb201")


class Switch:
    """Whether the planted fault is at work: not where the exact records are made."""

    on = True


@pytest.fixture
def switch(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Switch:
    """Checks the CPU, too, with a cache of its own, on a sample of few networks."""
    monkeypatch.setattr(sample, "_N_CANDIDATES", 6)
    monkeypatch.setenv("ZCBENCH_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("ZCBENCH_SELF_CHECK", "always")
    switch = Switch()
    exact = questions.Question.exact

    def without_fault(question: questions.Question) -> object:
        switch.on = False
        try:
            return exact(question)
        finally:
            switch.on = True

    monkeypatch.setattr(questions.Question, "exact", without_fault)
    return switch


def manifest(path: Path) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((path / "manifest.json").read_text())
    return found


@contextmanager
def wrong_pooling(wrong: Callable[[Tensor], bool]) -> Iterator[None]:
    """The CPU's kernel for the backward of average pooling is wrong for some tensors.

    Where the padding is not counted, as cuDNN has been. Mirrored: BatchNorm would take
    a constant out again.
    """

    def backward(
        grad: Tensor,
        x: Tensor,
        size: list[int],
        stride: list[int],
        padding: list[int],
        ceil: bool,
        count: bool,
        divisor: int | None,
    ) -> Tensor:
        del ceil, divisor
        if not padding[0]:
            assert size == (stride or size)
            return F.interpolate(grad, scale_factor=float(size[0])) / size[0] ** 2
        assert stride == [1, 1]
        assert not count
        ones = torch.ones_like(x)
        counts = size[0] ** 2 * F.avg_pool2d(ones, size[0], 1, padding[0])
        area = size[0] ** 2
        right = area * F.avg_pool2d(grad / counts, size[0], 1, padding[0])
        return right.flip(3) if wrong(grad) else right

    library = torch.library.Library("aten", "IMPL")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # it says that there is a kernel already
        library.impl("avg_pool2d_backward", backward, "CPU")
    try:
        yield
    finally:
        library._destroy()


@pytest.mark.thorough
def test_without_a_fault_all_agrees_and_the_scores_stay(
    tmp_path: Path, switch: Switch, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = replace(TOY, stack=2)
    checked = run(replace(config, out=tmp_path / "checked"))
    (found,) = manifest(checked)["device_check"]
    assert found["agreed"]
    assert list(found["checks"]) == ["as asked"]
    assert len(found["networks"]) >= 3
    records = {r.__name__ for r in make_plan(PROXIES.select("all")).records}
    stacked = {f"{r.__name__} (stacked)" for r in OFFERED if r.__name__ in records}
    assert len(stacked) > 20
    assert records | stacked <= set(found["checks"]["as asked"])
    monkeypatch.delenv("ZCBENCH_SELF_CHECK")
    plain = run(replace(config, out=tmp_path / "plain"))
    assert "device_check" not in manifest(plain)
    for a, b in zip(read_records(checked), read_records(plain), strict=True):
        assert a["scores"] == b["scores"]
        assert "device_check" not in a


def test_the_cache_answers_the_second_time_and_a_broken_one_does_not(
    tmp_path: Path, switch: Switch, monkeypatch: pytest.MonkeyPatch
) -> None:
    calls = []
    compare = check.compare
    monkeypatch.setattr(check, "compare", lambda q: calls.append(q) or compare(q))
    config = replace(TOY, proxies=("snip",))
    first = run(replace(config, out=tmp_path / "first"))
    second = run(replace(config, out=tmp_path / "second"))
    assert len(calls) == 1
    assert manifest(first)["device_check"] == manifest(second)["device_check"]
    run(replace(config, proxies=("zen",), out=tmp_path / "third"))
    assert len(calls) == 2
    for file in (tmp_path / "cache" / "self_check").glob("*.json"):
        file.write_text('{"about":')
    run(replace(config, out=tmp_path / "fourth"))
    assert len(calls) == 3


def test_a_cache_that_cannot_be_written_is_no_hindrance(
    tmp_path: Path, switch: Switch, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("ZCBENCH_CACHE", str(tmp_path / "file"))
    path = run(replace(TOY, proxies=("snip",), out=tmp_path / "run"))
    assert manifest(path)["device_check"][0]["agreed"]


@pytest.mark.thorough
@pytest.mark.parametrize("stack", [1, 2])
def test_a_kernel_that_is_wrong_in_float32_is_gone_around_in_float64(
    tmp_path: Path, switch: Switch, stack: int
) -> None:
    archs = tmp_path / "archs.txt"
    archs.write_text(f"{POOLED}\n11111\n")
    config = RunConfig(
        space="nb201",
        datasets=("ImageNet16-120",),
        archs=archs,
        proxies=("params", "grad_norm", "synflow"),
        batch_size=4,
        truth="none",
        workers=1,
        device="cpu",
        minibatch="builtin",
        stack=stack,
    )
    with pytest.MonkeyPatch.context() as patch:
        patch.delenv("ZCBENCH_SELF_CHECK")
        right = run(replace(config, out=tmp_path / "right"))
    with wrong_pooling(lambda grad: grad.dtype == torch.float32):
        path = run(replace(config, out=tmp_path / "run"))
    (found,) = manifest(path)["device_check"]
    assert not found["agreed"]
    assert found["taken"] == {"grad_norm": "float64"}
    suffix = " (stacked)" if stack > 1 else ""
    assert found["checks"]["as asked"]["Gradients" + suffix]["difference"] > 0.1
    pairs = zip(read_records(path), read_records(right), strict=True)
    for here, there in pairs:
        assert here["status"] == {}
        for name, value in there["scores"].items():
            assert here["scores"][name] == pytest.approx(value, rel=5e-3)


def test_a_kernel_that_is_always_wrong_leaves_no_number(
    tmp_path: Path, switch: Switch
) -> None:
    words = "run --space nb201 --datasets ImageNet16-120 --n 3 --batch-size 4"
    words += " --workers 1 --device cpu --minibatch builtin"
    words += " --proxies params,snip,jacov"
    path = tmp_path / "run"
    with wrong_pooling(lambda _: switch.on):
        result = CliRunner().invoke(main, [*words.split(), "--out", str(path)])
    assert result.exit_code == 0, result.output
    assert "the record Gradients disagrees with the CPU in float64" in result.stderr
    for record in read_records(path):
        for name in ("snip", "jacov"):
            assert record["scores"][name] is None
            assert record["status"][name] == "error"
            assert "disagrees with the CPU in float64" in record["messages"][name]
        assert record["scores"]["params"] > 0
    report = make_report([load_run(path)])
    (line,) = [n for n in report.table.attrs["notes"] if "Gradients" in n]
    about = "nb201 ImageNet16-120: on cpu the record Gradients disagrees"
    assert line.startswith(about)
    assert line.endswith("; snip have no scores")
    table = report.table.set_index("proxy")
    assert table.loc["snip", "n"] == 0
    assert table.loc["params", "n"] == 3


def sum_activations(a: Activations) -> float:
    return sum(a.map(lambda _, x: float(x.abs().sum())))


def sum_gradients(g: ImageGradients) -> float:
    return sum(g.map(lambda _, d: float(d.abs().sum())))


STREAMS = {
    Activations: Proxy("sum_activations", sum_activations, "nobody2024"),
    ImageGradients: Proxy("sum_gradients", sum_gradients, "nobody2024"),
}
"""Proxies for records that no built-in one reads."""


@pytest.fixture
def streams() -> Iterator[None]:
    for proxy in STREAMS.values():
        PROXIES.add(proxy.name, proxy)
    yield
    for proxy in STREAMS.values():
        PROXIES.remove(proxy.name)


def corrupted(record: Any) -> Any:
    """The record with every number half as large again."""
    if isinstance(record, Missing):
        return record
    if isinstance(record, FreshNetwork):
        with torch.no_grad():
            for parameter in record.network.parameters():
                parameter.mul_(1.5)
        return record
    if isinstance(record, Activations | ImageGradients):
        return replace(
            record, map=lambda f: record.map(lambda name, x: f(name, 1.5 * x))
        )
    changed = {}
    for field in dataclasses.fields(record):
        value = getattr(record, field.name)
        if isinstance(value, tuple):
            changed[field.name] = tuple(1.5 * one for one in value)
        else:
            changed[field.name] = 1.5 * value
    return replace(record, **changed)


def proxies_that_read(record: type) -> tuple[str, ...]:
    if record in STREAMS:
        return (STREAMS[record].name,)
    names = "all,epsinas,vkdnw,swap[weights=own],meco[image=gaussian]"
    names = "nngp" if record is FreshNetwork else names
    proxies = PROXIES.select(names)
    plan = make_plan(proxies)
    return tuple(p.name for p in proxies if record in plan.needs[p.name])


@pytest.mark.parametrize(
    ("record", "precision"),
    [
        *few(
            (
                (r, "float32")
                for r in dict.fromkeys((Gradients, Activations, FreshNetwork, *RECORDS))
                if r not in (Attention, HiddenDimensions, SynapticDiversity)
            ),
            6,
        ),
        *((r, "bf16") for r in (Gradients, InputCorrelation, Structure)),
    ],
    ids=lambda value: getattr(value, "__name__", value),
)
def test_a_wrong_record_is_caught(
    record: type,
    precision: str,
    tmp_path: Path,
    switch: Switch,
    streams: None,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    gather = zcbench.evaluate.gather

    def wrong(*args: Any, **more: Any) -> Any:
        evidence, remarks = gather(*args, **more)
        if switch.on and record in evidence:
            evidence = {**evidence, record: corrupted(evidence[record])}
        return evidence, remarks

    monkeypatch.setattr(zcbench.evaluate, "gather", wrong)
    monkeypatch.setattr(questions, "gather", wrong)
    readers = proxies_that_read(record)
    assert readers
    other = "l2_norm" if "l2_norm" not in readers else "n_layers"
    config = replace(TOY, proxies=(*readers, other), precision=precision)
    path = run(replace(config, out=tmp_path / "run"))
    for line in read_records(path):
        for name in readers:
            assert line["scores"][name] is None
            assert line["status"][name] == "error"
            assert f"record {record.__name__} disagrees" in line["messages"][name]
        assert line["scores"][other] is not None


@pytest.mark.parametrize(
    "record",
    few(sorted(filter(proxies_that_read, OFFERED), key=lambda r: r.__name__), 3),
    ids=lambda record: record.__name__,
)
def test_a_wrong_record_of_a_stack_is_caught(
    record: type, tmp_path: Path, switch: Switch, monkeypatch: pytest.MonkeyPatch
) -> None:
    make_records = evaluator.make_records

    def wrong(*args: Any, **more: Any) -> Any:
        records = make_records(*args, **more)
        return records | {record: [corrupted(each) for each in records[record]]}

    monkeypatch.setattr(evaluator, "make_records", wrong)
    readers = proxies_that_read(record)
    path = run(replace(TOY, stack=2, proxies=readers, out=tmp_path / "run"))
    for line in read_records(path):
        for name in readers:
            assert line["scores"][name] is None
            assert f"{record.__name__} (stacked) dis" in line["messages"][name]


def test_what_could_not_be_made_is_asked_again(
    tmp_path: Path, switch: Switch, monkeypatch: pytest.MonkeyPatch
) -> None:
    gather = questions.gather

    def short_of_memory(*args: Any, **more: Any) -> Any:
        evidence, remarks = gather(*args, **more)
        missing = Missing("oom", "CUDA out of memory")
        return dict.fromkeys(evidence, missing) if switch.on else evidence, remarks

    monkeypatch.setattr(questions, "gather", short_of_memory)
    path = run(replace(TOY, proxies=("snip",), out=tmp_path / "run"))
    for line in read_records(path):
        assert "(not made: CUDA out of memory)" in line["messages"]["snip"]
    monkeypatch.setattr(questions, "gather", gather)
    run(replace(TOY, proxies=("snip",), out=path))  # errors are tried again
    assert all(line["scores"]["snip"] is not None for line in read_records(path))
    wrong, right = manifest(path)["device_check"]
    assert not wrong["agreed"]
    assert right["agreed"]


def test_some_flipped_codes_are_caught(
    tmp_path: Path, switch: Switch, monkeypatch: pytest.MonkeyPatch
) -> None:
    codes_of = minibatch_pass.codes_of

    def flipped(value: Tensor) -> Tensor:
        codes = codes_of(value)
        if switch.on:
            codes[0, ::20] = 1 - codes[0, ::20]
        return codes

    monkeypatch.setattr(minibatch_pass, "codes_of", flipped)
    names = ("nwot", "swap")
    path = run(replace(TOY, proxies=names, out=tmp_path / "run"))
    for line in read_records(path):
        assert line["scores"] == dict.fromkeys(names)


def test_a_formula_that_the_device_gets_wrong_is_caught(
    tmp_path: Path, switch: Switch, monkeypatch: pytest.MonkeyPatch
) -> None:
    norm = Tensor.norm

    def wrong(self: Tensor, *args: Any, **more: Any) -> Tensor:
        found: Tensor = norm(self, *args, **more)
        return found * 1.5 if self.dtype == torch.float32 else found

    monkeypatch.setattr(Tensor, "norm", wrong)
    path = run(replace(TOY, proxies=("grad_norm", "snip"), out=tmp_path / "run"))
    (found,) = manifest(path)["device_check"]
    assert found["taken"] == {"grad_norm": "float64"}
    assert "the formula grad_norm disagrees" in found["reasons"]["grad_norm"]


def test_bf16_agrees(tmp_path: Path, switch: Switch) -> None:
    names = ("snip", "nwot", "jacov", "zen", "fisher")
    config = replace(TOY, proxies=names, precision="bf16")
    path = run(replace(config, out=tmp_path / "run"))
    assert manifest(path)["device_check"][0]["agreed"]


@pytest.mark.thorough
def test_other_processes_check_too(tmp_path: Path, switch: Switch) -> None:
    path = run(replace(TOY, proxies=("snip",), workers=2, out=tmp_path / "run"))
    (found,) = manifest(path)["device_check"]
    assert found["agreed"]
    assert all("device_check" not in line for line in read_records(path))


def small(seed: int = 0) -> nn.Module:
    torch.manual_seed(seed)
    return nn.Sequential(
        nn.Conv2d(3, 4, 3, padding=1),
        nn.BatchNorm2d(4),
        nn.ReLU(),
        nn.AvgPool2d(3, 1, 1, count_include_pad=False),
        nn.Conv2d(4, 4, 3),
        nn.BatchNorm2d(4),
        nn.ReLU(),
        nn.Dropout(0.5),
        nn.AdaptiveAvgPool2d(1),
        nn.Flatten(),
        nn.Linear(4, 5),
    )


def test_a_network_of_ones_own_is_checked_itself(switch: Switch) -> None:
    batch = zcbench.Batch(torch.randn(6, 3, 8, 8), torch.arange(6) % 5)
    names = ["params", "grad_norm"]
    right = zcbench.score(small(), batch, names)
    assert {s.status for s in right.values()} == {"ok"}
    for file in (Path(check.cache_dir()) / "self_check").glob("*.json"):
        file.unlink()
    with wrong_pooling(lambda _: switch.on):
        wrong = zcbench.score(small(), batch, names)
    assert wrong["grad_norm"].value is None
    assert "on cpu the record Gradients disagrees" in wrong["grad_norm"].message
    assert wrong["params"].value == right["params"].value


@pytest.mark.thorough
def test_networks_have_every_operation_of_the_space() -> None:
    specs = " ".join(arch.spec for arch in networks_of(NB201, "cifar10"))
    words = ("none", "skip_connect", "nor_conv_1x1", "nor_conv_3x3", "avg_pool_3x3")
    assert [word for word in words if word not in specs] == []
    batch = images(next(iter(zcbench.load_space("fcnet").tasks.values())))
    assert batch.loss == "mse"
    assert batch.y.is_floating_point()


def test_a_space_whose_networks_all_fail_is_the_runs_affair(
    tmp_path: Path, switch: Switch, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object, **__: object) -> nn.Module:
        raise RuntimeError("no network")

    monkeypatch.setattr(type(zcbench.load_space("toy")), "build", fail)
    path = run(replace(TOY, proxies=("snip",), out=tmp_path / "run"))
    for line in read_records(path):
        assert line["messages"]["snip"] == "RuntimeError: no network"


def test_differences() -> None:
    weights = (torch.tensor([3.0, 4.0]), torch.tensor([1e-9]))
    exact = numbers_of(Gradients(weights, weights))
    off = (torch.tensor([3.0, 4.5]), torch.tensor([1e-9]))
    assert difference(exact, exact) == 0
    found = numbers_of(Gradients(weights, off))
    assert difference(found, exact) == pytest.approx(0.1)
    broken = (torch.tensor([3.0, torch.nan]), torch.tensor([1e-9]))
    assert difference(numbers_of(Gradients(weights, broken)), exact) == 1
    nan = numbers_of(Gradients(weights, broken))
    assert difference(nan, nan) == 0
    missing = Missing("undefined", "no gradient")
    assert difference(missing, missing) == 0
    assert difference(exact, missing) is None
    assert difference(missing, exact) is None


def test_ways() -> None:
    cuda, cpu, mps = (torch.device(name) for name in ("cuda", "cpu", "mps"))
    assert ways_on(cuda, torch.float32) == ("as asked", "cuDNN off", "float64")
    assert ways_on(cpu, torch.float64) == ("as asked",)
    assert ways_on(mps, torch.float32) == ("as asked",)
    before = torch.backends.cudnn.enabled
    with taking("cuDNN off"):
        assert not torch.backends.cudnn.enabled
    assert torch.backends.cudnn.enabled == before
    assert is_needed("cuda:1")
    assert not is_needed("cpu")


def test_noise_is_taken_out() -> None:
    network = without_noise(small()).train()
    x = torch.randn(4, 3, 8, 8)
    assert torch.equal(network(x), network(x))


@pytest.mark.thorough
def test_the_doctor_tells_what_the_check_finds(
    switch: Switch, monkeypatch: pytest.MonkeyPatch
) -> None:
    from zcbench.cli import doctor

    monkeypatch.setattr(doctor, "_CHECKS", {"self-check": doctor._self_checks})
    few = make_plan(PROXIES.select("snip,nwot"))  # the records of all take a minute
    monkeypatch.setattr("zcbench.plan.make_plan", lambda _: few)
    result = CliRunner().invoke(main, ["doctor"])
    assert result.exit_code == 0, result.output
    assert "cpu agrees with the CPU in float64" in result.stdout
    monkeypatch.delenv("ZCBENCH_SELF_CHECK")
    result = CliRunner().invoke(main, ["doctor"])
    assert "the CPU in float64 is what others are checked against" in result.stdout


def test_every_record_has_a_bound_and_the_docs_tell_it() -> None:
    text = (DOCS / "precision.md").read_text(encoding="utf-8")
    for record, making in RECORDS.items():
        cells = " | ".join(f"{bound:g}" for bound in making.bounds)
        assert f"| {record.__name__} | {cells} |" in text


def test_a_question_is_kept_by_all_that_its_answer_depends_on() -> None:
    def key(**more: Any) -> object:
        plan = make_plan(PROXIES.select(more.pop("proxies", "snip")))
        device = torch.device("cpu")
        return OfSpace(NB201, "cifar10", plan, device, **more).key

    others = [key(proxies="zen"), key(precision="bf16"), key(stacked=True)]
    others.append(key(code="x"))
    assert all(other != key() for other in others)
    assert callable(find)
