"""mnasnet_imagenet: strings, sizes against the published ones, runs from a table."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from click.testing import CliRunner, Result
from torch import nn

import zcbench
from zcbench.cli import main
from zcbench.conformance.spaces import check_space
from zcbench.engine.sample import sample
from zcbench.errors import DataError, UsageError
from zcbench.files import cache_dir
from zcbench.networks.mnasnet import MnasNetwork, SqueezeExcite
from zcbench.spaces import mnasnet
from zcbench.spaces.base import Unlisted
from zcbench.spaces.mnasnet import BLOCKS, MnasNetImageNet
from zcbench.tasks import with_input_size
from zcbench.types import Batch

SPACE = MnasNetImageNet()
TASK = SPACE.tasks["imagenet"]
SPECS = [
    "e1k3l1n e1k3l1n e1k3l1n e1k3l1n e1k3l1n e1k3l1n e1k3l1n",
    "e6k3l1s e4k5l2n e6k3l3n e1k5l3s e6k5l2n e1k3l2s e1k3l2n",
    "e4k5l4s e4k5l4s e4k5l4s e4k5l4s e4k5l4s e4k5l4s e4k5l4s",
]


def invoke(*words: object) -> Result:
    return CliRunner().invoke(main, [str(word) for word in words])


@pytest.fixture(scope="module")
def published(shared_data: Path) -> pd.DataFrame:
    file = shared_data / "accel_nasbench_imagenet.csv"
    if not file.exists():
        pytest.skip(f"{file} is not here")
    return pd.read_csv(file)


def meta(words: list[str]) -> MnasNetwork:
    with torch.device("meta"):
        return MnasNetwork(words, TASK)


def size(module: nn.Module) -> int:
    return sum(p.numel() for p in module.parameters())


# --- strings ----------------------------------------------------------------------


def test_the_index_is_a_base_48_number() -> None:
    assert len(SPACE) == 48**7
    assert SPACE.architecture(0).spec == SPECS[0]
    assert SPACE.architecture(1).spec == SPECS[0][:-1] + "s"
    last = SPACE.architecture(len(SPACE) - 1)
    assert last.spec == " ".join(["e6k5l4s"] * 7)
    for spec in SPECS:
        assert SPACE.architecture(SPACE.parse(spec).index).spec == spec


@pytest.mark.parametrize(
    "spec", ["", SPECS[0][:-8], SPECS[0] + " e1k3l1n", SPECS[0].replace("k3", "k7", 1)]
)
def test_foreign_strings(spec: str) -> None:
    with pytest.raises(DataError, match=r"One has 7 blocks with spaces between, such"):
        SPACE.parse(spec)


# --- sizes ------------------------------------------------------------------------


@pytest.mark.thorough
def test_params_are_those_published_of_all(published: pd.DataFrame) -> None:
    """A network is its blocks and the rest, so that 336 blocks tell of them all."""
    assert len(published) == 5_138
    alike = {word: list(meta([word] * 7).blocks) for word in BLOCKS}
    blocks = [{w: size(places[i]) for w, places in alike.items()} for i in range(7)]
    small = meta(SPECS[0].split())
    rest = size(small) - size(small.blocks)
    words = published["arch"].str.split(" ")
    counted = [rest + sum(map(dict.__getitem__, blocks, archs)) for archs in words]
    assert counted == published["params"].tolist()
    for archs, params in zip(words[:8], published["params"], strict=False):
        assert size(meta(archs)) == params


def test_macs_are_those_published(published: pd.DataFrame) -> None:
    """Theirs count BatchNorm four times an output and what is pooled."""
    for arch, macs in published[["arch", "macs"]].to_numpy()[::800]:
        network = meta(arch.split(" ")).eval()
        total = []

        def count(module, inputs, output, total=total):
            if isinstance(module, nn.Conv2d | nn.Linear):
                total.append(output[0].numel() * module.weight[0].numel())
            elif isinstance(module, nn.BatchNorm2d):
                total.append(4 * output[0].numel())
            elif isinstance(module, nn.AdaptiveAvgPool2d | SqueezeExcite):
                total.append(inputs[0][0].numel() + inputs[0].shape[1])

        for module in network.modules():
            module.register_forward_hook(count)
        network(torch.empty(1, *TASK.input_shape, device="meta"))
        assert sum(total) == macs


# --- networks ---------------------------------------------------------------------


def literal_forward(words: list[str], state, x: torch.Tensor) -> torch.Tensor:
    """The network in plain functions of a state dict, BatchNorm in train mode."""
    F = nn.functional

    def conv_bn(x, conv, norm, **settings):
        x = F.conv2d(x, state[f"{conv}.weight"], **settings)
        scale, shift = state[f"{norm}.weight"], state[f"{norm}.bias"]
        return F.batch_norm(x, None, None, scale, shift, training=True)

    x = conv_bn(x, "stem.0", "stem.1", stride=2, padding=1).relu()
    widths, strides = (16, 24, 40, 80, 112, 192, 320), (1, 2, 2, 2, 1, 2, 1)
    for block, (word, width, first) in enumerate(
        zip(words, widths, strides, strict=True)
    ):
        for layer in range(int(word[5])):
            before, at, place = x, f"blocks.{block}.{layer}.conv", 0
            stride, kernel = first if layer == 0 else 1, int(word[3])
            if word[1] != "1":
                x, place = conv_bn(x, f"{at}.0", f"{at}.1").relu(), 3
            settings = {"stride": stride, "padding": kernel // 2, "groups": x.shape[1]}
            names = f"{at}.{place}", f"{at}.{place + 1}"
            x, place = conv_bn(x, *names, **settings).relu(), place + 3
            if word.endswith("s"):
                gate = x.mean((2, 3), keepdim=True)
                for name, function in (("reduce", F.relu), ("expand", torch.sigmoid)):
                    layer = f"{at}.{place}.{name}"
                    weight, bias = state[f"{layer}.weight"], state[f"{layer}.bias"]
                    gate = function(F.conv2d(gate, weight, bias))
                x, place = x * gate, place + 1
            x = conv_bn(x, f"{at}.{place}", f"{at}.{place + 1}")
            x = x + before if stride == 1 and before.shape[1] == width else x
    x = conv_bn(x, "head.0", "head.1").relu().mean((2, 3))
    return F.linear(x, state["classifier.weight"], state["classifier.bias"])


@pytest.mark.parametrize("spec", SPECS[:2])
def test_networks_equal_literal_ones(spec: str) -> None:
    network = SPACE.build(SPACE.parse(spec), "imagenet", seed=3).double()
    x = torch.randn(4, 3, 64, 64, generator=torch.Generator().manual_seed(0)).double()
    literal = literal_forward(spec.split(" "), network.state_dict(), x)
    torch.testing.assert_close(network(x), literal)


@pytest.mark.thorough
def test_the_short_second_derivative_is_promised_where_it_holds() -> None:
    """Squeeze-excite multiplies, which grasp has to see."""
    space = with_input_size(SPACE, 32)
    x = torch.randn(4, 3, 32, 32, generator=torch.Generator().manual_seed(0))
    batch = Batch(x, torch.tensor([0, 1, 2, 3]))
    for spec, plain in zip(SPECS[:2], (True, False), strict=True):
        network = space.build(space.parse(spec), "imagenet").double()
        assert network.linear_outside_layers is plain
        value = zcbench.score(network, batch, "grasp")["grasp"].value
        network.linear_outside_layers = False
        assert zcbench.score(network, batch, "grasp")["grasp"].value == pytest.approx(
            value, rel=1e-6
        )


@pytest.mark.thorough
def test_conformance(quick_conformance: None, monkeypatch: pytest.MonkeyPatch) -> None:
    """On the first 48, which are small, so that it takes seconds."""
    monkeypatch.setattr(mnasnet, "_N_ARCHITECTURES", 48)
    findings = {f.check: f for f in check_space(with_input_size(SPACE, 32))}
    assert [f for f in findings.values() if not f.ok] == []
    assert findings["populations"].detail == "of 48 looked at: trained 48"


# --- a space too large to list ----------------------------------------------------


def test_samples_have_the_keys_of_every_other_space() -> None:
    trained = [SPACE.parse(spec).index for spec in SPECS]
    pick = {"seed": 0, "population": "trained", "trained": trained}
    order = sample(SPACE, "all", **pick)
    assert sorted(order) == sorted(trained)
    assert sample(SPACE, 2, **pick) == order[:2]
    fewer = {**pick, "trained": order[1:]}
    assert sample(SPACE, "all", **fewer) == order[1:]
    assert isinstance(SPACE, Unlisted)
    with pytest.raises(UsageError, match="Unknown population of mnasnet"):
        SPACE.among("all", np.arange(3))


@pytest.fixture
def table(tmp_path: Path) -> Path:
    """Accuracies of three architectures, one of them trained twice."""
    file = tmp_path / "table.csv"
    rows = [f"{spec},{40 + k}.5,7" for k, spec in enumerate((*SPECS, SPECS[1]))]
    file.write_text("\n".join(["arch,val_top1,params", *rows]), encoding="utf-8")
    return file


def test_a_run_samples_from_its_truth(table: Path, tmp_path: Path) -> None:
    words = ["--space", SPACE.name, "--input-size", 32, "--batch-size", 2]
    words += ["--proxies", "params", "--truth", table]
    out = tmp_path / "run"
    result = invoke("run", *words, "--n", 2, "--out", out)
    assert result.exit_code == 0, result.output
    assert "population trained · sample of 2 architectures" in result.stdout
    assert "1 rows repeat an architecture, and are taken for further" in result.stderr
    result = invoke("run", *words, "--n", "all", "--out", out)
    assert result.exit_code == 0, result.output
    manifest = json.loads((out / "manifest.json").read_text())
    assert manifest["config"]["population"] == "trained"
    assert manifest["architectures"] == 3
    assert sorted(zcbench.load_run(out)["arch"]) == sorted(SPECS)
    truth = zcbench.load_truth(SPACE.name, "imagenet", str(table)).set_index("arch")
    assert truth.loc[SPECS[1], ["val", "val_seed0", "val_seed1"]].tolist() == [
        *(42.5, 41.5, 43.5)
    ]
    listed = invoke("run", *words, "--archs", table, "--out", tmp_path / "list")
    assert listed.exit_code == 0, listed.output
    assert "PARTIAL" not in listed.stdout
    for extra in (["--population", "trained"], []):
        report = invoke("report", out, "--truth", table, *extra)
        assert report.exit_code == 0, report.output


def test_without_a_truth_there_is_nothing_to_sample(table: Path) -> None:
    result = invoke("run", "--space", SPACE.name, "--truth", "none")
    assert (result.exit_code, result.stderr) == (
        2,
        "zcbench: Which architectures of mnasnet_imagenet are trained stands in its "
        "truth. Give a table with --truth FILE, or a list with --archs FILE.\n",
    )
    result = invoke("run", "--space", SPACE.name)
    assert (result.exit_code, result.stderr) == (
        3,
        "zcbench: There is no ground truth for mnasnet_imagenet. Give a table with "
        f"--truth FILE, or put it there as {cache_dir() / 'truth'}/"
        "mnasnet_imagenet.csv.\n",
    )
    result = invoke("run", "--space", SPACE.name, "--population", "al")
    assert result.exit_code == 2
    assert "Unknown population of mnasnet_imagenet 'al'" in result.stderr


def test_all_of_a_listed_space_are_not_retrained(tmp_path: Path) -> None:
    """There, a row that comes twice is a mistake."""
    file = tmp_path / "twice.csv"
    spec = zcbench.load_space("macro").architecture(0).spec
    file.write_text(f"arch,val\n{spec},1\n{spec},2\n", encoding="utf-8")
    with pytest.raises(DataError, match="repeat an architecture"):
        zcbench.load_truth("macro", "cifar10", str(file))


@pytest.mark.thorough
def test_relu_has_a_code_and_silu_has_none(few_draws: None) -> None:
    x = torch.randn(4, 3, 64, 64, generator=torch.Generator().manual_seed(1))
    batch, codes = Batch(x, torch.arange(4)), "nwot,swap,reg_swap"
    ours = SPACE.build(SPACE.parse(SPECS[1]), "imagenet")
    other = MnasNetwork(SPECS[1].split(" "), TASK, nn.SiLU)
    other.load_state_dict(ours.state_dict())
    for network, status in ((ours, "ok"), (other, "undefined")):
        scores = zcbench.score(network, batch, f"{codes},zen,meco,snip")
        assert {scores[name].status for name in codes.split(",")} == {status}
        assert {scores[name].status for name in ("zen", "meco", "snip")} == {"ok"}
