"""Proxies on networks outside the benchmarks, and `zcbench score`."""

from __future__ import annotations

import copy
import csv
import io
import json
import math
import random
from pathlib import Path

import numpy as np
import pytest
import torch
from click.testing import CliRunner
from outside_networks import CLASSES, NETWORKS
from reference import REFERENCES, reference

import zcbench
from zcbench.cli import main
from zcbench.errors import UsageError
from zcbench.networks import loading as zoos
from zcbench.networks.loading import (
    build_network,
    build_of_zoo,
    expand,
    own_shape,
    split_zoo,
)
from zcbench.proxies import PROXIES

RELU = {"nwot", "lin_regions", "swap", "reg_swap"}
BLOCKS = {"az_expressivity", "az_progressivity", "az_trainability"}
UNDEFINED: dict[str, set[str]] = {
    "vgg": BLOCKS,
    "vit": RELU | BLOCKS | {"zen", "meco"},  # tokens are no feature maps
    "mixer": RELU | BLOCKS | {"zen", "meco"},
    "convnext": RELU | {"zen"},  # zen has a term for BatchNorm alone
}
"""What is not defined there, for lack of ReLUs, feature maps or blocks of them."""
COMPARED = ("snip", "zico", "gradsign", "ntk_trace", "knas", "meco", "swap")


def network(name: str) -> torch.nn.Module:
    with torch.random.fork_rng():
        torch.manual_seed(1)
        return NETWORKS[name]()


def batch() -> zcbench.Batch:
    generator = torch.Generator().manual_seed(2)
    x = torch.randn(8, 3, 16, 16, generator=generator)
    return zcbench.Batch(x, torch.arange(8) % CLASSES)


@pytest.mark.parametrize("name", NETWORKS)
def test_every_proxy_scores_or_says_undefined(name):
    net = network(name)
    before = copy.deepcopy(net.state_dict())
    scores = zcbench.score(net, batch(), PROXIES.names())
    assert {s.status for s in scores.values()} <= {"ok", "undefined"}, {
        n: s.message for n, s in scores.items() if s.status == "error"
    }
    undefined = {n for n, s in scores.items() if s.status == "undefined"}
    # GenNAS learns features of blocks, too.
    gennas = {"gennas"} if UNDEFINED.get(name, set()) >= BLOCKS else set()
    assert undefined == UNDEFINED.get(name, set()) | gennas
    assert all(s.message for n, s in scores.items() if n in undefined)
    after = net.state_dict()
    assert all(torch.equal(before[key], after[key]) for key in before)


@pytest.mark.parametrize("name", NETWORKS)
@pytest.mark.parametrize("proxy", COMPARED)
def test_scores_equal_the_reference(name, proxy):
    net = network(name)
    for (
        module
    ) in net.modules():  # what is drawn anew in each pass compares with nothing
        if isinstance(module, torch.nn.Dropout):
            module.p = 0.0
    if (name, proxy) == ("mobilenet", "gradsign"):
        # One image's BatchNorm has mean 0, and so has its pooling: the gradients of the
        # convolution before are 0 but for rounding, which has signs.
        pytest.skip("signs of rounding errors")
    if (name, proxy) == ("convnext", "meco"):
        pytest.skip("the reference takes the second axis for channels everywhere")
    images = batch()
    got = zcbench.score(net, images, proxy)[proxy]
    if proxy in UNDEFINED.get(name, set()):
        assert got.value is None
        return
    # The references write BatchNorm and in-place ReLUs as the network has them.
    want = reference(proxy)(net, images.x, images.y)
    assert want is not None
    assert got.value == pytest.approx(want, rel=1e-6)


def test_a_saturated_gate_hides_no_layer():
    """Activations that grow from layer to layer must not end in a flat sigmoid."""

    class Gated(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.stem = torch.nn.Conv2d(3, 16, 3)
            blocks = [
                layer
                for _ in range(20)
                for layer in (torch.nn.Conv2d(16, 16, 1), torch.nn.BatchNorm2d(16))
            ]
            self.blocks = torch.nn.Sequential(*blocks)
            self.gate, self.head = torch.nn.Conv2d(16, 16, 1), torch.nn.Linear(16, 7)

        def forward(self, x):
            x = self.blocks(self.stem(x))
            gate = torch.nn.functional.hardsigmoid(self.gate(x))
            return self.head((x * gate).mean((2, 3)))

    assert zcbench.score(Gated(), batch(), "n_layers")["n_layers"].value == 23


def test_channels_are_followed_through_shuffles():
    class Block(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.conv = torch.nn.Conv2d(4, 4, 3, padding=1)

        def forward(self, x):
            one, two = x.chunk(2, dim=1)
            x = torch.cat([one, self.conv(two)], 1)
            n, c, h, w = x.shape
            return x.view(n, 2, c // 2, h, w).transpose(1, 2).reshape(n, c, h, w)

    net = torch.nn.Sequential(
        torch.nn.Conv2d(3, 8, 3),
        Block(),
        Block(),
        torch.nn.AdaptiveAvgPool2d(1),
        torch.nn.Flatten(),
        torch.nn.Linear(8, CLASSES),
    )
    images = batch()
    got = zcbench.score(net, images, "az_expressivity")["az_expressivity"]
    want = reference("az_expressivity")(net, images.x, images.y)
    assert got.value == pytest.approx(want, rel=1e-9)


def test_layers_of_positions_alone_are_on_no_path():
    class Positions(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.stem, self.head = torch.nn.Conv2d(3, 4, 3), torch.nn.Linear(4, 7)
            self.places = torch.nn.Linear(1, 14)

        def forward(self, x):
            places = self.places(torch.linspace(0, 1, 14).to(x)[:, None])
            return self.head((self.stem(x) + places).relu().mean((2, 3)))

    scores = zcbench.score(Positions(), batch(), "n_layers,flops")
    assert scores["n_layers"].value == 2
    assert scores["flops"].value == 14 * 14 * 4 * 27 + 14 * 14 + 4 * 7


def test_references_cover_what_is_compared():
    assert set(COMPARED) <= set(REFERENCES)
    assert set(PROXIES.names()) == set(REFERENCES)


# --- zcbench score -----------------------------------------------------------------

NETS = """
from torch import nn
def small(num_classes): return nn.Sequential(
    nn.Conv2d(3, 4, 3), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(),
    nn.Linear(4, num_classes))
def large(num_classes): return nn.Sequential(
    nn.Conv2d(3, 8, 3), nn.GELU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(),
    nn.Linear(8, num_classes))
def broken(): raise KeyError("no weights")
def wrong(): return 3
def shape(): return nn.Flatten()
def drawn(num_classes):
    import random
    import numpy as np
    width = random.randint(1, 10**6) % 7 + np.random.randint(1, 9)
    return nn.Sequential(nn.Flatten(), nn.Linear(192, width), nn.ReLU(),
                         nn.Linear(width, num_classes))
def hungry(): raise MemoryError
number = 3
"""
ARGUMENTS = ["--input", "3,8,8", "--classes", "5", "--batch-size", "4"]
EXAMPLE = (
    " Name it MODULE:CALLABLE, FILE.py:CALLABLE, timm:NAME or torchvision:NAME, such "
    "as timm:resnet18."
)
CALL = (
    " A builder is called without arguments, but for num_classes; wrap it where it "
    "needs others."
)


@pytest.fixture
def nets(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    Path("nets.py").write_text(NETS, encoding="utf-8")
    return tmp_path


def invoke(*arguments: str):
    return CliRunner().invoke(main, ["score", *arguments])


def test_networks_are_scored_and_ranked(nets):
    result = invoke(
        "nets.py:small", "nets.py:large", *ARGUMENTS, "--proxies", "params,nwot"
    )
    assert result.exit_code == 0, result.output
    lines = [line.split() for line in result.stdout.splitlines()]
    assert lines[0] == ["proxy", "nets.py:small", "nets.py:large"]
    assert lines[2] == ["params", "137", "(2)", "269", "(1)"]
    assert lines[3][0] == "nwot"
    assert lines[3][-1] == "undefined"
    assert (
        "nets.py:large: nwot undefined: the network has no ReLU: its activations are gelu"  # noqa: E501
        in result.stdout
    )


def test_formats_say_the_same(nets):
    common = ["nets.py:small", "nets.py:large", *ARGUMENTS, "--proxies", "snip,nwot"]
    document = json.loads(invoke(*common, "--format", "json").stdout)
    assert document["schema"] == 1
    records = document["scores"]
    assert [(r["network"], r["proxy"], r["status"], r["rank"]) for r in records] == [
        ("nets.py:small", "snip", "ok", records[0]["rank"]),
        ("nets.py:large", "snip", "ok", 3 - records[0]["rank"]),
        ("nets.py:small", "nwot", "ok", 1),
        ("nets.py:large", "nwot", "undefined", None),
    ]
    rows = list(csv.DictReader(io.StringIO(invoke(*common, "--format", "csv").stdout)))
    for row, record in zip(rows, records, strict=True):
        assert row["value"] == ("" if record["value"] is None else str(record["value"]))
    table = invoke(*common, "--format", "md").stdout
    assert f"| snip | {records[0]['value']:.6g} ({records[0]['rank']:g}) |" in table
    again = json.loads(invoke(*common, "--format", "json").stdout)["scores"]
    assert [r["value"] for r in again] == [r["value"] for r in records]
    assert math.isfinite(records[0]["value"])


@pytest.mark.parametrize(
    ("target", "message"),
    [
        ("nets.py", "'nets.py' names no network." + EXAMPLE),
        ("absent.py:f", "There is no file absent.py." + EXAMPLE),
        ("no_such_module:f", "There is no module no_such_module." + EXAMPLE),
        ("nets.py:f", "nets.py has no 'f'." + EXAMPLE),
        ("nets.py:number", "nets.py:number is int, not a callable." + EXAMPLE),
        ("nets.py:broken", "nets.py:broken raises KeyError: 'no weights'." + CALL),
        ("nets.py:wrong", "nets.py:wrong gives int, not a torch.nn.Module." + EXAMPLE),
        (
            "nets.py:shape",
            "nets.py:shape gives a tensor of shape [2, 192] for two images, not logits "
            "[2, 5]. Say the right --classes, or wrap the network.",
        ),
    ],
)
def test_what_is_no_network_is_one_sentence(nets, target, message):
    result = invoke(target, *ARGUMENTS)
    assert result.exit_code == 2
    assert result.stderr == f"zcbench: {message}\n"


def test_a_shape_that_is_none(nets):
    result = invoke("nets.py:small", "--input", "3,x")
    assert result.exit_code == 2


def test_one_failure_ends_nothing_else(nets):
    result = invoke(
        *("nets.py:broken", "nets.py:hungry", "nets.py:small"),
        *(*ARGUMENTS, "--proxies", "params,snip", "--format", "json"),
    )
    assert result.exit_code == 0, result.stderr
    records = json.loads(result.stdout)["scores"]
    status = {(r["network"], r["status"]) for r in records}
    assert status == {
        ("nets.py:broken", "error"),
        ("nets.py:hungry", "oom"),
        ("nets.py:small", "ok"),
    }
    said = {r["network"]: r["message"] for r in records}
    assert "no weights" in said["nets.py:broken"]
    assert said["nets.py:hungry"].endswith("Lower --batch-size or --input.")


def test_all_failing_is_an_error(nets):
    result = invoke("nets.py:broken", "nets.py:wrong", *ARGUMENTS)
    assert result.exit_code == 2
    assert "KeyError" in result.stdout
    assert result.stderr == (
        "zcbench: None of the 2 networks could be scored. The table says why.\n"
    )


def test_builders_draw_from_seeded_generators_that_are_restored(nets):
    def structure(seed: int) -> str:
        return str(build_network("nets.py:drawn", 5, seed))

    random.seed(1)
    np.random.seed(1)  # noqa: NPY002
    torch.manual_seed(1)
    before = random.getstate(), np.random.get_state()[1].tolist()  # noqa: NPY002
    torch_before = torch.get_rng_state()
    assert structure(3) == structure(3)
    assert len({structure(seed) for seed in range(8)}) > 1
    assert before == (random.getstate(), np.random.get_state()[1].tolist())  # noqa: NPY002
    assert torch.equal(torch_before, torch.get_rng_state())


# --- networks of timm and torchvision ----------------------------------------------

SMALL = ["timm:resnet10t", "timm:test_vit", "torchvision:squeezenet1_1"]


def test_zoo_networks_by_name(zoo, nets):
    arguments = ["--batch-size", "2", "--proxies", "params", "--format", "json"]
    result = invoke(*SMALL, "nets.py:small", *arguments)
    assert result.exit_code == 0, result.stdout + result.stderr
    records = json.loads(result.stdout)["scores"]
    assert [r["status"] for r in records] == ["ok"] * 4


def test_own_shapes(zoo):
    def shape(target: str):
        with torch.device("meta"):
            return own_shape(build_of_zoo(*split_zoo(target), 10), target)

    assert shape("torchvision:inception_v3") == (3, 299, 299)
    assert shape("torchvision:vit_b_16") == (3, 224, 224)
    assert shape("torchvision:resnet18") == (3, 224, 224)
    assert shape("timm:test_vit") == (3, 160, 160)


def test_wildcards_and_unknown_names(zoo):
    assert "timm:resnet18" in expand("timm:resnet1*")
    assert expand("torchvision:resnet1?") == ["torchvision:resnet18"]
    with pytest.raises(UsageError, match="timm has no network zzz"):
        expand("timm:zzz*")
    with pytest.raises(UsageError, match="Did you mean torchvision:resnet18"):
        build_of_zoo("torchvision", "resnet1", 10)


def test_a_vit_on_small_images_says_its_own_shape(zoo, nets):
    result = invoke("timm:test_vit", *ARGUMENTS, "--proxies", "params")
    assert result.exit_code == 2
    assert result.stderr.endswith(" Say --input 3,160,160.\n")


def test_a_torchvision_that_does_not_load(monkeypatch):
    def refuse(name: str):
        raise RuntimeError("operator torchvision::nms does not exist")

    monkeypatch.setattr("zcbench.networks.loading.importlib.import_module", refuse)
    with pytest.raises(UsageError, match="Install a torchvision that matches torch"):
        build_of_zoo("torchvision", "resnet18", 10)


# --- accuracies --------------------------------------------------------------------

PLAIN = "\n".join(
    f"def n{i}(num_classes): return nn.Sequential(nn.Conv2d(3, {i + 2}, 3), nn."
    f"{'ReLU' if i < 4 else 'GELU'}(), nn.AdaptiveAvgPool2d(1), nn.Flatten(), "
    f"nn.Linear({i + 2}, num_classes))"
    for i in range(12)
)


@pytest.fixture
def twelve(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    monkeypatch.chdir(tmp_path)
    Path("nets.py").write_text(f"from torch import nn\n{PLAIN}", encoding="utf-8")
    values = [0.3, 0.4, 0.35, 0.5, 0.45, 0.6, 0.7, 0.5, 0.65, 0.8, 0.75, 0.85]
    rows = "".join(
        f"{'nets.py:' if i % 2 else ''}n{i};{value}\n" for i, value in enumerate(values)
    )
    Path("acc.csv").write_text(f"Model;Top1\n{rows}", encoding="utf-8")
    names = [f"nets.py:n{i}" for i in range(12)]
    return [*names, *ARGUMENTS, "--proxies", "params,nwot,snip"]


def test_many_networks_are_rows(twelve):
    result = invoke(
        *twelve, "--proxies", "params,flops,snip,grad_norm,fisher,zen,plain"
    )
    assert result.exit_code == 0, result.stderr
    table = result.stdout.split("\n(rank")[0].splitlines()
    assert table[0].split()[:2] == ["network", "params"]
    assert sum(line.startswith("network ") for line in table) == 2
    assert sum(line.startswith("nets.py:n11 ") for line in table) == 2
    assert max(map(len, table)) <= 88


def test_accuracies_end_in_correlations(twelve):
    result = invoke(*twelve, "--accuracies", "acc.csv", "--format", "json")
    assert result.exit_code == 0, result.stderr
    assert "acc.csv: read as fractions of 1, not percent." in result.stderr
    document = json.loads(result.stdout)
    assert len(document["scores"]) == 36
    rows = {row["proxy"]: row for row in document["correlations"]}
    assert [rows[p]["n"] for p in ("params", "snip", "nwot")] == [12, 12, 4]
    assert rows["params"]["spearman"] > 0.8
    assert rows["params"]["spearman_low"] is not None
    assert rows["nwot"]["spearman_low"] is None
    assert document["correlations"][-1]["proxy"] == "nwot"
    assert [row["proxy"] for row in document["verdict"]] == ["snip"]


@pytest.mark.parametrize("format_name", ["text", "md", "csv", "tex", "html"])
def test_every_format_holds_the_correlations(twelve, format_name):
    result = invoke(*twelve, "--accuracies", "acc.csv", "--format", format_name)
    assert result.exit_code == 0, result.stderr
    for proxy in ("params", "nwot", "snip"):
        assert proxy in result.stdout


def test_networks_without_accuracy_are_named(twelve):
    Path("few.csv").write_text("network,accuracy\nn0,50\nn1,60\nn2,55\nn3,70\n")
    result = invoke(*twelve, "--accuracies", "few.csv")
    assert result.exit_code == 0, result.stderr
    assert "few.csv has no accuracy of nets.py:n4, " in result.stderr
    assert "(too few for an interval)" in result.stdout


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("a,b\n1,2\n", "has no column network"),
        ("model,acc\nn0,x\n", "has the accuracy 'x' of n0"),
        ("model,acc\nn0,1\nn0,2\n", "has two rows for n0"),
        ("model,acc\nother,1\n", "has an accuracy of none of these networks"),
        ("", "cannot be read as CSV"),
    ],
)
def test_accuracies_that_are_none(twelve, content, message):
    Path("bad.csv").write_text(content)
    result = invoke(*twelve, "--accuracies", "bad.csv")
    assert result.exit_code == 3
    assert message in result.stderr


def test_notes_are_shared_and_wrapped(nets):
    names = ("nets.py:absent", "nets.py:small", "nets.py:large", "nets.py:drawn")
    said = invoke(*names, *ARGUMENTS, "--proxies", "params,meco").stdout
    notes = said.partition("by that proxy)\n")[2]
    assert max(map(len, notes.splitlines())) <= 80
    assert "nets.py:absent: params, meco error: nets.py has no 'absent'." in notes


def test_networks_of_one_reason_share_a_line(nets):
    Path("nets.py").write_text(NETS + "again = large\n", encoding="utf-8")
    names = ("nets.py:large", "nets.py:small", "nets.py:again")
    said = invoke(*names, *ARGUMENTS, "--proxies", "nwot").stdout
    assert "nets.py:large, nets.py:again: nwot undefined: " in said


def test_a_heading_follows_a_blank_line(twelve):
    said = invoke(*twelve, "--accuracies", "acc.csv", "--format", "md").stdout
    assert "\n\n### networks" in said


def test_nothing_scored_has_no_correlations(nets):
    Path("acc.csv").write_text("network,accuracy\nbroken,50\nwrong,60\n")
    names = ("nets.py:broken", "nets.py:wrong")
    result = invoke(*names, *ARGUMENTS, "--accuracies", "acc.csv")
    assert result.exit_code == 2
    assert "ρ" not in result.stdout
    assert "KeyError" in result.stdout


def test_a_torchvision_for_another_torch_will_do(monkeypatch):
    module, calls = object(), []

    def once(name: str):
        calls.append(name)
        if len(calls) == 1:
            raise RuntimeError("operator torchvision::nms does not exist")
        return module

    monkeypatch.setattr(zoos, "ZOOS", ())  # what is imported here stays
    monkeypatch.setattr(zoos, "_define_operators", lambda: None)
    monkeypatch.setattr(zoos.importlib, "import_module", once)
    assert zoos.import_zoo("torchvision") is module
    assert calls == ["torchvision"] * 2


def test_latex_needs_accuracies(nets):
    assert invoke("nets.py:small", *ARGUMENTS, "--format", "tex").exit_code == 2
