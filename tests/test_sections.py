"""Sections of a report: what is compared, corrected, ranked and said."""

from __future__ import annotations

import csv
import io
import json
import math

import numpy as np
import pandas as pd
import pytest
from report_runs import ACCURACY, FAIR, GOOD, SCORES, N, study_of, toy_truth, write_run
from scipy import stats as scipy_stats

from zcbench.analysis import NAMES
from zcbench.analysis.across import tasks
from zcbench.analysis.comparisons import comparisons
from zcbench.analysis.paired import paired
from zcbench.analysis.verdict import verdict
from zcbench.cli import exit_code_of, main
from zcbench.errors import UsageError
from zcbench.report import CHOICES, Block, Column, Options, make_report, render
from zcbench.report.text import cell, cells
from zcbench.stats import association, holm, paired_difference
from zcbench.store import load_run

QUICK = Options(resamples=200)


def sample(n: int = 300, seed: int = 0) -> tuple[np.ndarray, ...]:
    """(accuracy, a middling score, a good score)."""
    rng = np.random.default_rng(seed)
    accuracy = rng.normal(size=n)
    return accuracy, accuracy + 2 * rng.normal(size=n), accuracy + rng.normal(size=n)


def row_of(block: Block, proxy: str, dataset: str = "toy") -> pd.Series:
    rows = block.table[block.table["proxy"] == proxy]
    if "dataset" in rows:
        rows = rows[rows["dataset"] == dataset]
    assert len(rows) == 1
    return rows.iloc[0]


# --- comparisons ---------------------------------------------------------------------


def test_each_comparison_is_the_paired_difference():
    accuracy, fair, good = sample()
    good[:20] = np.nan
    study = study_of(
        {"params": fair, "flops": -fair, "jacov": good},
        accuracy,
        baselines=("params", "flops"),
    )
    found = comparisons([study], QUICK)
    assert [(e.proxy, e.baseline) for e in found.entries] == [
        ("jacov", "params"),
        ("jacov", "flops"),
    ]
    for entry in found.entries:
        rival = study.scores[entry.baseline]
        assert entry.single == paired_difference(good, rival, accuracy, "spearman")
        assert entry.single.n == 280
        assert entry.together.low < entry.single.low
        assert entry.single.high < entry.together.high
        assert entry.p >= entry.single.p
    assert 0.025 <= found.level < 0.05
    single = [e.single.p for e in found.entries]
    assert [e.p_holm for e in found.entries] == holm(single).tolist()


def test_datasets_of_a_space_are_resampled_together():
    """The same scores on the same architectures twice cost nothing; others do."""
    accuracy, fair, good = sample()
    scores = {"params": fair, "jacov": good}
    one = study_of(scores, accuracy)
    again = study_of(scores, accuracy, dataset="again")
    elsewhere = study_of(scores, accuracy, dataset="again", space="other")
    twice, apart = (
        comparisons(studies, Options(resamples=2000))
        for studies in ([one, again], [one, elsewhere])
    )
    assert (twice.count, apart.count) == (2, 2)
    assert twice.level == pytest.approx(0.05, rel=0.15)
    assert apart.level == pytest.approx(1 - math.sqrt(0.95), rel=0.15)


def test_order_of_architectures_does_not_matter():
    accuracy, fair, good = sample()
    names = [f"arch {i}" for i in range(len(accuracy))]
    turned = np.random.default_rng(5).permutation(len(accuracy))
    scores = {"params": fair, "jacov": good}
    one = study_of(scores, accuracy, archs=names)
    two = study_of(
        {name: score[turned] for name, score in scores.items()},
        accuracy[turned],
        archs=[names[i] for i in turned],
        dataset="turned",
    )
    same = study_of(scores, accuracy, archs=names, dataset="same")
    found = comparisons([one, two], QUICK)
    assert found.level == pytest.approx(comparisons([one, same], QUICK).level)
    first, second = found.entries
    assert first.together.low == pytest.approx(second.together.low)


def test_same_seed_same_report():
    accuracy, fair, good = sample()
    study = study_of({"params": fair, "a": good, "b": -good}, accuracy)
    first, second, other = (
        comparisons([study], Options(resamples=200, seed=seed)).level
        for seed in (0, 0, 1)
    )
    assert first == second != other


# --- verdict -------------------------------------------------------------------------


def test_verdict_is_against_the_best_of_the_baselines():
    accuracy, fair, good = sample()
    scores = {"params": fair, "flops": fair + 0.1 * good, "jacov": good, "zen": -good}
    study = study_of(scores, accuracy, baselines=("params", "flops"))
    block = verdict([study], QUICK)
    lead = row_of(block, "jacov")
    against = [e for e in comparisons([study], QUICK).entries if e.proxy == "jacov"]
    best = min(against, key=lambda e: e.single.value)
    assert (lead["baseline"], lead["delta"]) == (best.baseline, best.single.value)
    assert lead["baseline"] == "flops"
    assert lead["value"] - lead["baseline_value"] == pytest.approx(lead["delta"])
    assert lead["delta_low"] == min(e.together.low for e in against) > 0.05
    assert lead["delta_high"] == min(e.together.high for e in against)
    assert lead["p"] == max(e.p for e in against)
    assert lead["p_holm"] == max(e.p_holm for e in against)
    assert lead["word"] == "clearly ahead"
    assert row_of(block, "zen")["word"] == "behind"
    assert block.table["proxy"].tolist() == ["jacov", "zen"]


def test_clearly_is_a_parameter():
    accuracy, fair, good = sample()
    study = study_of({"params": fair, "jacov": good}, accuracy)
    low = row_of(verdict([study], QUICK), "jacov")["delta_low"]
    for clearly, word in ((low - 0.01, "clearly ahead"), (low + 0.01, "ahead")):
        options = Options(clearly=clearly, resamples=200)
        block = verdict([study], options)
        assert row_of(block, "jacov")["word"] == word
        assert f"+{clearly:.2f}".replace("0.", ".") in block.about
        assert f"+{clearly:.2f}".replace("0.", ".") in block.conclusion


def test_word_agrees_with_p():
    rng = np.random.default_rng(4)
    accuracy = rng.normal(size=60)
    scores = {"params": accuracy + rng.normal(size=60)}
    for i in range(40):
        scores[f"p{i}"] = accuracy + (0.05 + i / 15) * rng.normal(size=60)
    block = verdict([study_of(scores, accuracy)], QUICK)
    words = block.table["word"]
    assert {"behind", "no difference shown", "clearly ahead"} <= set(words)
    assert ((block.table["p"] < 0.05) == (words != "no difference shown")).all()


def test_verdict_is_not_fooled_by_failures():
    """A proxy that fails where it would be wrong has a higher ρ, but no lead."""
    accuracy, fair, _ = sample()
    easy = np.argsort(
        np.abs(scipy_stats.rankdata(fair) - scipy_stats.rankdata(accuracy))
    )
    picky = np.full(len(fair), math.nan)
    picky[easy[:180]] = fair[easy[:180]]
    assert association(picky, accuracy, "spearman").value > 0.7
    block = verdict([study_of({"params": fair, "jacov": picky}, accuracy)], QUICK)
    row = row_of(block, "jacov")
    assert (row["n"], row["missing"], row["delta"]) == (180, 120, 0)
    assert (row["word"], row["note"]) == ("", "of too few for a verdict")
    picky[easy[180:270]] = fair[easy[180:270]]
    block = verdict([study_of({"params": fair, "jacov": picky}, accuracy)], QUICK)
    row = row_of(block, "jacov")
    assert (row["n"], row["delta"], row["delta_low"], row["delta_high"]) == (
        270,
        0,
        0,
        0,
    )
    assert (row["word"], row["note"]) == ("no difference shown", "same order")


def test_across_datasets_the_least_lead_counts():
    accuracy, fair, good = sample()
    rng = np.random.default_rng(9)
    first = {"params": fair, "both": good, "once": good, "never": -good}
    other = accuracy + 0.3 * rng.normal(size=len(accuracy))
    second = {"params": fair, "both": good, "once": fair, "never": -good}
    studies = [study_of(first, accuracy), study_of(second, other, dataset="second")]
    block = verdict(studies, QUICK)
    across = block.table[block.table["dataset"] == ""].set_index("proxy")
    single = block.table[block.table["proxy"] == "both"].iloc[:2]
    assert across.loc["both", "delta_low"] == single["delta_low"].min()
    assert across.loc["both", "where"] == "all 2 datasets"
    assert across["word"].to_dict() == {
        "both": "clearly ahead",
        "once": "ahead on 1 of 2",
        "never": "behind",
    }
    ends = across.loc["both"]
    assert block.conclusion == (
        "Clearly ahead of the best baseline on all 2 datasets (corrected 95% interval "
        f"of Δρ above +.05): both +{ends['delta']:.2f} ".replace("+0.", "+.")
        + f"[{ends['delta_low']:.2f}, {ends['delta_high']:.2f}]. ".replace("0.", ".")
        + "Ahead on all 2 datasets by less: none. On some: once (ahead on 1 of 2). "
        "Behind on all 2 datasets: 1 of 3 proxies."
    )


def test_a_proxy_without_scores_on_one_dataset_leads_nowhere_else():
    accuracy, fair, good = sample()
    none = np.full(len(good), np.nan)
    studies = [
        study_of({"params": fair, "jacov": good}, accuracy),
        study_of({"params": fair, "jacov": none}, accuracy, dataset="second"),
    ]
    block = verdict(studies, QUICK)
    across = row_of(block, "jacov", "")
    assert (across["word"], across["note"]) == (
        "ahead on 1 of 2",
        "not on every dataset",
    )
    assert math.isnan(across["delta_low"])
    assert row_of(block, "jacov", "second")["note"] == "all failed"


def test_runs_are_named_where_there_are_several():
    accuracy, fair, good = sample()
    scores = {"params": fair, "jacov": good}
    studies = [study_of(scores, accuracy, run=name) for name in ("a", "b")]
    for analysis in (verdict, paired):
        where = analysis(studies, QUICK).table["where"].tolist()
        assert where[:2] == ["toy · a", "toy · b"]


def test_what_is_mixed_is_said():
    accuracy, fair, good = sample()
    scores = {"params": fair, "jacov": good}
    one = study_of(scores, accuracy)
    two = study_of(scores, accuracy, target="test", run="other")
    for analysis in (verdict, paired, tasks):
        assert analysis([one, two], QUICK).about.endswith(
            " Mixed here: targets val, test."
        )
        assert "Mixed" not in analysis([one, one], QUICK).about
    block = verdict([one, two], QUICK)
    assert block.table["where"].iloc[-1] == "all 2 tables of 1 dataset"
    assert "over 2 tables of 1 dataset: jacov" in tasks([one, two], QUICK).conclusion


NOISE = np.random.default_rng(8).normal(size=(3, 30))
DEGENERATE = {
    "three points": ({"params": NOISE[0, :3], "x": NOISE[1, :3]}, NOISE[2, :3]),
    "all ties": ({"params": NOISE[0], "x": np.ones(30)}, NOISE[2]),
    "baseline tied": ({"params": np.ones(30), "x": NOISE[1]}, NOISE[2]),
    "all failed": ({"params": NOISE[0], "x": np.full(30, np.nan)}, NOISE[2]),
    "constant truth": ({"params": NOISE[0], "x": NOISE[1]}, np.ones(30)),
    "no truth": ({"params": NOISE[0], "x": NOISE[1]}, np.full(30, np.nan)),
    "no baseline": ({"y": NOISE[0], "x": NOISE[1]}, NOISE[2]),
    "one proxy": ({"x": NOISE[1]}, NOISE[2]),
    "only a baseline": ({"params": NOISE[1]}, NOISE[2]),
    "nothing": ({}, NOISE[2]),
    "perfect": ({"params": NOISE[0], "x": NOISE[2]}, NOISE[2]),
    "both perfect": ({"params": NOISE[2], "x": NOISE[2]}, NOISE[2]),
    "apart": (
        {
            "params": np.r_[NOISE[0, :15], [np.nan] * 15],
            "x": np.r_[[np.nan] * 15, NOISE[1, 15:]],
        },
        NOISE[2],
    ),
    "four points": ({"params": NOISE[0, :4], "x": NOISE[1, :4]}, NOISE[2, :4]),
    "opposites": ({"params": -NOISE[2], "x": NOISE[2]}, NOISE[2]),
}
NOTES = {
    "three points": "too few",
    "all ties": "constant",
    "baseline tied": "constant",
    "all failed": "all failed",
    "constant truth": "constant truth",
    "no truth": "too few",
    "no baseline": "no baseline",
    "one proxy": "no baseline",
    "apart": "too few",
    "opposites": "no spread",
}


@pytest.mark.parametrize("many", [1, 2])
@pytest.mark.parametrize("name", DEGENERATE)
def test_degenerate_inputs_have_a_word_in_each_cell(name, many):
    scores, accuracy = DEGENERATE[name]
    studies = [study_of(scores, accuracy, dataset=dataset) for dataset in "ab"[:many]]
    for analysis in (verdict, paired, tasks):
        block = analysis(studies, QUICK)
        for row, line in zip(block.table.to_dict("records"), cells(block), strict=True):
            named = zip(block.columns, line, strict=True)
            empty = [c.key for c, text in named if not text and c.key != "word"]
            assert set(empty) <= {"baseline"}, row
            assert not {"nan", "[nan,"} & set(" ".join(line).split())
    rows = verdict(studies, QUICK).table
    rows = rows[(rows["proxy"] == "x") & (rows["dataset"] == "a")]
    if name in NOTES:
        assert rows["note"].tolist() == [NOTES[name]]
        assert rows["word"].tolist() == [""]
        assert rows["delta_low"].isna().all()


def test_without_an_answer_the_verdict_says_so():
    for name in ("constant truth", "no baseline", "only a baseline", "nothing"):
        block = verdict([study_of(*DEGENERATE[name])], QUICK)
        assert block.conclusion == "No proxy can be set against a baseline here."


# --- tasks ---------------------------------------------------------------------------


def tables(seed: int, spaces: int, datasets: int = 2, n: int = 80) -> list:
    """Studies in which the proxies differ: best, middle, worst; params in between."""
    rng = np.random.default_rng(seed)
    found = []
    for space in range(spaces):
        for dataset in range(datasets):
            accuracy = rng.normal(size=n)
            scores = {
                name: accuracy + noise * rng.normal(size=n)
                for name, noise in (
                    ("params", 1.5),
                    ("best", 0.3),
                    ("middle", 1.5),
                    ("worst", 6.0),
                )
            }
            found.append(
                study_of(scores, accuracy, space=f"s{space}", dataset=f"d{dataset}")
            )
    return found


def test_mean_ranks_are_those_of_plain_loops():
    studies = tables(0, spaces=1, datasets=3)
    studies[1].scores["best"][:7] = np.nan
    rows = tasks(studies, QUICK).table.set_index("proxy")
    ranks = {name: [] for name in rows.index}
    leads = {name: [] for name in rows.index}
    for study in studies:
        used = np.isfinite(study.scores["best"])
        values = {
            name: scipy_stats.spearmanr(score[used], study.accuracy[used]).statistic
            for name, score in study.scores.items()
        }
        for name, value in values.items():
            ranks[name].append(1 + sum(other > value for other in values.values()))
            leads[name].append(value - values["params"])
    for name in rows.index:
        row = rows.loc[name]
        assert row["mean_rank"] == pytest.approx(np.mean(ranks[name]))
        assert row["lead"] == pytest.approx(np.mean(leads[name]))
        assert row["wins"] == sum(lead > 0 for lead in leads[name])
        assert row["losses"] == sum(lead < 0 for lead in leads[name])
        assert row["mean_rank_low"] <= row["mean_rank"] <= row["mean_rank_high"]
        assert row["n"] == 73
    assert rows.loc["params", "lead"] == rows.loc["params", "lead_low"] == 0


def test_intervals_over_one_space_are_near_those_of_a_bootstrap_ranked_anew():
    studies = tables(3, spaces=1, n=200)
    rows = tasks(studies, Options(resamples=1000)).table.set_index("proxy")
    rng = np.random.default_rng(2)
    leads = []
    for _ in range(300):
        drawn = rng.integers(200, size=200)  # the same architectures on every dataset
        part = []
        for study in studies:
            found = [
                scipy_stats.spearmanr(study.scores[p][drawn], study.accuracy[drawn])
                for p in ("middle", "params")
            ]
            part.append(found[0].statistic - found[1].statistic)
        leads.append(np.mean(part))
    ends = rows.loc["middle", ["lead_low", "lead_high"]].tolist()
    assert ends == pytest.approx(np.quantile(leads, [0.025, 0.975]), abs=0.03)


def test_one_space_is_one_unit():
    block = tasks(tables(0, spaces=1), QUICK)
    assert block.table["p"].isna().all()
    assert block.table["critical_difference"].isna().all()
    assert set(block.table["note"]) == {"baseline", "1 space"}
    assert block.conclusion.endswith(
        " One space counts as one unit: Friedman's and Nemenyi's tests need several "
        "spaces and are not given, and the intervals speak of other architectures of "
        "this space, not of other spaces."
    )


def test_several_spaces_are_tested():
    studies = tables(0, spaces=7)
    block = tasks(studies, QUICK)
    rows = block.table.set_index("proxy")
    assert set(rows["spaces"]) == {7}
    assert rows.loc["best", "p"] == pytest.approx(2 / 2**7)  # all seven agree
    assert rows.loc["best", "p_holm"] == pytest.approx(3 * 2 / 2**7)
    assert math.isnan(rows.loc["params", "p"])
    q = scipy_stats.studentized_range.ppf(0.95, 4, math.inf) / math.sqrt(2)
    assert rows["critical_difference"].iloc[0] == pytest.approx(
        q * math.sqrt(4 * 5 / (6 * 7))
    )
    assert "Friedman over 7 spaces: χ² " in block.conclusion
    assert ", p .005 by permutation." in block.conclusion
    few = tasks(tables(0, spaces=3), QUICK)
    assert few.table["p"].isna().all()
    assert few.table["critical_difference"].notna().all()
    assert set(few.table["note"]) == {"baseline", "3 spaces"}


def test_who_cannot_be_ranked_is_told():
    studies = tables(0, spaces=1)
    del studies[1].scores["best"]
    for study in studies:
        study.scores["worst"][:] = 1.0
    notes = tasks(studies, QUICK).table.set_index("proxy")["note"].to_dict()
    assert notes == {
        "params": "baseline",
        "middle": "1 space",
        "best": "not on every dataset",
        "worst": "orders no dataset",
    }
    for study in studies:
        study.scores["middle"][:] = np.nan
    block = tasks(studies, QUICK)
    assert block.conclusion == "No two proxies can be ranked here."


def test_no_order_counts_as_chance():
    studies = tables(0, spaces=1)
    studies[0].scores["middle"][:9] = np.nan  # more than a tenth of 80
    studies[1].scores["best"][:8] = np.nan  # a tenth
    studies[1].scores["worst"][:] = 1.0
    studies[1].scores["params"] *= -1
    rows = tasks(studies, QUICK).table.set_index("proxy")
    assert rows["silent"].to_dict() == {"best": 0, "params": 0, "middle": 1, "worst": 1}
    assert set(rows["n"]) == {72}  # of the dataset where best lacks some
    used = slice(8, None), slice(None)
    params = [
        scipy_stats.spearmanr(study.scores["params"][part], study.accuracy[part])
        for study, part in zip(studies, used[::-1], strict=True)
    ]
    worst = scipy_stats.spearmanr(studies[0].scores["worst"], studies[0].accuracy)
    expected = (worst.statistic - params[0].statistic) / 2
    expected += (0 - params[1].statistic) / 2
    assert rows.loc["worst", "lead"] == pytest.approx(expected)
    assert params[1].statistic < 0
    assert rows.loc["worst", "wins"] == 1  # chance is better than a reversed baseline


# --- cells, formats, the command -----------------------------------------------------


@pytest.mark.parametrize(
    ("kind", "value", "text"),
    [
        ("text", "a", "a"),
        ("text", None, ""),
        ("correlation", -0.714, "-.71"),
        ("signed", 0.05, "+.05"),
        ("interval", 0.5, ".50 [.25, .75]"),
        ("difference", 0.5, "+.50 [.25, .75]"),
        ("count", 1234.0, "1,234"),
        ("share", 0.714, "71%"),
        ("p", 0.0431, ".043"),
        ("p", 0.00001, "<.001"),
        ("number", 0.012345, "0.0123"),
        ("number", 12345.6, "12,346"),
        ("number", math.nan, "why"),
        ("p", None, "why"),
    ],
)
def test_cells_read_well(kind, value, text):
    row = {"x": value, "x_low": 0.25, "x_high": 0.75, "note": "why"}
    assert cell(row, Column("x", "x", kind)) == text


def test_a_value_without_interval_says_why():
    row = {"x": 1.0, "x_low": math.nan, "x_high": math.nan, "note": "perfect"}
    assert cell(row, Column("x", "x", "interval")) == "1.00 (perfect)"
    assert cell(row | {"note": ""}, Column("x", "x", "interval")) == "1.00"


@pytest.fixture
def run_path(tmp_path, monkeypatch):
    monkeypatch.setattr("zcbench.truth.load_truth", toy_truth)
    scores = {**SCORES, "zen": FAIR, "a_b|c": np.ones(N)}
    traits = {"a_b|c": {"direction": "higher"}}
    return write_run(tmp_path / "run", scores, traits=traits)


def call(*args: object) -> int:
    """Exit code of the program."""
    return exit_code_of(lambda: main(list(map(str, args)), standalone_mode=False))


def test_sections_come_in_reading_order_and_once(run_path):
    runs = [load_run(run_path)]
    report = make_report(runs, sections=["tasks", "verdict", "tasks"])
    assert [block.name for block in report.blocks] == ["verdict", "tasks"]
    assert not report.shows_table
    assert make_report(runs).blocks == []
    assert ("correlations", *NAMES) == CHOICES


def test_unknown_section_is_an_error(run_path):
    with pytest.raises(UsageError) as error:
        make_report([load_run(run_path)], sections=["verdct"])
    assert str(error.value) == "Unknown section 'verdct'. Did you mean verdict?"


def test_no_section_is_an_error(run_path, capsys):
    assert call("report", run_path, "--section", " , ") == 2
    assert capsys.readouterr().err == (
        "zcbench: No section is named. Name some, or all.\n"
    )


def test_command_offers_every_section(capsys):
    assert call("report", "--help") == 0
    words = capsys.readouterr().out.replace(",", " ").replace(";", " ").split()
    assert set(CHOICES) <= set(words)


def test_text_of_a_section(run_path, capsys):
    assert call("report", run_path, "--section", "verdict", "--clearly", "0.1") == 0
    out = capsys.readouterr().out
    assert out.startswith("toy · toy · validation accuracy (mean of 2 to 3 training")
    assert "\nVerdict: against the best baseline, on the same architectures\n" in out
    assert "above +.10." in out
    lines = [line.split() for line in out.splitlines()]
    assert ["toy", "a_b|c", *["constant"] * 0] == next(
        line[:2] for line in lines if "a_b|c" in line
    )
    assert "ms/arch" not in out


@pytest.mark.parametrize("name", ["text", "md", "tex", "json"])
def test_every_section_in_every_format(name, run_path, capsys):
    assert call("report", run_path, "--section", "all", "--format", name) == 0
    out = capsys.readouterr().out
    assert "clearly" in out
    assert " nan" not in out
    assert "NaN" not in out
    if name == "tex":
        assert out.count("{") == out.count("}")
        assert out.isascii()
        assert out.count("\\begin{table}") == 1 + len(NAMES)


def test_markdown_tables_are_whole(run_path):
    report = make_report([load_run(run_path)], sections=["verdict", "paired", "tasks"])
    widths = set()
    for part in render(report, "md").split("###")[1:]:
        rows = [line for line in part.splitlines() if line.startswith("|")]
        widths.add(tuple({line.replace("\\|", "").count("|") for line in rows}))
    assert all(len(width) == 1 for width in widths)


def test_json_has_the_rows_of_each_section(run_path, capsys):
    assert call("report", run_path, "--section", "paired", "--format", "json") == 0
    document = json.loads(capsys.readouterr().out)
    assert {"correlations", "verdict", "paired", "conclusions", "options"} <= set(
        document
    )
    assert "tasks" not in document
    assert document["options"] == {
        "clearly": 0.05,
        "confidence": 0.95,
        "resamples": 1000,
        "seed": 0,
    }
    rows = {(r["proxy"], r["baseline"]): r for r in document["paired"]}
    assert set(rows) == {
        (p, b)
        for p in ("jacov", "snip", "zen", "a_b|c")
        for b in ("params", "n_layers")
    }
    found = paired_difference(GOOD, SCORES["params"], ACCURACY, "kendall")
    assert rows["jacov", "params"]["kendall"] == pytest.approx(found.value)
    assert rows["jacov", "params"]["kendall_p_single"] == pytest.approx(found.p)
    assert rows["a_b|c", "params"]["spearman_p"] is None
    assert rows["a_b|c", "params"]["note"] == "constant"


def test_csv_is_one_table(run_path, capsys):
    assert call("report", run_path, "--section", "verdict", "--format", "csv") == 0
    rows = list(csv.DictReader(io.StringIO(capsys.readouterr().out)))
    assert {row["proxy"] for row in rows} == {"jacov", "snip", "zen", "a_b|c"}
    assert {row["word"] for row in rows} <= {
        "clearly ahead",
        "ahead",
        "no difference shown",
        "behind",
        "",
    }
    assert (
        call("report", run_path, "--section", "verdict,tasks", "--format", "csv") == 2
    )
    assert capsys.readouterr().err == (
        "zcbench: A CSV holds one table, and 2 are asked for. Name one --section, or "
        "choose --format json.\n"
    )


def test_options_reach_the_statistics(run_path, capsys):
    widths = {}
    for confidence in ("0.5", "0.95"):
        options = ["--confidence", confidence, "--resamples", "300", "--seed", "3"]
        args = ["report", run_path, "--section", "all", "--format", "json", *options]
        assert call(*args) == 0
        document = json.loads(capsys.readouterr().out)
        row = document["correlations"][0]
        lead = document["verdict"][0]
        widths[confidence] = (
            row["spearman_high"] - row["spearman_low"],
            lead["delta_high"] - lead["delta_low"],
        )
        assert document["options"]["resamples"] == 300
    assert all(a < b for a, b in zip(widths["0.5"], widths["0.95"], strict=True))
    assert call("report", run_path, "--confidence", "0.5") == 0
    assert "with 50% intervals" in capsys.readouterr().out.replace("\n", " ")


def test_the_sentence_below_a_table_is_the_verdicts(tmp_path, monkeypatch):
    monkeypatch.setattr("zcbench.truth.load_truth", toy_truth)
    scores = {"params": -GOOD, "jacov": np.where(np.arange(N) < 2, np.nan, GOOD)}
    scores["snip"] = GOOD
    report = make_report([load_run(write_run(tmp_path / "run", scores))])
    rows = report.verdict.table.set_index("proxy")
    ends = {
        name: f"[{rows.loc[name, 'delta_low']:.2f}, {rows.loc[name, 'delta_high']:.2f}]"
        for name in ("jacov", "snip")
    }
    value = association(-GOOD[2:], ACCURACY[2:], "spearman").value
    leads = {
        name: f"{name} +{rows.loc[name, 'delta']:.2f} {ends[name]}" for name in ends
    }
    leads["jacov"] += f" (on the 25 where it has a score, params {value:.2f})"
    found = " ".join(render(report).split())
    for lead in leads.values():
        assert lead.replace("-0.", "-.").replace("[0.", "[.") in found
    assert "Clearly (above +.05): " in found
