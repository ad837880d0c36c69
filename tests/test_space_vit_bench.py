"""vit_bench: strings, networks against timm's, families, targets, what is defined."""

from __future__ import annotations

import json
from itertools import pairwise
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from click.testing import CliRunner, Result

import zcbench
from zcbench.cli import main
from zcbench.conformance.spaces import check_space
from zcbench.errors import DataError
from zcbench.spaces import vit_bench
from zcbench.spaces.vit_bench import ViTBench
from zcbench.tasks import with_input_size
from zcbench.types import Batch

SPACE = ViTBench()
PIT = '{"base_dim":16,"mlp_ratio":6,"depth":[2,8,4],"num_heads":[2,4,4]}'
AUTOFORMER = json.dumps(
    {
        "hidden_dim": 216,
        "mlp_ratio": [3.5, 4.0] * 6,
        "depth": 12,
        "num_heads": [4, 3, 3] * 4,
    },
    separators=(",", ":"),
)
EVEN = AUTOFORMER.replace("3.5", "4.0").replace("3", "4")
"""All layers the same, as timm has them."""


def invoke(*words: object) -> Result:
    return CliRunner().invoke(main, [str(word) for word in words])


# --- strings ----------------------------------------------------------------------


def test_the_index_counts_pit_then_autoformer() -> None:
    assert len(SPACE) == 4_320 + 3 * (4**12 + 4**13 + 4**14)
    specs = [SPACE.architecture(i).spec for i in (0, 1, 4_320, len(SPACE) - 1)]
    assert (
        specs[0] == '{"base_dim":16,"mlp_ratio":2,"depth":[1,4,2],"num_heads":[2,2,2]}'
    )
    assert specs[1] == specs[0].replace("2,2,2]", "2,2,4]")
    first, last = json.loads(specs[2]), json.loads(specs[3])
    assert first == {
        "hidden_dim": 192,
        "mlp_ratio": [3.5] * 12,
        "depth": 12,
        "num_heads": [3] * 12,
    }
    assert (last["hidden_dim"], last["num_heads"]) == (240, [4] * 14)
    for spec in (PIT, AUTOFORMER, *specs):
        arch = SPACE.parse(spec)
        assert arch.spec == spec
        assert SPACE.architecture(arch.index) == arch
    turned = json.dumps(dict(reversed(json.loads(AUTOFORMER).items())))
    assert SPACE.parse(turned).spec == AUTOFORMER


@pytest.mark.parametrize(
    "spec",
    [
        "",
        "[]",
        "3",
        "null",
        "[" * 100_000,
        PIT.replace("16", "17"),
        PIT.replace("[2,8,4]", "[2,8]"),
        PIT.replace("[2,8,4]", "7"),
        PIT.replace("[2,4,4]", "[4,2,4]"),
        PIT.replace('"base_dim"', '"base"'),
        PIT[:-1] + ',"more":1}',
        AUTOFORMER.replace(":12", ":13"),
        AUTOFORMER.replace(":12", ":true"),
        AUTOFORMER.replace(":12", ":0"),
        AUTOFORMER.replace("3.5", "3.0", 1),
    ],
)
def test_foreign_strings(spec: str) -> None:
    with pytest.raises(DataError, match="is not an architecture of vit_bench"):
        SPACE.parse(spec)


def test_the_table_is_of_this_space(shared_data: Path) -> None:
    file = shared_data / "vit_bench.csv"
    if not file.exists():
        pytest.skip(f"{file} is not here")
    table = pd.read_csv(file)
    archs = [SPACE.parse(spec) for spec in table["arch"]]
    assert [arch.spec for arch in archs] == table["arch"].tolist()
    pit = SPACE.among("pit", np.array([arch.index for arch in archs]))
    assert len(pit) == (table["family"] == "pit").sum() == 100
    for dataset in SPACE.tasks:
        plain, distilled = (
            zcbench.load_truth(SPACE.name, dataset, str(file), target=target)
            for target in ("auto", "kd")
        )
        assert plain.attrs["targets"] == ["accuracy"]
        assert plain["accuracy"].notna().sum() == 200
        assert distilled["kd"].notna().sum() == 300
        best = table[f"{dataset}_kd"].max()
        assert distilled["kd"].max() == best


# --- networks ---------------------------------------------------------------------


def literal_params(spec: str, n_classes: int) -> int:
    """Counted by hand, layer by layer."""
    of = json.loads(spec)

    def layer(width: int, ratio: float) -> int:
        hidden = int(width * ratio)
        attention = width * 3 * width + 3 * width + width * width + width
        return attention + 2 * width * hidden + hidden + width + 4 * width

    if "hidden_dim" in of:
        width = of["hidden_dim"]
        total = 3 * 16 * 16 * width + width + width + (14 * 14 + 1) * width
        total += sum(layer(width, ratio) for ratio in of["mlp_ratio"])
        return total + 2 * width + width * n_classes + n_classes
    widths = [of["base_dim"] * heads for heads in of["num_heads"]]
    total = 3 * 16 * 16 * widths[0] + widths[0] + widths[0] + 27 * 27 * widths[0]
    for width, depth in zip(widths, of["depth"], strict=True):
        total += depth * layer(width, of["mlp_ratio"])
    for width, wider in pairwise(widths):
        total += 9 * wider + wider + width * wider + wider
    return total + 2 * widths[-1] + widths[-1] * n_classes + n_classes


@pytest.mark.parametrize("spec", [PIT, AUTOFORMER, EVEN])
@pytest.mark.parametrize("dataset", list(SPACE.tasks))
def test_params(spec: str, dataset: str) -> None:
    with torch.device("meta"):
        network = SPACE._network(spec, SPACE.tasks[dataset])
    counted = sum(p.numel() for p in network.parameters())
    assert counted == literal_params(spec, SPACE.tasks[dataset].n_classes)


def of_timm(spec: str, side: int):
    """timm's network, and its names of our parameters."""
    of = json.loads(spec)
    shared = {"img_size": side, "num_classes": 100}
    if "base_dim" in of:
        from timm.models.pit import PoolingVisionTransformer

        network = PoolingVisionTransformer(
            **shared,
            patch_size=16,
            stride=8,
            stem_type="overlap",
            base_dims=[of["base_dim"]] * 3,
            depth=of["depth"],
            heads=of["num_heads"],
            mlp_ratio=of["mlp_ratio"],
        )
    else:
        from timm.models.vision_transformer import VisionTransformer

        network = VisionTransformer(
            **shared,
            patch_size=16,
            embed_dim=of["hidden_dim"],
            depth=of["depth"],
            num_heads=of["num_heads"][0],
            mlp_ratio=of["mlp_ratio"][0],
            global_pool="avg",
            fc_norm=False,
        )
    words = {
        "qkv_transform": "qkv",
        "attn.projection": "attn.proj",
        "patch_embed.projection": "patch_embed.proj",
        "pools.0": "transformers.1.pool",
        "pools.1": "transformers.2.pool",
    }
    return network, words


@pytest.mark.parametrize("spec", [PIT, EVEN])
def test_networks_equal_those_of_timm(spec: str, zoo: None) -> None:
    space = with_input_size(SPACE, 64)
    ours = space.build(space.parse(spec), "cifar100", seed=2).double()
    theirs, words = of_timm(spec, 64)
    state = {}
    for name, value in ours.state_dict().items():
        for word, other in words.items():
            name = name.replace(word, other)
        state[name] = value
    theirs.double().load_state_dict(state)
    x = torch.randn(3, 3, 64, 64, generator=torch.Generator().manual_seed(0)).double()
    torch.testing.assert_close(ours(x), theirs(x))
    with torch.device("meta"):
        full = SPACE._network(spec, SPACE.tasks["cifar100"])
    there = sum(p.numel() for p in of_timm(spec, 224)[0].parameters())
    assert sum(p.numel() for p in full.parameters()) == there


def test_heads_share_the_width() -> None:
    """Of AutoFormer, as in the authors' code: their number changes no size."""
    few, many = EVEN.replace("[4,4,4", "[3,3,3"), EVEN
    assert few != many
    assert literal_params(few, 100) == literal_params(many, 100)
    space = with_input_size(SPACE, 32)
    x = torch.randn(2, 3, 32, 32, generator=torch.Generator().manual_seed(0))
    outputs = [space.build(space.parse(s), "cifar100")(x) for s in (few, many)]
    assert not torch.equal(*outputs)


# --- proxies and runs -------------------------------------------------------------


def test_what_is_undefined_says_why() -> None:
    space = with_input_size(SPACE, 32)
    x = torch.randn(4, 3, 32, 32, generator=torch.Generator().manual_seed(1))
    network = space.build(space.architecture(0), "chaoyang")
    scores = zcbench.score(network, Batch(x, torch.tensor([0, 0, 1, 1])))
    undefined = {n: s.message for n, s in scores.items() if s.status != "ok"}
    relu = dict.fromkeys(
        ("nwot", "swap", "reg_swap"),
        "the network has no ReLU: its activations are gelu",
    )
    blocks = dict.fromkeys(
        ("az_expressivity", "az_progressivity", "az_trainability"),
        "the network has no blocks between feature maps",
    )
    modules = ("wrcor", "wrcor_unweighted")
    assert undefined == relu | blocks | {
        **dict.fromkeys(modules, "the network has no ReLU module"),
        "zen": "it normalises by layer_norm, zen's term is BatchNorm's",
        "lin_regions": "it has no thin version (one cell of one channel) to count in",
        "meco": "28 layers give tokens, no feature map [C, H, W]",
    }


@pytest.mark.thorough
def test_conformance(quick_conformance: None, monkeypatch: pytest.MonkeyPatch) -> None:
    """On one task, and of AutoFormer on four, so that it takes seconds."""
    monkeypatch.setattr(vit_bench, "_SIZES", {0: 2_000, 12: 4, 13: 0, 14: 0})
    space = with_input_size(SPACE, 16)
    monkeypatch.setattr(space, "tasks", {"chaoyang": space.tasks["chaoyang"]})
    assert [f for f in check_space(space) if not f.ok] == []


def test_synflow_of_attention_can_be_no_number() -> None:
    """Without LayerNorm, 12 layers of positive weights saturate softmax at 1e86."""
    space = with_input_size(SPACE, 32)
    batch = Batch(torch.randn(2, 3, 32, 32), torch.arange(2))
    said = set()
    for seed in range(4):
        network = space.build(space.parse(AUTOFORMER), "cifar100", seed=seed)
        score = zcbench.score(network, batch, "synflow")["synflow"]
        assert score.status in ("ok", "undefined")
        said.add(score.message)
    assert "without layer_norm its flow is no number" in said


@pytest.mark.thorough
def test_families_and_targets(tmp_path: Path) -> None:
    file = tmp_path / "table.csv"
    other = PIT.replace("16", "24")
    rows = [
        (PIT, 60, 70, 10, 20),
        (other, 62, 73, 13, 24),
        (AUTOFORMER, 69, 76, 14, 25),
    ]
    columns = ["arch", "cifar100", "cifar100_kd", "flowers", "flowers_kd"]
    rows.append((EVEN, None, 77, None, 26))
    pd.DataFrame(rows, columns=columns).to_csv(file, index=False)
    words = ["--space", SPACE.name, "--datasets", "cifar100,flowers", "--truth", file]
    words += [
        "--input-size",
        16,
        "--batch-size",
        2,
        "--proxies",
        "params",
        "--n",
        "all",
    ]
    archs = {}
    for target, population in (
        ("auto", "all"),
        ("kd", "trained"),
        ("kd", "pit"),
        ("auto", "autoformer"),
    ):
        out = tmp_path / f"{target}-{population}"
        more = ["--target", target, "--population", population, "--out", out]
        result = invoke("run", *words, *more)
        assert result.exit_code == 0, result.output
        archs[target, population] = set(zcbench.load_run(out)["arch"])
    assert archs == {
        ("auto", "all"): {PIT, other, AUTOFORMER},
        ("kd", "trained"): {PIT, other, AUTOFORMER, EVEN},
        ("kd", "pit"): {PIT, other},
        ("auto", "autoformer"): {AUTOFORMER},
    }
    every, pit = tmp_path / "kd-trained", tmp_path / "kd-pit"
    report = invoke("report", every, "--population", "pit", "--format", "json")
    assert report.exit_code == 0, report.output
    assert {row["n"] for row in json.loads(report.stdout)["correlations"]} == {2}
    refused = invoke("report", pit, "--population", "autoformer")
    assert refused.exit_code == 2
    assert "from the population pit, which says nothing about" in refused.stderr
