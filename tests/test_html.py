"""The report as a page: what it holds, what it escapes, and how a browser takes it."""

from __future__ import annotations

import json
import re
import shutil
from collections.abc import Iterator
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from click.testing import CliRunner
from made_reports import NASTY, report_of, study
from report_runs import write_run

from zcbench.analysis import NAMES
from zcbench.analysis.report import Report
from zcbench.cli import main
from zcbench.errors import visible
from zcbench.report import render
from zcbench.report.document import command, facts, sources
from zcbench.report.figures import KINDS
from zcbench.report.text import cells

FOREIGN = re.compile(
    r"https?:|//\w|url\(|@import|\bsrc=|<(link|img|iframe|object)", re.I
)


def datasets() -> list[Any]:
    """Three datasets of two runs, with names that try to break out."""
    run = '"><script>alert(2)</script>'
    return [
        study(0, dataset="one", seeds=3),
        study(1, dataset="two & <i>"),
        study(2, dataset="one", run=run),
    ]


@pytest.fixture(scope="module")
def report() -> Report:
    return report_of(datasets())


@pytest.fixture(scope="module")
def page(report: Report) -> str:
    return render(report, "html")


class Reader(HTMLParser):
    """Elements with their attributes, and the texts of table cells by row."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.open: list[str] = []
        self.texts: list[str] = []
        self.tables: list[list[tuple[str, ...]]] = []
        self.feed(page)

    def handle_starttag(self, tag, attrs):
        self.elements.append((tag, dict(attrs)))
        if tag not in ("meta", "rect", "line", "circle", "path"):
            self.open.append(tag)
        if tag == "table":
            self.tables.append([])
        if tag == "tr":
            self.tables[-1].append(())
        if tag in ("td", "th"):
            self.tables[-1][-1] += ("",)

    def handle_endtag(self, tag):
        if tag not in ("rect", "line", "circle", "path"):
            assert self.open.pop() == tag

    def handle_data(self, data):
        if self.open and self.open[-1] in ("td", "th"):
            self.tables[-1][-1] = (*self.tables[-1][-1][:-1], data)
        if self.open and self.open[-1] not in ("script", "style"):
            self.texts.append(data.strip())

    def of(self, tag: str) -> list[dict[str, str | None]]:
        return [attrs for name, attrs in self.elements if name == tag]


# --- the file -------------------------------------------------------------------------


def test_page_holds_the_tables_of_the_report(report, page):
    tables = Reader(page).tables
    shown = [
        [(row[0], row[4], *row[1:4], *row[5:]) for row in cells(block)]
        for block in report.tables
    ]
    shown += [cells(block) for block in report.blocks]
    assert len(tables) == len(shown) == 3 + len(NAMES)
    for table, expected in zip(tables, shown, strict=True):
        clean = [tuple(c.replace("\x1b", " ") for c in row) for row in expected]
        found = [tuple(c.replace("\x1b", " ") for c in row) for row in table[1:]]
        assert found == clean


def test_verdict_comes_first(report, page):
    texts = [text for text in Reader(page).texts if text]
    start = texts.index("zcbench report")
    run = report.studies[2].run
    assert texts[start + 1] == f"run · {run}"
    assert texts[start + 2] == report.conclusion
    assert texts[start + 3] == "one · run"
    assert texts[start + 4] == report.tables[0].conclusion


def test_one_dataset_has_its_own_sentence_on_top():
    made = report_of([study()], ())
    texts = [text for text in Reader(render(made, "html")).texts if text]
    assert texts[texts.index("run") + 1] == made.tables[0].conclusion


def test_names_cannot_break_out(report, page):
    assert NASTY in report.studies[0].scores
    assert "alert(1)" in page
    assert "alert(2)" in page
    reader = Reader(page)
    assert len(reader.of("script")) == 1
    assert reader.of("i") == []
    assert re.findall(r"<script>\s*alert", page) == []
    handlers = [
        name for _, attrs in reader.elements for name in attrs if name[:2] == "on"
    ]
    assert handlers == []


def test_page_loads_nothing(page):
    assert FOREIGN.findall(page) == []
    reader = Reader(page)
    policy = next(m["content"] for m in reader.of("meta") if "http-equiv" in m)
    assert policy.startswith("default-src 'none'; ")
    links = [a["href"] for a in reader.of("a")]
    ids = [attrs["id"] for _, attrs in reader.elements if "id" in attrs]
    assert sorted(ids) == sorted(set(ids))
    assert {link.removeprefix("#") for link in links} <= set(ids)
    assert links


def test_page_shows_every_kind_of_figure(page):
    reader = Reader(page)
    sections = [attrs.get("id") for attrs in reader.of("section")]
    assert [f"figure-{name}" for name in KINDS] == [
        name for name in sections if name and name.startswith("figure-")
    ]
    labels = [svg["aria-label"] for svg in reader.of("svg")]
    assert all(labels)
    panels = 3 * 7  # every proxy with a score
    forests, alone = 3, ["heatmap", "critical-difference"]
    phone = 3 * forests + len(alone)  # drawn anew for little room
    assert len(labels) == panels + 3 * forests + len(alone) + phone


def test_page_shows_what_was_asked_for(report):
    ceilings = [block for block in report.blocks if block.name == "ceilings"]
    reader = Reader(render(replace(report, blocks=ceilings), "html"))
    names = [attrs.get("id") for attrs in reader.of("section")]
    figures = [f"figure-{n}" for n in ("forest", "heatmap", "scatter", "cost")]
    assert names == [
        "verdict",
        "correlations",
        *figures,
        "section-ceilings",
        "provenance",
    ]


def test_page_is_always_the_same(report, page):
    assert render(report, "html") == page


def test_cells_know_what_they_sort_by(report, page):
    attributes = Reader(page).of("td")
    keys = [float(a["data-key"]) for a in attributes if "data-key" in a]
    assert np.isfinite(keys).all()
    rho = report.table["spearman"].dropna()
    assert {f"{value:.6g}" for value in rho} <= {a.get("data-key") for a in attributes}


def test_rows_say_what_they_are(page):
    classes = [a.get("class") for a in Reader(page).of("tr")]
    assert classes.count("baseline") >= 6
    assert set(classes) <= {None, "baseline", "ahead"}


@pytest.mark.thorough
def test_many_architectures_make_no_large_page():
    names = ["params", *(f"p{i}" for i in range(9))]
    made = [study(i, n=6000, dataset=f"d{i}", names=names) for i in range(3)]
    # 30 panels; a point is about 13 bytes, so all 180,000 would take 2.3 MB
    assert len(render(report_of(made, ()), "html").encode()) < 700_000


# --- provenance -----------------------------------------------------------------------


def test_command_writes_out_every_option_and_quotes():
    config = {"space": "toy", "datasets": ["a b", "c"], "batch_size": 2, "plugin": []}
    assert command({**config, "archs": None}) == (
        "zcbench run --space toy --datasets 'a b,c' --batch-size 2"
    )


def test_facts_say_what_is_known():
    manifest = {
        "zcbench": "0.1.0",
        "created": "2026-01-01T00:00:00+00:00",
        "config": {"proxies": ["snip"]},
        "git": "abc",
        "device": {"kind": "cpu", "name": "A CPU"},
        "platform": "Linux",
        "versions": {"torch": "2.6", "scipy": None},
        "resumed": [{"created": "2026-01-02", "versions": {"torch": "2.7"}}],
    }
    assert facts(manifest) == [
        ("Command", "zcbench run --proxies snip"),
        ("Made", "2026-01-01T00:00:00+00:00, zcbench 0.1.0, commit abc"),
        ("Machine", "A CPU, Linux"),
        ("Versions", "torch 2.6"),
        ("Resumed", "2026-01-02; torch 2.7"),
    ]
    assert facts({}) == []


def test_sources_tell_once_what_is_the_same():
    found = sources([study(dataset=name) for name in ("a", "b")])
    digest = study().sample_digest
    assert found == [
        (
            "Sample",
            "sample of 60 architectures, population all, repeats 1, seed 0 "
            f"(sha256 {digest})",
        ),
        ("Truth", "val of made up"),
        ("Minibatch", "builtin, batch size 64"),
    ]
    different = sources([study(n=9), study(dataset="b")])
    assert [what for what, _ in different][:2] == ["Sample, one", "Sample, b"]


# --- a browser ------------------------------------------------------------------------


FLAGS = (
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--window-size=1280,900",
)


@pytest.fixture(scope="module")
def browser(tmp_path_factory) -> Iterator[Any]:
    """Chromium, which has opened nothing yet."""
    selenium = pytest.importorskip("selenium.webdriver", reason="needs selenium")
    binary, driver = shutil.which("chromium"), shutil.which("chromedriver")
    if not binary or not driver:
        pytest.skip("chromium and chromedriver are not installed")
    options = selenium.ChromeOptions()
    options.binary_location = binary
    for flag in (*FLAGS, f"--user-data-dir={tmp_path_factory.mktemp('profile')}"):
        options.add_argument(flag)
    options.set_capability(
        "goog:loggingPrefs", {"browser": "ALL", "performance": "ALL"}
    )
    service = selenium.ChromeService(driver)
    found = selenium.Chrome(options=options, service=service)
    found.get("about:blank")
    yield found
    found.quit()


@pytest.fixture(scope="module")
def address(page, tmp_path_factory) -> str:
    file: Path = tmp_path_factory.mktemp("page") / "report.html"
    file.write_text(page, encoding="utf-8")
    return file.as_uri()


@pytest.fixture
def opened(browser, address) -> Iterator[Any]:
    browser.get_log("performance")
    browser.get(address)
    yield browser
    browser.execute_cdp_cmd("Emulation.clearDeviceMetricsOverride", {})
    browser.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": []})
    assert browser.get_log("browser") == []


def column(browser, table: int, index: int) -> list[str]:
    """Texts of a column, from top to bottom."""
    script = """
      const rows = document.querySelectorAll("table")[arguments[0]].tBodies[0].rows;
      return [...rows].map((row) => row.cells[arguments[1]].textContent);
    """
    return browser.execute_script(script, table, index)


def heads(browser, table: int) -> list[Any]:
    found = browser.find_elements("tag name", "table")[table]
    return found.find_elements("css selector", "th")


def test_browser_loads_the_file_and_nothing_else(opened, address):
    messages = [
        json.loads(e["message"])["message"] for e in opened.get_log("performance")
    ]
    asked = [
        message["params"]["request"]["url"]
        for message in messages
        if message["method"] == "Network.requestWillBeSent"
    ]
    assert asked == [address]
    assert opened.title.startswith("zcbench report: run, ")


def test_browser_would_tell_of_what_is_wrong(browser, tmp_path):
    """The two checks above can fail."""
    file = tmp_path / "bad.html"
    file.write_text("<img src='other.png'><script>missing()</script>")
    browser.get_log("performance")
    browser.get(file.as_uri())
    told = "".join(entry["message"] for entry in browser.get_log("browser"))
    assert "missing is not defined" in told
    text = "".join(entry["message"] for entry in browser.get_log("performance"))
    assert "other.png" in text


def test_click_on_a_head_sorts_by_numbers_and_back(opened, report):
    rows = report.table[: len(report.studies[0].scores)]
    rho = heads(opened, 0)[1]
    assert rho.text.startswith("ρ")
    by_rho = rows.sort_values("spearman", ascending=False, kind="stable")
    names = [visible(name) for name in by_rho["proxy"]]
    label = [
        f"{n} *" if b else n for n, b in zip(names, by_rho["baseline"], strict=True)
    ]
    missing = label[-2:]
    for attribute, expected in (
        ("descending", label),
        ("ascending", [*label[-3::-1], *missing]),
        ("descending", label),
    ):
        rho.find_element("tag name", "button").click()
        assert rho.get_attribute("aria-sort") == attribute
        assert column(opened, 0, 0) == expected


def test_click_sorts_texts_too_and_one_column_at_a_time(opened):
    names = sorted(column(opened, 0, 0), key=str.casefold)
    first, rho = heads(opened, 0)[:2]
    rho.find_element("tag name", "button").click()
    first.find_element("tag name", "button").click()
    assert first.get_attribute("aria-sort") == "ascending"
    assert rho.get_attribute("aria-sort") is None
    found = column(opened, 0, 0)
    letters = [name for name in found if name[0].isalpha() and '"' not in name]
    assert letters == [name for name in names if name in letters]
    assert sorted(found) == sorted(names)


def test_keyboard_sorts(opened):
    before = column(opened, 0, 1)
    head = heads(opened, 0)[1]
    button = head.find_element("tag name", "button")
    opened.execute_script("arguments[0].focus()", button)
    button.send_keys("\ue007")
    button.send_keys(" ")
    assert head.get_attribute("aria-sort") == "ascending"
    after = column(opened, 0, 1)
    known = sum("[" in text for text in before)
    assert after[:known] == before[:known][::-1]
    assert after[known:] == before[known:]


def test_scatter_shows_one_dataset_or_all(opened):
    section = opened.find_element("id", "figure-scatter")
    figures = section.find_elements("css selector", "figure")
    select = section.find_element("tag name", "select")

    def shown() -> list[bool]:
        return [figure.is_displayed() for figure in figures]

    assert shown() == [True, False, False]
    options = select.find_elements("tag name", "option")
    run = '"><script>alert(2)</script>'
    assert [option.text for option in options] == [
        "one · run",
        "two & <i> · run",
        f"one · {run}",
        "all",
    ]
    options[1].click()
    assert shown() == [False, True, False]
    options[3].click()
    assert shown() == [True, True, True]


def resize(browser: Any, width: int) -> None:
    browser.execute_cdp_cmd(
        "Emulation.setDeviceMetricsOverride",
        {"width": width, "height": 900, "deviceScaleFactor": 1, "mobile": False},
    )


@pytest.mark.parametrize("width", [1280, 390])
def test_page_is_no_wider_than_the_window(opened, width):
    resize(opened, width)
    wide = opened.execute_script("return document.documentElement.scrollWidth")
    assert wide <= width


def test_texts_of_figures_do_not_leave_them(opened):
    script = """
      const bad = [];
      for (const svg of document.querySelectorAll("svg")) {
        const sheet = svg.getBoundingClientRect();
        if (sheet.width === 0) continue;
        for (const text of svg.querySelectorAll("text")) {
          const box = text.getBoundingClientRect();
          const out = Math.max(sheet.left - box.left, box.right - sheet.right,
                               sheet.top - box.top, box.bottom - sheet.bottom);
          const where = svg.getAttribute("aria-label");
          if (out > 1) bad.push([where, text.textContent, out]);
        }
      }
      return bad;
    """
    assert opened.execute_script(script) == []


def test_phone_shows_rho_and_whole_figures_without_a_swipe(opened):
    resize(opened, 390)
    table = opened.find_element("css selector", "#correlations table")
    names = [head.text.split()[0] for head in table.find_elements("tag name", "th")]
    assert names[:2] == ["proxy", "ρ"]
    seen = """
      const box = document.querySelector(arguments[0]).getBoundingClientRect();
      return [box.left, box.right, box.top];
    """
    for place in ("td:nth-child(2)", "#figure-forest .narrow svg"):
        left, right, _ = opened.execute_script(seen, place)
        assert 0 < left < right <= 390
    assert not opened.find_element("css selector", ".wide").is_displayed()
    places = ["#verdict", "nav", "#correlations"]
    tops = [opened.execute_script(seen, place)[2] for place in places]
    assert tops == sorted(tops)


def show(browser: Any, content: str, folder: Path) -> None:
    file = folder / "page.html"
    file.write_text(content, encoding="utf-8")
    browser.get(file.as_uri())


@pytest.fixture(scope="module")
def page_of_many_datasets():
    run = "a/folder/with/quite/a/long/name"
    made = [study(i, 20, f"dataset{i}", run=f"{run}/{i % 2}") for i in range(16)]
    return render(report_of(made, ()), "html")


@pytest.mark.parametrize("width", [390, 1400])
def test_page_of_many_datasets_fits(opened, page_of_many_datasets, tmp_path, width):
    """A heat map in parts on a phone, and as wide as it needs elsewhere."""
    resize(opened, width)
    show(opened, page_of_many_datasets, tmp_path)
    wide = opened.execute_script("return document.documentElement.scrollWidth")
    assert wide <= width
    drawn = opened.find_elements("css selector", "#figure-heatmap svg")
    boxes = [svg.rect for svg in drawn if svg.is_displayed()]
    assert len(boxes) > 1 if width == 390 else len(boxes) == 1
    hidden = """
      const figure = document.querySelector("#figure-heatmap figure");
      return figure.scrollWidth - figure.clientWidth;
    """
    assert opened.execute_script(hidden) == 0


def test_phone_shows_curves_whole(opened, tmp_path):
    run = write_run(tmp_path / "run")
    words = ["--train", "6,9", "--trials", "3", "--models", "ridge,knn"]
    words += ["--isomorphs", "keep", "--format", "html"]
    told = CliRunner().invoke(main, ["predict", str(run), *words])
    assert told.exit_code == 0, told.output
    resize(opened, 390)
    show(opened, told.stdout, tmp_path)
    drawn = opened.find_elements("css selector", "#figure-learning svg")
    boxes = [svg.rect for svg in drawn if svg.is_displayed()]
    assert len(boxes) == 2
    assert all(0 < box["x"] < box["x"] + box["width"] <= 390 for box in boxes)
    texts = [e.text for e in drawn[1].find_elements("tag name", "text")]
    assert any("encoding+shuffled" in text for text in texts)


def test_desktop_has_a_menu_in_groups_beside_all_else(opened):
    resize(opened, 1400)
    box = "return document.querySelector(arguments[0]).getBoundingClientRect()"
    menu, verdict, figure = (
        opened.execute_script(box, place)
        for place in ("nav", "#verdict", "#figure-forest")
    )
    assert menu["right"] < min(verdict["left"], figure["left"])
    assert abs(menu["top"] - verdict["top"]) < 2
    assert figure["right"] > 1360
    forests = opened.find_elements("css selector", "#figure-forest figure")
    assert forests[0].rect["y"] == forests[1].rect["y"]
    groups = opened.find_elements("css selector", "nav h2")
    assert [g.text for g in groups] == ["Result", "Figures", "Sections", "Made"]


CONTRASTS = """
  const light = (colour) => {
    const [r, g, b] = colour.match(/[\\d.]+/g).map((part) => {
      const c = part / 255;
      return c <= 0.04045 ? c / 12.92 : ((c + 0.055) / 1.055) ** 2.4;
    });
    return 0.2126 * r + 0.7152 * g + 0.0722 * b;
  };
  const paper = light(getComputedStyle(document.body).backgroundColor);
  const low = [];
  for (const element of document.querySelectorAll("body *:not(svg, svg *, script)")) {
    const own = [...element.childNodes].some((n) => n.nodeType === 3 && n.data.trim());
    const kinds = own ? [null, "::after"] : [];
    for (const kind of kinds) {
      const ink = light(getComputedStyle(element, kind).color);
      const ratio = (Math.max(ink, paper) + 0.05) / (Math.min(ink, paper) + 0.05);
      if (ratio < 7) low.push([element.outerHTML.slice(0, 80), ratio]);
    }
  }
  return low;
"""


@pytest.mark.parametrize("theme", ["light", "dark"])
def test_texts_of_the_page_have_a_contrast_of_seven(opened, theme):
    wanted = [{"name": "prefers-color-scheme", "value": theme}]
    opened.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": wanted})
    assert opened.execute_script(CONTRASTS) == []
    opened.execute_script("document.querySelector('h1').style.color = '#888'")
    assert opened.execute_script(CONTRASTS)


def test_dark_is_dark_and_print_is_light(opened):
    def paint(selector: str, what: str) -> list[int]:
        script = """
          const element = document.querySelector(arguments[0]);
          return getComputedStyle(element)[arguments[1]];
        """
        found = opened.execute_script(script, selector, what)
        return [int(number) for number in re.findall(r"\d+", found)[:3]]

    dark = [{"name": "prefers-color-scheme", "value": "dark"}]
    assert min(paint("body", "backgroundColor")) > 240
    assert max(paint("svg text", "fill")) < 60
    opened.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": dark})
    assert max(paint("body", "backgroundColor")) < 40
    assert min(paint("svg text", "fill")) > 200
    both = {"media": "print", "features": dark}
    opened.execute_cdp_cmd("Emulation.setEmulatedMedia", both)
    assert min(paint("body", "backgroundColor")) > 240
    opened.execute_cdp_cmd("Emulation.setEmulatedMedia", {"media": ""})
