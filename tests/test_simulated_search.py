"""Simulated search: what may be asked, what it costs, and what is found."""

from __future__ import annotations

import csv
import io
import json
import math
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from click.testing import CliRunner, Result
from levels import few
from report_runs import study_of, write_run
from scipy import stats
from sklearn.linear_model import Ridge

from zcbench.analysis.search.pool import (
    SearchPool,
    Setting,
    Trace,
    Variant,
    nearest,
    normal_scores,
    search_pool,
    variants,
)
from zcbench.analysis.search.section import (
    common_hours,
    curves,
    regret_at,
    searches,
    speedup,
)
from zcbench.analysis.search.simulate import (
    PENALTY,
    ROUND,
    _Search,
    posterior,
    simulate,
)
from zcbench.cli import main
from zcbench.errors import DataError, UsageError
from zcbench.report import Study
from zcbench.report.figures.curves import regret_curves
from zcbench.spaces import load_space
from zcbench.stats.search_metrics import best_of

NB201 = load_space("nb201")
N = 120
SETTING = Setting(trials=20, evaluations=30, warmup=40, candidates=5)


def made_study(n: int = N, seed: int = 0) -> Study:
    """Cells whose accuracy depends on their operations, trained two or three times."""
    rng = np.random.default_rng(seed)
    drawn = rng.choice(len(NB201), n, replace=False)
    specs = [NB201.architecture(int(i)).spec for i in drawn]
    accuracy = np.array([5.0 * s.count("3x3") + 3 * s.count("skip") for s in specs])
    seeds = accuracy[:, None] + rng.normal(size=(n, 3))
    seeds[rng.random(n) < 0.4, 1] = math.nan
    mean = np.nanmean(seeds, axis=1)
    gaps = rng.normal(size=n)
    gaps[: n // 3] = math.nan
    study = study_of(
        {
            "params": np.array([float(s.count("conv")) for s in specs]),
            "good": mean + rng.normal(size=n),
            "gaps": gaps,
        },
        mean,
        dataset="cifar10",
        space="nb201",
        archs=specs,
        seeds=seeds,
    )
    return replace(
        study,
        train_seconds=rng.uniform(1800, 7200, n),
        seconds={"params": 0.0, "good": 3.6, "gaps": 36.0},
    )


POOL = search_pool(made_study())


# What can be found


@pytest.mark.thorough
def test_all_neighbours_of_a_whole_space_differ_in_one_place() -> None:
    operations = NB201.operations
    cells = [NB201.cell(NB201.architecture(i).spec) for i in range(0, 15_625, 1)]
    places = np.zeros((len(cells), 30), dtype=np.float32)
    for row, cell in enumerate(cells):
        places[row, [5 * i + operations.index(op) for i, op in enumerate(cell)]] = 1
    near, changes = nearest(places)
    assert (near.shape, changes) == ((15_625, 24), 1)
    for row in (0, 77, 15_624):
        assert len(set(near[row])) == 24
        for other in near[row]:
            pairs = zip(cells[row], cells[other], strict=True)
            assert sum(a != b for a, b in pairs) == 1


def test_neighbours_of_a_sample_are_those_that_differ_least() -> None:
    specs = made_study().archs
    cells = np.array([NB201.cell(s) for s in specs])
    apart = (cells[:, None] != cells[None]).sum(axis=2).astype(float)
    np.fill_diagonal(apart, np.inf)
    assert POOL.changes == apart.min(axis=1).max() > 1
    for row, near in enumerate(POOL.neighbours):
        want = set(np.flatnonzero(apart[row] == apart[row].min()).tolist())
        assert set(near[near >= 0].tolist()) == want


def test_a_pool_has_what_the_study_says() -> None:
    study = made_study()
    assert POOL.unit == "GPU-hours"
    assert POOL.hours.tolist() == (study.train_seconds / 3600).tolist()
    assert POOL.proxies["good"].hours[0] == pytest.approx(0.001)
    for row in range(N):
        known = study.seeds[row][np.isfinite(study.seeds[row])]
        assert POOL.seen[row][: POOL.trained[row]].tolist() == known.tolist()
    order = POOL.proxies["good"].order
    assert stats.spearmanr(order, study.scores["good"])[0] == pytest.approx(1)
    assert np.isnan(POOL.proxies["gaps"].order).sum() == N // 3


def test_normal_scores_are_quantiles_of_mid_ranks() -> None:
    values = np.array([3.0, math.nan, 1.0, 3.0, 7.0])
    want = [(stats.rankdata([3, 1, 3, 7])[i] - 0.5) / 4 for i in range(4)]
    found = normal_scores(values)
    assert np.isnan(found[1])
    assert found[[0, 2, 3, 4]] == pytest.approx(stats.norm.ppf(want))
    assert np.isnan(normal_scores(np.array([math.nan]))).all()


def test_pools_without_times_seeds_or_accuracies() -> None:
    study = made_study()
    bare = replace(study, train_seconds=None, seeds=np.empty((N, 0)))
    pool = search_pool(bare, ["good"])
    assert (pool.unit, pool.hours.tolist()) == ("trainings", [1.0] * N)
    assert list(pool.proxies) == ["good"]
    assert pool.proxies["good"].hours.tolist() == [0.0] * N
    assert pool.seen[:, 0].tolist() == study.accuracy.tolist()
    holes = study.accuracy.copy()
    holes[5:] = math.nan
    assert len(search_pool(replace(study, accuracy=holes))) == 5
    holes[2:] = math.nan
    with pytest.raises(DataError, match="Only 2 architectures of run have"):
        search_pool(replace(study, accuracy=holes))
    with pytest.raises(UsageError, match="Did you mean good"):
        search_pool(study, ["goof"])


# What searches do


@pytest.mark.parametrize("variant", variants(POOL), ids=lambda v: v.label)
def test_books_are_kept(variant: Variant) -> None:
    """Nothing is trained twice, all is paid, finds are the best that was seen."""
    trace = simulate(POOL, variant, SETTING)
    for t in range(SETTING.trials):
        chosen = trace.chosen[t].tolist()
        assert len(set(chosen)) == SETTING.evaluations
        training = np.cumsum(POOL.hours[chosen])
        extra = trace.hours[t] - training
        assert (np.diff(np.concatenate([[0.0], extra])) > -1e-9).all()
        each = sum(POOL.proxies[name].hours[0] for name in variant.proxies)
        assert extra[-1] <= N * each + 1e-9
        if variant.aid == "none":
            assert extra == pytest.approx(0, abs=1e-9)
        elif variant.aid == "warmup":
            assert extra == pytest.approx(SETTING.warmup * each)
        elif each:
            assert extra[-1] >= each
        best = -math.inf
        for step, arch in enumerate(chosen):
            seeds = POOL.seen[arch][: POOL.trained[arch]]
            assert trace.seen[t, step] in seeds
            if trace.seen[t, step] > best:
                best, find = trace.seen[t, step], POOL.accuracy[arch]
            assert trace.best[t, step] == find


@pytest.mark.parametrize("variant", few(variants(POOL), 8), ids=lambda v: v.label)
def test_searches_repeat_and_can_exhaust_a_pool(variant: Variant) -> None:
    whole = replace(SETTING, trials=2, evaluations=N, warmup=10_000)
    first, again = simulate(POOL, variant, whole), simulate(POOL, variant, whole)
    for t in range(2):
        assert sorted(first.chosen[t].tolist()) == list(range(N))
    assert first.hours.tolist() == again.hours.tolist()
    other = simulate(POOL, variant, replace(whole, seed=1))
    assert other.chosen.tolist() != first.chosen.tolist()


@pytest.mark.parametrize("variant", variants(POOL), ids=lambda v: v.label)
def test_no_search_looks_at_what_it_has_not_trained(variant: Variant) -> None:
    """Accuracies of architectures that no trial trained are poisoned."""
    setting = replace(SETTING, trials=2, evaluations=20)
    trace = simulate(POOL, variant, setting)
    hidden = np.setdiff1d(np.arange(N), trace.chosen)
    assert len(hidden) > 50
    seen, accuracy = POOL.seen.copy(), POOL.accuracy.copy()
    seen[hidden] = 1e9
    accuracy[hidden] = 1e9
    poisoned = simulate(replace(POOL, seen=seen, accuracy=accuracy), variant, setting)
    assert poisoned.chosen.tolist() == trace.chosen.tolist()
    assert poisoned.hours.tolist() == trace.hours.tolist()


def test_random_search_finds_what_theory_says() -> None:
    """With one training seed, the best of k at random: exact expectation."""
    alone = replace(POOL, seen=POOL.accuracy[:, None], trained=np.ones(N, dtype=int))
    trace = simulate(alone, Variant("random"), replace(SETTING, trials=4000))
    ks = [1, 5, 30]
    want = best_of(POOL.accuracy, POOL.accuracy, ks)
    for k, mean in zip(ks, want.tolist(), strict=True):
        found = trace.best[:, k - 1]
        assert abs(found.mean() - mean) < 4 * found.std() / math.sqrt(4000)


def test_evolution_mutates_the_young() -> None:
    """Every child is a neighbour of one of the last ten, unless those are used up."""
    trace = simulate(POOL, Variant("evolution"), SETTING)
    strange = 0
    for t in range(SETTING.trials):
        for step in range(ROUND, SETTING.evaluations):
            taken = set(trace.chosen[t, :step].tolist())
            young = trace.chosen[t, step - ROUND : step]
            near = [set(POOL.neighbours[p].tolist()) - {-1} for p in young]
            if trace.chosen[t, step] not in set().union(*near):
                assert any(n <= taken for n in near)
                strange += 1
    assert strange < 0.5 * SETTING.trials * (SETTING.evaluations - ROUND)


def test_parents_are_the_best_of_a_few() -> None:
    """The parent is the best of three: its rank among ten is mostly high."""
    parents: list[np.ndarray] = []

    class Watched(_Search):
        def mutants(self, of: np.ndarray, count: int) -> np.ndarray:
            young = self.chosen[:, self.done - ROUND : self.done]
            accuracy = self.seen[:, self.done - ROUND : self.done]
            at = (young == of[:, None]).argmax(axis=1)
            beaten = accuracy < accuracy[self.rows, at][:, None]
            parents.append(beaten.sum(axis=1))
            return super().mutants(of, count)

    from zcbench.analysis.search.simulate import _evolution

    search = Watched(POOL, Variant("evolution"), replace(SETTING, trials=400))
    _evolution(search)
    share = np.mean(np.concatenate(parents) == 9)
    assert share == pytest.approx(0.3, abs=0.03)  # the best of ten is one of three


def test_a_perfect_proxy_finds_the_best_at_once_and_gaps_come_last() -> None:
    study = made_study()
    scores = {"all": study.accuracy.copy(), "none": -study.accuracy}
    perfect = replace(
        study, scores=scores, seconds=dict.fromkeys(scores, 0.0), seeds=np.empty((N, 0))
    )
    pool = search_pool(perfect)
    setting = replace(SETTING, warmup=N)
    best = pool.accuracy.max()
    for method in ("random", "evolution", "predictor"):
        trace = simulate(pool, Variant(method, "warmup", ("all",)), setting)
        assert (trace.best[:, 0] == best).all()
        means = {
            name: simulate(pool, Variant(method, "filter", (name,)), setting)
            .best[:, 14]
            .mean()
            for name in scores
        }
        assert means["all"] > means["none"]
    gaps = simulate(POOL, Variant("random", "warmup", ("gaps",)), SETTING)
    assert np.isfinite(POOL.proxies["gaps"].order[gaps.chosen[:, :ROUND]]).all()


def test_predictors_learn() -> None:
    found = {
        variant: simulate(POOL, variant, replace(SETTING, trials=60)).best[:, -1]
        for variant in (Variant("random"), Variant("predictor"))
    }
    assert found[Variant("predictor")].mean() > found[Variant("random")].mean() + 0.5


def test_posterior_is_that_of_a_bayesian_regression() -> None:
    rng = np.random.default_rng(0)
    x, y = rng.normal(size=(2, 30, 4)), rng.normal(size=(2, 30))
    draws = posterior(x, y, rng.standard_normal((2, 4, 40_000)))
    for i in range(2):
        ridge = Ridge(alpha=PENALTY, fit_intercept=False).fit(x[i], y[i])
        variance = ((y[i] - ridge.predict(x[i])) ** 2).mean()
        want = variance * np.linalg.inv(x[i].T @ x[i] + PENALTY * np.eye(4))
        assert draws[i].mean(axis=1) == pytest.approx(ridge.coef_, abs=0.01)
        np.testing.assert_allclose(np.cov(draws[i]), want, atol=0.05 * want.max())
    exact = posterior(x, 0 * y, np.ones((2, 4, 1)))
    assert np.isfinite(exact).all()


def test_scores_are_paid_once() -> None:
    search = _Search(POOL, Variant("random"), replace(SETTING, trials=2))
    search.pay(np.array([[3, 5, 3], [1, 1, 1]]), ["good", "gaps"])
    both = 0.001 + 0.01
    assert search.clock == pytest.approx([2 * both, both])
    search.pay(np.array([[3, 6, 6], [1, 1, 1]]), ["good", "gaps"])
    assert search.clock == pytest.approx([3 * both, both])


def test_variants() -> None:
    found = [v.label for v in variants(POOL)]
    assert len(found) == 3 * (1 + 2 * 3) + 2
    assert found[:2] == ["random", "random, warmup by params"]
    assert found[-2:] == ["predictor, features by params", "predictor, features"]
    assert variants(POOL, ["evolution"], ["none"]) == [Variant("evolution")]
    with pytest.raises(UsageError, match="Did you mean random"):
        variants(POOL, ["randum"])
    with pytest.raises(UsageError, match="Unknown aid 'help'"):
        variants(POOL, aids=["help"])
    for evaluations in (3, N + 1):
        with pytest.raises(UsageError, match="4 to 120 with --evaluations"):
            simulate(POOL, Variant("random"), replace(SETTING, evaluations=evaluations))


# Sections


def made_traces() -> dict[Variant, Trace]:
    """Two trials of three trainings, by hand."""
    chosen = np.zeros((2, 3), dtype=np.int64)
    alone = Trace(
        chosen,
        chosen + 0.0,
        np.array([[1.0, 2.0, 4.0], [2.0, 3.0, 6.0]]),
        np.array([[50.0, 60.0, 70.0], [40.0, 40.0, 80.0]]),
    )
    aided = replace(
        alone,
        hours=alone.hours / 2,
        best=np.array([[70.0, 70.0, 80.0], [60.0, 70.0, 90.0]]),
    )
    return {Variant("random"): alone, Variant("random", "filter", ("good",)): aided}


def made_pool() -> SearchPool:
    accuracy = np.full(N, 30.0)
    accuracy[0] = 100.0
    return replace(POOL, accuracy=accuracy)


def test_regret_by_time() -> None:
    pool, (alone, aided) = made_pool(), made_traces().values()
    found = regret_at(pool, alone, np.array([0.5, 1.0, 2.5, 6.0]))
    before = 100 - pool.accuracy.mean()
    assert found[0].tolist() == pytest.approx([before, 50, 40, 30])
    assert found[1].tolist() == pytest.approx([before, before, 60, 20])
    assert common_hours(made_traces()) == 2.0
    # Alone: mean regret 45 from 4 hours on, the last moment that both trials have.
    # Aided: 35 and 30 from half an hour and an hour on.
    assert speedup(pool, aided, alone) == pytest.approx(4.0, rel=0.01)
    assert math.isnan(speedup(pool, replace(aided, best=alone.best - 90), alone))


def test_sections_say_what_traces_hold() -> None:
    pool, traces = made_pool(), made_traces()
    block = searches(pool, replace(SETTING, evaluations=3, trials=2), traces)
    table = block.table.set_index("aid")
    assert table.loc["none", "regret_end"] == 25
    assert table.loc["filter", "regret_end"] == 15
    assert table.loc["filter", "regret_time"] == pytest.approx((20 + 30) / 2)
    assert table.loc["filter", "change"] == pytest.approx(((20 - 40) + (30 - 60)) / 2)
    assert math.isnan(table.loc["none", "change"])
    assert block.conclusion == (
        "Percent of accuracy that finds lack after 2 h: random alone 50.00, with "
        "filter by good 25.00."
    )
    over_time = curves(pool, traces)
    here = over_time.table[over_time.table["aid"] == "none"]
    assert here["hours"].iloc[[0, -1]].tolist() == [2.0, 4.0]
    drawn = regret_curves(over_time, block, pool)
    assert [figure.panels[0].title for figure in drawn] == ["random"]
    for drawing in (*drawn[0].panels, *drawn[0].narrow):
        assert "filter: good" in str(drawing.shapes)


def test_sections_speak_in_the_unit_of_the_truth() -> None:
    pool = replace(made_pool(), measure="units of val_MSE", unit="trainings")
    traces = made_traces()
    block = searches(pool, replace(SETTING, evaluations=3, trials=2), traces)
    assert "Regret: units of val_MSE, mean over" in block.about
    assert "percent of" not in block.about
    assert block.conclusion.startswith(
        "Units of val_MSE that finds lack after 2 trainings: random alone 50.00, "
    )
    (drawn,) = regret_curves(curves(pool, traces), block, pool)
    texts = str(drawn.panels[0].shapes)
    assert "regret, units of val_MSE" in texts
    assert ">trainings<" in texts


# The command


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_run(tmp_path_factory.mktemp("runs") / "first")


FEW = ["--trials", "5", "--evaluations", "12", "--warmup", "15"]


def invoke(*words: object) -> Result:
    return CliRunner().invoke(main, ["search", *map(str, words)])


def test_text(run: Path) -> None:
    result = invoke(run, *FEW, "--proxies", "snip,params")
    assert result.exit_code == 0, result.output
    assert result.stdout.startswith("toy · toy · validation accuracy")
    lines = [line.split() for line in result.stdout.splitlines()]
    assert ["predictor", "features"] in [line[:2] for line in lines]
    assert result.stderr == ""


def test_json_and_csv_say_the_same(run: Path) -> None:
    words = [run, *FEW, "--methods", "random,evolution", "--proxies", "snip"]
    told = json.loads(invoke(*words, "--format", "json").stdout)
    rows = list(csv.DictReader(io.StringIO(invoke(*words, "--format", "csv").stdout)))
    assert len(rows) == len(told["search"]) == 6
    for row, record in zip(rows, told["search"], strict=True):
        assert float(row["regret_end"]) == pytest.approx(record["regret_end"], abs=1e-4)
    assert len(told["curves"]) == 6 * 40
    assert told["setting"]["evaluations"] == 12
    assert told["scores"] == ["snip"]


@pytest.mark.parametrize("command", few(["search", "predict"]))
def test_html_has_a_picture_and_loads_nothing(
    run: Path, tmp_path: Path, command: str
) -> None:
    file = tmp_path / "page.html"
    options: list[Any] = (
        FEW if command == "search" else ["--train", "6,9", "--trials", "2"]
    )
    words = [command, run, *options, "--format", "html", "-o", file]
    result = CliRunner().invoke(main, [str(word) for word in words])
    assert (result.exit_code, result.output) == (0, "")
    text = file.read_text(encoding="utf-8")
    assert f"<title>zcbench {command}: toy" in text
    assert "<svg" in text
    for outside in ("http://", "https://", "src=", "url("):
        assert outside not in text.replace("http://www.w3.org/2000/svg", "")


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--methods", "xyz"], "Unknown method 'xyz'. Known: "),
        (["--aids", "hints"], "Unknown aid 'hints'. Known: "),
        (["--proxies", "snap"], "Unknown proxy of this run 'snap'. Did you mean snip?"),
        (
            ["--evaluations", "28"],
            "28 evaluations are asked for, and there are 27 architectures. Ask for 4 "
            "to 27 with --evaluations.",
        ),
    ],
)
def test_errors(run: Path, words: list[str], message: str) -> None:
    result = invoke(run, *FEW, *words)
    assert result.exit_code == 2
    assert result.stderr.startswith(f"zcbench: {message}")
    assert result.stdout == ""
