"""Proxies on networks outside the benchmarks, and `zcbench score`."""

from __future__ import annotations

import copy
import csv
import io
import json
import math
from pathlib import Path

import pytest
import torch
from click.testing import CliRunner
from outside_networks import CLASSES, NETWORKS
from reference import REFERENCES, reference

import zcbench
from zcbench.cli import main
from zcbench.proxies import PROXIES

RELU = {"nwot", "lin_regions", "swap", "reg_swap"}
BLOCKS = {"az_expressivity", "az_progressivity", "az_trainability"}
UNDEFINED: dict[str, set[str]] = {
    # The attention of a token is 4-dimensional nowhere but in the patches.
    "vgg": BLOCKS,
    "vit": RELU | BLOCKS,
    "mixer": RELU | BLOCKS,
    "convnext": RELU,
}
"""What is not defined there, for lack of ReLU modules or of blocks of feature maps."""
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
    images = batch()
    got = zcbench.score(net, images, proxy)[proxy]
    if proxy in UNDEFINED.get(name, set()):
        assert got.value is None
        return
    # The references write BatchNorm and in-place ReLUs as the network has them.
    want = reference(proxy)(net, images.x, images.y)
    assert want is not None
    assert got.value == pytest.approx(want, rel=1e-6)


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
number = 3
"""
ARGUMENTS = ["--input", "3,8,8", "--classes", "5", "--batch-size", "4"]
EXAMPLE = (
    " Name it MODULE:CALLABLE or FILE.py:CALLABLE, such as torchvision.models:vgg11."
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
        "nets.py:large: nwot undefined: the network has no ReLU modules"
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
        ("nets.py:broken", "nets.py:broken raises KeyError: 'no weights'." + EXAMPLE),
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
