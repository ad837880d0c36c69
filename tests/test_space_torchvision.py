"""torchvision: names, sizes, accuracies of two recipes, images of other sizes."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from click.testing import CliRunner, Result
from torch import nn

import zcbench
from zcbench.cli import main
from zcbench.conformance.spaces import check_space
from zcbench.conformance.truths import check_truth
from zcbench.errors import AbsentDataError, DataError, UsageError
from zcbench.networks import loading
from zcbench.spaces import torchvision as module
from zcbench.spaces.torchvision import Torchvision
from zcbench.tasks import with_input_size
from zcbench.truth import TRUTHS

SPACE = Torchvision()
SMALL = ["mnasnet0_5", "mobilenet_v2", "shufflenet_v2_x0_5", "squeezenet1_1"]
AUXILIARY = {"inception_v3": 3_326_696}
"""Parameters that train a head beside the classifier, which are not built here."""


def invoke(*words: object) -> Result:
    return CliRunner().invoke(main, [str(word) for word in words])


@pytest.fixture
def small(monkeypatch: pytest.MonkeyPatch, zoo: None) -> None:
    """A space of four networks, of which one has a second recipe."""
    monkeypatch.setattr(module.Torchvision, "_specs", tuple(SMALL))


@pytest.fixture
def undrawn(monkeypatch: pytest.MonkeyPatch, zoo: None) -> None:
    """Networks in no time: what a constructor would draw stays as memory was."""
    for name in [n for n in dir(nn.init) if n.endswith("_") and n[0] != "_"]:
        monkeypatch.setattr(nn.init, name, lambda tensor, *_, **__: tensor)


def test_these_are_the_networks_with_a_first_recipe(zoo: None) -> None:
    models = loading.import_zoo("torchvision").models
    named = models.list_models(module=models)
    weights = {name: {w.name for w in models.get_model_weights(name)} for name in named}
    first = [name for name in named if "IMAGENET1K_V1" in weights[name]]
    assert first == [SPACE.architecture(index).spec for index in range(len(SPACE))]
    assert {n for n in named if "IMAGENET1K_V2" in weights[n]} < set(first)
    for index, name in enumerate(first):
        assert SPACE.parse(name).index == index
    with pytest.raises(DataError, match="'resnet19' is not an architecture of torchv"):
        SPACE.parse("resnet19")


def test_recipes_are_two_truths(zoo: None) -> None:
    first, second = (zcbench.load_truth("torchvision", t) for t in SPACE.tasks)
    assert (len(first), len(second)) == (78, 24)
    known = first.set_index("arch")["val"]
    assert known[["resnet50", "vgg16"]].tolist() == [76.13, 71.592]
    again = second.set_index("arch")["val"]
    assert again["resnet50"] == 80.858
    assert (again > known[again.index]).all()
    assert first.attrs["digest"] != second.attrs["digest"]
    assert all(f.ok for f in check_truth(TRUTHS.get("torchvision")))


@pytest.mark.thorough
def test_params_are_those_that_torchvision_states(undrawn: None) -> None:
    stored = zcbench.load_truth("torchvision", "imagenet_v1")
    task = SPACE.tasks["imagenet_v1"]
    for name, params in zip(stored["arch"], stored["stored_params"], strict=True):
        network = SPACE._network(name, task)
        counted = sum(p.numel() for p in network.parameters())
        assert counted + AUXILIARY.get(name, 0) == params, name


@pytest.mark.parametrize(
    ("name", "side"),
    [("resnet18", 224), ("efficientnet_b1", 240), ("densenet121", 224)],
)
def test_macs_are_those_that_torchvision_states(
    name: str, side: int, undrawn: None
) -> None:
    models = loading.import_zoo("torchvision").models
    (weights, *_) = models.get_model_weights(name)
    total = []

    def count(module, inputs, output):
        total.append(output[0].numel() * module.weight[0].numel())

    with torch.device("meta"):
        network = SPACE._network(name, SPACE.tasks["imagenet_v1"]).eval()
    for part in network.modules():
        if isinstance(part, nn.Conv2d | nn.Linear):
            part.register_forward_hook(count)
    network(torch.empty(1, 3, side, side, device="meta"))
    assert sum(total) / 1e9 == pytest.approx(weights.meta["_ops"], abs=6e-4)


@pytest.mark.thorough
def test_conformance(
    small: None, quick_conformance: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    """On one task of the two, which have the same networks."""
    space = with_input_size(SPACE, 64)
    monkeypatch.setattr(space, "tasks", {"imagenet_v1": space.tasks["imagenet_v1"]})
    assert [f for f in check_space(space) if not f.ok] == []


@pytest.mark.thorough
def test_weights_of_transformers_depend_on_their_names(zoo: None) -> None:
    """Also those that no convolution or linear layer holds."""
    layer = "encoder.layers.encoder_layer_0.self_attention.in_proj_weight"
    position = "encoder.pos_embedding"
    space = with_input_size(SPACE, 64)
    build = {
        key: space.build(space.parse(name), "imagenet_v1", **more).state_dict()
        for key, name, more in (
            ("16", "vit_b_16", {}),
            ("32", "vit_b_32", {}),
            ("seed", "vit_b_32", {"seed": 1}),
            ("repeat", "vit_b_32", {"repeat": 1}),
        )
    }
    assert torch.equal(build["16"][layer], build["32"][layer])
    assert 0.9 < build["32"][layer].abs().max() * 768**0.5 <= 1
    assert build["16"][position].shape == (1, 17, 768)
    assert build["16"][position].std() == pytest.approx(0.02, rel=0.05)
    for other in ("seed", "repeat"):
        for name in (layer, position):
            assert not torch.equal(build[other][name], build["32"][name])
    assert not build["32"]["class_token"].any()


# --- runs -------------------------------------------------------------------------


@pytest.mark.thorough
def test_every_recipe_has_the_networks_it_trained(small: None, tmp_path: Path) -> None:
    words = ["--space", "torchvision", "--input-size", 64, "--batch-size", 2]
    words += ["--proxies", "params", "--workers", 1]
    out = tmp_path / "run"
    dry = invoke("run", *words, "--n", "all", "--dry-run")
    assert "4 + 1 architectures × 1 repeats = 5" in dry.stdout
    for _ in range(2):  # the second time there is nothing to do
        result = invoke("run", *words, "--n", "all", "--out", out)
        assert result.exit_code == 0, result.output
        assert "PARTIAL" not in result.stdout
    table = zcbench.load_run(out)
    assert table.groupby("dataset")["arch"].agg(sorted).to_dict() == {
        "imagenet_v1": SMALL,
        "imagenet_v2": ["mobilenet_v2"],
    }
    manifest = json.loads((out / "manifest.json").read_text())
    assert manifest["architectures_of"] == {"imagenet_v1": 4, "imagenet_v2": 1}
    assert manifest["truth"]["imagenet_v2"]["truth"] == "torchvision"
    fewer = invoke("run", *words, "--n", "2", "--out", tmp_path / "fewer")
    assert fewer.exit_code == 0, fewer.output
    assert "trained of torchvision has only 1 architectures" in fewer.stderr
    listed = tmp_path / "list.txt"
    listed.write_text("\n".join(SMALL), encoding="utf-8")
    refused = invoke("run", *words, "--archs", listed, "--datasets", "imagenet_v2")
    assert refused.exit_code == 3
    assert "lacks 3 of the 4 architectures for imagenet_v2" in refused.stderr


@pytest.mark.thorough
def test_a_network_that_cannot_have_such_images_says_so(
    zoo: None, tmp_path: Path
) -> None:
    listed = tmp_path / "list.txt"
    listed.write_text("maxvit_t\ninception_v3\nsqueezenet1_1\n", encoding="utf-8")
    out = tmp_path / "run"
    words = ["--input-size", 64, "--batch-size", 2, "--datasets", "imagenet_v1"]
    result = invoke(
        *("run", "--space", "torchvision", "--archs", listed, "--proxies", "flops"),
        *(*words, "--out", out, "--workers", 1),
    )
    assert result.exit_code == 0, result.output
    rows = zcbench.load_run(out).set_index("arch")
    assert rows["flops"].notna().to_dict() == {
        "maxvit_t": False,
        "inception_v3": False,
        "squeezenet1_1": True,
    }
    lines = (out / "scores.jsonl").read_text().splitlines()
    said = {
        r["arch"]: r.get("messages", {}).get("flops", "")
        for r in map(json.loads, lines)
    }
    assert "not divisible by partition size 7" in said["maxvit_t"]
    assert "padded input size" in said["inception_v3"]
    assert rows["status"]["maxvit_t"] == {"flops": "error"}


def test_without_torchvision(monkeypatch: pytest.MonkeyPatch) -> None:
    def absent(_: str) -> None:
        raise UsageError("torchvision cannot be imported: x.", "Install it: y.")

    monkeypatch.setattr(loading, "import_zoo", absent)
    with pytest.raises(AbsentDataError, match=r"cannot be imported: x\. Install it"):
        zcbench.load_truth("torchvision", "imagenet_v1")
    result = invoke("run", "--space", "torchvision", "--n", 2)
    assert (result.exit_code, result.stderr) == (
        3,
        "zcbench: torchvision cannot be imported: x. Install it: y.\n",
    )
    assert all(f.ok for f in check_truth(TRUTHS.get("torchvision")))
