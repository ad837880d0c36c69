"""Figures: what stands where, in SVG and PNG, from whole and from poor data."""

from __future__ import annotations

import struct
import subprocess
import sys
from itertools import combinations
from xml.etree import ElementTree

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from made_reports import NASTY, report_of, study
from report_runs import study_of, toy_truth, write_run
from scipy.stats import rankdata, spearmanr

from zcbench.cli import exit_code_of, main
from zcbench.errors import UsageError
from zcbench.report.figures import FORMATS, KINDS, check, drawings, sections_for
from zcbench.report.figures.agreement import agreement, outlines
from zcbench.report.figures.cost import cost
from zcbench.report.figures.drawing import (
    Cloud,
    Drawing,
    Frame,
    Line,
    Mark,
    Rect,
    Text,
    sheet,
)
from zcbench.report.figures.forest import forest
from zcbench.report.figures.heatmap import heatmap
from zcbench.report.figures.labels import covered, label_points, together
from zcbench.report.figures.png import png
from zcbench.report.figures.ranks import critical_difference, groups
from zcbench.report.figures.scale import Scale, decades, spread
from zcbench.report.figures.scatter import LOWEST, MOST, scatter
from zcbench.report.figures.svg import clean, inline, standalone

SVG = "{http://www.w3.org/2000/svg}"


@pytest.fixture(scope="module")
def report():
    spaces = [("one", "toy"), ("two", "toy"), ("three", "other")]
    made = [
        study(i, dataset=d, space=s, seeds=0 if i else 3)
        for i, (d, s) in enumerate(spaces)
    ]
    return report_of(made, ("tasks", "ceilings", "agreement"))


def shapes(drawing: Drawing, kind: type) -> list:
    return [shape for shape in drawing.shapes if isinstance(shape, kind)]


def texts(drawing: Drawing) -> list[str]:
    return [text.text for text in shapes(drawing, Text)]


def named(drawing: Drawing, text: str) -> Text:
    return next(t for t in shapes(drawing, Text) if t.text == text)


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
        for shape in shapes(drawing, Text):
            assert 0 <= shape.x <= drawing.width
            assert 0 <= shape.y <= drawing.height


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


def test_png_has_two_dots_for_a_pixel_and_is_always_the_same():
    drawing = Drawing("all shapes", 120, 80)
    drawing.add(Line(0, 0, 9, 9, dashed=True), Rect(1, 1, 5, 5, "plus", 0.5))
    drawing.add(Frame(1, 1, 5, 5), Mark(9, 9), Mark(5, 5, baseline=True))
    drawing.add(Cloud(((1, 2), (3, 4))), Text(9, 9, "$x_{\x1b日", upwards=True))
    content = png(drawing)
    assert content.startswith(b"\x89PNG")
    assert struct.unpack(">II", content[16:24]) == (240, 160)
    assert content == png(drawing)
    assert b"matplotlib" not in content.lower()


def test_png_shows_the_colours_at_their_places():
    from io import BytesIO

    from matplotlib.image import imread

    drawing = Drawing("one cell", 20, 10)
    drawing.add(Rect(0, 0, 10, 10, "plus"))
    pixels = imread(BytesIO(png(drawing)))
    assert pixels[10, 10, :3] == pytest.approx([0, 0x55 / 255, 0x9B / 255], abs=0.01)
    assert pixels[10, 30, :3] == pytest.approx([1, 1, 1])


def test_png_without_matplotlib_says_what_to_do(monkeypatch):
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    check("svg")
    for call in (lambda: check("png"), lambda: png(Drawing("empty", 9, 9))):
        with pytest.raises(UsageError) as error:
            call()
        assert str(error.value) == (
            "PNG needs matplotlib, which is not installed. Install it: pip install "
            "'zcbench[plot]'; or choose --format svg."
        )


def test_sheet_sets_panels_beside_and_below_each_other():
    panel = Drawing("panel", 50, 30)
    panel.add(Line(1, 2, 3, 4), Cloud(((5, 6),)), Mark(7, 8))
    whole = sheet("three", [panel] * 3, 2)
    assert (whole.width, whole.height) == (100, 86)
    assert [(m.x, m.y) for m in shapes(whole, Mark)] == [(7, 34), (57, 34), (7, 64)]
    assert shapes(whole, Line)[2] == Line(1, 58, 3, 60)
    assert shapes(whole, Cloud)[1].points == ((55, 32),)


def test_no_figure_needs_torch_or_matplotlib():
    code = (
        "import sys, zcbench.report.figures, zcbench.cli.plot;"
        "print({'torch', 'matplotlib', 'scipy', 'pandas'} & set(sys.modules))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert (done.stdout, done.stderr) == ("set()\n", "")


# --- forest ---------------------------------------------------------------------------


def axis_of(drawing: Drawing):
    """From places to numbers, by the texts below the axis."""
    zero, one = named(drawing, ".0").x, named(drawing, "1.0").x
    return lambda x: (x - zero) / (one - zero)


def test_forest_marks_stand_at_rho(report):
    for figure, found in zip(forest(report), report.studies, strict=True):
        (drawing,) = figure.panels
        assert figure.where == found.dataset
        value = axis_of(drawing)
        by_name = {m.tip.rpartition(": ")[0]: m for m in shapes(drawing, Mark)}
        for name, score in found.scores.items():
            label = f"{name} *" if name in found.baselines else name
            known = np.isfinite(score)
            if name in ("flat", "no"):
                assert label not in by_name
                continue
            rho = spearmanr(score[known], found.accuracy[known]).statistic
            assert value(by_name[label].x) == pytest.approx(rho)
            assert by_name[label].baseline == (name in found.baselines)
        assert {"constant", "not run"} <= set(texts(drawing))


def test_forest_bars_are_the_intervals(report):
    drawing = forest(report)[0].panels[0]
    value = axis_of(drawing)
    table = report.table[report.table["dataset"] == "one"].dropna(subset="spearman")
    bars = [(value(r.x), value(r.x + r.width)) for r in shapes(drawing, Rect)]
    expected = table[["spearman_low", "spearman_high"]].to_numpy()
    assert np.allclose(bars, np.maximum(expected, -1))


def test_forest_shows_the_ceiling_if_it_is_known(report):
    table = report.verdict.table
    found = next(b for b in report.blocks if b.name == "ceilings").table
    ceiling = found.loc[found["proxy"] == "(highest possible)", "ceiling_all"].iloc[0]
    drawing = forest(report)[0].panels[0]
    value = axis_of(drawing)
    solid = [line for line in shapes(drawing, Line) if line.width == 1.5]
    assert value(solid[0].x1) == pytest.approx(ceiling)
    assert solid[0].dashed is False
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
    assert named(drawing, "best").bold
    assert not named(drawing, "params *").bold


# --- heat map, agreement --------------------------------------------------------------


def test_heat_map_is_sorted_and_coloured_by_rho(report):
    (figure,) = heatmap(report)
    (drawing,) = figure.panels
    left = [t.text for t in shapes(drawing, Text) if t.anchor == "end"][:-1]
    means = report.table.groupby("proxy")["spearman"].mean().sort_values()[::-1]
    labels = [f"{n} *" if n in ("params", "flops") else n for n in means.dropna().index]
    assert [name for name in left if name in labels] == [
        n[:22] for n in labels if n in left
    ]
    assert set(left[-2:]) == {"flat", "no"}
    tips = {r.tip.rpartition(": ")[0]: r for r in shapes(drawing, Rect) if r.tip}
    for row in report.table.to_dict("records"):
        label = row["proxy"] + (" *" if row["baseline"] else "")
        cell = tips[f"{label}, {row['dataset']}"]
        if np.isnan(row["spearman"]):
            assert cell.role == "faint"
            continue
        assert cell.role == ("plus" if row["spearman"] >= 0 else "minus")
        assert cell.opacity == pytest.approx(abs(row["spearman"]))


def test_heat_map_says_why_a_cell_is_empty():
    both = [study(0), study(1, dataset="two", names=("params", "good"))]
    (drawing,) = heatmap(report_of(both, ()))[0].panels
    assert {"constant", "not run"} <= set(texts(drawing))
    tips = [r.tip for r in shapes(drawing, Rect)]
    assert "bad, two: not run" in tips


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
    tips = {r.tip.rpartition(": ")[0]: r for r in shapes(drawing, Rect) if r.tip}
    for a, b in combinations(scores, 2):
        one, two = (f"{n} *" if n == "params" else n for n in (a, b))
        rho = spearmanr(scores[a], scores[b]).statistic
        assert tips[f"{one}, {two}"].opacity == pytest.approx(abs(rho))
    outline = max(shapes(drawing, Frame), key=lambda frame: frame.thickness)
    cells = [tips[f"{n}, {n}"] for n in ("params *", "twin")]
    assert outline.x == pytest.approx(min(c.x for c in cells) - 0.5)
    assert outline.width == pytest.approx(2 * (cells[0].width + 1))


def test_agreement_of_many_leaves_numbers_to_the_mouse():
    rng = np.random.default_rng(0)
    scores = {f"p{i}": rng.normal(size=20) for i in range(17)}
    made = report_of([study_of(scores, rng.normal(size=20))], ("agreement",))
    (drawing,) = agreement(made)[0].panels
    assert "1.00" not in texts(drawing)
    assert "p3, p3: 1.00" in [r.tip for r in shapes(drawing, Rect)]


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
    (cloud,) = shapes(panel, Cloud)
    known = np.isfinite(made.scores["bad"])
    x, y = np.array(cloud.points).T
    assert len(x) == known.sum() == 45
    rank = rankdata(made.scores["bad"][known])
    frame = shapes(panel, Frame)[0]
    share = (x - frame.x) / frame.width
    assert np.allclose(share, (rank - 0.5) / 45)
    shown = made.accuracy[known]
    above = y < frame.y + frame.height - 1e-9
    assert np.array_equal(rankdata(-y[above]), rankdata(shown[above]))
    assert (~above).sum() <= np.ceil(LOWEST * 60)


def test_scatter_of_many_draws_the_same_sample_in_all_panels():
    made = study(n=MOST + 500, names=("params", "good"))
    (figure,) = scatter(report_of([made], ()))
    heights = [
        [y for _, y in shapes(panel, Cloud)[0].points] for panel in figure.panels
    ]
    assert len(heights[0]) == MOST
    assert heights[0] == heights[1]
    assert f"{MOST:,} are drawn" in KINDS["scatter"].about


def test_cost_stands_at_time_and_rho(report):
    (drawing,) = cost(report)[0].panels
    assert "1" in texts(drawing)
    found = report.studies[0]
    marks = {m.tip.rpartition(": ")[0]: m for m in shapes(drawing, Mark)}
    assert "no" not in marks
    assert marks["good"].tip.startswith("good: 3.0 ms, ρ .")
    times = [found.seconds[n] for n in ("params", "flops", "good", "bad")]
    places = [marks[n].x for n in ("params *", "flops *", "good", "bad")]
    steps = np.diff(places) / np.diff(np.log(times))
    assert np.allclose(steps, steps[0])


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
    assert [t.text for t in shapes(drawing, Text)] == names
    assert all(covered(a, b) == 0 for a, b in combinations(boxes, 2))
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
    assert named(drawing, "Mean rank of ρ, 1 the best · 6 datasets, 6 spaces")
    bars = [line for line in shapes(drawing, Line) if line.width == 3]
    assert len(bars) == len(groups(rows["mean_rank"].tolist(), apart))
    marks = [m.x for m in shapes(drawing, Mark)]
    assert np.allclose(np.corrcoef(marks, rows["mean_rank"])[0, 1], 1)


def test_one_space_has_no_critical_difference(report):
    one = report_of(report.studies[:2], ("tasks",))
    (drawing,) = critical_difference(one)[0].panels
    assert [line for line in shapes(drawing, Line) if line.width == 3] == []
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


def test_command_offers_every_kind_and_format():
    from zcbench.cli import plot

    assert tuple(KINDS) == plot.KINDS
    choice = next(p for p in plot.plot.params if p.name == "format_name").type
    assert set(choice.choices) == set(FORMATS)


def test_nasty_names_reach_no_file_name():
    made = study(dataset="../a b/<c>", run="x")
    assert set(drawings(report_of([made], ()), ["forest", "heatmap"])) == {
        "forest-a-b-c",
        "heatmap",
    }
    assert NASTY in made.scores
