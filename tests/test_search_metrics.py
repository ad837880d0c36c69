"""What a search finds: against every draw and every way to break ties."""

from __future__ import annotations

import dataclasses
import itertools
import math

import numpy as np
import pytest
from report_runs import study_of
from scipy import stats as scipy_stats

from zcbench.analysis.top import RANDOM, TRAINED, search
from zcbench.report import Options
from zcbench.report.text import cells
from zcbench.stats.ceilings import top
from zcbench.stats.search_metrics import (
    best_of,
    chosen,
    last_if_missing,
    ndcg,
    precision_at,
    weighted_tau,
)

SCORE = np.array([2.0, 1.0, 2.0, math.nan, 1.0, 3.0, math.nan])
ACCURACY = np.array([90.0, 80.0, 91.5, 10.0, 91.5, 89.0, 60.0])


def orders(values: np.ndarray) -> list[tuple[int, ...]]:
    """Every order of the points from best to worst, ties in every way."""
    n = len(values)
    return [
        order
        for order in itertools.permutations(range(n))
        if all(values[a] >= values[b] for a, b in itertools.pairwise(order))
    ]


def test_points_without_a_score_come_last():
    assert last_if_missing(SCORE).tolist() == [2, 1, 2, 0, 1, 3, 0]
    assert last_if_missing(np.full(2, np.nan)).tolist() == [0, 0]


@pytest.mark.parametrize("k", range(1, 8))
def test_chosen_is_the_probability_over_ties(k):
    values = last_if_missing(SCORE)
    every = orders(values)
    expected = [sum(i in order[:k] for order in every) / len(every) for i in range(7)]
    assert chosen(values, k).tolist() == pytest.approx(expected)


@pytest.mark.parametrize("k", range(1, 8))
def test_precision_is_the_mean_over_ties(k):
    by_score, by_accuracy = orders(last_if_missing(SCORE)), orders(ACCURACY)
    hits = [len(set(a[:k]) & set(b[:k])) / k for a in by_score for b in by_accuracy]
    assert precision_at(SCORE, ACCURACY, k) == pytest.approx(np.mean(hits))


@pytest.mark.parametrize("k", range(1, 8))
def test_best_of_k_is_the_mean_over_draws_and_ties(k):
    values = last_if_missing(SCORE)
    found = []
    for drawn in itertools.combinations(range(7), k):
        best = max(values[i] for i in drawn)
        found.append(np.mean([ACCURACY[i] for i in drawn if values[i] == best]))
    assert best_of(SCORE, ACCURACY, [k])[0] == pytest.approx(np.mean(found))


def test_best_of_one_is_the_mean_and_best_of_all_the_first():
    rng = np.random.default_rng(0)
    score, accuracy = rng.normal(size=(2, 15_625))
    found = best_of(score, accuracy, [1, 15_625])
    assert found[0] == pytest.approx(accuracy.mean(), abs=1e-6)
    assert found[1] == pytest.approx(accuracy[np.argmax(score)], abs=1e-6)


def test_best_of_k_is_what_draws_find():
    rng = np.random.default_rng(0)
    score, accuracy = rng.normal(size=(2, 300))
    accuracy += score
    drawn = [rng.choice(300, 30, replace=False) for _ in range(4000)]
    found = [accuracy[d[np.argmax(score[d])]] for d in drawn]
    assert best_of(score, accuracy, [30])[0] == pytest.approx(np.mean(found), abs=0.05)


def test_weighted_tau_is_the_sum_over_pairs():
    score, accuracy = last_if_missing(SCORE), ACCURACY

    def by(first, second):
        """Ranks from 0 at the top, by the first, then by the second."""
        order = sorted(range(7), key=lambda i: (-first[i], -second[i], i))
        return {i: r for r, i in enumerate(order)}

    def tau(rank):
        def product(x, y):
            return sum(
                np.sign(x[i] - x[j])
                * np.sign(y[i] - y[j])
                * (1 / (1 + rank[i]) + 1 / (1 + rank[j]))
                for i, j in itertools.combinations(range(7), 2)
            )

        return product(score, accuracy) / math.sqrt(
            product(score, score) * product(accuracy, accuracy)
        )

    expected = (tau(by(score, accuracy)) + tau(by(accuracy, score))) / 2
    assert weighted_tau(SCORE, ACCURACY) == pytest.approx(expected)


@pytest.mark.parametrize(
    ("score", "accuracy"), [(np.ones(5), np.arange(5.0)), (np.arange(5.0), np.ones(5))]
)
def test_weighted_tau_of_constants_is_not_defined(score, accuracy):
    assert math.isnan(weighted_tau(score, accuracy))


def test_ndcg_is_the_mean_over_ties():
    def dcg(order):
        return sum(
            (2 ** ACCURACY[i] - 1) / math.log2(1 + j)
            for j, i in enumerate(order, start=1)
        )

    most = dcg(np.argsort(-ACCURACY))
    found = [dcg(order) / most for order in orders(last_if_missing(SCORE))]
    assert ndcg(SCORE, ACCURACY) == pytest.approx(np.mean(found))
    assert ndcg(ACCURACY, ACCURACY) == pytest.approx(1)


@pytest.mark.parametrize(
    ("accuracies", "expected"),
    [
        ([80, 70, 100, 90, 60, 50, 40, 30, 20, 10], 0.50),
        ([100, 90, 80, 70, 60, 50, 10, 20, 30, 40], 1.00),
    ],
)
def test_ndcg_is_that_of_the_published_example(accuracies, expected):
    # the two rankings of ten networks in the figure of Týbl & Neumann (2025)
    found = ndcg(np.arange(10.0, 0, -1), np.array(accuracies, dtype=float))
    assert round(found, 2) == expected


@pytest.mark.parametrize("accuracy", [np.zeros(3), np.array([-3000.0, -1.0, 2.0])])
def test_ndcg_is_of_accuracies_only(accuracy):
    assert math.isnan(ndcg(np.arange(3.0), accuracy))


# --- the section ---------------------------------------------------------------------


def made(n: int = 300, **changes):
    rng = np.random.default_rng(0)
    accuracy = 90 - 5 * rng.exponential(size=n)
    scores = {
        "params": np.round(accuracy + 5 * rng.normal(size=n)),
        "jacov": accuracy + 2 * rng.normal(size=n),
        "zen": np.full(n, np.nan),
    }
    scores["jacov"][:10] = np.nan
    return dataclasses.replace(study_of(scores, accuracy), **changes)


def test_section_holds_the_numbers():
    study = made(train_seconds=np.full(300, 1000.0))
    block = search([study], Options())
    rows = block.table.set_index("proxy")
    assert list(rows.index) == ["jacov", "params", "zen", RANDOM, TRAINED]
    best = top(study.accuracy, 0.1)
    inside = best & np.isfinite(study.scores["jacov"])
    expected = scipy_stats.spearmanr(
        study.scores["jacov"][inside], study.accuracy[inside]
    )
    assert rows.loc["jacov", "rho_top10"] == pytest.approx(expected.statistic)
    reached = best_of(study.scores["jacov"], study.accuracy, [10, 100])
    most = best_of(study.accuracy, study.accuracy, [10, 100])
    assert rows.loc["jacov", "found_100"] == pytest.approx(reached[1])
    assert rows.loc["jacov", "regret_10"] == pytest.approx(most[0] - reached[0])
    assert rows.loc["jacov", "seconds_100"] == pytest.approx(0.1)
    assert rows.loc[TRAINED, "seconds_100"] == 100_000
    assert rows.loc[RANDOM, "found_100"] == pytest.approx(study.accuracy.mean())
    assert math.isnan(rows.loc["jacov", "found_1000"])
    assert block.conclusion == (
        f"toy: of 100 at random, jacov finds {reached[1]:.2f}% in 0.1 s, against "
        f"{rows.loc['params', 'found_100']:.2f}% by params, "
        f"{study.accuracy.mean():.2f}% without looking, {most[1]:.2f}% by training "
        "them all in 100,000 s."
    )


def test_section_says_why_a_number_is_missing():
    printed = {line[1]: line for line in cells(search([made()], Options()))}
    assert set(printed["zen"][2:]) == {"all failed"}
    assert printed[TRAINED][-1] == "unknown"
    few = {line[1]: line for line in cells(search([made(30)], Options()))}
    assert few["jacov §"][4] == "too few"


@pytest.mark.parametrize(
    ("accuracy", "word"),
    [(np.full(300, 50.0), "constant truth"), (np.full(300, np.nan), "too few")],
)
def test_section_of_degenerate_accuracies_gives_words(accuracy, word):
    block = search([made(accuracy=accuracy)], Options())
    printed = {line[1]: line for line in cells(block)}
    assert set(printed["jacov"][2:]) == {word}
    assert not any("nan" in text for line in cells(block) for text in line)
    assert block.conclusion == ""


@pytest.mark.parametrize("n", [1, 3, 12])
def test_section_of_few_architectures_gives_words(n):
    block = search([made(n)], Options())
    assert not any("nan" in text for line in cells(block) for text in line)
