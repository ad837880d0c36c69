"""Proxies on networks outside the benchmarks, and `zcbench score`."""

from __future__ import annotations

import copy
import csv
import io
import json
import math
import random
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from click.testing import CliRunner
from levels import few
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

pytestmark = pytest.mark.usefixtures("few_draws")

RELU = {"nwot", "swap", "reg_swap"}
THIN = {"lin_regions"}  # which networks of cells can be built
BLOCKS = {"az_expressivity", "az_progressivity", "az_trainability"}
ATTENTION = {p.name for p in PROXIES.select("transformers")}
MODULES = {"wrcor", "wrcor_unweighted"}  # of ReLU
UNDEFINED: dict[str, set[str]] = {
    "resnet": ATTENTION,
    "densenet": ATTENTION,
    "mobilenet": ATTENTION,
    "vgg": BLOCKS | ATTENTION | {"wrcor"},
    # Tokens are no feature maps; nor is what places them a module.
    "vit": RELU
    | BLOCKS
    | MODULES
    | {"zen", "meco", "vkdnw", "vkdnw_entropy", "epsinas"},
    "mixer": RELU | BLOCKS | MODULES | ATTENTION | {"zen", "meco", "epsinas"},
    "convnext": RELU | MODULES | ATTENTION | {"zen"},  # whose term is BatchNorm's
}
"""What is not defined there, for lack of ReLUs, feature maps or blocks of them."""
COMPARED = ("snip", "zico", "gradsign", "ntk_trace", "knas", "meco")


def network(name: str) -> torch.nn.Module:
    with torch.random.fork_rng():
        torch.manual_seed(1)
        return NETWORKS[name]()


def batch() -> zcbench.Batch:
    generator = torch.Generator().manual_seed(2)
    x = torch.randn(8, 3, 16, 16, generator=generator)
    return zcbench.Batch(x, torch.arange(8) % CLASSES)


@pytest.mark.parametrize("name", few(sorted(NETWORKS, reverse=True), 3))
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
    expected = UNDEFINED.get(name, set()) | THIN | gennas
    assert undefined == expected
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


@pytest.mark.parametrize("shape", ["3,x", "3,32", "3,32,32,1", "0,8,8", ""])
def test_a_shape_that_is_none(nets, shape):
    result = invoke("nets.py:small", "--input", shape)
    assert result.exit_code == 2
    assert f"{shape!r} is no shape such as 3,32,32." in result.stderr


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


def test_two_networks_are_too_few_and_it_says_how_many_are_not(twelve):
    Path("few.csv").write_text("model,acc\nn0,50\nn1,60\n")
    result = invoke("nets.py:n0", "nets.py:n1", "--accuracies", "few.csv")
    assert result.exit_code == 0, result.stderr
    assert "list of 2 architectures" in result.stdout
    told = "Too few architectures for a correlation, 2: score at least 4 that have an"
    assert told in " ".join(result.stdout.split())
    Path("few.csv").write_text("model,acc\nn0,50\n")
    result = invoke("nets.py:n0", "nets.py:n1", "--accuracies", "few.csv")
    assert "few.csv has no accuracy of nets.py:n1: left out" in result.stderr
    assert "list of 1 architecture " in result.stdout


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


# --- files of networks, directories that are gone on with ---------------------------

WIDE = """
from pathlib import Path
from torch import nn
def build(num_classes, width=4, side=8):
    with Path("built").open("a") as log: log.write(f"{width}\\n")
    return nn.Sequential(nn.Flatten(), nn.Linear(3 * side * side, width), nn.ReLU(),
                         nn.Linear(width, num_classes))
"""


@pytest.fixture
def wide(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    Path("wide.py").write_text(WIDE, encoding="utf-8")
    Path("nets.txt").write_text(
        "# two widths\nwide.py:build width=5\n\nwide.py:build  width=7  # wider\n"
    )
    return tmp_path


LISTED = ["--networks", "nets.txt", *ARGUMENTS, "--proxies", "params,snip"]


def built() -> list[str]:
    log = Path("built")
    return log.read_text().split() if log.exists() else []


def test_a_file_names_networks_with_arguments(wide):
    result = invoke(*LISTED, "wide.py:build width=9", "--format", "json")
    assert result.exit_code == 0, result.stderr
    rows = json.loads(result.stdout)["scores"]
    params = {r["network"]: r["value"] for r in rows if r["proxy"] == "params"}
    assert params == {
        f"wide.py:build width={w}": 193 * w + 5 * (w + 1) for w in (9, 5, 7)
    }


def test_accuracies_tell_arguments_apart(wide):
    Path("acc.csv").write_text("network,accuracy\nbuild width=5,50\nbuild,60\n")
    result = invoke(*LISTED, "--accuracies", "acc.csv")
    assert "no accuracy of wide.py:build width=7" in result.stderr


def test_arguments_say_the_size_of_images():
    assert own_shape(torch.nn.Flatten(), "timm:vit img_size=96") == (3, 96, 96)
    assert own_shape(torch.nn.Flatten(), "a:b input_size=(1,8,9)") == (1, 8, 9)


@pytest.mark.parametrize(
    ("content", "message"), [("# none\n", "names no network"), (None, "cannot be read")]
)
def test_a_file_that_names_none(wide, content, message):
    path = Path("none.txt")
    if content is not None:
        path.write_text(content)
    result = invoke("--networks", str(path))
    assert result.exit_code == 3
    assert message in result.stderr
    assert invoke().exit_code == 2


def test_what_is_there_is_not_scored_again(wide):
    first = invoke(*LISTED, "--out", "scored", "--format", "csv")
    assert first.exit_code == 0, first.stderr
    assert built() == ["5", "7"]
    again = invoke(*LISTED, "--out", "scored", "--format", "csv")
    assert (again.stdout, built()) == (first.stdout, ["5", "7"])
    more = [*LISTED[:-1], "params,snip,nwot"]
    third = invoke(*more, "wide.py:build width=9", "--out", "scored")
    assert third.exit_code == 0, third.stderr
    assert built() == ["5", "7", "9", "5", "7"]  # nwot is new
    Path("wide.py").write_text(WIDE + "# changed\n", encoding="utf-8")
    invoke(*LISTED, "--out", "scored")
    assert built()[5:] == ["5", "7"]


def test_a_torn_line_and_what_failed_are_done_again(wide):
    invoke(*LISTED, "--out", "scored")
    file = Path("scored/scores.jsonl")
    whole = file.read_bytes()
    file.write_bytes(whole[:-20])
    assert invoke(*LISTED, "--out", "scored").exit_code == 0
    assert built() == ["5", "7", "7"]
    failing = ["wide.py:build depth=3", *LISTED, "--out", "scored"]
    assert "TypeError" in invoke(*failing).stdout
    assert "TypeError" in invoke(*failing).stdout
    assert built() == ["5", "7", "7"]


def test_scores_of_another_setting_are_left_alone(wide):
    invoke(*LISTED, "--out", "scored")
    result = invoke(*LISTED, "--seed", "1", "--out", "scored")
    assert result.exit_code == 2
    assert result.stderr == (
        "zcbench: scored holds scores of another setting: seed 0. Say the same, or "
        "give another --out.\n"
    )


def test_a_dry_run_builds_and_scores_nothing(wide, monkeypatch):
    monkeypatch.setattr("zcbench.scoring.score", None)
    result = invoke(*LISTED, "wide.py:absent", "--dry-run")
    assert result.exit_code == 0, result.stderr
    lines = result.stdout.splitlines()
    assert lines[0].startswith("wide.py:absent: wide.py has no 'absent'.")
    assert lines[1].startswith("wide.py:build width=5: 995 parameters, 3×8×8, about ")
    assert lines[-1].startswith("all: about ")
    assert lines[-1].endswith(" with 2 proxies")


def test_what_costs_more_is_expected_to(wide):
    from zcbench.cli.networks import expected_seconds

    costs = [
        expected_seconds(proxies.split(","), 0.01, 64)
        for proxies in ("params", "params,flops", "snip", "snip,grasp")
    ]
    assert costs[0] == 0
    assert costs == sorted(costs)


def test_scores_are_told_as_soon_as_they_are_there(nets):
    told = []
    network = build_network("nets.py:small", 5, 0)
    images = zcbench.Batch(torch.randn(4, 3, 8, 8), torch.arange(4) % 2)
    scores = zcbench.score(
        network, images, "zen,snip,params,nwot", told=lambda *one: told.append(one)
    )
    assert sorted(name for name, _ in told) == ["nwot", "params", "snip", "zen"]
    assert {name: one.value for name, one in told} == {
        name: one.value for name, one in scores.items()
    }
    assert told[0][0] == "params"


def test_progress_on_a_terminal(nets, monkeypatch, capsys):
    from zcbench.cli.networks import Progress

    monkeypatch.setattr("sys.stderr.isatty", lambda: True)
    Progress().tell("now")
    monkeypatch.setattr("sys.stderr.isatty", lambda: False)
    Progress().tell("later")
    assert capsys.readouterr().err == "now\n"


GREEDY = """
import torch
from torch import nn
class Greedy(nn.Module):
    def __init__(self):
        super().__init__()
        self.body, self.calls = nn.Linear(192, 5), 0
    def forward(self, x):
        if torch.is_grad_enabled():
            torch.ones(2**29)
        return self.body(x.flatten(1))
"""


@pytest.mark.skipif(sys.platform != "linux", reason="other systems have no such limit")
def test_memory_that_is_not_there_ends_one_network_alone(nets, monkeypatch):
    monkeypatch.setattr("zcbench.engine.process._free", lambda: 2**30)
    Path("greedy.py").write_text(GREEDY, encoding="utf-8")
    names = ["greedy.py:Greedy", "nets.py:small"]
    result = invoke(*names, *ARGUMENTS, "--proxies", "params,snip", "--format", "json")
    assert result.exit_code == 0, result.stderr
    rows = json.loads(result.stdout)["scores"]
    status = {(r["network"], r["proxy"]): r["status"] for r in rows}
    assert status == {
        ("greedy.py:Greedy", "params"): "ok",
        ("greedy.py:Greedy", "snip"): "oom",
        ("nets.py:small", "params"): "ok",
        ("nets.py:small", "snip"): "ok",
    }


# --- what is noise is not ranked ----------------------------------------------------

NOISE = """
import torch
from torch import nn
def zero_head(num_classes):
    head = nn.Linear(4, num_classes)
    nn.init.zeros_(head.weight)
    return nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.Conv2d(4, 4, 1),
        nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(), head)
class Gated(nn.Module):
    def __init__(self, num_classes):
        super().__init__()
        self.body, self.head = nn.Conv2d(3, 4, 3), nn.Linear(4, num_classes)
    def forward(self, x):
        x = torch.relu(self.body(x))
        for _ in range(2): x = torch.nn.functional.silu(x)
        return self.head(x.mean((2, 3)))
"""


@pytest.fixture
def noisy(nets) -> dict[str, dict]:
    Path("noise.py").write_text(NOISE, encoding="utf-8")
    names = ("noise.py:zero_head", "noise.py:Gated", "nets.py:small")
    proxies = "params,snip,fisher,nwot,swap,epe_nas,reg_swap,n_layers"
    arguments = [*names, "--input", "3,8,8", "--classes", "1000", "--batch-size", "4"]
    result = invoke(*arguments, "--proxies", proxies, "--format", "json")
    assert result.exit_code == 0, result.stderr
    rows = json.loads(result.stdout)["scores"]
    return {(r["network"].partition(":")[2], r["proxy"]): r for r in rows}


def test_noise_has_a_reason_and_no_rank(noisy):
    for key, words in {
        ("zero_head", "snip"): "not ranked: 2 of 3 layers have no gradient",
        ("zero_head", "fisher"): "not ranked: 2 of 3 layers have no gradient",
        ("Gated", "nwot"): "not ranked: sees the 1 ReLU of 3 activations",
        ("Gated", "swap"): "not ranked: ",
        ("small", "swap"): "not ranked: all 16 patterns that 4 images can make",
    }.items():
        assert words in noisy[key]["note"], key
        assert noisy[key]["rank"] is None, key
        assert noisy[key]["value"] is not None, key
    assert noisy["zero_head", "n_layers"]["value"] == 3
    for proxy, words in {"epe_nas": "no class has two of the 4 images"}.items():
        row = noisy["small", proxy]
        assert (row["status"], row["rank"]) == ("undefined", None)
        assert words in row["message"]
    assert noisy["small", "snip"]["rank"] is not None


def test_constants_for_other_sizes_are_undefined():
    def scored(width: int):
        net = torch.nn.Sequential(
            torch.nn.Flatten(),
            torch.nn.Linear(768, width),
            torch.nn.ReLU(),
            torch.nn.Linear(width, CLASSES),
        )
        return zcbench.score(net, batch(), "reg_swap")["reg_swap"]

    assert scored(10).status == "ok"
    large = scored(5000)
    assert large.status == "undefined"
    assert "constants are for networks of some 800 thousand" in large.message


def test_noise_is_left_out_of_a_report_and_counted(twelve):
    Path("nets.py").write_text(
        "from torch import nn\n" + PLAIN.replace("GELU", "ReLU"), encoding="utf-8"
    )
    arguments = [*twelve, "--batch-size", "2", "--proxies", "params,swap"]
    result = invoke(*arguments, "--accuracies", "acc.csv", "--format", "json")
    assert result.exit_code == 0, result.stderr
    rows = {r["proxy"]: r for r in json.loads(result.stdout)["correlations"]}
    noise = rows["swap"]["status"].get("not ranked", 0)
    assert noise > 0
    assert rows["swap"]["n"] == 12 - noise
    assert "patterns that 2 images can make" in rows["swap"]["remarks"]


@pytest.mark.parametrize(
    ("head", "more", "options"),
    [
        ("model,quality", "", ()),
        ("my net,Top-1 acc", "", ()),
        ("name,top1,top5", ",9", ()),
        ("name,speed,top1", "", ()),
        ("name,speed,merit", "", ("--target", "merit")),
    ],
)
def test_columns_are_known_or_asked_for(twelve, head, more, options):
    speed = ",1" if "speed" in head else ""
    rows = "".join(f"n{i}{speed},{50 + i}{more}\n" for i in range(12))
    Path("own.csv").write_text(f"{head}\n{rows}")
    result = invoke(*twelve, "--accuracies", "own.csv", *options, "--format", "json")
    assert result.exit_code == 0, result.stderr
    rows = json.loads(result.stdout)["correlations"]
    assert max(row["spearman"] for row in rows if row["n"] == 12) > 0.9


def test_a_column_that_could_be_several_is_asked_for(twelve):
    Path("own.csv").write_text("name,speed,merit\nn0,1,2\nn1,2,3\n")
    result = invoke(*twelve, "--accuracies", "own.csv")
    assert result.exit_code == 3
    assert result.stderr.endswith(" If it is speed, say --target speed.\n")


def test_someone_with_timm_models_and_accuracies(zoo, nets):
    Path("nets.txt").write_text(
        "timm:test_vit*\ntimm:test_resnet\ntimm:test_vit img_size=64 depth=1  # small\n"
        "torchvision:squeezenet1_1\n"
    )
    names = [*expand("timm:test_vit*"), "timm:test_resnet", "torchvision:squeezenet1_1"]
    bare = [name.partition(":")[2] for name in names]
    rows = [f"{name};{60 + i}" for i, name in enumerate(bare)]
    rows.append("test_vit img_size=64 depth=1;55")
    Path("top1.csv").write_text("\n".join(["model;top1", *rows]) + "\n")
    command = ["--networks", "nets.txt", "--proxies", "params,flops", "--out", "scored"]
    command += ["--batch-size", "2", "--accuracies", "top1.csv"]
    result = invoke(*command, "--format", "json")
    assert result.exit_code == 0, result.stdout + result.stderr
    document = json.loads(result.stdout)
    assert {row["status"] for row in document["scores"]} == {"ok"}
    assert {row["n"] for row in document["correlations"]} == {len(rows)}
    page = invoke(*command, "--format", "html")
    assert page.exit_code == 0, page.stderr
    assert "squeezenet" not in page.stderr
    assert "params" in page.stdout


def test_few_networks_head_no_table_of_a_run(twelve):
    """nwot has 4 scores that rank perfectly, params 12 that do not."""
    Path("acc.csv").write_text(
        "model,top1\n"
        + "".join(f"n{i},{50 + (i if i < 4 else 20 - i)}\n" for i in range(12))
    )
    result = invoke(*twelve, "--accuracies", "acc.csv", "--format", "json")
    document = json.loads(result.stdout)
    assert document["correlations"][-1]["proxy"] == "nwot"
    assert "nwot" not in {row["proxy"] for row in document["verdict"]}
