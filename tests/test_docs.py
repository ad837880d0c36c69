"""The documentation: examples run, links lead somewhere, nothing is left out."""

from __future__ import annotations

import dataclasses
import importlib.util
import re
import shlex
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from zcbench.aggregates import AGGREGATES
from zcbench.cli import main
from zcbench.config import KEYS, option_name
from zcbench.evidence.table import RECORDS
from zcbench.proxies import PROXIES
from zcbench.spaces import SPACES
from zcbench.types import STATUSES

ROOT = Path(__file__).resolve().parent.parent
DOCS = ROOT / "docs"
PAGES = [
    *(ROOT / name for name in ("README.md", "CONTRIBUTING.md")),
    *sorted(DOCS.glob("*.md")),
]
NAMES = [page.name for page in PAGES]
BLOCK = re.compile(
    r"^<!-- (file|run|execute)(?:: (\S+))? -->\n```\w+\n(.*?)^```$",
    re.DOTALL | re.MULTILINE,
)
BIBLIOGRAPHY = (DOCS / "references.bib").read_text(encoding="utf-8")
KEYS_OF_BIBLIOGRAPHY = set(re.findall(r"^@\w+\{([^,]+),", BIBLIOGRAPHY, re.MULTILINE))


@pytest.fixture
def workplace(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """An empty folder to work in; takes what plug-ins add out again."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("ZCBENCH_WORKERS", "1")
    monkeypatch.setenv("ZCBENCH_CACHE", str(tmp_path / "cache"))
    before = {registry: set(registry.names()) for registry in (PROXIES, SPACES)}
    records = dict(RECORDS)
    yield tmp_path
    RECORDS.clear()
    RECORDS.update(records)
    for registry, names in before.items():
        for name in set(registry.names()) - names:
            registry.remove(name)


def read(page: Path) -> str:
    return page.read_text(encoding="utf-8")


LONG = ("ci.md", "oneshot.md", "predictors.md", "report.md", "spaces.md")
"""Their examples take long; what they show has tests of its own."""


@pytest.mark.parametrize(
    "page",
    [
        pytest.param(p, marks=pytest.mark.thorough if p.name in LONG else ())
        for p in PAGES
        if BLOCK.search(read(p))
    ],
    ids=lambda page: page.name,
)
def test_examples_run(page: Path, workplace: Path) -> None:
    for kind, name, body in BLOCK.findall(read(page)):
        if kind == "file":
            (workplace / name).write_text(body, encoding="utf-8")
        elif kind == "execute":
            exec(compile(body, page.name, "exec"), {"__name__": "example"})
        else:
            run_console(body)


def run_console(body: str) -> None:
    """Run every `$ zcbench …` line; compare its stdout with what follows, if any."""
    for part in body.split("$ ")[1:]:
        line, _, shown = part.partition("\n")
        words = shlex.split(line)
        assert words[0] == "zcbench"
        result = CliRunner().invoke(main, words[1:])
        assert result.exit_code == 0, f"{line}\n{result.output}"
        if shown.strip():
            assert_alike(shown, result.stdout)


def assert_alike(shown: str, printed: str) -> None:
    """The same words in the same order; numbers within .03; times left out."""
    there, here = (words_of(text) for text in (shown, printed))
    assert len(there) == len(here), printed
    for expected, found in zip(there, here, strict=True):
        if isinstance(expected, float) and isinstance(found, float):
            assert found == pytest.approx(expected, abs=0.03), printed
        else:
            assert expected == found, printed


def words_of(text: str) -> list[str | float]:
    timed = False
    words: list[str | float] = []
    for line in text.splitlines():
        parts = line.replace("[", "[ ").replace("]", " ]").replace(",", " ,").split()
        if "ms/arch" in line and "proxy" in line:
            timed = True
        elif not parts:
            timed = False
        elif timed and is_number(parts[-1]):
            parts = parts[:-1]
        if not set(line) <= {"─"}:
            words += [float(part) if is_number(part) else part for part in parts]
    return words


def is_number(text: str) -> bool:
    return re.fullmatch(r"-?\d*\.?\d+", text) is not None


@pytest.mark.parametrize("page", PAGES, ids=NAMES)
def test_links_lead_somewhere(page: Path) -> None:
    for target in re.findall(r"\]\(([^)\s]+)\)", read(page)):
        if re.match(r"\w+:", target):
            continue
        path, _, anchor = target.partition("#")
        file = page.parent / path if path else page
        assert file.exists(), target
        if anchor:
            assert anchor in anchors(file), target


def anchors(page: Path) -> set[str]:
    """Anchors of the headings, as GitHub makes them."""
    headings = re.findall(r"^#+ (.+)$", read(page), re.MULTILINE)
    plain = (re.sub(r"[^\w\- ]", "", heading.lower()) for heading in headings)
    return {heading.replace(" ", "-") for heading in plain}


@pytest.mark.parametrize("page", PAGES, ids=NAMES)
def test_pages_name_no_place_of_ours(page: Path) -> None:
    assert not re.search(r"(?<![\w.])/(work|tmp|home|root)/", read(page))


def test_the_start_page_links_every_page() -> None:
    text = read(DOCS / "README.md")
    others = [p.name for p in DOCS.glob("*.md") if p.name != "README.md"]
    assert [name for name in others if f"({name})" not in text] == []
    assert "(docs/README.md)" in read(ROOT / "README.md")


def test_every_path_of_the_table_has_its_tests() -> None:
    rows = re.findall(r"^\| (.+) \|$", read(ROOT / "CONTRIBUTING.md"), re.MULTILINE)
    paths = [row.split(" | ") for row in rows if not row.startswith(("---", "who"))]
    assert len(paths) == 7
    for who, _, tests in paths:
        named = re.findall(r"`(test_\w+\.py)::(test_\w+)`", tests)
        assert named, who
        for file, name in named:
            assert f"def {name}(" in read(ROOT / "tests" / file), (who, file, name)


def test_every_proxy_has_a_section() -> None:
    sections = re.findall(r"^### (\w+)$", read(DOCS / "proxies.md"), re.MULTILINE)
    built_in = [n for n in PROXIES.names() if PROXIES.get(n).origin == "built-in"]
    assert sections == [*built_in, *AGGREGATES]


def test_every_reference_is_in_the_bibliography() -> None:
    used = {PROXIES.get(name).reference for name in PROXIES.names()}
    for page in PAGES:
        used |= set(re.findall(r"[`\"]([a-z]+(?:19|20)\d\d[a-z0-9]+)[`\"]", read(page)))
    assert used - KEYS_OF_BIBLIOGRAPHY == set()


def test_every_option_status_and_evidence_is_explained() -> None:
    options = read(DOCS / "configuration.md")
    assert [k for k in KEYS if f"`--{option_name(k)}`" not in options] == []
    numbers = read(DOCS / "numbers.md")
    assert [s for s in STATUSES if s != "ok" and f"`{s}`" not in numbers] == []
    evidence = read(DOCS / "adding-a-proxy.md")
    fields = [f"`{f.name}`" for record in RECORDS for f in dataclasses.fields(record)]
    assert [r for r in RECORDS if f"`{r.__name__}`" not in evidence] == []
    assert [field for field in fields if field not in evidence] == []


@pytest.fixture
def tables(monkeypatch: pytest.MonkeyPatch) -> Any:
    """scripts/make_tables.py"""
    path = ROOT / "scripts" / "make_tables.py"
    spec = importlib.util.spec_from_file_location("make_tables", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    monkeypatch.setitem(sys.modules, "make_tables", module)
    spec.loader.exec_module(module)
    return module


SLOW = ("proxies-measured", "finding", "nb201-1000-populations")
"""Tables of many runs, or of a large one."""


def test_quick_tables_are_up_to_date(
    tables: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    def left_as_it_is(_: object) -> None:
        raise tables.SourceMissingError("this is for the thorough test")

    for name in SLOW:
        monkeypatch.setitem(tables.MAKERS, name, left_as_it_is)
    monkeypatch.setattr(tables.Sources, "whole", property(left_as_it_is))
    sources = tables.Sources(tables.RUN)
    for page in PAGES:
        assert tables.rewritten(read(page), sources, []) == read(page), page.name
    named = {m[1] for page in PAGES for m in tables.BLOCK.findall(read(page))}
    assert named == set(tables.MAKERS)


@pytest.mark.thorough
def test_tables_are_up_to_date(
    tables: Any, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sys, "argv", ["make_tables.py", "--check"])
    assert tables.main() == 0, capsys.readouterr().out
