"""Networks of timm and torchvision against literal references, and the docs' matrix."""

from __future__ import annotations

import re
import sys
from pathlib import Path

import pytest
import torch
from levels import few
from literal_references import LITERAL, agrees, literal

import zcbench
from zcbench.proxies import PROXIES

ROOT = Path(__file__).resolve().parent.parent
FAST = ("flops", "n_layers", "snip", "fisher", "synflow", "nwot", "zen", "zico")
FAST += ("gradsign", "ntk_trace", "meco", "az_expressivity", "jacov")
SMALL: dict[str, tuple[tuple[str, ...], set[str]]] = {
    "shufflenet_v2_x0_5": (("snip", "zen", "az_expressivity", "jacov"), set()),
    "mobilenetv3_small_050": (tuple(n for n in FAST if n != "n_layers"), set()),
    "VisionTransformer": (FAST, {"nwot", "zen", "meco", "az_expressivity"}),
}
"""Network → what is asked for, and what is undefined there."""


NOT_THERE = {
    *("near", "dextr_svd", "dextr", "meco_opt", "wrcor", "wrcor_unweighted"),
    *("avg_degree", "n_relus", "op_balance"),
}
"""Proxies that the page says it does not compare."""


@pytest.fixture(scope="module")
def measure():
    sys.path.append(str(ROOT / "scripts"))
    import measure_networks

    yield measure_networks
    sys.path.remove(str(ROOT / "scripts"))


@pytest.mark.parametrize("name", few(SMALL))
def test_values_equal_their_literal_references(zoo, measure, name):
    network = next(n for n in measure.NETWORKS if n.name == name)
    setting = network.setting()
    batch = zcbench.Batch(setting.x, setting.y)
    asked, undefined = SMALL[name]
    scores = zcbench.score(setting.net, batch, asked)
    assert {s.status for s in scores.values()} <= {"ok", "undefined"}
    assert {n for n, s in scores.items() if s.value is None} == undefined
    for proxy in set(asked) - undefined:
        want = literal(proxy, setting)
        assert agrees(scores[proxy].value, want), (proxy, scores[proxy].value, want)


def test_every_proxy_has_a_reference():
    assert set(LITERAL) == set(PROXIES.names())


def test_references_leave_networks_and_torch_as_they_are(zoo, measure):
    function, dtype = torch.nn.functional.linear, torch.float32
    network = next(n for n in measure.NETWORKS if n.name == "VisionTransformer")
    setting = network.setting()
    before = {k: v.clone() for k, v in setting.net.state_dict().items()}
    literal("fisher", setting)
    assert torch.nn.functional.linear is function
    assert torch.float32 is dtype
    after = setting.net.state_dict()
    assert all(torch.equal(before[key], after[key]) for key in before)


def test_the_matrix_of_the_docs_has_no_difference_and_no_error():
    page = (ROOT / "docs" / "your-networks.md").read_text(encoding="utf-8")
    match = re.search(r"<!-- matrix -->\n(.*)<!-- /matrix -->", page, re.DOTALL)
    assert match is not None
    lines = [line for line in match[1].splitlines() if line.startswith("| ")]
    head, _, *rows = ([c.strip() for c in line.split("|")[1:-1]] for line in lines)
    named = {re.sub(r"\[(.*)\].*", r"\1", c).replace("\\", "") for c in head[1:]}
    assert named == {p.name for p in PROXIES.select("all")} - NOT_THERE
    assert len(rows) >= 20
    for name, *cells in rows:
        assert all(re.fullmatch(r"✓|– [a-z]", cell) for cell in cells), name
