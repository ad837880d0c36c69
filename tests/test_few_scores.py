"""A proxy with scores for fewer than 90% of the architectures heads nothing."""

from __future__ import annotations

import json

import numpy as np
import pytest
from made_reports import report_of
from report_runs import study_of

from zcbench.analysis import NAMES, analyse
from zcbench.analysis.block import FEW
from zcbench.analysis.overview import overview
from zcbench.analysis.report import report_of as report_with_marks
from zcbench.analysis.study import Study
from zcbench.report.figures.grids import heatmap
from zcbench.report.figures.points import cost
from zcbench.report.figures.rows import forest
from zcbench.report.output import render
from zcbench.report.site import pages


def study(scored: int, dataset: str = "one", few: str = "picky") -> Study:
    """100 architectures, of which one proxy ranks so many, and those perfectly."""
    rng = np.random.default_rng(5)
    accuracy = 90 - 10 * rng.exponential(size=100)
    noise = rng.normal(size=(6, 100)) * np.array([[6], [9], [2], [5], [8], [0]])
    names = ("params", "flops", "snip", "zico", "n_layers", "picky")
    scores = dict(zip(names, accuracy + noise, strict=True))
    scores["picky"][scored:] = np.nan
    scores = {few if n == "picky" else n: s for n, s in scores.items()}
    return study_of(
        scores, accuracy, baselines=("params", "flops", "op_balance"), dataset=dataset
    )


def test_the_limit_is_ninety_percent_of_those_with_an_accuracy():
    assert study(90).thin == frozenset()
    assert study(89).thin == {"picky"}
    assert study(0).thin == frozenset()  # no score: said by its status
    made = study(60)
    made.accuracy[60:] = np.nan
    assert made.thin == frozenset()


def test_the_table_ends_with_it_and_shows_its_correlation():
    made = [study(50), study(100, "two")]
    table = report_of(made, ()).table
    first, second = (table[table["dataset"] == d] for d in ("one", "two"))
    assert first["proxy"].iloc[-1] == "picky"
    assert first["spearman"].iloc[-1] == pytest.approx(1)
    assert first["few"].tolist() == [False] * 5 + [True]
    assert second["proxy"].iloc[0] == "picky"
    assert not second["few"].any()


@pytest.mark.parametrize("format_name", ["text", "md", "tex", "html", "csv", "json"])
def test_every_format_marks_it(format_name):
    made = report_of([study(50)], ())
    shown = render(made, format_name)
    if format_name == "json":
        rows = json.loads(shown)["correlations"]
        assert [r["proxy"] for r in rows if r["few"]] == ["picky"]
        return
    lines = [line for line in shown.splitlines() if "picky" in line]
    mark = {"tex": r"picky \S{}", "csv": "True"}.get(format_name, "picky §")
    assert mark in lines[0]
    assert (FEW[2:] in " ".join(shown.split())) == (format_name not in ("csv", "tex"))
    assert "picky §" not in render(report_of([study(95)], ()), format_name)


@pytest.mark.parametrize("name", NAMES)
def test_no_section_begins_with_it_or_calls_it_the_best(name):
    made = study(50)
    block = analyse(name, [made], report_of([made], ()).options)
    assert "picky" not in block.conclusion or name in ("agreement", "bias")
    rows = block.records()
    order = [r["proxy"] for r in rows if r.get("proxy") in made.scores]
    if order and name not in ("agreement", "paired"):
        assert order[-1] == "picky"
    if name == "paired":
        assert [r["proxy"] for r in rows] == 2 * ["snip", "zico", "n_layers", "picky"]


def test_sections_say_what_the_mark_is():
    made = report_with_marks([study(50)], [], sections=["size", "verdict"])
    assert [FEW in block.about for block in made.blocks] == [True, True]
    made = report_with_marks([study(100)], [], sections=["size", "verdict"])
    assert [FEW in block.about for block in made.blocks] == [False, False]


def test_a_baseline_with_few_scores_is_not_the_best():
    made = study(50, few="op_balance")
    report = report_of([made], ("paired", "equivalence"))
    assert "best baseline (params" in report.tables[0].conclusion
    assert set(report.verdict.table["baseline"]) <= {"params", "flops"}
    assert "op_balance" not in set(report.blocks[0].table["baseline"])
    (figure,) = forest(report)
    assert any("best baseline, params" in s for s in figure.panels[0].shapes)


def test_figures_show_it_below_and_marked():
    made = report_of([study(50)], ())
    for draw in (forest, heatmap, cost):
        (figure,) = draw(made)
        for drawing in (*figure.panels, *figure.narrow):
            words = [s for s in drawing.shapes if s.startswith("<text")]
            assert sum("picky §" in s for s in words) == 1
            names = [s for s in words if 'anchor="end"' in s and ">ρ<" not in s]
            assert draw is cost or "picky" in names[-1]


def test_a_run_ends_with_a_table_that_ends_with_it():
    block = overview(report_of([study(50), study(100, "two")], ()))
    assert block.table[-1]["proxy"] == "picky"
    assert FEW in block.foot


def test_the_leaderboard_lists_it_last():
    made = report_of([study(50)], ("agreement",))
    site = pages([json.loads(render(made, "json"))], lambda _: ("", {}))
    for page in ("index.html", "spaces/toy.html"):
        body = site[page].partition("<tbody>")[2]
        assert body.rindex("picky") > body.rindex("zico")
        assert "fewer than 90% of the architectures" in site[page]
    assert "no order" in site["proxies/picky.html"]
