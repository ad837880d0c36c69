"""Runs that score several networks at once (``--stack``)."""

from __future__ import annotations

import itertools
import json
from collections import Counter
from dataclasses import replace
from pathlib import Path

import pytest
from click.testing import CliRunner

from zcbench.cli import main
from zcbench.config import RunConfig
from zcbench.engine import InterruptedRunError, memory, run
from zcbench.engine.dry_run import dry_run
from zcbench.engine.observer import Observer
from zcbench.engine.stacks import resolve, stacks_of
from zcbench.engine.work import Evaluator, Setup, WorkItem
from zcbench.errors import UsageError
from zcbench.proxies import PROXIES as REGISTRY
from zcbench.store import load_run, read_records

PROXIES = ("params", "snip", "grasp", "jacov", "synflow", "zen")
TOY = RunConfig(
    space="toy",
    n="all",
    batch_size=8,
    truth="none",
    workers=1,
    minibatch="builtin",
    proxies=PROXIES,
)
NB201 = Setup("nb201", 0, 4, "builtin", "cpu", 1)


@pytest.fixture(scope="module")
def alone(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return run(replace(TOY, out=tmp_path_factory.mktemp("r") / "run"))


@pytest.fixture(scope="module")
def stacked(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return run(replace(TOY, stack=8, out=tmp_path_factory.mktemp("r") / "run"))


def scores_of(path: Path) -> dict[int, dict[str, float | None]]:
    lines = list(read_records(path))
    assert len({line["index"] for line in lines}) == len(lines)  # nothing doubled
    return {line["index"]: line["scores"] for line in lines}


def test_stacked_scores_are_the_same_to_rounding(alone: Path, stacked: Path) -> None:
    one, many = load_run(alone), load_run(stacked)
    one, many = (t.set_index("index").sort_index() for t in (one, many))
    assert list(one["status"]) == list(many["status"])
    for name in PROXIES:
        scale = one[name].abs().median()
        tolerance = 1e-3 if name == "grasp" else 1e-5
        assert ((one[name] - many[name]).abs().max()) <= tolerance * scale, name
        assert list(one[name].isna()) == list(many[name].isna())
    for seconds in many["seconds"]:
        assert set(seconds["proxies"]) == set(PROXIES)
        assert seconds["total"] > 0


def test_through_the_command_line(alone: Path, stacked: Path, tmp_path: Path) -> None:
    words = "run --space toy --n all --batch-size 8 --truth none --workers 1"
    words += f" --minibatch builtin --proxies {','.join(PROXIES)} --stack 8"
    result = CliRunner().invoke(main, [*words.split(), "--out", str(tmp_path / "run")])
    assert result.exit_code == 0, result.output
    assert scores_of(tmp_path / "run") == scores_of(stacked)  # to the last bit
    manifests = [
        json.loads((path / "manifest.json").read_text())["config"]["stack"]
        for path in (alone, tmp_path / "run")
    ]
    assert manifests == [1, 8]


def test_a_run_goes_on_with_its_own_stack_only(stacked: Path) -> None:
    with pytest.raises(UsageError) as caught:
        run(replace(TOY, stack=4, out=stacked))
    assert str(caught.value) == (
        f"{stacked} is a run of another configuration: stack is 8 there, 4 here. "
        "Use --stack 8, or give another --out."
    )


def test_interrupted_and_resumed_it_misses_nothing(
    stacked: Path, tmp_path: Path
) -> None:
    class Impatient(Observer):
        n = 0

        def advance(self, failed: int) -> None:
            self.n += 1
            if self.n == 11:  # in the middle of the second stack
                raise KeyboardInterrupt

    config = replace(TOY, stack=8, out=tmp_path / "run")
    with pytest.raises(InterruptedRunError):
        run(config, Impatient())
    assert len(scores_of(tmp_path / "run")) == 11
    run(config)
    found, expected = scores_of(tmp_path / "run"), scores_of(stacked)
    assert set(found) == set(expected)
    for index, scores in expected.items():
        known = {name: value for name, value in scores.items() if value is not None}
        assert {n: found[index][n] for n in known} == pytest.approx(known, rel=1e-3)


KILLER = """
import os
import signal
import zcbench

@zcbench.proxy(reference="none")
def killer(s: zcbench.Structure) -> float:
    if s.n_params == {n_params}:
        os.kill(os.getpid(), signal.SIGKILL)
    return 1.0
"""


def test_a_network_that_kills_its_worker_costs_the_others_nothing(
    alone: Path, tmp_path: Path
) -> None:
    """Those that were stacked with it are tried again, each alone."""
    (tmp_path / "archs").write_text("26\n0\n13\n")
    plugin = tmp_path / "killer.py"
    plugin.write_text(KILLER.format(n_params=scores_of(alone)[26]["params"]))
    names = ("snip", "killer")
    config = replace(TOY, archs=tmp_path / "archs", plugin=(plugin,), proxies=names)
    try:
        run(replace(config, workers=2, stack=2, out=tmp_path / "run"))
    finally:
        REGISTRY.remove("killer")
    table = load_run(tmp_path / "run").set_index("index")
    assert sorted(table.index) == [0, 13, 26]
    assert table["status"][26] == {"killer": "error"}
    assert list(table["killer"][[0, 13]]) == [1.0, 1.0]
    # 0 shared its stack with 26 and was then scored alone: to the last bit.
    assert table["snip"][0] == scores_of(alone)[0]["snip"]


def items_of(*datasets: str, n: int = 5, proxies=("snip",)) -> list[WorkItem]:
    return [
        WorkItem(index, dataset, repeat, proxies)
        for index in range(n)
        for repeat in (0, 1)
        for dataset in datasets
    ]


def test_stacks_hold_one_dataset_repeat_and_set_of_proxies() -> None:
    items = items_of("cifar10", "cifar100") + items_of("cifar10", proxies=("zen",))
    stacks = list(stacks_of(replace(NB201, stack=4), items))
    assert Counter(itertools.chain(*stacks)) == Counter(items)
    for stack in stacks:
        assert len({(item.dataset, item.repeat, item.proxies) for item in stack}) == 1
    assert [len(stack) for stack in stacks] == [4] * 6 + [1] * 6
    first = {(stack[0].dataset, stack[0].repeat) for stack in stacks[:4]}
    assert len(first) == 4  # datasets advance together


@pytest.mark.parametrize(
    "changes",
    [
        {"stack": 1},
        {"stack": "auto"},
        {"stack": "auto", "device": "mps"},
        {"stack": 4, "space": "macro"},
        {"stack": 4, "precision": "bf16"},
    ],
    ids=str,
)
def test_one_at_a_time_keeps_the_order(changes: dict) -> None:
    items = items_of("cifar10", "cifar100")
    assert list(stacks_of(replace(NB201, **changes), items)) == [(i,) for i in items]


def test_on_cuda_auto_takes_what_memory_holds(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(memory, "memory_for_stacks", lambda device: 120 * 2**20)
    setup = replace(NB201, stack="auto", device="cuda", batch_size=64)
    items = [WorkItem(9_000, "ImageNet16-120", 0, ("snip",)) for _ in range(10)]
    sizes = [len(stack) for stack in stacks_of(setup, items)]
    assert sizes[0] > 1
    assert sum(sizes) == 10
    halves = [len(stack) for stack in stacks_of(setup, items, workers=2)]
    assert halves[0] == sizes[0] // 2


def test_what_auto_comes_to() -> None:
    assert resolve("auto", "cpu", "float32") == 1
    assert resolve("auto", "cuda:1", "float32") == "auto"
    assert resolve("auto", "cuda", "bf16") == 1
    assert resolve(3, "cpu", "float32") == 3


def test_a_failure_outside_the_passes_is_a_status_of_every_network(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    evaluator = Evaluator(Setup("toy", 0, 8, "builtin", "cpu", 1, stack=2))

    def broken(*_: object) -> None:
        raise ValueError("broken")

    monkeypatch.setattr(evaluator, "_evaluate", broken)
    items = [WorkItem(index, "toy", 0, ("snip", "zen")) for index in (13, 26)]
    records = evaluator.together(items)
    assert [record["index"] for record in records] == [13, 26]
    for record in records:
        assert record["status"] == {"snip": "error", "zen": "error"}
        assert record["messages"]["snip"] == "ValueError: broken"


def test_a_dry_run_measures_whole_stacks() -> None:
    lines = dry_run(replace(TOY, stack=4))
    assert lines[-1].endswith("measured on 4 each)")
    assert dry_run(TOY)[-1].endswith("measured on 3 each)")
