"""Predictors: encodings, what they are fitted on, splits, trials, sections."""

from __future__ import annotations

import math
import re
from dataclasses import replace
from itertools import product
from typing import Any

import numpy as np
import pytest
from levels import few
from report_runs import study_of
from scipy import stats
from sklearn.linear_model import RidgeCV

from zcbench.analysis.predict import trials as trials_module
from zcbench.analysis.predict.features import (
    Feature,
    Pool,
    adjacency,
    default_features,
    features_of,
    operations,
    paths,
    paths_of,
    pool_of,
)
from zcbench.analysis.predict.models import (
    MODELS,
    columns,
    filled,
    make_model,
    ranked,
    shuffle,
)
from zcbench.analysis.predict.section import importances, mean_of, predictions
from zcbench.analysis.predict.trials import Setting, Trials, draw, run_trials
from zcbench.errors import DataError, UsageError
from zcbench.networks.cell_graph import edges_of
from zcbench.spaces import load_space

NB201 = load_space("nb201")
N = 160


def made_pool(n: int = N, seed: int = 0, **options: Any) -> Pool:
    """Cells of nb201 whose accuracy depends on their operations and on nothing else."""
    rng = np.random.default_rng(seed)
    specs = [
        NB201.architecture(int(i)).spec for i in rng.choice(15_625, n, replace=False)
    ]
    accuracy = np.array([10.0 * s.count("3x3") + 3 * s.count("skip") for s in specs])
    accuracy += rng.normal(size=n)
    noise = rng.normal(size=n)
    gaps = noise.copy()
    gaps[rng.choice(n, n // 5, replace=False)] = math.nan
    scores = {
        "params": np.array([float(s.count("conv")) for s in specs]),
        "flops": np.array([float(s.count("3x3")) for s in specs]),
        "good": accuracy + rng.normal(size=n),
        "noise": noise,
        "gaps": gaps,
    }
    study = study_of(
        scores,
        accuracy,
        baselines=("params", "flops"),
        dataset="cifar10",
        space="nb201",
        archs=specs,
    )
    return pool_of(study, **options)


SETTING = Setting(
    train=(40,), trials=2, models=("ridge",), features=("encoding", "encoding+good")
)


# Isomorphic cells


def benchmark_string(cell: tuple[str, ...]) -> str:
    """A cell as NAS-Bench-201 writes it to count those that are not isomorphic."""
    on = dict(zip(edges_of(4), cell, strict=True))
    nodes = ["0"]
    for target in range(1, 4):
        terms = []
        for source in range(target):
            op, inside = on[source, target], nodes[source]
            if op == "none" or inside == "#":
                terms.append("#")
            else:
                terms.append(inside if op == "skip_connect" else f"({inside})@{op}")
        nodes.append("+".join(sorted(terms)))
    return nodes[3]


def test_the_benchmark_never_takes_two_functions_for_one() -> None:
    function: dict[str, str] = {}
    for index in range(len(NB201)):
        arch = NB201.architecture(index)
        found = NB201.function_class(arch)
        assert function.setdefault(benchmark_string(NB201.cell(arch.spec)), found) == (
            found
        )
    assert len(function) == 6466
    assert len(set(function.values())) == 4930


def test_cells_of_one_class_compute_the_same() -> None:
    """On numbers: operations are random polynomials, so that sums and order matter."""
    a, b, c = np.random.default_rng(0).uniform(0.5, 1.5, (3, 50))
    operation = {
        "none": lambda x: 0.0,
        "skip_connect": lambda x: x,
        "nor_conv_1x1": lambda x: a * x * x + x,
        "nor_conv_3x3": lambda x: b * x * x - 2 * x,
        "avg_pool_3x3": lambda x: c * x * x + 3 * x,
    }
    values: dict[str, np.ndarray] = {}
    for index in range(0, len(NB201), 3):
        arch = NB201.architecture(index)
        on = dict(zip(edges_of(4), NB201.cell(arch.spec), strict=True))
        nodes = [np.full(50, 0.7)]
        for target in range(1, 4):
            nodes.append(
                sum(operation[on[s, target]](nodes[s]) for s in range(target))
                + np.zeros(50)
            )
        same = values.setdefault(NB201.function_class(arch), nodes[3])
        np.testing.assert_allclose(nodes[3], same, rtol=1e-9, atol=1e-12)
    distinct = {tuple(np.round(v, 9)) for v in values.values()}
    assert len(distinct) == len(values)


# Encodings


def test_operations_are_one_of_each_place() -> None:
    specs = [NB201.architecture(i).spec for i in (0, 7, 15_624, 3_125)]
    found = operations(NB201, specs)
    assert found.sum(axis=1).tolist() == [6.0] * 4
    for i, j in product(range(4), repeat=2):
        same = sum(
            a == b
            for a, b in zip(NB201.cell(specs[i]), NB201.cell(specs[j]), strict=True)
        )
        assert found[i] @ found[j] == same


def test_paths_are_those_that_a_walk_finds() -> None:
    rng = np.random.default_rng(0)
    specs = [NB201.architecture(int(i)).spec for i in rng.integers(0, 15_625, 40)]
    walked = []
    for spec in specs:
        on = dict(zip(edges_of(4), NB201.cell(spec), strict=True))
        open_ends, done = [(0, ())], set()
        while open_ends:
            node, word = open_ends.pop()
            if node == 3:
                done.add(word)
            open_ends += [
                (target, (*word, on[node, target]))
                for target in range(node + 1, 4)
                if on[node, target] != "none"
            ]
        assert paths_of(NB201.cell(spec), 4) == done
        walked.append(done)
    found = paths(NB201, specs)
    for i, j in product(range(40), repeat=2):
        assert found[i] @ found[j] == len(walked[i] & walked[j])


def test_adjacency_counts_operations_in_the_order_of_the_index() -> None:
    assert adjacency(NB201, [NB201.architecture(1).spec]).tolist() == [[0.0] * 5 + [1]]


def test_other_spaces_are_encoded_by_the_parts_of_their_strings() -> None:
    macro, fcnet = load_space("macro"), load_space("fcnet")
    specs = [macro.architecture(i).spec for i in (0, 1, 6560)]
    assert operations(macro, specs).sum(axis=1).tolist() == [8.0] * 3
    found = operations(fcnet, ["16-relu-512-tanh", "16-tanh-512-tanh"])
    assert (found[0] @ found[1], found.sum()) == (3.0, 8.0)
    for name, encode in (("paths", paths), ("adjacency", adjacency)):
        with pytest.raises(UsageError) as caught:
            encode(macro, specs)
        assert str(caught.value) == (
            f"The features {name} need cells, and macro has none. Use the features "
            "encoding."
        )


# Features


def test_words_name_features() -> None:
    pool = made_pool()
    names = {
        word: [f.name for f in features_of(pool, word)]
        for word in ("measured", "baselines", "encoding+noise+measured", "params+flops")
    }
    assert names == {
        "measured": ["good", "noise", "gaps"],
        "baselines": ["params", "flops"],
        "encoding+noise+measured": ["encoding", "noise", "good", "gaps"],
        "params+flops": ["params", "flops"],
    }
    assert all(f.shuffled for f in features_of(pool, "shuffled"))
    assert len(features_of(pool, "proxies+shuffled")) == 10


def test_defaults_name_what_the_run_has() -> None:
    pool = made_pool()
    assert default_features(pool) == (
        "encoding",
        "params+flops",
        "encoding+params+flops",
        "proxies",
        "encoding+proxies",
        "encoding+shuffled",
    )
    few = made_pool(proxies=["good"])
    assert "params" not in " ".join(default_features(few))
    assert list(few.scores) == ["good"]


def test_what_does_not_exist_is_named() -> None:
    pool = made_pool(proxies=["good", "noise"])
    with pytest.raises(UsageError, match=re.escape("Unknown feature 'goof'. Did you")):
        features_of(pool, "encoding+goof")
    with pytest.raises(UsageError) as caught:
        features_of(pool, "baselines")
    assert str(caught.value) == (
        "The features baselines are empty: this run has no such scores. It has good, "
        "noise."
    )
    with pytest.raises(UsageError, match="Unknown proxy of this run 'nois'"):
        made_pool(proxies=["nois"])
    blind = study_of({"a": np.ones(3)}, np.full(3, math.nan))
    with pytest.raises(DataError) as no_truth:
        pool_of(blind)
    assert str(no_truth.value) == (
        "No architecture of run has an accuracy. Give another --target or --truth."
    )


# What models see


def test_ranks_are_shares_of_the_known() -> None:
    known = np.array([3.0, 1.0, 1.0, 7.0, 2.0])
    shares = [(sum(known < x) + sum(known == x) / 2) / 5 for x in known]
    assert ranked(known, known) == pytest.approx(shares, abs=1e-15)
    between = ranked(np.array([-9.0, 1.5, 99.0]), known)
    low, two = shares[1], shares[4]
    assert between == pytest.approx([low, (low + two) / 2, max(shares)], abs=1e-15)


def test_columns_are_scaled_and_vary() -> None:
    rng = np.random.default_rng(1)
    values = np.column_stack([rng.normal(5, 9, 30), np.full(30, 0.1), rng.random(30)])
    values[20:, 1] = 7.0  # varies among the others only
    train = np.arange(20)
    found = columns(Feature("x", values, score=False), train, "rank")
    assert found.shape == (30, 2)
    assert found[:20].mean(axis=0) == pytest.approx([0, 0], abs=1e-12)
    assert found[:20].std(axis=0) == pytest.approx([1, 1])


@pytest.mark.parametrize("values", ["rank", "raw"])
def test_a_missing_score_is_the_median_and_says_so(values: Any) -> None:
    score = np.array([1.0, 5.0, math.nan, 9.0, math.nan, 4.0])
    whole, missing = filled(score, np.arange(4), values).T
    assert missing.tolist() == [0, 0, 1, 0, 1, 0]
    middle = 5.0 if values == "raw" else 0.5
    assert (whole[2], whole[4]) == (middle, middle)
    nothing = filled(np.array([math.nan, math.nan, 1.0]), np.arange(2), values)
    assert nothing.tolist() == [[0, 1], [0, 1], [0, 0]]
    alone = Feature("x", np.array([[math.nan], [math.nan], [1.0]]), score=True)
    assert columns(alone, np.arange(2), values).shape == (3, 0)


def test_a_score_missing_only_outside_has_no_column_for_that() -> None:
    score = np.array([1.0, 2.0, 3.0, math.nan])
    found = columns(Feature("x", score[:, None], score=True), np.arange(3), "rank")
    assert found.shape == (4, 1)
    assert found[3] == found[1]


def test_shuffled_rows_stay_on_their_side() -> None:
    rng = np.random.default_rng(0)
    train = np.array([9, 3, 5, 0])
    feature = Feature("x", np.arange(10.0)[:, None], score=True, shuffled=True)
    seen = set()
    for _ in range(200):
        found = shuffle(feature, train, rng.permutation(10)).values[:, 0]
        assert sorted(found[train]) == sorted(train)
        assert sorted(found) == list(range(10))
        seen.add(tuple(found[np.sort(train)]))
    assert len(seen) == 24  # every order of four


# Splits


def test_no_test_architecture_is_isomorphic_to_a_training_one() -> None:
    pool = made_pool(600)
    setting = replace(SETTING, train=(100,))
    kept = replace(pool, classes=np.arange(600))
    for trial in range(5):
        split = draw(pool, setting, trial)
        train, test = set(split.train.tolist()), set(split.test.tolist())
        names = [NB201.function_class(NB201.parse(a)) for a in pool.archs]
        known = {names[i] for i in train}
        outside = set(range(600)) - train
        assert test == {i for i in outside if names[i] not in known}
        assert split.isomorphs == len(outside) - len(test) > 0
        other = draw(kept, setting, trial)
        assert other.train.tolist() == split.train.tolist()
        assert (len(other.test), other.isomorphs) == (500, 0)


def test_smaller_training_sets_share_the_test_architectures() -> None:
    pool = made_pool()
    one = draw(pool, replace(SETTING, train=(10, 40)), 3)
    assert one.test.tolist() == draw(pool, SETTING, 3).test.tolist()
    some = draw(pool, replace(SETTING, test=17), 3)
    assert some.test.tolist() == one.test.tolist()[:17]


def test_too_few_architectures() -> None:
    pool = made_pool(keep_isomorphs=True)
    with pytest.raises(UsageError) as caught:
        draw(pool, replace(SETTING, test=121), 0)
    assert str(caught.value) == (
        "160 architectures are too few: 40 to train on and 121 to test on are asked "
        "for. Score more, train or test on fewer."
    )
    with pytest.raises(UsageError, match="400 to train on and 4 to test on"):
        draw(pool, replace(SETTING, train=(400,)), 0)
    same = replace(pool, classes=np.zeros(N, dtype=np.int64))
    with pytest.raises(UsageError, match="for, 120 of the rest isomorphic to those"):
        draw(same, SETTING, 0)


# Leakage


class Watch:
    """Keeps what the models predict, in place of the correlation."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.predicted: list[np.ndarray] = []
        plain = trials_module.association

        def watched(predicted: Any, accuracy: Any, kind: Any) -> Any:
            if kind == "spearman":
                self.predicted.append(np.array(predicted))
            return plain(predicted, accuracy, kind)

        monkeypatch.setattr(trials_module, "association", watched)

    def of(self, pool: Pool, setting: Setting) -> list[np.ndarray]:
        self.predicted = []
        run_trials(pool, setting)
        return self.predicted


@pytest.mark.parametrize("values", ["rank", "raw"])
@pytest.mark.parametrize("model", few(reversed(MODELS), 3))
def test_nothing_is_learnt_from_test_architectures(
    model: str, values: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One test architecture is left as it is; all others are poisoned."""
    watch, pool = Watch(monkeypatch), made_pool()
    setting = Setting((12, 40), None, 1, (model,), ("encoding+proxies",), values)
    clean = watch.of(pool, setting)
    probe, *others = draw(pool, setting, 0).test.tolist()
    assert others
    for poison in (math.nan, 1e30, -1e30):
        scores = {name: score.copy() for name, score in pool.scores.items()}
        accuracy = pool.accuracy.copy()
        accuracy[[probe, *others]] = np.arange(len(others) + 1.0)
        for score in scores.values():
            score[others] = poison
        archs = list(pool.archs)
        for position in others:
            archs[position] = NB201.architecture(15_624 - position).spec
        dirty = watch.of(
            replace(pool, scores=scores, accuracy=accuracy, archs=archs), setting
        )
        assert [p[0] for p in dirty] == [p[0] for p in clean]
    assert clean[0][0] != clean[1][0]  # it does depend on the training architectures


@pytest.mark.thorough
def test_accuracies_of_test_architectures_change_no_prediction(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    watch, pool = Watch(monkeypatch), made_pool()
    setting = replace(SETTING, models=tuple(MODELS), features=("encoding+shuffled",))
    clean = watch.of(pool, setting)
    for trial in range(setting.trials):
        accuracy = pool.accuracy.copy()
        accuracy[draw(pool, setting, trial).test] = -1e9
        first = len(MODELS) * trial
        dirty = watch.of(replace(pool, accuracy=accuracy), setting)
        for number in range(first, first + len(MODELS)):
            assert dirty[number].tolist() == clean[number].tolist()


# Trials


@pytest.mark.parametrize("labels", ["rank", "accuracy"])
def test_a_trial_is_what_a_literal_loop_gives(labels: Any) -> None:
    pool = made_pool()
    setting = replace(SETTING, features=("good+params",), labels=labels, trials=3)
    found = run_trials(pool, setting)
    for trial in range(3):
        split = draw(pool, setting, trial)
        table = np.empty((N, 2))
        for column, name in enumerate(("good", "params")):
            known = pool.scores[name][split.train]
            levels = sorted(set(known))
            shares = [(sum(known < v) + sum(known == v) / 2) / 40 for v in levels]
            table[:, column] = np.interp(pool.scores[name], levels, shares)
        table -= table[split.train].mean(axis=0)
        table /= table[split.train].std(axis=0)
        y = pool.accuracy[split.train]
        y = stats.rankdata(y) if labels == "rank" else y
        model = RidgeCV(alphas=[10.0**k for k in range(-2, 5)])
        guess = model.fit(table[split.train], y).predict(table[split.test])
        truth = pool.accuracy[split.test]
        key = 40, "ridge", "good+params"
        rho, tau = stats.spearmanr(guess, truth)[0], stats.kendalltau(guess, truth)[0]
        assert found.spearman[key][trial] == pytest.approx(rho, abs=1e-9)
        assert found.kendall[key][trial] == pytest.approx(tau, abs=1e-9)
        assert found.tested[trial] == len(split.test)


@pytest.mark.parametrize("model", few(reversed(MODELS), 4))
def test_models_learn_and_repeat(model: str) -> None:
    pool = made_pool()
    setting = replace(
        SETTING, models=(model,), features=("encoding", "good", "shuffled"), trials=2
    )
    first, again = run_trials(pool, setting), run_trials(pool, setting)
    for name, least, most in (
        ("encoding", 0.5, 1.0),
        ("good", 0.9, 1.0),
        ("shuffled", -0.4, 0.4),
    ):
        key = 40, model, name
        assert least < first.spearman[key].mean() < most
        assert first.spearman[key].tolist() == again.spearman[key].tolist()
    alone = run_trials(pool, replace(setting, features=("good",)))
    key = 40, model, "good"
    assert alone.spearman[key].tolist() == first.spearman[key].tolist()
    other = run_trials(pool, replace(setting, seed=1))
    assert other.spearman[key].tolist() != first.spearman[key].tolist()


def test_features_that_say_nothing_rank_nothing() -> None:
    pool = made_pool()
    pool.scores["noise"][:] = 4.0  # type: ignore[index]
    setting = replace(SETTING, features=("good", "noise"), models=tuple(MODELS))
    found = run_trials(pool, setting)
    for model in MODELS:
        assert np.isnan(found.spearman[40, model, "noise"]).all()
    block = predictions(pool, setting, found)
    rows = block.table.set_index("features").loc["noise"]
    assert rows["spearman"].tolist() == [0.0] * len(MODELS)
    assert rows["constant"].tolist() == [2] * len(MODELS)


def test_importance_is_what_an_exchange_costs() -> None:
    pool = made_pool()
    setting = replace(
        SETTING, train=(20, 40), features=("good+noise",), importance=True, trials=20
    )
    found = run_trials(pool, setting)
    assert list(found.importance) == [(40, "ridge", "good+noise")]
    drops = found.importance[40, "ridge", "good+noise"]
    whole = found.spearman[40, "ridge", "good+noise"]
    assert drops["good"].mean() == pytest.approx(whole.mean(), abs=0.1)
    assert abs(drops["noise"].mean()) < 0.02
    table = importances(found).table
    assert table["feature"].tolist() == ["good", "noise"]
    assert table["drop"].iloc[0] == drops["good"].mean()
    shuffled = replace(setting, features=("shuffled+good",), trials=1)
    names = run_trials(pool, shuffled).importance[40, "ridge", "shuffled+good"]
    assert {"good", "good (shuffled)"} < set(names)


def test_every_trial_is_told() -> None:
    told: list[int] = []
    run_trials(made_pool(), SETTING, lambda: told.append(len(told)))
    assert told == [0, 1]


def test_an_unknown_model_is_no_model() -> None:
    with pytest.raises(KeyError):
        make_model("boosting", 10, 0)


# Sections


def test_intervals_are_students() -> None:
    values = np.random.default_rng(0).normal(size=12)
    found = mean_of(values, 0.9)
    ends = stats.ttest_1samp(values, 0).confidence_interval(0.9)
    assert found.value == values.mean()
    assert [found.low, found.high] == pytest.approx(list(ends))
    few = mean_of(np.array([0.2, 0.9]), most=1.0)
    assert (few.low, few.high) == (-1.0, 1.0)
    alone = mean_of(values[:1], 0.9)
    assert math.isnan(alone.low)


def test_gains_are_paired_with_the_first_features() -> None:
    keys = [(10, "ridge", "a"), (10, "ridge", "b"), (20, "ridge", "a")]
    keys.append((20, "ridge", "b"))
    values = dict(
        zip(
            keys,
            np.array([[0.1, 0.2], [0.4, 0.6], [0.5, 0.5], [0.5, 0.7]]),
            strict=True,
        )
    )
    trials = Trials(values, values, {}, np.array([5, 5]), np.array([0, 0]))
    setting = Setting((10, 20), None, 2, ("ridge",), ("a", "b"))
    block = predictions(made_pool(), setting, trials)
    assert block.table["gain"].tolist() == pytest.approx([0, 0.35, 0, 0.1])
    assert block.table["spread"].iloc[0] == pytest.approx(np.std([0.1, 0.2], ddof=1))
    assert block.conclusion == (
        "With ridge and 20 training architectures, a reaches ρ .500, b .600 (+20%)."
    )
    assert "gaps 32" in block.about
    assert "own and 5 test architectures of these 160." in block.about
    assert "left out" not in block.about
    moved = replace(trials, tested=np.array([5, 7]), isomorphs=np.array([2, 0]))
    about = predictions(made_pool(), setting, moved).about
    assert "own and 5 to 7 test architectures" in about
    assert "(left out for that: 1 in a trial on average)" in about
