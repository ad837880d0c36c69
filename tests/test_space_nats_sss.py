"""NATS-Bench's sizes: networks against a count by hand, and the official archive."""

from __future__ import annotations

import bz2
import os
import pickle
import re
import tarfile
from collections import OrderedDict
from pathlib import Path

import numpy as np
import pytest
import torch
from click.testing import CliRunner
from torch import Tensor, nn

import zcbench
from zcbench.cli import main
from zcbench.conformance.spaces import check_space
from zcbench.errors import DataError
from zcbench.evidence.structure import measure_structure
from zcbench.evidence.subject import make_subject
from zcbench.spaces.nats_sss import NATSBenchSize
from zcbench.tasks import with_input_size
from zcbench.truth.nats_sss import TABLE, import_official

SPACE = NATSBenchSize()
SPECS = ["8:8:8:8:8", "64:64:64:64:64", "8:16:24:32:40", "48:24:24:56:16"]
OFFICIAL = "Give NATS-sss-v1_0-50262-simple, the folder or its .tar."
IMPORT = "Import the archive once: zcbench data import NATS-sss-v1_0-50262-simple.tar."


# --- space ------------------------------------------------------------------------


@pytest.mark.thorough
def test_conformance(quick_conformance: None) -> None:
    assert [f for f in check_space(with_input_size(SPACE, 16)) if not f.ok] == []


def test_index_is_the_base_8_number() -> None:
    assert len(SPACE) == 32_768
    assert SPACE.architecture(0).spec == "8:8:8:8:8"
    assert SPACE.architecture(1).spec == "8:8:8:8:16"
    assert SPACE.architecture(32_767).spec == "64:64:64:64:64"
    assert SPACE.parse("16:8:8:8:24").index == 8**4 + 2
    with pytest.raises(DataError) as caught:
        SPACE.parse("8:8:8:8:72")
    assert str(caught.value) == (
        "'8:8:8:8:72' is not an architecture of nats_sss. One has channels of 5 "
        "layers, from 8 to 64 by eights: 8:16:24:32:64."
    )


def literal_sizes(spec: str, classes: int, side: int) -> tuple[int, int]:
    """Parameters and multiply-accumulates, layer by layer."""
    c = [int(number) for number in spec.split(":")]
    params, macs, before = 0, 0, 3

    def conv(c_in: int, c_out: int, kernel: int, size: int, bn: bool = True) -> None:
        nonlocal params, macs
        params += c_in * c_out * kernel**2 + (2 * c_out if bn else 0)
        macs += c_in * c_out * kernel**2 * size**2

    conv(3, c[0], 3, side)
    before = c[0]
    for layer, channels in enumerate(c):
        if layer in (1, 3):
            side //= 2
            conv(before, channels, 3, side)
            conv(channels, channels, 3, side)
            conv(before, channels, 1, side, bn=False)
        else:
            for c_in in (before, before, channels, channels, channels):
                conv(c_in, channels, 3, side)
            if before != channels:
                conv(before, channels, 1, side)
        before = channels
    params += 2 * before + before * classes + classes
    return params, macs + before * classes


@pytest.mark.parametrize("spec", SPECS)
@pytest.mark.parametrize(
    ("task", "classes", "side"), [("cifar10", 10, 32), ("ImageNet16-120", 120, 16)]
)
def test_sizes_by_hand(spec: str, task: str, classes: int, side: int) -> None:
    network = SPACE.build(SPACE.parse(spec), task)
    batch = zcbench.Batch(
        torch.zeros(2, 3, side, side), torch.zeros(2, dtype=torch.int64)
    )
    found = measure_structure(make_subject(network, batch, 0))
    assert (found.n_params, found.macs) == literal_sizes(spec, classes, side)


def test_params_by_hand_across_the_space() -> None:
    for index in range(0, 32_768, 1_023):
        arch = SPACE.architecture(index)
        network = SPACE.build(arch, "ImageNet16-120")
        params = sum(p.numel() for p in network.parameters())
        assert params == literal_sizes(arch.spec, 120, 16)[0]


def literal_forward(state: dict[str, Tensor], x: Tensor) -> Tensor:
    """The network in plain functions, BatchNorm in train mode."""

    def norm(x, name):
        weight, bias = state[f"{name}.weight"], state[f"{name}.bias"]
        return nn.functional.batch_norm(x, None, None, weight, bias, training=True)

    def relu_conv_bn(x, name, **settings):
        weight = state[f"{name}.op.1.weight"]
        x = nn.functional.conv2d(x.relu(), weight, padding=1, **settings)
        return norm(x, f"{name}.op.2")

    x = norm(nn.functional.conv2d(x, state["stem.0.weight"], padding=1), "stem.1")
    for cell in range(5):
        at = f"cells.{cell}"
        if cell in (1, 3):
            inner = relu_conv_bn(x, f"{at}.conv_a", stride=2)
            inner = relu_conv_bn(inner, f"{at}.conv_b")
            pooled = nn.functional.avg_pool2d(x, 2)
            weight = state[f"{at}.downsample.1.weight"]
            x = nn.functional.conv2d(pooled, weight) + inner
            continue
        one = relu_conv_bn(x, f"{at}.layers.0")
        two = relu_conv_bn(x, f"{at}.layers.1") + relu_conv_bn(one, f"{at}.layers.2")
        shortcut = x
        if f"{at}.layers.3.conv.weight" in state:
            shortcut = nn.functional.conv2d(x, state[f"{at}.layers.3.conv.weight"])
            shortcut = norm(shortcut, f"{at}.layers.3.bn")
        last = relu_conv_bn(one, f"{at}.layers.4") + relu_conv_bn(two, f"{at}.layers.5")
        x = shortcut + last
    x = norm(x, "lastact.0").relu().mean((2, 3))
    return nn.functional.linear(x, state["classifier.weight"], state["classifier.bias"])


@pytest.mark.parametrize("spec", SPECS[2:])
def test_outputs_equal_the_literal_network(spec: str) -> None:
    network = SPACE.build(SPACE.parse(spec), "cifar100", seed=1).double()
    x = torch.randn(3, 3, 32, 32, dtype=torch.float64)
    state = {name: value.clone() for name, value in network.state_dict().items()}
    expected = literal_forward(state, x)
    torch.testing.assert_close(network(x), expected, rtol=1e-9, atol=1e-11)


def test_the_promise_about_linearity_and_shared_relus() -> None:
    network = SPACE.build(SPACE.parse("16:8:16:8:8"), "ImageNet16-120", seed=1)
    x = torch.randn(6, 3, 16, 16, generator=torch.Generator().manual_seed(0))
    batch = zcbench.Batch(x, torch.arange(6))
    short = zcbench.score(network, batch, ["grasp"])["grasp"].value
    network.linear_outside_layers = False
    long = zcbench.score(network, batch, ["grasp"])["grasp"].value
    assert short == pytest.approx(long, rel=1e-8)
    # ReLUs of the published network: 5 in each cell, 2 in each block, 1 at the end.
    relus = [m for m in network.modules() if isinstance(m, nn.ReLU)]
    assert sum(getattr(m, "multiplicity", 1) for m in relus) == 3 * 5 + 2 * 2 + 1


# --- the official archive ---------------------------------------------------------


def trial(name: str, sets: dict[str, float], epochs: int, seed: int, params: float):
    """One training, as ResultsCount.state_dict gives it."""
    last = {f"{kind}@{epochs - 1}": value for kind, value in sets.items()}
    return {
        "name": name,
        "net_state_dict": None,
        "train_acc1es": {epochs - 1: 99.0},
        "params": params,
        "flop": 1.0,
        "seed": seed,
        "epochs": epochs,
        "latency": [0.1],
        "eval_names": list(sets),
        "eval_acc1es": last,
        "eval_losses": last,
    }


def results(index: int, spec: str, epochs: int, seeds: tuple[int, ...]):
    """One architecture after some epochs, as ArchResults.state_dict gives it."""
    sets = {
        "cifar10-valid": {"x-valid": 80.0, "ori-test": 79.0},
        "cifar10": {"ori-test": 85.0},
        "cifar100": {"ori-test": 55.0, "x-valid": 56.0, "x-test": 57.0},
        "ImageNet16-120": {"ori-test": 30.0, "x-valid": 31.0, "x-test": 32.0},
    }
    trials = {}
    for name, accuracies in sets.items():
        for place, seed in enumerate(seeds):
            moved = {
                kind: value + index / 100 + place - (10 if epochs < 90 else 0)
                for kind, value in accuracies.items()
            }
            size = literal_sizes(spec, 10, 32)[0] / 1e6
            trials[name, seed] = trial(name, moved, epochs, seed, size)
    return {
        "arch_index": index,
        "arch_str": spec,
        "all_results": trials,
        "dataset_seed": {name: list(seeds) for name in sets},
        "clear_net_done": True,
    }


def entry(index: int, spec: str) -> dict[str, object]:
    return OrderedDict(
        {
            "01": results(index, spec, 1, (777,)),
            "12": results(index, spec, 12, (777,)),
            "90": results(index, spec, 90, (777, 888, 999)),
        }
    )


LISTED = ["16:8:8:8:8", "8:8:8:8:8", "64:64:64:64:64"]


def write(folder: Path, name: str, content: object) -> None:
    (folder / f"{name}.pickle.pbz2").write_bytes(
        bz2.compress(pickle.dumps(content, protocol=4))
    )


@pytest.fixture
def archive(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("ZCBENCH_CACHE", str(tmp_path / "cache"))
    folder = tmp_path / "NATS-sss-v1_0-50262-simple"
    folder.mkdir()
    write(folder, "meta", {"meta_archs": LISTED, "total": 3})
    for index, spec in enumerate(LISTED):
        write(folder, f"{index:06d}", entry(index, spec))
    return folder


def as_tar(folder: Path) -> Path:
    path = folder.with_name(f"{folder.name}.tar")
    with tarfile.open(path, "w") as stream:
        stream.add(folder, arcname=folder.name)
    return path


@pytest.mark.parametrize("packed", [False, True], ids=["folder", "tar"])
def test_import(archive: Path, packed: bool) -> None:
    source = as_tar(archive) if packed else archive
    result = CliRunner().invoke(main, ["data", "import", str(source)])
    assert result.exit_code == 0, result.output
    assert result.stdout == f"{TABLE.path()}\n"
    assert "Imported 3 architectures. Use them with --space nats_sss." in result.stderr
    table = zcbench.load_truth("nats_sss", "cifar10")
    assert table["arch"].tolist() == ["8:8:8:8:8", "16:8:8:8:8", "64:64:64:64:64"]
    assert table["index"].tolist() == [0, 8**4, 32_767]
    assert table["val"].tolist() == pytest.approx([81.01, 81.0, 81.02])
    assert table["test_seed2"].tolist() == pytest.approx([87.01, 87.0, 87.02])
    assert table["val_12"].tolist() == pytest.approx([70.01, 70.0, 70.02])
    params = [literal_sizes(spec, 10, 32)[0] for spec in table["arch"]]
    assert table["stored_params"].tolist() == params
    assert table.attrs["targets"] == ["val", "test"]
    assert table.attrs["missing"] == 32_765
    other = zcbench.load_truth("nats_sss", "ImageNet16-120")
    assert other["test"].tolist() == pytest.approx([33.01, 33.0, 33.02])
    assert TABLE.record().source == source.name


def test_run_on_the_imported_architectures(archive: Path, tmp_path: Path) -> None:
    import_official(archive)
    listed = tmp_path / "archs.txt"
    listed.write_text("\n".join(LISTED), encoding="utf-8")
    words = ["run", "--space", "nats_sss", "--archs", listed, "--proxies", "params"]
    words += ["--datasets", "cifar10", "--workers", "1", "--out", tmp_path / "run"]
    result = CliRunner().invoke(main, list(map(str, words)))
    assert result.exit_code == 0, result.output
    assert (
        "nats_sss · cifar10 · validation accuracy (mean of 3 training" in result.stdout
    )


def test_nothing_imported(archive: Path) -> None:
    with pytest.raises(DataError) as caught:
        zcbench.load_truth("nats_sss", "cifar10")
    assert str(caught.value) == (
        f"No archive of NATS-Bench's sizes was imported. {IMPORT}"
    )


def test_a_table_that_was_changed(archive: Path) -> None:
    import_official(archive)
    TABLE.path().write_bytes(TABLE.path().read_bytes() + b" ")
    with pytest.raises(DataError) as caught:
        zcbench.load_truth("nats_sss", "cifar10")
    assert str(caught.value) == (
        f"{TABLE.path()} was changed since it was imported. {IMPORT}"
    )


def test_verify_knows_the_imported_table(archive: Path) -> None:
    import_official(archive)
    result = CliRunner().invoke(main, ["data", "verify"])
    assert (result.exit_code, result.stdout) == (0, f"ok       {TABLE.path()}\n")
    TABLE.path().write_bytes(TABLE.path().read_bytes() + b" ")
    result = CliRunner().invoke(main, ["data", "verify"])
    assert (result.exit_code, result.stdout) == (1, f"changed  {TABLE.path()}\n")


class Malicious:
    """Makes a file when an ordinary unpickler reads it."""

    def __init__(self, proof: Path) -> None:
        self.proof = proof

    def __reduce__(self):
        return os.mkdir, (str(self.proof),)


def test_a_malicious_member_runs_nothing(archive: Path, tmp_path: Path) -> None:
    proof = tmp_path / "proof"
    write(archive, "000001", {"90": Malicious(proof)})
    with pytest.raises(DataError, match=r"is not plain data \(it names posix\.mkdir\)"):
        import_official(archive)
    assert not proof.exists()
    assert not TABLE.path().exists()


def broken(spec: str, **changes: object) -> dict[str, object]:
    content = entry(1, spec)
    content["90"]["all_results"]["cifar100", 888] |= changes  # type: ignore[index]
    return content


@pytest.mark.parametrize(
    ("content", "what"),
    [
        ([1], "1 does not have the structure of NATS-Bench (TypeError: "),
        ({"90": 3}, "1 does not have the structure of NATS-Bench (TypeError: "),
        (
            broken(LISTED[1], epochs=80),
            "1 does not have the structure of NATS-Bench (KeyError: 'x-valid@79').",
        ),
        (
            broken(LISTED[1], eval_acc1es={"x-valid@89": 101, "x-test@89": 3}),
            "1: the accuracy 101 is impossible.",
        ),
        (entry(1, "8:8:8:8:9"), "1: '8:8:8:8:9' is not an architecture of nats_sss."),
        (
            entry(1, "8:8:8:8:64"),
            "1 is 8:8:8:8:64, but 8:8:8:8:8 in the list of architectures.",
        ),
    ],
    ids=["list", "number", "epochs", "accuracy", "string", "other"],
)
def test_other_content_is_refused(archive: Path, content: object, what: str) -> None:
    (archive / "000001.pickle.pbz2").unlink()
    write(archive, "1", content)
    with pytest.raises(DataError) as caught:
        import_official(archive)
    assert str(caught.value).startswith(f"{archive}, {what}")
    assert str(caught.value).endswith(OFFICIAL)
    assert not TABLE.path().exists()


def test_files_that_are_no_archive(archive: Path, tmp_path: Path) -> None:
    (archive / "000001.pickle.pbz2").write_bytes(b"BZh9 torn")
    with pytest.raises(DataError, match=r"000001 is no bzip2 file\. Give NATS-sss"):
        import_official(archive)
    other = tmp_path / "NATS-sss.tar"
    other.write_bytes(b"no tar")
    with pytest.raises(DataError, match=r"NATS-sss\.tar is no \.tar, or a damaged one"):
        import_official(other)
    missing = tmp_path / "NATS-sss-none"
    with pytest.raises(DataError) as caught:
        import_official(missing)
    assert str(caught.value) == (
        f"{missing} cannot be read: No such file or directory. {OFFICIAL}"
    )
    empty = tmp_path / "NATS-sss-empty"
    empty.mkdir()
    message = re.escape(f"{empty} does not hold NATS-Bench's sizes.")
    with pytest.raises(DataError, match=message):
        import_official(empty)


def test_numpy_numbers_are_read(archive: Path) -> None:
    accuracies = {"x-valid@89": np.float64(60.5), "x-test@89": np.float64(61.5)}
    changed = broken(LISTED[1], eval_acc1es=accuracies)
    write(archive, "000001", changed)
    import_official(archive)
    table = zcbench.load_truth("nats_sss", "cifar100").set_index("arch")
    assert table.loc[LISTED[1], "val_seed1"] == 60.5
