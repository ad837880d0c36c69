"""Figures: what stands where, in SVG and PNG, from whole and from poor data."""

from __future__ import annotations

import re
import struct
import subprocess
import sys
from io import BytesIO
from itertools import combinations
from xml.etree import ElementTree

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from made_reports import NASTY, report_of, study
from PIL import Image
from report_runs import study_of, toy_truth, write_run
from scipy.stats import rankdata, spearmanr

from zcbench.cli import exit_code_of, main
from zcbench.errors import UsageError
from zcbench.report.figures import FORMATS, KINDS, check, drawings, sections_for
from zcbench.report.figures.axes import Scale, decades, spread
from zcbench.report.figures.curves import Curve, draw_curves
from zcbench.report.figures.drawing import (
    DARK,
    LIGHT,
    PHONE,
    WIDTH,
    Drawing,
    clean,
    inline,
    png,
    sheet,
    short,
    standalone,
    text_width,
)
from zcbench.report.figures.grids import (
    OUTLINE,
    agreement,
    colours,
    heatmap,
    outlines,
)
from zcbench.report.figures.points import (
    LOWEST,
    MOST,
    cost,
    covered,
    label_points,
    scatter,
    together,
)
from zcbench.report.figures.rows import critical_difference, forest, groups

SVG = "{http://www.w3.org/2000/svg}"


@pytest.fixture(scope="module")
def report():
    spaces = [("one", "toy"), ("two", "toy"), ("three", "other")]
    made = [
        study(i, dataset=d, space=s, seeds=0 if i else 3)
        for i, (d, s) in enumerate(spaces)
    ]
    return report_of(made, ("tasks", "ceilings", "agreement"))


def shapes(drawing: Drawing, tag: str, role: str = "") -> list[ElementTree.Element]:
    """Elements of a drawing, from back to front; of the sheet itself, no shape."""
    root = ElementTree.fromstring(standalone(drawing))
    found = list(root.iter(f"{SVG}{tag}"))
    here = [e for e in found if e.get("width") != "100%" and e.get("class")]
    return [e for e in here if role in e.get("class", "")]


def at(element: ElementTree.Element, *names: str) -> list[float]:
    """Numbers among its attributes."""
    return [float(element.get(name, "nan")) for name in names]


def texts(drawing: Drawing) -> list[str]:
    return [text.text or "" for text in shapes(drawing, "text")]


def plain(text: str) -> str:
    return "".join(c if c.isprintable() else " " for c in text)


def named(drawing: Drawing, text: str) -> ElementTree.Element:
    return next(t for t in shapes(drawing, "text") if t.text == text)


def tips(drawing: Drawing) -> dict[str, ElementTree.Element]:
    """What the mouse finds, up to the last colon → the element."""
    found = [e for tag in ("rect", "circle") for e in shapes(drawing, tag)]
    words = [(e, e.findtext(f"{SVG}title")) for e in found]
    return {text.rpartition(": ")[0]: e for e, text in words if text}


# --- axes -----------------------------------------------------------------------------


numbers = st.floats(-1e6, 1e6).filter(lambda x: x == 0 or abs(x) > 1e-6)


@given(numbers, numbers)
def test_linear_axis_holds_its_numbers_between_round_ends(a, b):
    low, high = sorted((a, b))
    scale = spread(low, high, 10, 110)
    slack = 1e-8 * (high - low)
    assert scale.low - slack <= low <= high <= scale.high + slack
    ticks = scale.ticks()
    assert 2 <= len(ticks) <= 12
    assert scale.low <= ticks[0] < ticks[-1] <= scale.high
    assert 10 <= scale(low) <= scale(high) <= 110


@given(st.floats(1e-4, 1e6), st.floats(1, 1e5))
def test_logarithmic_axis_has_round_ticks_inside(low, ratio):
    scale = decades(low, low * ratio, 0, 100)
    assert 0 < scale(low) <= scale(low * ratio) < 100
    ticks = scale.ticks()
    assert ticks
    assert all(scale.low <= tick <= scale.high for tick in ticks)
    assert {f"{tick:e}"[0] for tick in ticks} <= {"1", "2", "5"}
    middle = scale(float(np.sqrt(scale.low * scale.high)))
    assert middle == pytest.approx(50)


def test_what_lies_outside_an_axis_stands_at_its_end():
    assert Scale(0, 1, 0, 10)(-5) == 0
    assert Scale(0, 1, 10, 0)(7) == 0


# --- SVG and PNG ----------------------------------------------------------------------


def test_svg_of_every_kind_is_whole_and_always_the_same(report):
    found = drawings(report, list(KINDS))
    again = drawings(report, list(KINDS))
    for name, drawing in found.items():
        text = standalone(drawing)
        assert text == standalone(again[name])
        root = ElementTree.fromstring(text)
        assert root.tag == f"{SVG}svg"
        assert [e for e in root.iter() if "id" in e.attrib or "href" in e.attrib] == []
        assert "url(" not in text
        roles = {r[2:] for e in root.iter() for r in e.get("class", "").split()}
        assert roles <= set(LIGHT) == set(DARK)
        for text in shapes(drawing, "text"):
            x, y = at(text, "x", "y")
            assert 0 <= x <= drawing.width
            assert 0 <= y <= drawing.height


def test_names_are_text_and_safe(report):
    drawing = forest(report)[0].panels[0]
    written = [e.text for e in ElementTree.fromstring(standalone(drawing)).iter()]
    assert "<script>alert(1)</scr…" in written
    assert 'a"$b_{c} ' in written
    assert clean("<&\"'\x00\x1b\n") == "&lt;&amp;&quot;&#x27;   "
    assert "<script" not in inline(drawing)


def test_inline_svg_brings_no_colours_and_a_label(report):
    text = inline(heatmap(report)[0].panels[0])
    assert "#" not in text.replace("&#x27;", "")
    assert "<style" not in text
    assert 'role="img" aria-label="ρ with accuracy: correlations"' in text


def pixels(drawing: Drawing) -> np.ndarray:
    with Image.open(BytesIO(png(drawing))) as image:
        return np.asarray(image.convert("RGB"), dtype=int)


def test_png_has_two_dots_for_a_pixel_and_is_always_the_same():
    drawing = Drawing("all shapes", 120, 80)
    drawing.line(0, 0, 9, 9, dashed=True)
    drawing.frame(1, 1, 5, 5)
    drawing.mark(9, 9, 'a $ < & " tip', baseline=True)
    drawing.text(9, 9, "$x_{\x1b日", upwards=True)
    content = png(drawing)
    assert content.startswith(b"\x89PNG")
    assert struct.unpack(">II", content[16:24]) == (240, 160)
    assert content == png(drawing)


def test_png_shows_the_colours_at_their_places():
    drawing = Drawing("one cell", 20, 10)
    drawing.rect(0, 0, 10, 10, "plus4")
    found = pixels(drawing)
    assert found[10, 10].tolist() == list(bytes.fromhex(LIGHT["plus4"][1:]))
    assert found[10, 30].tolist() == [255, 255, 255]


def test_png_has_letters_where_the_system_has_none(monkeypatch):
    from resvg_py import svg_to_bytes

    monkeypatch.setattr(
        "resvg_py.svg_to_bytes",
        lambda **options: svg_to_bytes(**options, skip_system_fonts=True),
    )
    black = []
    for bold in (False, True):
        for letter in "nwot_0%*ρτΔ×±−–…·é":
            drawing = Drawing(letter, 20, 20)
            drawing.text(4, 15, letter, bold=bold)
            black.append((pixels(drawing) < 160).sum())
    assert min(black) > 0
    assert sum(black[18:]) > 1.2 * sum(black[:18])


def test_text_is_no_wider_than_it_is_thought():
    for word in ("az_expressivity", "NWOT", "Mm%@", "[.71, -.74]", "cifar100 · run"):
        for bold in (False, True):
            drawing = Drawing(word, 400, 40)
            drawing.text(10, 25, word, size=20, bold=bold)
            ink = (pixels(drawing) < 200).any(axis=2).any(axis=0).nonzero()[0]
            assert ink[-1] / 2 - 10 <= text_width(word, 20, bold=bold)


def test_png_without_resvg_says_what_to_do(monkeypatch):
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    check("svg")
    for call in (lambda: check("png"), lambda: png(Drawing("empty", 9, 9))):
        with pytest.raises(UsageError) as error:
            call()
        assert str(error.value) == (
            "PNG needs resvg-py, which is not installed. Install it: pip install "
            "'zcbench[plot]'; or choose --format svg."
        )


def contrast(one: str, other: str) -> float:
    """As WCAG 2 defines it."""
    light = []
    for colour in (one, other):
        c = np.array(list(bytes.fromhex(colour[1:]))) / 255
        c = np.where(c <= 0.04045, c / 12.92, ((c + 0.055) / 1.055) ** 2.4)
        light.append(float(c @ [0.2126, 0.7152, 0.0722]) + 0.05)
    return max(light) / min(light)


@pytest.mark.parametrize("theme", [LIGHT, DARK], ids=["light", "dark"])
def test_all_that_is_written_has_a_contrast_of_seven(theme):
    for role in ("ink", "muted", "accent", "baseline"):
        assert contrast(theme[role], theme["paper"]) >= 7
    for value in np.linspace(-1, 1, 201):
        fill, role = colours(float(value))
        assert contrast(theme[fill], theme[role]) >= 7
    steps = [colours(v)[0] for v in (0.1, 0.3, 0.5, 0.65, 0.75, 0.85, 0.95)]
    assert len({theme[step] for step in steps}) == 7
    assert contrast(theme[colours(0.5)[0]], theme[colours(0.8)[0]]) > 4


def test_sheet_sets_panels_beside_and_below_each_other():
    panel = Drawing("panel", WIDTH / 2, 30)
    panel.line(1, 2, 3, 4)
    whole = sheet("three", [panel] * 3)
    assert (whole.width, whole.height) == (WIDTH, 86)
    root = ElementTree.fromstring(standalone(whole))
    moved = [group.get("transform") for group in root.iter(f"{SVG}g")]
    assert moved == ["translate(0 26)", "translate(300 26)", "translate(0 56)"]
    assert len(shapes(whole, "line")) == 3


def box_of(text: ElementTree.Element) -> tuple[float, float, float, float]:
    """Where a text stands, a little less than its letters may need."""
    (x, y), size = at(text, "x", "y"), float(text.get("font-size", 12))
    bold = text.get("font-weight") == "bold"
    width = 0.9 * text_width(text.text or "", size, bold=bold)
    before = {"middle": width / 2, "end": width}.get(text.get("text-anchor", ""), 0)
    if "rotate" in text.get("transform", ""):
        return x - 0.7 * size, y + before - width, x, y + before
    return x - before, y - 0.7 * size, x - before + width, y


def overlap(one: tuple[float, ...], other: tuple[float, ...]) -> float:
    return covered(np.array([one]), np.array([other])).item()


def test_no_two_texts_touch(report):
    for kind in KINDS.values():
        for figure in kind.draw(report):
            for panel in (*figure.panels, *figure.narrow):
                found = [(t.text, box_of(t)) for t in shapes(panel, "text")]
                for (one, a), (other, b) in combinations(found, 2):
                    assert overlap(a, b) == 0, (panel.title, one, other)


@pytest.mark.parametrize("sheet", [WIDTH, PHONE])
def test_no_two_texts_of_curves_touch(sheet):
    points = [(float(x), 0.9 + x / 1e4, 0.9, 0.99) for x in (10, 100, 900)]
    curves = [Curve(f"filter: {name}", points) for name in ("params", "flops", "zico")]
    drawing = draw_curves("a", curves, "b", "share", "{:.1%}".format, sheet=sheet)
    assert drawing.width == sheet
    boxes = [box_of(text) for text in shapes(drawing, "text")]
    assert all(overlap(a, b) == 0 for a, b in combinations(boxes, 2))


def test_figures_are_of_one_width(report):
    for name, drawing in drawings(report, list(KINDS)).items():
        assert drawing.width == WIDTH, name
    for name in KINDS.keys() - {"scatter"}:  # whose panels stand below each other
        for figure in KINDS[name].draw(report):
            assert {part.width for part in figure.narrow} == {PHONE}, name


def test_on_a_phone_curves_are_numbered_from_top_to_bottom():
    curves = [
        Curve(n, [(1.0, y, y, y), (2.0, y, y, y)]) for n, y in (("a", 1), ("b", 3))
    ]
    drawing = draw_curves("t", curves, "x", "y", str, sheet=PHONE)
    found = {t.text: box_of(t) for t in shapes(drawing, "text")}
    assert found["1"][3] < found["2"][1]
    assert found["1  b"][3] < found["2  a"][1] < drawing.height


def test_a_heat_map_of_many_datasets_is_in_parts_on_a_phone():
    names = [f"d{i}" for i in range(13)]
    (figure,) = KINDS["heatmap"].draw(report_of([study(dataset=n) for n in names], ()))
    assert len(figure.narrow) > 1
    assert {part.width for part in figure.narrow} == {PHONE}
    words = [[t.text for t in shapes(part, "text")] for part in figure.narrow]
    assert [w for part in words for w in part if w in names] == names

    def cells(texts):
        return sorted(w for w in texts if re.fullmatch(r"-?\.\d\d", w))

    whole = [t.text for t in shapes(figure.panels[0], "text")]
    assert cells(word for part in words for word in part) == cells(whole)


def test_files_are_dark_where_the_reader_asks_for_it():
    light, dark = standalone(Drawing("a", WIDTH, 30)).split("@media")
    assert dark.startswith(" screen and (prefers-color-scheme:dark)")
    for role in LIGHT:
        assert f".f-{role}{{fill:{LIGHT[role]}}}" in light
        assert f".f-{role}{{fill:{DARK[role]}}}" in dark


def test_no_figure_needs_torch_or_resvg():
    code = (
        "import sys, zcbench.report.figures, zcbench.cli.plot;"
        "print({'torch', 'resvg_py', 'scipy', 'pandas'} & set(sys.modules))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert (done.stdout, done.stderr) == ("set()\n", "")


# --- forest ---------------------------------------------------------------------------


def axis_of(drawing: Drawing):
    """From places to numbers, by the texts below the axis."""
    (zero,), (one,) = at(named(drawing, ".0"), "x"), at(named(drawing, "1.0"), "x")
    return lambda x: (x - zero) / (one - zero)


def rows_of(drawing: Drawing, height: float) -> dict[str, tuple[float, float, str]]:
    """Label → ends and role of the rectangle of that height in its row."""
    found = {}
    for rect in shapes(drawing, "rect"):
        x, y, wide, high = at(rect, "x", "y", "width", "height")
        if high == height:
            base = f"{y + high / 2 + 4:g}"
            label = next(
                t.text
                for t in shapes(drawing, "text")
                if t.get("y") == base and t.get("text-anchor") == "end"
            )
            found[label] = (x, x + wide, rect.get("class", ""))
    return found


def test_forest_lines_stand_at_rho(report):
    for figure, found in zip(forest(report), report.studies, strict=True):
        (drawing,) = figure.panels
        assert figure.where == found.dataset
        value = axis_of(drawing)
        lines = rows_of(drawing, 14)
        for name, score in found.scores.items():
            label = plain(f"{name} *" if name in found.baselines else short(name))
            known = np.isfinite(score)
            if name in ("flat", "no"):
                assert label not in lines
                continue
            rho = spearmanr(score[known], found.accuracy[known]).statistic
            start, end, role = lines[label]
            assert value((start + end) / 2) == pytest.approx(rho, abs=2e-3)
            assert role == ("f-baseline" if name in found.baselines else "f-accent")
        assert {"constant", "not run"} <= set(texts(drawing))


def test_forest_bars_are_the_intervals_and_no_line_hides_one(report):
    drawing = forest(report)[0].panels[0]
    value = axis_of(drawing)
    table = report.table[report.table["dataset"] == "one"].dropna(subset="spearman")
    bars = rows_of(drawing, 9)
    drawn = [(value(start), value(end)) for start, end, _ in bars.values()]
    expected = table.sort_values("spearman", ascending=False)
    ends = expected[["spearman_low", "spearman_high"]].to_numpy()
    assert np.allclose(drawn, np.maximum(ends, -1), atol=2e-3)
    assert all(end - start > 2.4 for start, end, _ in bars.values())


def test_forest_shows_the_ceiling_if_it_is_known(report):
    table = report.verdict.table
    found = next(b for b in report.blocks if b.name == "ceilings").table
    ceiling = found.loc[found["proxy"] == "(highest possible)", "ceiling_all"].iloc[0]
    drawing = forest(report)[0].panels[0]
    value = axis_of(drawing)
    thick = [e for e in shapes(drawing, "line") if e.get("stroke-width") == "1.5"]
    solid = [line for line in thick if not line.get("stroke-dasharray")]
    assert value(*at(solid[0], "x1")) == pytest.approx(ceiling, abs=1e-3)
    assert "best baseline, params" in texts(drawing)
    assert table["dataset"].nunique() == 4
    bare = forest(report_of(report.studies, ()))[0].panels[0]
    assert not any("highest possible" in text for text in texts(bare))


def test_forest_shows_who_is_ahead_in_bold():
    accuracy = np.arange(200.0)
    rng = np.random.default_rng(0)
    scores = {"params": accuracy + 200 * rng.normal(size=200)}
    scores["best"] = accuracy + 5 * rng.normal(size=200)
    drawing = forest(report_of([study_of(scores, accuracy)], ()))[0].panels[0]
    assert named(drawing, "best").get("font-weight") == "bold"
    assert named(drawing, "params *").get("font-weight") is None


# --- heat map, agreement --------------------------------------------------------------


def test_heat_map_is_sorted_and_coloured_by_rho(report):
    (figure,) = heatmap(report)
    (drawing,) = figure.panels
    anchored = [t for t in shapes(drawing, "text") if t.get("text-anchor") == "end"]
    left = [t.text for t in anchored][:-1]
    means = report.table.groupby("proxy")["spearman"].mean().sort_values()[::-1]
    labels = [f"{n} *" if n in ("params", "flops") else n for n in means.dropna().index]
    assert [name for name in left if name in labels] == [
        n[:22] for n in labels if n in left
    ]
    assert set(left[-2:]) == {"flat", "no"}
    cells = tips(drawing)
    for row in report.table.to_dict("records"):
        label = row["proxy"] + (" *" if row["baseline"] else "")
        cell = cells[plain(f"{label}, {row['dataset']}")]
        assert cell.get("class") == f"f-{colours(row['spearman'])[0]}"


def test_heat_map_says_why_a_cell_is_empty():
    both = [study(0), study(1, dataset="two", names=("params", "good"))]
    (drawing,) = heatmap(report_of(both, ()))[0].panels
    assert {"constant", "not run"} <= set(texts(drawing))
    assert "bad, two" in tips(drawing)


def test_agreement_shows_rho_between_scores_and_its_groups():
    rng = np.random.default_rng(5)
    base = rng.normal(size=80)
    scores = {
        "params": base,
        "alone": rng.normal(size=80),
        "twin": base + 0.05 * rng.normal(size=80),
    }
    made = study_of(scores, rng.normal(size=80))
    (figure,) = agreement(report_of([made], ("agreement",)))
    (drawing,) = figure.panels
    cells = tips(drawing)
    for a, b in combinations(scores, 2):
        one, two = (f"{n} *" if n == "params" else n for n in (a, b))
        rho = spearmanr(scores[a], scores[b]).statistic
        assert cells[f"{one}, {two}"].get("class") == f"f-{colours(rho)[0]}"
    lines = [e for e in shapes(drawing, "rect") if e.get("stroke-width")]
    assert [e.get("class") for e in lines] == [f"s-{role}" for role, _ in OUTLINE]
    here = [at(cells[f"{n}, {n}"], "x", "width") for n in ("params *", "twin")]
    x, width = at(lines[-1], "x", "width")
    assert x == pytest.approx(min(left for left, _ in here) - 0.5, abs=0.11)
    assert width == pytest.approx(2 * (here[0][1] + 1), abs=0.21)


def test_agreement_of_many_leaves_numbers_to_the_mouse():
    rng = np.random.default_rng(0)
    scores = {f"p{i}": rng.normal(size=20) for i in range(24)}
    made = report_of([study_of(scores, rng.normal(size=20))], ("agreement",))
    (drawing,) = agreement(made)[0].panels
    assert "1.00" not in texts(drawing)
    assert tips(drawing)["p3, p3"].findtext(f"{SVG}title") == "p3, p3: 1.00"


@given(st.lists(st.integers(0, 3), max_size=12))
def test_outlines_hold_all_neighbours_of_a_group(group):
    inside = {i for first, last in outlines(group) for i in range(first, last + 1)}
    for i in range(len(group)):
        near = group[max(0, i - 1) : i] + group[i + 1 : i + 2]
        assert (i in inside) == (group[i] in near)


# --- scatter, cost, ranks -------------------------------------------------------------


def test_scatter_places_points_by_rank_and_accuracy():
    made = study(n=60)
    (figure,) = scatter(report_of([made], ()))
    titles = [panel.title.partition(":")[0] for panel in figure.panels]
    assert "no" not in titles
    panel = figure.panels[titles.index("bad")]
    known = np.isfinite(made.scores["bad"])
    x, y = points(panel).T
    assert len(x) == known.sum() == 55
    rank = rankdata(made.scores["bad"][known])
    left, top, width, height = at(shapes(panel, "rect")[0], *BOX)
    assert np.corrcoef(x, rank)[0, 1] > 0.99999
    assert left < x.min() < x.max() < left + width
    shown = made.accuracy[known]
    above = y < top + height - 0.05
    assert spearmanr(-y[above], shown[above]).statistic > 0.999
    assert (~above).sum() <= np.ceil(LOWEST * 60)


BOX = ("x", "y", "width", "height")


def points(panel: Drawing) -> np.ndarray:
    (path,) = shapes(panel, "path")
    places = (path.get("d") or "").removeprefix("M").split("M")
    return np.array([p.removesuffix("h0").split() for p in places], dtype=float)


def test_scatter_of_many_draws_the_same_sample_in_all_panels():
    made = study(n=MOST + 500, names=("params", "good"))
    (figure,) = scatter(report_of([made], ()))
    heights = [points(panel)[:, 1].tolist() for panel in figure.panels]
    assert len(heights[0]) == MOST
    assert heights[0] == heights[1]
    assert f"{MOST:,} are drawn" in KINDS["scatter"].about


def test_cost_stands_at_time_and_rho(report):
    (drawing,) = cost(report)[0].panels
    assert "1" in texts(drawing)
    found = report.studies[0]
    marks = tips(drawing)
    assert "no" not in marks
    tip = marks["good"].findtext(f"{SVG}title")
    assert tip.startswith("good: 3.0 ms, ρ .")
    times = [found.seconds[n] for n in ("params", "flops", "good", "bad")]
    places = [at(marks[f"{n} *"], "x")[0] + 3 for n in ("params", "flops")]
    places += [at(marks[n], "cx")[0] for n in ("good", "bad")]
    steps = np.diff(places) / np.diff(np.log(times))
    assert np.allclose(steps, steps[0], rtol=0.01)


def test_cost_without_times_or_correlations_says_so():
    made = study(names=("params", "good"))
    for name in made.seconds:
        made.seconds[name] = float("nan")
    (drawing,) = cost(report_of([made], ()))[0].panels
    assert "No proxy has a correlation and a cost." in texts(drawing)


@pytest.mark.parametrize("seed", range(6))
def test_names_beside_points_do_not_cover_each_other(seed):
    rng = np.random.default_rng(seed)
    points = [
        (float(x), float(y)) for x, y in rng.uniform((50, 40), (390, 330), (16, 2))
    ]
    points += [(100.0 + 7 * k, 100.0) for k in range(4)]
    names = [f"proxy_{i}" for i in range(20)]
    drawing = Drawing("labels", 412, 400)
    inside = (46.0, 32.0, 402.0, 358.0)
    boxes = label_points(drawing, points, names, inside)
    assert texts(drawing) == names
    assert all(overlap(a, b) == 0 for a, b in combinations(boxes, 2))
    for (left, top, right, bottom), _ in zip(boxes, names, strict=True):
        assert left >= 46
        assert top >= 32
        assert right <= 402.001
        assert bottom <= 358.001


def test_points_on_one_place_share_a_name():
    places, names = together([(0, 0)] * 5, list("abcde"))
    assert (places, names) == ([(0, 0), (0, 0)], ["a, b, c", "d, e"])


@given(st.lists(st.floats(1, 20), min_size=1, max_size=9), st.floats(0.1, 9))
def test_groups_join_all_that_are_not_apart(ranks, apart):
    ranks = sorted(ranks)
    found = groups(ranks, apart)
    for i, j in combinations(range(len(ranks)), 2):
        together_ = any(first <= i and j <= last for first, last in found)
        assert together_ == (ranks[j] - ranks[i] < apart)
    for a, b in combinations(found, 2):
        assert not (a[0] <= b[0] and b[1] <= a[1])


def test_mean_ranks_stand_with_their_bars():
    made = [study(i, dataset=f"d{i}", space=f"s{i}") for i in range(6)]
    report = report_of(made, ("tasks",))
    (figure,) = critical_difference(report)
    (drawing,) = figure.panels
    rows = report.blocks[0].table.dropna(subset="mean_rank")
    apart = rows["critical_difference"].iloc[0]
    assert f"mean rank, 95% intervals; critical difference {apart:.1f}" in texts(
        drawing
    )
    assert "Mean rank of ρ, 1 the best · 6 datasets, 6 spaces" in texts(drawing)
    bars = [e for e in shapes(drawing, "line") if e.get("stroke-width") == "3"]
    assert len(bars) == len(groups(rows["mean_rank"].tolist(), apart))
    marks = [start for start, _, _ in rows_of(drawing, 14).values()]
    assert np.corrcoef(marks, rows["mean_rank"])[0, 1] > 0.9999


def test_one_space_has_no_critical_difference(report):
    one = report_of(report.studies[:2], ("tasks",))
    (drawing,) = critical_difference(one)[0].panels
    assert [e for e in shapes(drawing, "line") if e.get("stroke-width") == "3"] == []
    assert "mean rank, 95% intervals" in texts(drawing)


def test_figures_of_a_section_need_it(report):
    bare = report_of(report.studies, ())
    assert agreement(bare) == critical_difference(bare) == []
    assert sections_for(["forest", "cost"]) == ("correlations", "ceilings")
    with pytest.raises(UsageError) as error:
        sections_for(["forrest"])
    assert str(error.value) == "Unknown kind of figure 'forrest'. Did you mean forest?"


# --- poor data ------------------------------------------------------------------------


POOR = {
    "three": study_of({"params": np.arange(3), "x": np.ones(3)}, np.arange(3.0)),
    "ties": study_of({"params": np.ones(30), "x": np.ones(30)}, np.arange(30.0)),
    "failed": study_of({"params": np.full(30, np.nan)}, np.arange(30.0)),
    "constant truth": study_of(
        {"params": np.arange(30), "x": np.ones(30)}, np.ones(30)
    ),
    "no truth": study_of({"params": np.arange(9.0)}, np.full(9, np.nan)),
    "no baseline": study_of({"x": np.arange(30)}, np.arange(30.0), baselines=()),
    "perfect": study_of(
        {"params": np.arange(30), "x": -np.arange(30)}, np.arange(30.0)
    ),
}


@pytest.mark.parametrize("made", POOR.values(), ids=POOR)
def test_poor_data_are_drawn_as_far_as_they_go(made):
    report = report_of([made], ("ceilings", "agreement", "tasks"))
    found = drawings(report, list(KINDS))
    assert {"forest-toy", "heatmap", "cost-toy"} <= set(found)
    for drawing in found.values():
        content = standalone(drawing)
        ElementTree.fromstring(content)
        assert "nan" not in content
        assert png(drawing).startswith(b"\x89PNG")


# --- the command ----------------------------------------------------------------------


@pytest.fixture
def run_path(tmp_path, monkeypatch):
    monkeypatch.setattr(
        "zcbench.truth.load_truth",
        lambda space, dataset, truth="auto", *rest: toy_truth(space, dataset, truth),
    )
    return write_run(tmp_path / "run")


def call(*args: object) -> int:
    return exit_code_of(lambda: main(list(map(str, args)), standalone_mode=False))


@pytest.mark.parametrize("name", FORMATS)
def test_command_writes_files_and_names_them(name, run_path, capsys, tmp_path):
    folder = tmp_path / "new" / "figures"
    assert call("plot", run_path, "--format", name, "-o", folder) == 0
    out, err = capsys.readouterr()
    assert err == ""
    kinds = ["forest-toy", "heatmap", "scatter-toy", "agreement-toy", "cost-toy"]
    kinds.append("critical-difference")
    assert out.splitlines() == [str(folder / f"{kind}.{name}") for kind in kinds]
    assert sorted(f.name for f in folder.iterdir()) == sorted(
        f"{kind}.{name}" for kind in kinds
    )


def test_command_draws_what_is_asked_for(run_path, capsys, tmp_path):
    args = ["--kind", "cost", "--kind", "forest", "--confidence", "0.5"]
    assert call("plot", run_path, *args, "--truth", "part", "-o", tmp_path) == 0
    out, err = capsys.readouterr()
    assert out == f"{tmp_path / 'forest-toy.svg'}\n{tmp_path / 'cost-toy.svg'}\n"
    assert "2 architectures (such as " in err
    assert "50% intervals" in (tmp_path / "forest-toy.svg").read_text()


def test_command_names_each_dataset_of_several_runs_once(run_path, tmp_path, capsys):
    other = write_run(tmp_path / "run 2")
    assert call("plot", run_path, other, "--kind", "cost", "-o", tmp_path / "f") == 0
    names = sorted(f.name for f in (tmp_path / "f").iterdir())
    assert len(names) == 2
    assert names[0].endswith("-run-2.svg")
    assert names[1].endswith("-run.svg")


def test_command_says_if_it_cannot_make_the_folder(run_path, tmp_path, capsys):
    (tmp_path / "file").write_text("")
    assert call("plot", run_path, "-o", tmp_path / "file" / "x") == 3
    assert capsys.readouterr().err == (
        f"zcbench: {tmp_path / 'file' / 'x'} cannot be made: Not a directory. Give "
        "another --output.\n"
    )


def test_nasty_names_reach_no_file_name():
    made = study(dataset="../a b/<c>", run="x")
    assert set(drawings(report_of([made], ()), ["forest", "heatmap"])) == {
        "forest-a-b-c",
        "heatmap",
    }
    assert NASTY in made.scores
