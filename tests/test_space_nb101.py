"""nb101: strings, #params and FLOPs of the table, networks against a literal one."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from click.testing import CliRunner
from levels import few
from torch import nn

import zcbench
from zcbench.cli import main
from zcbench.conformance.spaces import check_space
from zcbench.errors import DataError
from zcbench.networks import nb101 as networks
from zcbench.networks.nb101 import channels_of
from zcbench.spaces.nb101 import MOST_EDGES, NASBench101, _matrices, on_paths
from zcbench.tasks import with_input_size

SPACE = NASBench101()


def spec_of(edges: str, operations: str) -> str:
    """String of edges such as ``01 16`` and the five operations between."""
    matrix = np.zeros((7, 7), dtype=int)
    for edge in edges.split():
        matrix[int(edge[0]), int(edge[1])] = 1
    numbers = [*matrix.ravel(), 0, *map(int, operations), 1]
    return f"({','.join(map(str, numbers))})"


STRAIGHT = spec_of("06", "22222")
"""Input to output."""
UNEVEN = spec_of("01 02 03 14 24 46 26 36 06", "43242")
"""Three vertices share the output, of which vertex 2 feeds a smaller one, too."""
CUT = spec_of("01 16 02 25 34 45", "34443")
"""Of seven vertices only vertex 1 is on a path."""
SPECS = [STRAIGHT, UNEVEN, CUT]


@pytest.fixture(scope="module")
def published(shared_data: Path) -> pd.DataFrame:
    file = shared_data / "nb101_500.csv"
    if not file.exists():
        pytest.skip(f"{file} is not here")
    return pd.read_csv(file)


# --- strings ----------------------------------------------------------------------


def test_indices_count_the_matrices_with_a_path() -> None:
    assert len(SPACE) == len(_matrices()) * 3**5
    assert SPACE.architecture(0).spec == STRAIGHT
    assert SPACE.architecture(1).spec == spec_of("06", "22223")
    draw = np.random.default_rng(0)
    for index in [*draw.integers(len(SPACE), size=50), len(SPACE) - 1]:
        arch = SPACE.architecture(int(index))
        assert SPACE.parse(arch.spec) == arch
        matrix, operations = on_paths(arch.spec)
        assert matrix.sum() <= MOST_EDGES
        assert (operations[0], operations[-1]) == (0, 1)
        assert matrix[:-1].any(1).all()
        assert matrix[:, 1:].any(0).all()
    plain = UNEVEN.replace("(", "[").replace(")", "]").replace(",", ", ")
    assert SPACE.parse(plain).spec == UNEVEN


@pytest.mark.parametrize(
    "spec",
    [
        "",
        "(1,2)",
        STRAIGHT[:-3] + ")",
        spec_of("01 25 56", "33333"),
        spec_of("06 10", "33333"),
        spec_of("06", "33335"),
        spec_of("06", "13333"),
        spec_of("01 02 03 04 05 16 26 36 46 56", "33333"),
        STRAIGHT.replace("0,1", "0,2", 1),
    ],
)
def test_foreign_strings(spec: str) -> None:
    with pytest.raises(DataError, match="is not an architecture of nb101"):
        SPACE.parse(spec)


def test_the_same_cell_up_to_order() -> None:
    same = [spec_of("01 16 02 26", "43222"), spec_of("01 16 02 26", "34444")]
    same.append(spec_of("02 26 04 46 13", "24232"))
    classes = {SPACE.function_class(SPACE.parse(spec)) for spec in same}
    assert len(classes) == 1
    other = SPACE.parse(spec_of("01 12 26", "43222"))
    assert SPACE.function_class(other) not in classes


def test_half_of_the_table_are_the_same_networks(published: pd.DataFrame) -> None:
    archs = [SPACE.parse(spec) for spec in published["arch"]]
    assert [arch.spec for arch in archs] == published["arch"].tolist()
    assert len({SPACE.function_class(arch) for arch in archs}) == 292


# --- networks ---------------------------------------------------------------------


def test_channels() -> None:
    matrix, operations = on_paths(UNEVEN)
    assert operations == [0, 4, 3, 2, 4, 1]
    # 128 on vertices 2, 3 and 4 (of six): the first two have one more.
    assert channels_of(matrix, 128) == [0, 42, 43, 43, 42, 128]
    assert channels_of(on_paths(STRAIGHT)[0], 128) == [0, 128]


@pytest.mark.parametrize("step", few([10, 1]))
def test_params_and_flops_are_those_of_the_table(
    published: pd.DataFrame, step: int
) -> None:
    """FLOPs have BatchNorm twice, ReLU once, and a pooled output by its window."""
    costs = {nn.BatchNorm2d: 2, nn.ReLU: 1}
    columns = published[["arch", "params", "flops"]].to_numpy()
    for place, (spec, params, flops) in enumerate(columns[::step]):
        with torch.device("meta"):
            network = SPACE._network(spec, SPACE.tasks["cifar10"])
        assert sum(p.numel() for p in network.parameters()) == params
        if place % 5:
            continue
        network.eval()
        total = []

        def count(module, inputs, output, total=total):
            each = costs.get(type(module), 0)
            if isinstance(module, nn.Conv2d | nn.Linear):
                each = module.weight[0].numel()
            elif isinstance(module, nn.MaxPool2d):
                each = module.kernel_size**2
            total.append(each * output[0].numel())

        for module in network.modules():
            module.register_forward_hook(count)
        network(torch.empty(1, 3, 32, 32, device="meta"))
        assert sum(total) == flops


def literal_conv(x: torch.Tensor, state, name: str) -> torch.Tensor:
    """Convolution, BatchNorm in train mode, ReLU."""
    weight = state[f"{name}.0.weight"]
    x = nn.functional.conv2d(x, weight, padding=weight.shape[-1] // 2)
    scale, shift = state[f"{name}.1.weight"], state[f"{name}.1.bias"]
    return nn.functional.batch_norm(x, None, None, scale, shift, training=True).relu()


def literal_cell(x, state, at: str, spec: str, out: int) -> torch.Tensor:
    matrix, operations = on_paths(spec)
    last, channels = len(matrix) - 1, channels_of(matrix, out)
    values, joined = {}, []
    for vertex in range(1, last):
        fed = [values[s][:, : channels[vertex]] for s in values if matrix[s, vertex]]
        if matrix[0, vertex]:
            fed.append(literal_conv(x, state, f"{at}.projections.{vertex}"))
        if operations[vertex] == 2:
            values[vertex] = nn.functional.max_pool2d(sum(fed), 3, 1, 1)
        else:
            values[vertex] = literal_conv(sum(fed), state, f"{at}.operations.{vertex}")
        joined += [values[vertex]] if matrix[vertex, last] else []
    whole = torch.cat(joined, 1) if joined else 0
    if matrix[0, last]:
        whole = whole + literal_conv(x, state, f"{at}.projections.{last}")
    return whole


def literal_forward(spec: str, state, x: torch.Tensor) -> torch.Tensor:
    """The network in plain functions of a state dict."""
    x, place = literal_conv(x, state, "stem"), 0
    for stack, out in enumerate((128, 256, 512)):
        if stack:
            x, place = nn.functional.max_pool2d(x, 2), place + 1
        for _ in range(3):
            x, place = literal_cell(x, state, f"layers.{place}", spec, out), place + 1
    weight, bias = state["classifier.weight"], state["classifier.bias"]
    return nn.functional.linear(x.mean((2, 3)), weight, bias)


@pytest.mark.parametrize("spec", SPECS)
def test_networks_equal_literal_ones(spec: str) -> None:
    network = SPACE.build(SPACE.parse(spec), "cifar10", seed=1).double()
    x = torch.randn(3, 3, 8, 8, generator=torch.Generator().manual_seed(0)).double()
    literal = literal_forward(spec, network.state_dict(), x)
    torch.testing.assert_close(network(x), literal)


@pytest.mark.parametrize("spec", SPECS)
def test_linear_regions_are_counted_in_a_cell_of_one_channel(spec: str) -> None:
    network = SPACE.build(SPACE.parse(spec), "cifar10")
    convolutions = [m for m in network.thin().modules() if isinstance(m, nn.Conv2d)]
    assert {(m.in_channels, m.weight.shape[0] > 3) for m in convolutions} == {
        (1, False)
    }
    batch = zcbench.Batch(torch.randn(2, 3, 8, 8), torch.arange(2))
    score = zcbench.score(network, batch, "lin_regions")["lin_regions"]
    assert score.value is not None
    assert 1 < score.value <= 3000


@pytest.mark.thorough
def test_conformance(quick_conformance: None, monkeypatch: pytest.MonkeyPatch) -> None:
    """With an eighth of the channels, so that it takes seconds."""
    monkeypatch.setattr(networks, "_STEM", 16)
    assert [f for f in check_space(with_input_size(SPACE, 8)) if not f.ok] == []


def test_a_run_of_a_table(tmp_path: Path) -> None:
    file = tmp_path / "table.csv"
    rows = [f'"{spec}",{90 + k}' for k, spec in enumerate(SPECS)]
    file.write_text("\n".join(["arch,val_accuracy", *rows]), encoding="utf-8")
    words = ["run", "--space", "nb101", "--truth", file, "--n", "all", "--proxies"]
    words += ["params,flops", "--batch-size", 2, "--out", tmp_path / "run"]
    result = CliRunner().invoke(main, [str(word) for word in words])
    assert result.exit_code == 0, result.output
    assert "population trained · 3 architectures" in result.stdout
    assert set(zcbench.load_run(tmp_path / "run")["arch"]) == set(SPECS)
