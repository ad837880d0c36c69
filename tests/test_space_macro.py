"""NAS-Bench-Macro: strings, networks against a literal one, sizes, truth."""

from __future__ import annotations

import csv
import itertools
import json
from pathlib import Path

import numpy as np
import pytest
import torch
from levels import few
from torch import Tensor, nn

import zcbench
from zcbench.conformance.spaces import check_space
from zcbench.engine.sample import read_archs
from zcbench.errors import DataError, UsageError
from zcbench.evidence.structure import measure_structure
from zcbench.evidence.subject import make_subject
from zcbench.spaces.macro import NASBenchMacro, identities_last
from zcbench.tasks import with_input_size
from zcbench.truth import macro as truth_macro

SPACE = NASBenchMacro()
OFFICIAL = "nas-bench-macro_cifar10.json"
SPECS = ["00000000", "11111111", "22222222", "02012100", "10210021"]


def channels_before(layer: int) -> int:
    """Channels that enter a layer: 32 doubled by the layers 0, 2 and 5."""
    return 32 * 2 ** sum(first < layer for first in (0, 2, 5))


def literal_params(spec: str) -> int:
    """Counted by hand, layer by layer, as the paper describes the network."""
    total = 3 * 32 * 9 + 2 * 32
    for layer, digit in enumerate(spec):
        c = channels_before(layer)
        out = 2 * c if layer in (0, 2, 5) else c
        if digit == "0":
            total += 0 if out == c else c * out + 2 * out
        else:
            kernel, expansion = {"1": (3, 3), "2": (5, 6)}[digit]
            inner = expansion * c
            total += c * inner + inner * kernel**2 + inner * out
            total += 2 * (inner + inner + out)
    return total + 256 * 1280 + 2 * 1280 + 1280 * 10 + 10


def literal_macs(spec: str) -> int:
    side, total = 32, 3 * 32 * 9 * 32 * 32
    for layer, digit in enumerate(spec):
        c = channels_before(layer)
        first = layer in (0, 2, 5)
        before, out = side, 2 * c if first else c
        side = side // 2 if first else side
        if digit == "0":
            total += c * out * side**2 if first else 0
        else:
            kernel, expansion = {"1": (3, 3), "2": (5, 6)}[digit]
            inner = expansion * c
            total += c * inner * before**2
            total += (inner * kernel**2 + inner * out) * side**2
    return total + 256 * 1280 * side**2 + 1280 * 10


def literal_forward(spec: str, state: dict[str, Tensor], x: Tensor) -> Tensor:
    """The network in plain functions of a state dict, BatchNorm in train mode."""

    def conv(x, name, **settings):
        return nn.functional.conv2d(x, state[f"{name}.weight"], **settings)

    def norm(x, name):
        weight, bias = state[f"{name}.weight"], state[f"{name}.bias"]
        return nn.functional.batch_norm(x, None, None, weight, bias, training=True)

    x = norm(conv(x, "stem.0", padding=1), "stem.1").relu()
    for layer, digit in enumerate(spec):
        at, stride = f"features.{layer}", 2 if layer in (0, 2, 5) else 1
        if digit == "0":
            if stride == 2:
                x = conv(x, f"{at}.downsample.0", stride=2)
                x = norm(x, f"{at}.downsample.1")
            continue
        inner = norm(conv(x, f"{at}.conv.0"), f"{at}.conv.1").relu()
        padding = {"1": 1, "2": 2}[digit]
        settings = {"stride": stride, "padding": padding, "groups": inner.shape[1]}
        inner = norm(conv(inner, f"{at}.conv.3", **settings), f"{at}.conv.4").relu()
        inner = norm(conv(inner, f"{at}.conv.6"), f"{at}.conv.7")
        x = inner if stride == 2 else inner + x
    x = norm(conv(x, "out.0"), "out.1").relu().mean((2, 3))
    return nn.functional.linear(x, state["classifier.weight"], state["classifier.bias"])


def structure(spec: str):
    network = SPACE.build(SPACE.parse(spec), "cifar10")
    batch = zcbench.Batch(torch.zeros(2, 3, 32, 32), torch.zeros(2, dtype=torch.int64))
    return measure_structure(make_subject(network, batch, 0))


# --- strings ----------------------------------------------------------------------


def test_index_is_the_base_3_number() -> None:
    assert len(SPACE) == 6_561
    for index, digits in enumerate(itertools.product("012", repeat=8)):
        spec = "".join(digits)
        assert SPACE.architecture(index).spec == spec
        assert SPACE.parse(spec).index == index


@pytest.mark.parametrize("spec", ["", "0201210", "020121000", "02012103", "0201210٣"])
def test_foreign_strings(spec: str) -> None:
    with pytest.raises(DataError) as caught:
        SPACE.parse(spec)
    assert str(caught.value) == (
        f"{spec!r} is not an architecture of macro. One has a digit 0, 1 or 2 for each "
        "of 8 layers, such as 02012100."
    )


def test_distinct_are_those_with_identities_last() -> None:
    distinct = SPACE.population("distinct")
    # Stages of 2, 3, 3: 3 first blocks each, then sequences without inner identities.
    assert len(distinct) == (3 * 3) * (3 * (4 + 2 + 1)) ** 2
    specs = {SPACE.architecture(int(index)).spec for index in distinct}
    assert {identities_last(SPACE.architecture(i).spec) for i in range(6_561)} == specs
    with pytest.raises(UsageError, match=r"Did you mean distinct\?"):
        SPACE.population("distinkt")


def test_equal_networks_compute_the_same() -> None:
    """Identities that move within a stage move no value."""
    assert identities_last("01001022") == "01010022"
    moved, target = (
        SPACE.build(SPACE.parse(spec), "cifar10") for spec in ("01001022", "01010022")
    )
    weights = moved.state_dict()
    # Layer 4 of the one is layer 3 of the other.
    renamed = {n.replace("features.4.", "features.3."): w for n, w in weights.items()}
    target.load_state_dict(renamed, strict=True)
    x = torch.randn(4, 3, 32, 32, generator=torch.Generator().manual_seed(0))
    assert torch.equal(target(x), moved(x))


def test_a_list_of_strings_is_no_list_of_indices(tmp_path: Path) -> None:
    file = tmp_path / "archs.txt"
    file.write_text("00000012\n02012100\n12\n6560\n", encoding="utf-8")
    found = read_archs(SPACE, file)
    assert found == [5, SPACE.parse("02012100").index, 12, 6_560]


# --- networks ---------------------------------------------------------------------


@pytest.mark.thorough
def test_conformance(quick_conformance: None) -> None:
    assert [f for f in check_space(with_input_size(SPACE, 16)) if not f.ok] == []


@pytest.mark.parametrize("spec", few(SPECS, 2))
def test_outputs_and_gradients_equal_the_literal_network(spec: str) -> None:
    network = SPACE.build(SPACE.parse(spec), "cifar10", seed=1).double()
    state = {n: t.detach().clone() for n, t in network.state_dict().items()}
    names = [name for name, _ in network.named_parameters()]
    for name in names:
        state[name].requires_grad_(True)
    random = torch.Generator().manual_seed(5)
    x = torch.randn(4, 3, 32, 32, generator=random, dtype=torch.float64)
    outputs = network(x), literal_forward(spec, state, x)
    torch.testing.assert_close(*outputs, rtol=1e-9, atol=1e-11)
    slopes = torch.randn(4, 10, generator=random, dtype=torch.float64)
    ours = torch.autograd.grad((outputs[0] * slopes).sum(), list(network.parameters()))
    theirs = torch.autograd.grad(
        (outputs[1] * slopes).sum(), [state[name] for name in names]
    )
    for a, b in zip(ours, theirs, strict=True):
        torch.testing.assert_close(a, b, rtol=1e-6, atol=1e-8 * float(b.abs().max()))


def test_the_promise_about_linearity_holds() -> None:
    """grasp by the short way equals grasp by a backward through the backward."""
    network = SPACE.build(SPACE.parse("02012100"), "cifar10", seed=1)
    random = torch.Generator().manual_seed(5)
    x = torch.randn(8, 3, 16, 16, generator=random)
    batch = zcbench.Batch(x, torch.arange(8))
    assert network.linear_outside_layers
    short = zcbench.score(network, batch, ["grasp"])["grasp"].value
    network.linear_outside_layers = False
    long = zcbench.score(network, batch, ["grasp"])["grasp"].value
    assert short == pytest.approx(long, rel=1e-8)


@pytest.mark.parametrize("spec", SPECS)
def test_params_and_macs_equal_the_count_by_hand(spec: str) -> None:
    found = structure(spec)
    assert found.n_params == literal_params(spec)
    assert found.macs == literal_macs(spec)


@pytest.mark.thorough
def test_params_and_flops_equal_the_table(shared_data: Path) -> None:
    """For all 6,561: what each block adds in each place is measured on networks."""

    def sizes(spec: str) -> np.ndarray:
        found = structure(spec)
        return np.array([found.n_params, found.macs])

    empty = sizes("0" * 8)
    added = {
        (layer, digit): sizes("0" * layer + digit + "0" * (7 - layer)) - empty
        for layer, digit in itertools.product(range(8), "012")
    }
    with (shared_data / "nasbench_macro_cifar10.csv").open() as stream:
        rows = list(csv.DictReader(stream))
    assert {row["arch"] for row in rows} == {
        SPACE.architecture(index).spec for index in range(6_561)
    }
    for row in rows:
        params, macs = empty + sum(added[place] for place in enumerate(row["arch"]))
        assert params == int(row["params"]) == literal_params(row["arch"])
        assert macs == int(row["flops"])
    for row in rows[:: len(rows) // 8]:  # and that they add up, on whole networks
        assert sizes(row["arch"]).tolist() == [int(row["params"]), int(row["flops"])]


# --- truth ------------------------------------------------------------------------


def made_up(**changes: object) -> dict[str, object]:
    """Entries as in the official file, with changed ones."""
    entries: dict[str, object] = {}
    for index in range(len(SPACE)):
        spec = SPACE.architecture(index).spec
        mean = 80 + index % 10
        entries[spec] = {
            "test_acc": [mean - 0.5, mean, mean + 0.5],
            "mean_acc": mean,
            "std": 0.4,
            "params": literal_params(spec),
            "flops": 1,
        }
    return entries | changes


def write(path: Path, entries: object) -> Path:
    path.write_text(json.dumps(entries), encoding="utf-8")
    return path


def test_official_file_by_path_and_from_the_cache(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ZCBENCH_CACHE", str(tmp_path))
    (tmp_path / "truth").mkdir()
    path = write(tmp_path / "truth" / OFFICIAL, made_up())
    by_path = zcbench.load_truth("macro", "cifar10", str(path))
    assert list(by_path)[:6] == [
        "arch",
        "index",
        "test",
        "test_seed0",
        "test_seed1",
        "test_seed2",
    ]
    assert by_path["index"].tolist() == list(range(6_561))
    assert by_path["test"].tolist() == [80 + i % 10 for i in range(6_561)]
    assert by_path.attrs["truth"] == "nas-bench-macro"
    assert (by_path.attrs["targets"], by_path.attrs["missing"]) == (["test"], 0)
    assert zcbench.load_truth("macro", "cifar10").equals(by_path)


def test_without_the_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ZCBENCH_CACHE", str(tmp_path))
    with pytest.raises(DataError) as caught:
        zcbench.load_truth("macro", "cifar10")
    assert str(caught.value) == (
        "There are no accuracies of NAS-Bench-Macro in "
        f"{tmp_path / 'truth' / OFFICIAL}. Give "
        f"data/{OFFICIAL} of the repository xiusu/NAS-Bench-Macro on GitHub, with "
        f"--truth {OFFICIAL} or as a file of that name in the cache, folder truth."
    )


@pytest.mark.parametrize(
    ("entries", "what"),
    [
        ({"00000000": {}}, "does not have each of the 6,561 architectures."),
        ([], "does not have each of the 6,561 architectures."),
        (
            made_up(**{"00000000": {"params": 1, "flops": 1}}),
            "has an unexpected entry (KeyError: 'test_acc').",
        ),
        (
            made_up(**{"00000001": {"test_acc": [9, 101, 9], "params": 1, "flops": 1}}),
            "has an unexpected entry (ValueError: test_acc is [9, 101, 9]).",
        ),
        (
            made_up(**{"00000001": {"test_acc": [9, 9], "params": 1, "flops": 1}}),
            "has an unexpected entry (ValueError: test_acc is [9, 9]).",
        ),
    ],
)
def test_other_content_is_refused(tmp_path: Path, entries: object, what: str) -> None:
    path = write(tmp_path / "some.json", entries)
    with pytest.raises(DataError) as caught:
        zcbench.load_truth("macro", "cifar10", str(path))
    assert str(caught.value).startswith(f"{path} {what}")


def test_damaged_json(tmp_path: Path) -> None:
    path = tmp_path / OFFICIAL
    path.write_text('{"00000000": ', encoding="utf-8")
    with pytest.raises(DataError, match=r"is no valid JSON\. Give data/nas-bench"):
        truth_macro.read(path, "cifar10")


def test_a_csv_keeps_the_zeros_of_its_strings(tmp_path: Path) -> None:
    path = tmp_path / "part.csv"
    path.write_text("arch,test\n02012100,89.1\n00000012,70\n", encoding="utf-8")
    table = zcbench.load_truth("macro", "cifar10", str(path))
    assert table["arch"].tolist() == ["00000012", "02012100"]


def test_published_table(shared_data: Path, tmp_path: Path) -> None:
    """Baselines as published: ρ with accuracy .32 (#params) and .75 (FLOPs)."""
    entries = {}
    with (shared_data / "nasbench_macro_cifar10.csv").open() as stream:
        for row in csv.DictReader(stream):
            accuracies = [float(row[f"test_{seed}"]) for seed in (1, 2, 3)]
            size = {name: int(row[name]) for name in ("params", "flops")}
            entries[row["arch"]] = {"test_acc": accuracies, **size}
    table = zcbench.load_truth(
        "macro", "cifar10", str(write(tmp_path / OFFICIAL, entries))
    )
    rho = table[["test", "stored_params", "stored_flops"]].corr(method="spearman")
    assert rho.loc["test", "stored_params"] == pytest.approx(0.318, abs=0.001)
    assert rho.loc["test", "stored_flops"] == pytest.approx(0.748, abs=0.001)
    same = table.groupby(table["arch"].map(identities_last))["test_seed0"].nunique()
    assert len(same) == 3_969
    assert same.max() == 1
