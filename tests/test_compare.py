"""A run against a baseline: what is a regression, and what cannot be compared."""

from __future__ import annotations

import json
import math
import re
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from report_runs import ACCURACY, FAIR, GOOD, SCORES, N, toy_truth, write_run

from zcbench.analysis.regression import (
    COLUMNS,
    Tolerances,
    check_comparable,
    compare,
    comparison,
)
from zcbench.analysis.side import differing
from zcbench.cli import exit_code_of, main
from zcbench.errors import DataError, UsageError
from zcbench.report import Document, make_report, render
from zcbench.stats import Family, paired_difference
from zcbench.store import load_run
from zcbench.store.records import line_of


@pytest.fixture(autouse=True)
def truth(monkeypatch):
    monkeypatch.setattr("zcbench.truth.load_truth", toy_truth)


@pytest.fixture
def baseline(tmp_path) -> Path:
    return write_run(tmp_path / "baseline")


def call(*args: object) -> int:
    """Exit code of the program."""
    return exit_code_of(lambda: main(list(map(str, args)), standalone_mode=False))


def report_of(run: Path, file: Path) -> Path:
    file.write_text(render(make_report([load_run(run)]), "json"))
    return file


def rows_of(table) -> dict[str, dict]:
    return {row["proxy"]: row for row in table.to_dict("records")}


def test_a_run_is_the_same_as_itself(baseline):
    table = compare(baseline, baseline)
    assert tuple(table.columns) == COLUMNS
    assert set(table["verdict"]) == {"same"}
    assert set(table["reason"]) == {""}
    assert set(table["scores"]) == {N}
    assert set(table["scores_differ"]) == {0}


def test_what_has_changed_is_named_worst_first(baseline, tmp_path):
    scores = {
        "params": SCORES["params"],
        "jacov": FAIR,  # was GOOD
        "snip": GOOD,  # was BAD
        "zen": GOOD,
    }
    table = compare(baseline, write_run(tmp_path / "run", scores))
    assert table[["proxy", "verdict"]].to_numpy().tolist() == [
        ["jacov", "worse"],
        ["n_layers", "gone"],
        ["snip", "better"],
        ["zen", "new"],
        ["params", "same"],
    ]
    rows = rows_of(table)
    row = rows["jacov"]
    for kind in ("spearman", "kendall"):
        found = paired_difference(FAIR, GOOD, ACCURACY, kind, confidence=0.99)
        change = row[f"{kind}_after"] - row[f"{kind}_before"]
        assert row[f"{kind}_change"] == pytest.approx(change)
        assert change == pytest.approx(found.value)
        assert change < -0.2
        assert row[f"{kind}_change_low"] < found.low  # all rows together
    ends = row["kendall_change_low"], row["kendall_change_high"]
    assert row["reason"] == f"τ {change:+.3f} [{ends[0]:+.3f}, {ends[1]:+.3f}]"
    assert row["scores_differ"] == N
    assert math.isnan(rows["zen"]["spearman_before"])
    assert math.isnan(rows["n_layers"]["kendall_after"])
    assert comparison(table).conclusion == "1 worse, 1 gone, 1 better, 1 new, 1 same."


@pytest.mark.parametrize(("share", "verdict"), [(0.9, "worse"), (1.1, "same")])
@pytest.mark.parametrize("kind", ["spearman", "kendall"])
def test_table_tolerance_is_of_both_correlations(
    baseline, tmp_path, kind, share, verdict
):
    scores = {**SCORES, "jacov": np.roll(GOOD, 1)}
    run = write_run(tmp_path / "run", scores)
    row = rows_of(compare(baseline, run))["jacov"]
    drops = {k: row[f"{k}_before"] - row[f"{k}_after"] for k in ("spearman", "kendall")}
    assert min(drops.values()) > 0.02
    other = "kendall" if kind == "spearman" else "spearman"
    tolerance = drops[kind] * share
    expected = "worse" if drops[other] > tolerance else verdict
    row = rows_of(compare(baseline, run, Tolerances(table=tolerance)))["jacov"]
    assert row["verdict"] == expected


def noisy(seed: int, size: float) -> np.ndarray:
    return GOOD + np.random.default_rng(seed).normal(size=N) * size


def test_a_change_that_may_be_chance_is_none(baseline, tmp_path):
    """ρ falls by more than the tolerance, and its paired interval holds 0."""
    scores = {**SCORES, "jacov": noisy(6, 2 * GOOD.std() / N)}
    row = rows_of(compare(baseline, write_run(tmp_path / "run", scores)))["jacov"]
    assert row["spearman_change"] < -0.01
    assert row["spearman_change_low"] < 0 < row["spearman_change_high"]
    assert row["verdict"] == "same"
    assert row["reason"].startswith("ρ -0.0")
    assert row["reason"].endswith("] may be chance")


def test_the_intervals_of_a_table_hold_together(tmp_path):
    """As by Family, whose level is smaller for more rows."""
    old = {name: noisy(i, 0.3) for i, name in enumerate(SCORES)}
    new = {name: noisy(90 + i, 0.3) for i, name in enumerate(SCORES)}
    sides = [write_run(tmp_path / w, s) for w, s in (("old", old), ("new", new))]
    rows = rows_of(compare(*sides))
    accuracy = toy_truth("toy", "toy")["val"].to_numpy()
    pairs = {
        (name, kind): paired_difference(new[name], old[name], accuracy, kind)
        for name in SCORES
        for kind in ("spearman", "kendall")
    }
    influence = np.stack([d.influence for d in pairs.values()], axis=1)
    family = Family.of([influence], np.random.default_rng(1))
    for (name, kind), found in pairs.items():
        low, high = found.interval(family.level(0.99))
        assert rows[name][f"{kind}_change_low"] == pytest.approx(low, rel=0.05)
        assert rows[name][f"{kind}_change_high"] == pytest.approx(high, rel=0.05)
        alone = found.interval(0.01)
        assert low < alone[0] < alone[1] < high


def test_confidence_decides_about_small_changes(baseline, tmp_path):
    scores = {**SCORES, "jacov": noisy(6, 2 * GOOD.std() / N)}
    run = write_run(tmp_path / "run", scores)
    words = {
        rows_of(compare(baseline, run, Tolerances(confidence=c)))["jacov"]["verdict"]
        for c in (0.01, 0.99)
    }
    assert words == {"worse", "same"}


def test_runs_are_compared_on_the_architectures_that_both_have(baseline, tmp_path):
    part = write_run(tmp_path / "part", indices=range(5, N))
    table = compare(baseline, part)
    assert set(table["verdict"]) == {"same"}
    assert set(table["scores"]) == {N - 5}
    assert table.attrs["notes"] == [
        "Compared on the 22 architectures of toy that both have, of 27 and 22."
    ]
    alone = rows_of(compare(part, part))
    for name, row in rows_of(table).items():
        assert row["spearman_before"] == alone[name]["spearman_after"]
    assert compare(baseline, baseline).attrs["notes"] == []


def test_more_failures_are_worse_and_fewer_better(baseline, tmp_path):
    status = {("jacov", 2): "undefined", ("jacov", 4): "error"}
    wide = Tolerances(table=1)
    run = write_run(tmp_path / "run", status=status)
    row = rows_of(compare(baseline, run, wide))["jacov"]
    assert (row["verdict"], row["reason"]) == ("worse", "failed 0 then, 2 now")
    assert row["scores_differ"] == 2
    row = rows_of(compare(run, baseline, wide))["jacov"]
    assert (row["verdict"], row["reason"]) == ("better", "failed 2 then, 0 now")


def test_a_correlation_that_is_gone_is_worse(baseline, tmp_path):
    run = write_run(tmp_path / "run", {**SCORES, "jacov": np.ones(N)})
    row = rows_of(compare(baseline, run))["jacov"]
    assert (row["verdict"], row["reason"]) == ("worse", "ρ is gone, τ is gone")
    row = rows_of(compare(run, baseline))["jacov"]
    assert (row["verdict"], row["reason"]) == ("better", "ρ is there, τ is there")
    assert set(compare(run, run)["verdict"]) == {"same"}


def test_scores_that_move_a_little_count_only_when_asked(baseline, tmp_path):
    moved = GOOD.copy()
    moved[[1, 2, 3]] *= 1 + 2e-4
    moved[4] *= 1 + 5e-5
    run = write_run(tmp_path / "run", {**SCORES, "jacov": moved})
    row = rows_of(compare(baseline, run))["jacov"]
    assert (row["verdict"], row["scores_differ"]) == ("same", 3)
    row = rows_of(compare(baseline, run, Tolerances(strict=True)))["jacov"]
    assert row["verdict"] == "worse"
    assert row["reason"] == "3 of 27 scores differ by more than 0.0001"
    loose = Tolerances(score=1e-3, strict=True)
    assert set(compare(baseline, run, loose)["verdict"]) == {"same"}


@pytest.mark.parametrize(
    ("settings", "reason"),
    [
        ({"indices": range(9)}, "other sample of architectures"),
        ({"seed": 1}, "other seed"),
        ({"batch_size": 32}, "other batch size"),
        ({"minibatch": {"name": "builtin", "digest": "d2"}}, "other minibatch"),
        ({"truth": "gaps"}, "other truth"),
        ({"population": "connected"}, "other population"),
    ],
)
def test_what_cannot_be_compared_says_why(baseline, tmp_path, settings, reason):
    table = compare(baseline, write_run(tmp_path / "run", **settings))
    assert set(table["verdict"]) == {"not comparable"}
    assert set(table["reason"]) == {reason}
    with pytest.raises(DataError) as error:
        check_comparable(table)
    assert str(error.value) == (
        f"Nothing in {tmp_path / 'run'} can be compared with {baseline}: {reason}. "
        "Run with the settings of the baseline, or make a new baseline."
    )


def test_another_version_of_a_proxy_is_not_comparable(baseline, tmp_path):
    versions = {**dict.fromkeys(SCORES, 1), "jacov": 2}
    run = write_run(tmp_path / "run", {**SCORES, "jacov": FAIR}, versions=versions)
    table = compare(baseline, run)
    row = rows_of(table)["jacov"]
    assert row["verdict"] == "not comparable"
    assert row["reason"] == "proxy version 1 then, 2 now"
    assert set(table["verdict"]) == {"not comparable", "same"}
    check_comparable(table)


def test_scores_that_are_not_there_yet_are_not_comparable(baseline, tmp_path):
    late = np.where(np.arange(N) < 20, GOOD, math.nan)
    run = write_run(tmp_path / "run", {**SCORES, "jacov": late})
    row = rows_of(compare(baseline, run))["jacov"]
    assert row["verdict"] == "not comparable"
    assert row["reason"] == "not all scores are there yet"


def test_target_is_that_of_the_baseline(tmp_path):
    baseline = write_run(tmp_path / "baseline", target="test")
    run = write_run(tmp_path / "run", target="val")
    table = compare(baseline, run)
    assert set(table["verdict"]) == {"same"}
    assert table.attrs["target"] == "test"
    val, test = rows_of(compare(baseline, run, target="val")), rows_of(table)
    for proxy in SCORES:
        assert val[proxy]["spearman_before"] == -test[proxy]["spearman_before"]


def test_a_report_can_be_the_baseline(baseline, tmp_path):
    report = report_of(baseline, tmp_path / "baseline.json")
    run = write_run(tmp_path / "run", {**SCORES, "jacov": FAIR})
    by_report, by_run = compare(report, run), compare(baseline, run)
    assert by_report["verdict"].tolist() == by_run["verdict"].tolist()
    for short, long in zip(by_report["reason"], by_run["reason"], strict=True):
        # By scores, what may be chance is left out.
        assert re.sub(r" \[[^]]*\]", "", long) in short
    assert by_report["spearman_change"].isna().all()
    assert by_report["scores"].isna().all()
    table = compare(report, report_of(run, tmp_path / "run.json"))
    assert table["verdict"].tolist() == by_run["verdict"].tolist()
    other = compare(report, run, target="test")
    assert set(other["reason"]) == {"other target"}


def test_scores_need_two_runs(baseline, tmp_path):
    report = report_of(baseline, tmp_path / "baseline.json")
    with pytest.raises(UsageError) as error:
        compare(report, baseline, Tolerances(strict=True))
    assert str(error.value) == (
        f"{report} is a report, which holds no scores to compare. "
        "Give two run directories, or drop --scores."
    )


HOW = "Give a run directory, or what `zcbench report --format json` writes."
FOREIGN = f"is not a report of zcbench. {HOW}"


@pytest.mark.parametrize(
    ("content", "problem"),
    [
        ("", f"is no valid JSON. {HOW}"),
        ('{"schema": 1', f"is no valid JSON. {HOW}"),
        ("[" * 100_000, f"is no valid JSON. {HOW}"),
        ("[]", FOREIGN),
        ("{}", FOREIGN),
        (
            '{"schema": 2, "runs": [], "correlations": []}',
            "has schema 2, this zcbench reads 1. "
            "Make the report again, or update zcbench.",
        ),
        ('{"schema": 1, "runs": [], "correlations": [3]}', FOREIGN),
        ('{"schema": 1, "runs": [], "correlations": [{}]}', FOREIGN),
        ('{"schema": 1, "runs": 7, "correlations": []}', FOREIGN),
        ('{"schema": 1, "runs": [[]], "correlations": []}', FOREIGN),
        ('{"schema": 1, "runs": [], "correlations": []}', "holds no correlations."),
    ],
)
def test_a_foreign_file_is_one_clear_line(content, problem, baseline, tmp_path):
    file = tmp_path / "report.json"
    file.write_text(content)
    with pytest.raises(DataError) as error:
        compare(file, baseline)
    assert str(error.value) == f"{file} {problem}"


def test_a_damaged_report_is_one_clear_line(baseline, tmp_path):
    document = json.loads(report_of(baseline, tmp_path / "ok.json").read_text())
    file = tmp_path / "damaged.json"

    def problem() -> str:
        file.write_text(json.dumps(document))
        with pytest.raises(DataError) as error:
            compare(file, baseline)
        return str(error.value)

    rows = document["correlations"]
    rows[0]["spearman"] = "high"
    assert problem() == f"{file} {FOREIGN}"
    rows[0] = rows[1]
    assert problem() == (
        f"{file} reports {rows[1]['proxy']} on toy more than once. "
        "Make a report of one run."
    )


@given(
    st.lists(st.floats(-1e9, 1e9), min_size=1, max_size=9),
    st.floats(-0.99e-4, 0.99e-4),
)
def test_scores_within_the_tolerance_do_not_differ(scores, change):
    old = np.array(scores)
    assert not differing(old, old * (1 + change), 1e-4).any()


@given(st.lists(st.floats(1e-9, 1e9), min_size=1, max_size=9), st.sampled_from([-1, 1]))
def test_scores_beyond_the_tolerance_differ(scores, sign):
    old = sign * np.array(scores)
    assert differing(old, old * (1 + 1.1e-4), 1e-4).all()


def test_a_score_on_one_side_alone_differs():
    old = np.array([1.0, math.nan, math.nan, 1.0, 0.0, 0.0])
    new = np.array([math.nan, 1.0, math.nan, 1.0, 0.0, 1e-30])
    found = differing(old, new, 1e-4).tolist()
    assert found == [True, True, False, False, False, True]


def test_what_cancels_is_compared_with_the_typical_size():
    old = np.array([1e-9, -3.0, 2.0])
    assert not differing(old, np.array([1e-6, -3, 2]), 1e-4).any()
    assert differing(old, np.array([1e-3, -3, 2]), 1e-4).tolist() == [
        True,
        False,
        False,
    ]


# --- the command ---------------------------------------------------------------------


def test_command_exits_with_1_on_a_regression(baseline, tmp_path, capsys):
    assert call("compare", baseline, baseline) == 0
    out, err = capsys.readouterr()
    assert out.startswith(f"{baseline} against {baseline}\n")
    assert out.endswith("\n4 same.\n")
    assert err == ""
    worse = write_run(tmp_path / "worse", {**SCORES, "jacov": FAIR})
    assert call("compare", baseline, worse) == 1
    out = capsys.readouterr().out
    assert out.splitlines()[4].startswith("worse   toy       jacov ")
    gone = write_run(tmp_path / "gone", {"params": SCORES["params"]})
    assert call("compare", baseline, gone) == 1
    assert call("compare", gone, baseline) == 0


def test_command_passes_its_options_on(baseline, tmp_path, capsys):
    moved = write_run(tmp_path / "moved", {**SCORES, "jacov": GOOD * (1 + 2e-4)})
    args = ["compare", baseline, moved]
    assert call(*args) == 0
    assert call(*args, "--scores") == 1
    assert call(*args, "--scores", "--score-tolerance", "1e-3") == 0
    worse = write_run(tmp_path / "worse", {**SCORES, "jacov": FAIR})
    assert call("compare", baseline, worse, "--tolerance", "2") == 0
    capsys.readouterr()
    assert call(*args, "--target", "test", "--format", "json") == 0
    document = json.loads(capsys.readouterr().out)
    assert document["target"] == "test"
    assert {row["proxy"] for row in document["rows"]} == set(SCORES)
    assert tuple(document["rows"][0]) == COLUMNS


def test_command_exits_with_3_where_nothing_compares(baseline, tmp_path, capsys):
    other = write_run(tmp_path / "other", seed=1)
    assert call("compare", baseline, other) == 3
    out, err = capsys.readouterr()
    assert "4 not comparable." in out
    assert err.startswith("zcbench: Nothing in ")
    assert call("compare", tmp_path / "none", other) == 3
    assert capsys.readouterr().err == (
        f"zcbench: {tmp_path / 'none'} does not exist. Give a run directory, as "
        "`zcbench run --out` makes.\n"
    )


def test_markdown_and_text_say_the_same(baseline, tmp_path):
    status = {("jacov", 0): "undefined"}
    run = write_run(tmp_path / "run", status=status)
    table = compare(baseline, run)
    document = Document([comparison(table)], {})
    text, markdown = render(document), render(document, "md")
    line = next(line for line in text.splitlines() if "jacov" in line)
    cells = [cell.strip() for cell in line.split("   ") if cell.strip()]
    row = next(line for line in markdown.splitlines() if "jacov" in line)
    assert [cell.strip() for cell in row.strip("|").split("|")] == cells
    assert cells[:3] == ["worse", "toy", "jacov"]
    assert cells[-2:] == ["1 of 27 differ", "failed 0 then, 1 now"]
    assert "\x1b[1;31m" in render(document, color=True)


def test_accuracy_is_known_here():
    """The made-up scores do what the tests above assume."""
    assert np.corrcoef(GOOD, ACCURACY)[0, 1] > 0.9 > np.corrcoef(FAIR, ACCURACY)[0, 1]


def failing(path: Path, word: str, said: str, version: int = 2) -> Path:
    """A run in which every score of jacov has failed, in a version of its own."""
    status = {("jacov", index): word for index in range(N)}
    run = write_run(path, status=status)
    manifest = json.loads((run / "manifest.json").read_text())
    manifest["proxies"]["jacov"] = version
    (run / "manifest.json").write_text(json.dumps(manifest))
    lines = list(map(json.loads, (run / "scores.jsonl").read_text().splitlines()))
    for line in lines:
        del line["crc32"]
        line["messages"] = {"jacov": said}
    (run / "scores.jsonl").write_bytes(b"".join(map(line_of, lines)))
    return run


def test_a_proxy_that_fails_everywhere_is_worse_whatever_its_version(
    baseline, tmp_path, capsys
):
    said = "NameError: name 'sqrt' is not defined"
    run = failing(tmp_path / "run", "error", said)
    row = rows_of(compare(baseline, run))["jacov"]
    assert row["verdict"] == "worse"
    assert row["reason"] == f"no network has a score ({N} error)"
    assert call("compare", baseline, run) == 1
    assert f"jacov: error: {said} ({N} networks)" in capsys.readouterr().out
    report = report_of(run, tmp_path / "now.json")
    assert rows_of(compare(baseline, report))["jacov"]["verdict"] == "worse"
    assert rows_of(compare(run, run))["jacov"]["verdict"] == "worse"
    fewer = {name: SCORES[name] for name in SCORES if name != "jacov"}
    before = write_run(tmp_path / "before", fewer)
    assert rows_of(compare(before, run))["jacov"]["verdict"] == "worse"


def test_undefined_everywhere_is_worse_only_if_it_was_defined(baseline, tmp_path):
    run = failing(tmp_path / "run", "undefined", "no ReLU")
    assert rows_of(compare(baseline, run))["jacov"]["verdict"] == "worse"
    other = failing(tmp_path / "other", "undefined", "no ReLU", version=3)
    verdict = rows_of(compare(run, other))["jacov"]["verdict"]
    assert verdict == "not comparable"


def test_the_first_message_stands_below_the_table(tmp_path):
    run = load_run(failing(tmp_path / "run", "error", "KeyError: 'w'", version=1))
    for format_name in ("text", "md", "html", "json", "csv"):
        assert "KeyError" in render(make_report([run]), format_name)
