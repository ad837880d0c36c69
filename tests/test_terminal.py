"""What commands print fits a terminal of 80 columns, in rows that are not broken."""

from __future__ import annotations

from pathlib import Path

import pytest
from click.testing import CliRunner
from levels import few
from made_reports import report_of, study

from zcbench.analysis import NAMES
from zcbench.analysis.overview import overview
from zcbench.analysis.report import Report
from zcbench.cli import main
from zcbench.cli.progress import TerminalObserver
from zcbench.report import render
from zcbench.report.document import Document
from zcbench.report.text import ANY

PROXIES = ["params", "az_progressivity", "wrcor_unweighted", "nwot", "snip", "grasp"]


def printed(*words: str) -> str:
    """All that a command prints in a terminal of 80 columns."""
    result = CliRunner(env={"COLUMNS": "80"}).invoke(main, words)
    assert result.exit_code == 0, result.output
    return result.output


def widest(text: str) -> str:
    return max(text.splitlines(), key=len)


@pytest.fixture(scope="module")
def report() -> Report:
    datasets = [study(i, dataset=f"d{i}", names=PROXIES, seeds=3) for i in range(3)]
    return report_of(datasets)


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, str]:
    path = tmp_path_factory.mktemp("terminal") / "run"
    named = ("--proxies", "params,nwot,snip", "--n", "12")
    return path, printed("run", "--space", "toy", *named, "--out", str(path))


@pytest.mark.parametrize("name", ["correlations", *NAMES])
@pytest.mark.parametrize("width", few([80, 60]))
def test_every_section_fits_and_breaks_no_row(report, name, width):
    blocks = report.tables if name == "correlations" else report.blocks
    shown = Document([block for block in blocks if block.name == name], None)
    assert shown.blocks
    text = render(shown, width=width)
    assert len(widest(text)) <= width, widest(text)
    for line in text.splitlines():  # a row holds whole numbers, and its own brackets
        if any(f"{proxy} " in line for proxy in PROXIES) and "  " in line.strip():
            assert line.count("[") == line.count("]"), line


def test_parts_hold_every_cell_of_the_table(report):
    block = next(b for b in report.blocks if b.name == "verdict")
    wide = render(Document([block], None))
    narrow = render(Document([block], None), width=60)
    assert set(wide.split()) - set(narrow.split()) <= {"─" * len(widest(wide))}
    assert len(widest(wide)) > 80


def test_without_a_terminal_tables_are_as_wide_as_their_cells(report, run, monkeypatch):
    monkeypatch.delenv("COLUMNS", raising=False)
    shown = CliRunner().invoke(main, ["list", "proxies"]).output
    assert len(shown.splitlines()) == len({x.split()[0] for x in shown.splitlines()})
    assert render(report) == render(report, width=ANY)


@pytest.mark.parametrize(
    "words",
    [
        *(("list", kind) for kind in ("proxies", "spaces", "datasets", "truths")),
        ("list", "tasks"),
        *(("show", proxy) for proxy in ("swap", "meco", "vote", "zen")),
        ("run", "--space", "toy", "--dry-run"),
        ("data", "path"),
        *((name, "--help") for name in ("run", "report", "score", "check", "predict")),
    ],
    ids=" ".join,
)
def test_commands_fit(words):
    assert len(widest(printed(*words))) <= 80


def test_run_report_and_compare_fit(run):
    path, shown = run
    for text in (
        shown.replace(str(path), "run"),
        printed("report", str(path)),
        printed("compare", str(path), str(path)).replace(str(path), "run"),
    ):
        assert len(widest(text)) <= 80


def test_run_says_the_verdict_first_and_how_many_agree(run):
    lines = [x for x in run[1].splitlines() if not x.startswith("zcbench:")]
    assert "the best baseline" in lines[0]
    assert any("of 3 proxies agree" in line for line in lines[:4])
    assert sum(line.startswith("proxy ") and "ρ" in line for line in lines) == 1


def test_overview_is_one_table_of_all_datasets(report):
    block = overview(report)
    assert [c.header for c in block.columns][:4] == ["proxy", "ρ d0", "ρ d1", "ρ d2"]
    row = next(row for row in block.records() if row["proxy"] == "nwot")
    for i in range(3):
        here = report.table[report.table["dataset"] == f"d{i}"].set_index("proxy")
        assert row[f"rho_{i}"] == here.loc["nwot", "spearman"]
        assert row[f"rho_{i}_low"] == here.loc["nwot", "spearman_low"]
    means = [row["mean"] for row in block.records()]
    assert means == sorted(means, reverse=True)
    few = overview(report, 2)
    assert len(few.records()) == 2
    assert f"{len(means) - 2} more proxies" in few.foot


@pytest.mark.parametrize(
    ("total", "done", "seconds", "looks"),
    [(300, 0, 1.0, 1), (300, 200, 1.0, 1), (300, 0, 0.01, 0), (20, 0, 9.0, 0)],
)
def test_a_first_look_comes_once_and_only_where_much_is_left(
    total, done, seconds, looks, capsys, tmp_path
):
    now, asked = [0.0], []
    observer = TerminalObserver(
        lambda: now[0], look=lambda path: asked.append(path) or "the table"
    )
    observer.opened(tmp_path)
    observer.start(total, done)
    for _ in range(total - done):
        now[0] += seconds
        observer.advance(0)
    assert asked == [tmp_path] * looks
    assert capsys.readouterr().err.count("the table") == looks
