"""The formats of a report, and the command that writes them."""

from __future__ import annotations

import csv
import io
import json
import math
import re
import shutil
import subprocess
import sys

import numpy as np
import pytest
from report_runs import FAIR, GOOD, SCORES, N, toy_truth, write_run

from zcbench.cli import exit_code_of, main
from zcbench.errors import DataError, UsageError
from zcbench.report import (
    COLUMNS,
    FORMATS,
    Options,
    emit,
    make_report,
    render,
    write,
)
from zcbench.store import load_run, read_records
from zcbench.store.records import line_of

TRAITS = {"a_b|c": {"direction": "higher"}}
FAILURES = {("snip", 3): "undefined", ("snip", 4): "nan", ("zen", 0): "inf"}
FAILURES |= {("epe_nas", i): "undefined" for i in range(N)}
ALL = {**SCORES, "zen": FAIR, "epe_nas": GOOD, "a_b|c": np.ones(N)}


@pytest.fixture(autouse=True)
def truth(monkeypatch):
    monkeypatch.setattr("zcbench.truth.load_truth", toy_truth)


@pytest.fixture
def run_path(tmp_path):
    return write_run(tmp_path / "run", ALL, status=FAILURES, traits=TRAITS)


@pytest.fixture
def report(run_path):
    return make_report([load_run(run_path)])


def loose(run_path):
    """A report with so little confidence that a proxy is ahead."""
    return make_report([load_run(run_path)], options=Options(confidence=0.8))


def call(*args: object) -> int:
    """Exit code of the program."""
    return exit_code_of(lambda: main(list(map(str, args)), standalone_mode=False))


def test_text_reads_like_this(tmp_path):
    scores = {"params": SCORES["params"], "jacov": GOOD, "snip": SCORES["snip"]}
    status = {("jacov", 2): "undefined", ("jacov", 4): "undefined"}
    path = write_run(tmp_path / "run", scores, status=status)
    assert render(make_report([load_run(path)])) == TEXT


TEXT = """\
toy · toy · validation accuracy (mean of 2 to 3 training seeds, made up)
population all · 27 architectures · minibatch builtin · batch size 64 · seed 0

proxy      ver    n        failed   ρ ↑               τ-b ↑             ms/arch
───────────────────────────────────────────────────────────────────────────────
jacov        1   25   2 undefined   .97 [.88, .99]    .88 [.74, .95]        2.0
params *     1   27             0   .63 [.23, .85]    .48 [.16, .70]        1.0
snip         1   27             0   .37 [-.06, .68]   .28 [-.03, .54]       3.0

No proxy is ahead of the best baseline (params .63), by paired 95% intervals corrected
for all pairs.

ρ Spearman, τ-b Kendall, with 95% intervals; * a baseline; ms/arch: cost of that proxy
alone.
"""


def test_text_has_no_terminal_codes_unless_asked(report):
    assert "\x1b" not in render(report)
    assert "\x1b[1m" in render(report, color=True)
    bare = re.sub("\x1b\\[[0-9;]*m", "", render(report, color=True))
    assert [line.rstrip() for line in bare.splitlines()] == (
        render(report).splitlines()
    )


def test_text_says_why_a_number_is_missing(report):
    lines = {line.split()[0]: line for line in render(report).splitlines()[5:12]}
    assert re.search(
        r"\s0\s+27 undefined\s+all failed\s+all failed\s", lines["epe_nas"]
    )
    assert re.search(r"\s25\s+1 nan, 1 undefined\s", lines["snip"])
    assert re.search(r"\s27\s+0\s+constant\s+constant\s", lines["a_b|c"])


def test_text_says_that_a_run_is_partial(tmp_path):
    path = write_run(tmp_path / "run", indices=range(9), n=20, population="connected")
    assert (
        "population connected · sample of 9 architectures · minibatch builtin · batch "
        "size 64 ·\nseed 0 · PARTIAL: 9 of 20 networks\n"
    ) in render(make_report([load_run(path)]))


def test_text_names_the_run_where_there_are_several(tmp_path):
    runs = [load_run(write_run(tmp_path / name)) for name in "ab"]
    text = render(make_report(runs)).replace("\n", " ")
    assert f"· {tmp_path / 'a'} " in text
    assert f"· {tmp_path / 'b'} " in text
    assert str(tmp_path) not in render(make_report(runs[:1]))


def test_perfect_order_is_shown_without_interval(tmp_path):
    from report_runs import ACCURACY

    path = write_run(tmp_path / "run", {"params": ACCURACY})
    assert "1.00 (perfect)   1.00 (perfect)" in render(make_report([load_run(path)]))


def test_csv_has_the_columns_and_all_rows(report):
    rows = list(csv.DictReader(io.StringIO(render(report, "csv"))))
    assert tuple(rows[0]) == COLUMNS
    assert [row["proxy"] for row in rows] == report.table["proxy"].tolist()
    by_proxy = {row["proxy"]: row for row in rows}
    found = report.table.set_index("proxy")
    for name in ("spearman", "kendall_high", "seconds_per_arch"):
        assert float(by_proxy["jacov"][name]) == pytest.approx(
            found.loc["jacov", name], rel=1e-5
        )
    assert by_proxy["epe_nas"]["spearman"] == ""
    assert json.loads(by_proxy["snip"]["status"]) == {"nan": 1, "undefined": 1}


def test_json_is_strict_and_complete(report, run_path):
    def forbid(constant):
        raise AssertionError(constant)

    document = json.loads(render(report, "json"), parse_constant=forbid)
    assert document["schema"] == 1
    (run,) = document["runs"]
    assert run["path"] == str(run_path)
    assert (
        run["config"] == json.loads((run_path / "manifest.json").read_text())["config"]
    )
    (section,) = run["sections"]
    assert (section["dataset"], section["truth"]) == ("toy", "toy")
    assert document["verdict"][0]["baseline"] == "params"
    assert [tuple(row) for row in document["correlations"]] == [COLUMNS] * len(ALL)
    rows = {row["proxy"]: row for row in document["correlations"]}
    assert rows["epe_nas"]["spearman"] is None
    assert rows["epe_nas"]["status"] == {"undefined": N}
    assert (
        rows["jacov"]["spearman"]
        == report.table.set_index("proxy").loc["jacov", "spearman"]
    )
    assert rows["params"]["baseline"] is True


def test_markdown_is_a_table(run_path):
    lines = render(loose(run_path), "md").splitlines()
    rows = [
        re.split(r"(?<!\\)\|", line)[1:-1] for line in lines if line.startswith("|")
    ]
    assert len(rows) == 2 + len(ALL)
    assert {len(row) for row in rows} == {7}
    names = [row[0].strip() for row in rows[2:]]
    assert names[0] == "**jacov**"
    assert {r"a\_b\|c", r"params \*", r"epe\_nas"} < set(names)
    assert lines[0].startswith("### toy · toy · validation accuracy (mean of 2 to 3")


def test_latex_is_escaped_and_balanced(run_path):
    text = render(loose(run_path), "tex")
    body = text.split("\\midrule\n")[1].split("\\bottomrule")[0]
    assert body.count("\\\\\n") == len(ALL)
    assert all(line.count(" & ") == 6 for line in body.splitlines())
    assert "a\\_b\\textbar{}c" in body
    assert "\\textbf{jacov}" in body
    assert text.count("{") == text.count("}")
    assert text.isascii()


def test_latex_tables_have_a_short_caption_and_a_label_each(run_path):
    report = make_report([load_run(run_path)], sections=("all",))
    text = render(report, "tex")
    labels = re.findall(r"\\label\{(tab:[A-Za-z0-9-]+)\}", text)
    short = re.findall(r"\\caption\[([^]]+)\]", text)
    assert len(labels) == len(short) == text.count(r"\begin{table}") > 10
    assert len({*labels}) == len(labels)
    assert labels[0] == "tab:correlations-toy-toy"
    assert max(map(len, short)) < 90


def test_latex_compiles(run_path, tmp_path):
    tex = shutil.which("pdflatex") or shutil.which("tectonic")
    if tex is None:
        pytest.skip("neither pdflatex nor tectonic is installed")
    body = render(make_report([load_run(run_path)], sections=("all",)), "tex")
    head = "\\documentclass{article}\n\\usepackage{booktabs}\n\\begin{document}\n"
    paper = tmp_path / "paper.tex"
    paper.write_text(f"{head}\\listoftables\n{body}\\end{{document}}\n")
    flags = ["-interaction=nonstopmode", "-halt-on-error"] if "pdflatex" in tex else []
    done = subprocess.run([tex, *flags, paper.name], cwd=tmp_path, capture_output=True)
    assert done.returncode == 0, done.stdout[-2000:]


def test_minus_signs_are_minus_signs_in_latex(tmp_path):
    path = write_run(tmp_path / "run", {"params": FAIR, "plain": -GOOD})
    assert "$-$.9" in render(make_report([load_run(path)]), "tex")


def test_unknown_format_is_an_error(report):
    with pytest.raises(UsageError) as error:
        render(report, "jsn")
    assert str(error.value) == "Unknown format 'jsn'. Did you mean json?"


def test_emit_puts_data_and_notes_apart(run_path, capsys):
    emit(make_report([load_run(run_path)], truth="part"))
    out, err = capsys.readouterr()
    assert out == render(make_report([load_run(run_path)], truth="part"))
    assert err.startswith(f"{run_path}: 2 architectures (such as ")


# --- the command ---------------------------------------------------------------------


@pytest.mark.parametrize("name", FORMATS)
def test_command_writes_each_format(name, run_path, report, capsys, tmp_path):
    if name == "html":  # a page shows all there is, unless told otherwise
        report = make_report([load_run(run_path)], sections=("all",))
    assert call("report", run_path, "--format", name) == 0
    out, err = capsys.readouterr()
    assert (out, err) == (render(report, name), "")
    file = tmp_path / "out.file"
    assert call("report", run_path, "--format", name, "-o", file) == 0
    assert file.read_text() == out
    assert capsys.readouterr() == ("", "")


def test_command_offers_every_format():
    from zcbench.cli import report

    assert set(report.FORMATS) == set(FORMATS)


@pytest.mark.parametrize("command", ["report", "compare"])
def test_help_has_examples_one_a_line(command, capsys):
    assert call(command, "--help") == 0
    out = capsys.readouterr().out
    assert out.count(f"\n    zcbench {command} ") >= 3
    assert "\\b" not in out


def test_command_passes_its_options_on(run_path, capsys):
    args = ["--target", "test", "--truth", "part", "--population", "connected"]
    assert call("report", run_path, "--format", "csv", *args) == 0
    out = capsys.readouterr().out
    rows = list(csv.DictReader(io.StringIO(out)))
    assert {(row["target"], row["population"]) for row in rows} == {
        ("test", "connected")
    }


def test_command_takes_a_run_once(run_path, capsys):
    assert call("report", run_path, run_path, "--format", "csv") == 0
    assert len(capsys.readouterr().out.splitlines()) == 1 + len(ALL)


def test_command_without_a_run(tmp_path, capsys):
    assert call("report", tmp_path / "none") == 3
    assert capsys.readouterr() == (
        "",
        f"zcbench: {tmp_path / 'none'} does not exist. Give a run directory, as "
        "`zcbench run --out` makes.\n",
    )


def test_output_is_written_whole_or_not_at_all(tmp_path, monkeypatch):
    file = tmp_path / "table.csv"
    file.write_text("before")

    def full(_: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("os.fsync", full)
    with pytest.raises(DataError) as error:
        write("after", file)
    monkeypatch.undo()
    assert str(error.value) == (
        f"{file} cannot be written: No space left on device. Give another --output."
    )
    assert file.read_text() == "before"
    assert list(tmp_path.iterdir()) == [file]


def test_output_into_no_directory(tmp_path):
    with pytest.raises(DataError, match="No such file or directory"):
        write("text", tmp_path / "none" / "table.csv")


def test_no_color_is_honoured(monkeypatch):
    from zcbench.report import in_color

    monkeypatch.setattr(sys.stdout, "isatty", lambda: True, raising=False)
    monkeypatch.delenv("NO_COLOR", raising=False)
    assert in_color()
    monkeypatch.setenv("NO_COLOR", "1")
    assert not in_color()


def test_report_and_compare_do_without_torch(tmp_path):
    write_run(tmp_path / "run", {"params": FAIR, "jacov": GOOD})
    program = """
import sys
from zcbench.cli import exit_code_of, main
for command in ("report", "compare"):
    args = [command, *sys.argv[1:2] * (2 if command == "compare" else 1)]
    assert exit_code_of(lambda: main(args, standalone_mode=False)) == 0, command
import zcbench.stats
assert "torch" not in sys.modules
"""
    done = subprocess.run(
        [sys.executable, "-c", program, str(tmp_path / "run")],
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.returncode, done.stderr) == (0, "")
    assert "jacov" in done.stdout


def test_nan_is_no_number_in_any_format(report):
    assert any(math.isnan(value) for value in report.table["spearman"])
    cells = {
        cell for row in csv.reader(io.StringIO(render(report, "csv"))) for cell in row
    }
    assert cells.isdisjoint({"nan", "NaN"})
    for name in ("text", "md", "tex"):
        words = render(report, name).replace("1 nan", "").split()
        assert {"nan", "NaN", "[nan,", "nan]"}.isdisjoint(words)


NOTED = "17–26 of 30 layers have no gradient at initialisation (10 networks)"


@pytest.fixture
def noted(tmp_path):
    """A run whose scores of snip and jacov note something of ten networks."""
    path = write_run(tmp_path / "noted", ALL)
    lines = list(read_records(path))
    for i, line in enumerate(lines[17:]):
        said = f"{i + 17} of 30 layers have no gradient at initialisation"
        line["notes"] = {"snip": said, "jacov": f"{said}; sees a_b"}
    (path / "scores.jsonl").write_bytes(b"".join(map(line_of, lines)))
    return make_report([load_run(path)])


@pytest.mark.parametrize("name", ["text", "md", "tex", "html"])
def test_notes_of_scores_stand_below_the_table(noted, report, name):
    said = " ".join(render(noted, name).replace("--", "–").split())
    assert f"jacov, snip: {NOTED}" in said or f"snip, jacov: {NOTED}" in said
    assert re.search(r"jacov: sees a\\?_b \(10 networks\)", said)
    assert "no gradient" not in render(report, name)


def test_notes_of_scores_are_a_column(noted):
    rows = {r["proxy"]: r for r in json.loads(render(noted, "json"))["correlations"]}
    assert rows["snip"]["remarks"] == NOTED
    assert rows["jacov"]["remarks"] == f"{NOTED}; sees a_b (10 networks)"
    assert rows["params"]["remarks"] == ""
    (line,) = (
        line
        for line in csv.DictReader(io.StringIO(render(noted, "csv")))
        if line["proxy"] == "snip"
    )
    assert line["remarks"] == NOTED
