"""darts: strings, networks against a literal one, the table's three tasks."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from click.testing import CliRunner
from torch import nn

import zcbench
from zcbench.cli import main
from zcbench.conformance.spaces import check_space
from zcbench.errors import DataError
from zcbench.spaces.darts import Darts
from zcbench.types import Task

SPACE = Darts()
FIRST = (
    "(((0,0),(1,0),(0,0),(1,0),(0,0),(1,0),(0,0),(1,0))"
    ",((0,0),(1,0),(0,0),(1,0),(0,0),(1,0),(0,0),(1,0)))"
)
MIXED = (
    "(((0,3),(1,2),(0,4),(2,1),(1,5),(3,6),(2,0),(4,3))"
    ",((0,2),(1,6),(1,3),(2,5),(0,1),(3,2),(0,4),(1,0)))"
)
LAST = (
    "(((0,6),(1,6),(1,6),(2,6),(2,6),(3,6),(3,6),(4,6))"
    ",((0,6),(1,6),(1,6),(2,6),(2,6),(3,6),(3,6),(4,6)))"
)


def test_strings_and_indices() -> None:
    assert len(SPACE) == (3 * 6 * 10 * 7**8) ** 2
    assert SPACE.architecture(0).spec == FIRST
    assert SPACE.architecture(1).spec == FIRST[:-4] + "1)))"
    assert SPACE.architecture(len(SPACE) - 1).spec == LAST
    assert SPACE.parse(MIXED).spec == MIXED
    turned = MIXED.replace("(0,3),(1,2)", "(1,2),(0,3)").replace(",(", ", (")
    assert SPACE.parse(turned) == SPACE.parse(MIXED)
    draw = np.random.default_rng(0)
    for index in draw.integers(len(SPACE), size=50).tolist():
        arch = SPACE.architecture(index)
        assert SPACE.parse(arch.spec) == arch


@pytest.mark.parametrize(
    "spec",
    [
        "",
        "((0,0))",
        FIRST.replace("0,0", "0,7", 1),
        FIRST.replace("1,0", "0,0", 1),
        FIRST.replace("1,0", "2,0", 1),
        FIRST.replace("1,0", "x,0", 1),
        FIRST[:-8] + "))",
    ],
)
def test_foreign_strings(spec: str) -> None:
    with pytest.raises(DataError, match=r"is not an architecture of darts\. One looks"):
        SPACE.parse(spec)


def test_the_table_is_of_this_space(shared_data: Path) -> None:
    file = shared_data / "darts_trained_other_tasks.csv"
    if not file.exists():
        pytest.skip(f"{file} is not here")
    rows = pd.read_csv(file)
    for dataset in SPACE.tasks:
        truth = zcbench.load_truth("darts", dataset, str(file))
        assert truth.attrs["targets"] == ["accuracy"]
        assert sorted(truth["accuracy"]) == sorted(rows[dataset])
        assert truth["index"].nunique() == 199


# --- networks ---------------------------------------------------------------------


class Literal:
    """The network in plain functions of a state dict, BatchNorm in train mode."""

    def __init__(self, spec: str, state) -> None:
        numbers = [int(n) for n in re.findall(r"\d", spec)]
        pairs = list(zip(numbers[::2], numbers[1::2], strict=True))
        self.normal, self.reduction, self.state = pairs[:8], pairs[8:], state

    def norm(self, x, name):
        weights = [self.state.get(f"{name}.{p}") for p in ("weight", "bias")]
        return nn.functional.batch_norm(x, None, None, *weights, training=True)

    def conv(self, x, name, **settings):
        return nn.functional.conv2d(x, self.state[f"{name}.weight"], **settings)

    def relu_conv_bn(self, x, name):
        return self.norm(self.conv(x.relu(), f"{name}.1"), f"{name}.2")

    def factorized(self, x, name):
        x = x.relu()
        parts = [self.conv(x, f"{name}.conv_1", stride=2)]
        parts.append(self.conv(x[:, :, 1:, 1:], f"{name}.conv_2", stride=2))
        return self.norm(torch.cat(parts, 1), f"{name}.bn")

    def operation(self, number, x, name, stride):
        if number == 0:
            return self.norm(nn.functional.max_pool2d(x, 3, stride, 1), f"{name}.1")
        if number == 1:
            ones = nn.functional.avg_pool2d(torch.ones_like(x), 3, stride, 1)
            x = nn.functional.avg_pool2d(x, 3, stride, 1) / ones
            return self.norm(x, f"{name}.1")
        if number == 2:
            return x if stride == 1 else self.factorized(x, name)
        kernel = {3: 3, 4: 5, 5: 3, 6: 5}[number]
        settings = {"groups": x.shape[1], "padding": kernel // 2}
        if number > 4:
            settings |= {"dilation": 2, "padding": kernel - 1}
        for start in (0,) if number > 4 else (0, 4):
            depthwise = {**settings, "stride": stride if start == 0 else 1}
            x = self.conv(x.relu(), f"{name}.{start + 1}", **depthwise)
            x = self.norm(self.conv(x, f"{name}.{start + 2}"), f"{name}.{start + 3}")
        return x

    def __call__(self, x):
        before = last = self.norm(self.conv(x, "stem.0", padding=1), "stem.1")
        for cell in range(8):
            at, reduces = f"cells.{cell}", cell in (2, 5)
            enter = self.factorized if cell in (3, 6) else self.relu_conv_bn
            values = [enter(before, f"{at}.before")]
            values.append(self.relu_conv_bn(last, f"{at}.last"))
            outputs = []
            for place, (source, number) in enumerate(
                self.reduction if reduces else self.normal
            ):
                stride = 2 if reduces and source < 2 else 1
                name = f"{at}.operations.{place}"
                outputs.append(self.operation(number, values[source], name, stride))
                if place % 2:
                    values.append(outputs[-1] + outputs[-2])
            before, last = last, torch.cat(values[2:], 1)
        weight, bias = self.state["classifier.weight"], self.state["classifier.bias"]
        return nn.functional.linear(last.mean((2, 3)), weight, bias)


@pytest.mark.parametrize("spec", [FIRST, MIXED, LAST])
def test_networks_equal_literal_ones(spec: str) -> None:
    network = SPACE.build(SPACE.parse(spec), "svhn", seed=1).double()
    x = torch.randn(3, 3, 16, 16, generator=torch.Generator().manual_seed(0)).double()
    literal = Literal(spec, network.state_dict())(x)
    torch.testing.assert_close(network(x), literal)


def test_every_task_and_odd_sizes() -> None:
    for name, task in SPACE.tasks.items():
        network = SPACE.build(SPACE.parse(MIXED), name)
        assert network(torch.randn(2, *task.input_shape)).shape == (2, task.n_classes)
    network = SPACE.build(SPACE.parse(MIXED), "svhn")
    assert network(torch.randn(2, 3, 9, 13)).shape == (2, 10)


@pytest.mark.thorough
def test_conformance(quick_conformance: None, monkeypatch: pytest.MonkeyPatch) -> None:
    space = Darts()
    monkeypatch.setattr(
        space, "tasks", {"svhn": Task("svhn", (3, 12, 12), 10)}, raising=False
    )
    assert [f for f in check_space(space) if not f.ok] == []


def test_a_cell_has_no_one_gain() -> None:
    """It takes two feature maps; their entropies are there nevertheless."""
    network = SPACE.build(SPACE.parse(MIXED), "svhn")
    x = torch.randn(4, 3, 16, 16, generator=torch.Generator().manual_seed(0))
    names = "az_expressivity,az_progressivity,az_trainability"
    scores = zcbench.score(network, zcbench.Batch(x, torch.arange(4)), names)
    assert {n: (s.status, s.message) for n, s in scores.items()} == {
        "az_expressivity": ("ok", ""),
        "az_progressivity": ("ok", ""),
        "az_trainability": (
            "undefined",
            "a block takes several feature maps: it has no one gain",
        ),
    }


def test_a_run_of_a_table(tmp_path: Path) -> None:
    file = tmp_path / "table.csv"
    rows = [f'"{spec}",{90 + k},{40 + k}' for k, spec in enumerate((FIRST, MIXED))]
    file.write_text("\n".join(["arch,svhn,ninapro", *rows]), encoding="utf-8")
    words = ["run", "--space", "darts", "--truth", file, "--n", "all", "--proxies"]
    words += ["params", "--batch-size", 2, "--out", tmp_path / "run"]
    words += ["--datasets", "svhn,ninapro"]
    result = CliRunner().invoke(main, [str(word) for word in words])
    assert result.exit_code == 0, result.output
    run = zcbench.load_run(tmp_path / "run")
    assert (run["arch"].value_counts() == 2).all()
    assert set(run["arch"]) == {FIRST, MIXED}
    assert set(run["index"]) == {SPACE.parse(s).index for s in (FIRST, MIXED)}
