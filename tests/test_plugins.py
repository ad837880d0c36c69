"""Templates of `zcbench new`, the example of the docs, and an installed package."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
from click.testing import CliRunner

from zcbench.cli import main
from zcbench.conformance.truths import check_truth
from zcbench.proxies import PROXIES
from zcbench.spaces import SPACES
from zcbench.truth import TRUTHS, Truth

DOCS = Path(__file__).parent.parent / "docs"
REGISTRIES = (PROXIES, SPACES, TRUTHS)


@pytest.fixture
def clean(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """An empty folder; what a test registers is taken out again."""
    monkeypatch.chdir(tmp_path)
    before = [set(registry.names()) for registry in REGISTRIES]
    yield tmp_path
    for registry, names in zip(REGISTRIES, before, strict=True):
        for name in set(registry.names()) - names:
            registry.remove(name)


def zcbench(*arguments: str):
    return CliRunner().invoke(main, arguments)


@pytest.mark.parametrize("kind", ["proxy", "space", "truth"])
def test_a_template_passes_the_checks_and_runs(clean, kind):
    name = f"fresh_{kind}"
    result = zcbench("new", kind, name)
    assert result.exit_code == 0, result.output
    check, run = result.stdout.splitlines()
    checked = zcbench(*check.split()[1:], "--quick")
    assert checked.exit_code == 0, checked.output
    assert "FAIL" not in checked.stdout
    arguments = [*run.split()[1:], "--workers", "1", "--out", "made"]
    if "--proxies" not in arguments:
        arguments += ["--proxies", "params,snip"]
    ran = zcbench(*arguments)
    assert ran.exit_code == 0, ran.output
    reported = zcbench("report", "made", "--plugin", f"{name}.py")
    assert reported.exit_code == 0, reported.output
    assert "params *" in reported.stdout


def test_nothing_is_written_over(clean):
    Path("mine.csv").write_text("precious", encoding="utf-8")
    result = zcbench("new", "space", "mine")
    assert result.exit_code == 2
    assert result.stderr == (
        "zcbench: mine.csv exists and is left as it is. Take another name.\n"
    )
    assert not Path("mine.py").exists()
    assert Path("mine.csv").read_text(encoding="utf-8") == "precious"


@pytest.mark.parametrize(
    ("kind", "name", "message"),
    [
        (
            "proxy",
            "Snip!",
            "'Snip!' cannot be a name. Take small letters, digits and _,",
        ),
        ("proxy", "class", "'class' cannot be a name."),
        ("proxy", "snip", "There is a proxy called snip. Take another name."),
        ("proxy", "all", "There is a proxy called all. Take another name."),
        ("space", "toy", "There is a space called toy. Take another name."),
        ("truth", "toy", "There is a truth called toy. Take another name."),
    ],
)
def test_names_that_cannot_be(clean, kind, name, message):
    result = zcbench("new", kind, name)
    assert result.exit_code == 2
    assert result.stderr.startswith(f"zcbench: {message}")
    assert list(Path().iterdir()) == []


def test_the_example_of_the_docs_through_check_run_and_report(clean):
    text = (DOCS / "adding-a-proxy.md").read_text(encoding="utf-8")
    code = re.search(r"<!-- file: my_proxies.py -->\n```python\n(.*?)```", text, re.S)
    source = code[1].replace("my_snip", "docs_snip")  # other tests register my_snip
    Path("docs_proxies.py").write_text(source, encoding="utf-8")
    checked = zcbench("check", "docs_proxies.py")
    assert checked.exit_code == 0, checked.output
    plugin = ("--plugin", "docs_proxies.py")
    ran = zcbench(
        *("run", "--space", "toy", "--n", "all", "--workers", "1", "--out", "run"),
        *(*plugin, "--proxies", "docs_snip,snip,params"),
    )
    assert ran.exit_code == 0, ran.output
    lines = zcbench("report", "run", *plugin).stdout.splitlines()
    rows = {line.split()[0]: line.split()[1:] for line in lines if line}
    assert rows["docs_snip"][:6] == rows["snip"][:6]  # the same ρ with its interval


def test_a_truth_that_is_wrong():
    good = TRUTHS.get("toy")

    def spoiled(dataset):
        table = good.load(dataset)
        table.loc[0, "val"] = 101.0
        table.loc[1, "index"] = 0
        return table

    TRUTHS.add("spoiled", Truth("spoiled", "toy", "", spoiled))
    try:
        findings = {f.check: f for f in check_truth(TRUTHS.get("spoiled"))}
    finally:
        TRUTHS.remove("spoiled")
    bad = {name: f.detail for name, f in findings.items() if not f.ok}
    assert bad == {
        "description": "it is empty",
        "toy: architectures": "26 of 27 rows are of toy, at their index",
        "toy: no duplicates": "1 repeated rows",
        "toy: val": "27 values, not all from 0 to 100",
        "toy: val by seed": "val is not the mean of its seeds",
    }


def test_a_truth_of_no_space_or_that_raises():
    nowhere = list(check_truth(Truth("a", "nowhere", "b", lambda _: None)))
    assert [f.ok for f in nowhere] == [True, False]
    assert nowhere[-1].detail.startswith("Unknown space 'nowhere'.")

    def fails(_):
        raise KeyError("gone")

    TRUTHS.add("fails", Truth("fails", "toy", "fails", fails))
    try:
        last = list(check_truth(TRUTHS.get("fails")))[-1]
    finally:
        TRUTHS.remove("fails")
    assert (last.ok, last.detail) == (False, "KeyError: 'gone'")


PACKAGE = """
[build-system]
requires = ["setuptools"]
build-backend = "setuptools.build_meta"

[project]
name = "zcbench-packaged"
version = "1.0"

[project.entry-points."zcbench.proxies"]
packaged = "packaged.proxies"
clashing = "packaged.clash"
[project.entry-points."zcbench.spaces"]
packaged = "packaged.spaces"
[project.entry-points."zcbench.truths"]
packaged = "packaged.truths"
broken = "packaged.absent"
"""


@pytest.mark.thorough
def test_a_package_with_entry_points(clean):
    """Built and installed into a folder of its own, beside this environment."""
    module = Path("src/packaged")
    module.mkdir(parents=True)
    Path("pyproject.toml").write_text(PACKAGE, encoding="utf-8")
    (module / "__init__.py").touch()
    for kind, file in (("proxy", "proxies"), ("space", "spaces"), ("truth", "truths")):
        assert zcbench("new", kind, f"packaged_{kind}").exit_code == 0
        Path(f"packaged_{kind}.py").rename(module / f"{file}.py")
    clash = (module / "proxies.py").read_text(encoding="utf-8")
    clash = clash.replace("packaged_proxy", "snip")
    (module / "clash.py").write_text(clash, encoding="utf-8")
    pip = [sys.executable, "-m", "pip", "install", "--quiet", "--no-index", "--no-deps"]
    pip += ["--no-build-isolation", "--disable-pip-version-check", "--target", "site"]
    subprocess.run([*pip, "."], check=True, capture_output=True)
    environment = {**os.environ, "PYTHONPATH": str(Path("site").resolve())}
    program = """
import json
from click.testing import CliRunner
from zcbench.cli import main
done = [CliRunner().invoke(main, words.split()) for words in (
    "list proxies", "list spaces", "list truths",
    "run --space toy --truth packaged_truth --n 9 --workers 1 "
    "--proxies packaged_proxy,params --out run",
)]
print(json.dumps([(one.exit_code, one.stdout, one.stderr) for one in done]))
"""
    told = subprocess.run(
        [sys.executable, "-c", program],
        capture_output=True,
        text=True,
        env=environment,
        check=True,
    )
    proxies, spaces, truths, ran = json.loads(told.stdout)
    assert proxies[0] == 0
    names = [line.split()[0] for line in proxies[1].splitlines()]
    assert "packaged_proxy" in names
    assert names.count("snip") == 1
    said = told.stderr + proxies[2] + spaces[2] + truths[2]
    assert (
        "zcbench: proxy plug-in 'clashing' (packaged.clash): The proxy name 'snip' is "
        "already taken." in said
    )
    assert "packaged_space" in spaces[1]
    assert "packaged_truth" in truths[1]
    assert "truth plug-in 'broken' (packaged.absent): No module named" in said
    assert ran[0] == 0, ran[2]
    assert "packaged_proxy" in ran[1]
