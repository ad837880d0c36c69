"""Combinations of ranks, against plain loops, and in reports."""

from __future__ import annotations

import json
import math
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

import zcbench
from zcbench.aggregates import AGGREGATES, UNCHANGED, check_parts, parse
from zcbench.analysis.join import studies
from zcbench.cli import main
from zcbench.errors import UsageError
from zcbench.proxies import PROXIES

SCORES = arrays(
    float,
    st.tuples(st.integers(2, 4), st.integers(1, 12)),
    elements=st.sampled_from([-math.inf, -1.0, 0.0, 0.5, 2.0, math.nan]),
)


def rank(values: list[float], i: int) -> float:
    """1 for the lowest; ties have their mean."""
    below = sum(v < values[i] for v in values)
    return below + (sum(v == values[i] for v in values) + 1) / 2


def expected(name: str, scores: np.ndarray) -> list[float]:
    kept = [i for i in range(scores.shape[1]) if not np.isnan(scores[:, i]).any()]
    found = [math.nan] * scores.shape[1]
    for position, i in enumerate(kept):
        rows = [[row[j] for j in kept] for row in scores.tolist()]
        shares = [rank(row, position) / len(kept) for row in rows]
        if name in ("az_nas", "vkdnw_agg"):
            found[i] = sum(math.log(share) for share in shares)
        elif name == "vote":
            wins = 0.0
            for j in kept:
                if j != i:
                    ahead = sum(row[i] > row[j] for row in scores)
                    behind = sum(row[i] < row[j] for row in scores)
                    wins += 0.5 if ahead == behind else float(ahead > behind)
            found[i] = wins / max(1, len(kept) - 1)
        else:
            found[i] = sum(shares) / len(shares)
    return found


@pytest.mark.parametrize("name", AGGREGATES)
@settings(max_examples=60, deadline=None)
@given(scores=SCORES)
def test_values_are_those_of_plain_loops(name, scores):
    got = AGGREGATES[name].of(scores)
    assert got.tolist() == pytest.approx(expected(name, scores), nan_ok=True)


def test_many_architectures_are_voted_on_in_parts():
    rng = np.random.default_rng(0)
    scores = rng.normal(size=(3, 1100)).round(1)
    got = AGGREGATES["vote"].of(scores)
    for i in (0, 511, 512, 1099):
        votes = np.sign(scores[:, i, None] - scores).sum(axis=0)
        wins = (votes > 0).sum() + ((votes == 0).sum() - 1) / 2
        assert got[i] == pytest.approx(wins / 1099)


def test_names_and_parts():
    assert parse("te_nas") is AGGREGATES["te_nas"]
    custom = parse("mean_rank: snip,nwot ,snip")
    assert (custom.name, custom.parts) == ("mean_rank:snip,nwot", ("snip", "nwot"))
    with pytest.raises(UsageError, match=r"^Unknown aggregate 'ensemble'"):
        parse("ensemble")  # what is fitted to accuracies is none
    with pytest.raises(UsageError) as caught:
        parse("vote:snip")
    assert str(caught.value) == (
        "The aggregate 'vote:snip' names fewer than two parts. Name proxies, such as "
        "vote:synflow,jacov,snip."
    )
    with pytest.raises(UsageError) as caught:
        check_parts([custom], ["snip"], "runs/a")
    assert str(caught.value) == (
        "runs/a has no scores of nwot, which mean_rank:snip,nwot combines. Add them to "
        "the run with --proxies snip,nwot, or name other parts."
    )


def test_the_name_of_an_aggregate_runs_its_parts():
    for name, found in AGGREGATES.items():
        assert {p.name for p in PROXIES.select(name)} == set(found.parts)


def test_undefined_parts_of_az_nas_rank_last_and_failed_ones_do_not(tmp_path):
    """As in the authors' code, which has −inf for a cell that does nothing."""
    path = tmp_path / "run"
    arguments = ["run", "--space", "toy", "--n", "all", "--workers", "1", "--out"]
    ran = CliRunner().invoke(main, [*arguments, str(path), "--proxies", "az_nas"])
    assert ran.exit_code == 0, ran.output
    scores = path / "scores.jsonl"
    lines = [json.loads(line) for line in scores.read_text().splitlines()]
    idle = [r for r in lines if r["status"].get("az_trainability") == "undefined"]
    assert {r["messages"]["az_trainability"] for r in idle} == {UNCHANGED}
    assert len(idle) > 1
    failed, other = idle[0], next(r for r in lines if not r["status"])
    failed["status"]["az_trainability"] = "error"  # as of a network that raised
    other["status"]["az_trainability"] = "undefined"
    other["scores"]["az_trainability"] = None
    other["messages"] = {"az_trainability": "a block takes several feature maps"}
    for line in lines:
        line.pop("crc32")
    scores.write_text("".join(json.dumps(r) + "\n" for r in lines))
    table = zcbench.load_run(path)
    (study,) = studies([table], aggregates=[AGGREGATES["az_nas"]])
    values = dict(zip(study.archs, study.scores["az_nas"], strict=True))
    missing = {arch for arch, value in values.items() if math.isnan(value)}
    assert missing == {failed["arch"], other["arch"]}
    parts = AGGREGATES["az_nas"].parts
    kept = [r for r in lines if r["arch"] not in missing]
    raw = [[r["scores"][p] for r in kept] for p in parts]
    ranked = np.array([[-math.inf if v is None else v for v in row] for row in raw])
    want = dict(zip([r["arch"] for r in kept], expected("az_nas", ranked), strict=True))
    assert {a: values[a] for a in want} == pytest.approx(want)
    n = sum(any(r["scores"][p] is None for p in parts) for r in kept)
    assert study.remarks["az_nas"] == f"an undefined part ranks last ({n} networks)"


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("aggregates") / "run"
    arguments = ["run", "--space", "toy", "--n", "all", "--workers", "1", "--out"]
    result = CliRunner().invoke(
        main, [*arguments, str(path), "--proxies", "vote,params", "--repeats", "2"]
    )
    assert result.exit_code == 0, result.output
    return path


ASKED = ["--aggregate", "vote", "--aggregate", "mean_rank:params,snip"]


def test_a_report_shows_them_marked(run):
    text = CliRunner().invoke(main, ["report", str(run), *ASKED]).stdout
    (line,) = [line for line in text.splitlines() if line.startswith("vote †")]
    assert "5 undefined" in line  # synflow and jacov are undefined there
    assert any(line.startswith("mean_rank:params,snip †") for line in text.splitlines())
    note = "† combines ranks among the architectures of its table"
    assert note in " ".join(text.split())
    plain = CliRunner().invoke(main, ["report", str(run)]).stdout
    assert "†" not in plain


@pytest.mark.parametrize("form", ["md", "csv", "tex", "html"])
def test_every_format_has_them(run, form):
    result = CliRunner().invoke(main, ["report", str(run), *ASKED, "--format", form])
    assert result.exit_code == 0, result.output
    assert "vote" in result.stdout
    assert "params,snip" in result.stdout


def test_numbers_are_those_of_the_scores(run):
    from zcbench.stats import association

    asked = ["report", str(run), *ASKED, "--section", "correlations,verdict"]
    document = json.loads(CliRunner().invoke(main, [*asked, "--format", "json"]).stdout)
    rows = {row["proxy"]: row for row in document["correlations"]}
    assert rows["vote"]["aggregate"] is True
    assert rows["snip"]["aggregate"] is False
    assert "vote" in {row["proxy"] for row in document["verdict"]}
    table = zcbench.load_run(run)
    means = table.groupby("arch", sort=False)[["synflow", "jacov", "snip"]].mean()
    status = [any(s) for s in table["status"]]
    failed = table.loc[status].groupby("arch").size()
    assert rows["vote"]["failed"] == len(failed)
    values = np.array(expected("vote", means.to_numpy().T))
    truth = zcbench.load_truth("toy", "toy").set_index("arch")["val"]
    found = association(values, truth.reindex(means.index).to_numpy(), "spearman")
    assert rows["vote"]["spearman"] == pytest.approx(found.value)


def test_a_run_without_the_parts_is_refused(run):
    result = CliRunner().invoke(main, ["report", str(run), "--aggregate", "az_nas"])
    assert result.exit_code == 2
    assert "has no scores of az_expressivity" in result.stderr


def test_they_are_listed_and_shown():
    rows = json.loads(CliRunner().invoke(main, ["list", "proxies", "--json"]).stdout)
    kinds = {row["name"]: row["kind"] for row in rows}
    assert {name for name, kind in kinds.items() if kind == "aggregate"} == set(
        AGGREGATES
    )
    assert len(kinds) >= 30
    assert {row["cost"] for row in rows} == {
        *("none", "forward", "backward", "training", "its parts'"),
    }
    shown = CliRunner().invoke(main, ["show", "az_nas"]).stdout
    assert "its value depends on which other architectures are there" in shown
