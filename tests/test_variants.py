"""Proxies with other values of their parameters: names, evidence, runs, reports."""

from __future__ import annotations

import json
import math
from pathlib import Path

import pytest
import torch
from click.testing import CliRunner

import zcbench
from zcbench.aggregates import parse
from zcbench.cli import main
from zcbench.errors import UsageError
from zcbench.names import split_names
from zcbench.plan import make_plan
from zcbench.proxies import PROXIES
from zcbench.types import Batch

TOY = zcbench.load_space("toy")
BATCH = Batch(
    torch.randn(6, 3, 8, 8, generator=torch.Generator().manual_seed(0)),
    torch.arange(6) % 3,
)
PLUGIN = '''
from typing import Literal

import zcbench
from zcbench import Parameters, Structure


@zcbench.proxy(
    reference="lee2019snip",
    aliases=("sized",),
    direction="lower",
    data_independent=True,
    evidence={"of=layers": {"p": Structure}},
)
def my_size(
    p: Parameters,
    *,
    power: float = 1.0,
    times: int = 1,
    minus: bool = False,
    of: Literal["weights", "layers"] = "weights",
) -> float:
    """Size of a kind. Lower is better."""
    size = p.n_params if of == "weights" else p.n_layers
    return (-1 if minus else 1) * times * float(size) ** power
'''


@pytest.fixture
def plugin(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """A plug-in file in an empty folder, loaded and taken out again."""
    from zcbench.plugins import load_plugins

    monkeypatch.chdir(tmp_path)
    file = tmp_path / "sized.py"
    file.write_text(PLUGIN, encoding="utf-8")
    load_plugins([file])
    yield file
    PROXIES.remove("my_size")


def test_a_variant_is_named_by_what_is_not_default(plugin: Path) -> None:
    def name(text: str) -> str:
        return PROXIES.get(text).name

    assert name("my_size[power=2]") == "my_size[power=2]"
    assert name("sized[ power = 2.50 , times=3]") == "my_size[power=2.5,times=3]"
    assert name("my_size[times=3,power=2.5]") == "my_size[power=2.5,times=3]"
    assert name("my_size[power=1,minus=false]") == "my_size"
    assert name("my_size[minus=true,of=layers]") == "my_size[minus=true,of=layers]"
    assert name("my_size[power=1e30]") == "my_size[power=1e30]"
    selected = PROXIES.select("my_size[power=2,times=3],sized[times=3,power=2],my_size")
    assert [p.name for p in selected] == ["my_size[power=2,times=3]", "my_size"]
    assert "my_size[power=2]" not in PROXIES.names()
    assert PROXIES.canonical("sized[power=2]") == "my_size[power=2]"
    assert parse("mean_rank:sized[power=2,times=3],snip").parts[1] == "snip"


@pytest.mark.parametrize("text", ["", ",", "a[b=1,c=2],d", " a , b[c=1] "])
def test_commas_in_brackets_part_no_names(text: str) -> None:
    assert ",".join(split_names(text)) == text.replace(" ", "").strip(",")


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("my_size[tons=1]", "has no parameter 'tons'. It has power, times, minus, of."),
        ("snip[mu=1]", "The proxy snip has no parameter 'mu'. It has none."),
        ("my_size[power=big]", "power=big is no value of my_size's parameter. Takes n"),
        ("my_size[power=nan]", "power=nan is no value"),
        ("my_size[times=1.5]", "Takes whole numbers."),
        ("my_size[minus=1]", "Takes true, false."),
        ("my_size[of=bricks]", "Takes weights, layers."),
        ("my_size[power", "my_size[power is not a name of a proxy. Write my_size[par"),
        ("my_size[]", "my_size[] is not a name of a proxy."),
        ("my_size[power=2]x", "is not a name of a proxy."),
        ("my_sise[power=2]", "Did you mean my_size?"),
    ],
)
def test_what_is_no_variant_is_told(plugin: Path, name: str, message: str) -> None:
    with pytest.raises(UsageError) as caught:
        PROXIES.get(name)
    assert message in str(caught.value)
    result = CliRunner().invoke(main, ["run", "--space", "toy", "--proxies", name])
    assert result.exit_code == 2
    assert "Traceback" not in result.output


def test_values_and_evidence_are_those_of_the_variant(plugin: Path) -> None:
    names = ["my_size", "my_size[power=2]", "my_size[times=3,of=layers]"]
    plan = make_plan(PROXIES.select(names))
    assert [r.__name__ for r in plan.needs[names[2]]] == ["Structure"]
    assert [r.__name__ for r in plan.needs[names[1]]] == ["Parameters"]
    net = TOY.build(TOY.architecture(5), "toy")
    scores = zcbench.score(net, BATCH, [*names, "params", "n_layers"])
    assert scores[names[0]].value == scores["params"].value
    assert scores[names[1]].value == scores["params"].value ** 2
    assert scores[names[2]].value == 3 * scores["n_layers"].value


def test_reg_swap_takes_its_own_size() -> None:
    net = TOY.build(TOY.architecture(5), "toy")
    found = zcbench.score(net, BATCH, "swap,params,reg_swap[mu=2,sigma=9]")
    factor = math.exp(-((found["params"].value / 1000 - 2) ** 2) / 9)
    expected = found["swap"].value * factor
    assert found["reg_swap[mu=2,sigma=9]"].value == pytest.approx(expected)


def test_a_run_keeps_variants_and_reports_them(plugin: Path) -> None:
    def zcbench(*arguments: str) -> str:
        result = CliRunner().invoke(main, arguments)
        assert result.exit_code == 0, result.output
        return result.stdout

    names = ["my_size[of=layers,power=2]", "reg_swap[mu=2,sigma=9]", "params"]
    listed = ",".join(("sized[power=2,of=layers]", *names[1:]))
    common = ("--space", "toy", "--plugin", "sized.py", "--out", "made")
    zcbench("run", *common, "--n", "9", "--proxies", listed, "--workers", "1")
    names[0] = "my_size[power=2,of=layers]"
    manifest = json.loads(Path("made/manifest.json").read_text(encoding="utf-8"))
    assert list(manifest["proxies"]) == names == manifest["config"]["proxies"]
    assert manifest["traits"][names[0]]["direction"] == "lower"
    lines = Path("made/scores.jsonl").read_text(encoding="utf-8").splitlines()
    assert all(set(json.loads(line)["scores"]) == set(names) for line in lines)
    # It goes on.
    zcbench("run", *common, "--n", "10", "--proxies", listed, "--workers", "1")
    for form in ("text", "md", "csv", "json", "tex", "html"):
        section = "correlations" if form in ("csv", "tex") else "all"
        words = ("--section", section, "--format", form, "--resamples", "100")
        text = zcbench("report", "made", *words)
        assert "swap" in text
    json_report = json.loads(zcbench("report", "made", "--format", "json"))
    assert {row["proxy"] for row in json_report["correlations"]} == set(names)
    zcbench("report", "made", "--aggregate", f"mean_rank:{names[0]},{names[1]}")
    zcbench("plot", "made", "-o", "figures")


def test_lists_tell_parameters(plugin: Path) -> None:
    def rows(*arguments: str) -> str:
        return CliRunner().invoke(main, arguments).stdout

    listed = json.loads(rows("list", "proxies", "--json"))
    found = {row["name"]: row["parameters"] for row in listed}
    assert found["my_size"] == ["power=1", "times=1", "minus=false", "of=weights"]
    assert found["snip"] == []
    shown = rows("show", "my_size[power=2,of=layers]")
    assert shown.startswith("my_size[power=2,of=layers]\n")
    assert "power=2, times=1, minus=false, of=layers" in shown
    assert "Structure" in shown


def test_brackets_in_a_name_and_evidence_without_a_parameter_are_refused() -> None:
    def one(p: zcbench.Parameters) -> float:
        return 1.0

    one.__annotations__["p"] = zcbench.Parameters
    with pytest.raises(UsageError, match="has evidence for"):
        zcbench.proxy(reference="x", evidence={"of=layers": {}})(one)
    one.__name__ = "one[a=1]"
    with pytest.raises(UsageError, match="brackets are for parameters"):
        zcbench.proxy(reference="x")(one)
