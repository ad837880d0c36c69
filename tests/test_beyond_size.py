"""Beyond size: partial correlation, correlation within bins, gain of a regression."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays
from report_runs import study_of
from scipy import stats as scipy_stats

from zcbench.analysis.size import size
from zcbench.report import Options
from zcbench.report.text import cells
from zcbench.stats import association
from zcbench.stats.association import standard_error
from zcbench.stats.partial import (
    FOLDS,
    bins_of,
    gain,
    independent,
    partial_association,
    within_bins,
)

few_levels = st.integers(0, 4).map(float)


def sample(n: int, seed: int = 0) -> tuple[np.ndarray, ...]:
    """(size, depth, a score of size and something else, accuracy of both)."""
    rng = np.random.default_rng(seed)
    params = rng.integers(0, 9, size=n).astype(float)
    depth = np.round(params / 3 + rng.normal(size=n))
    secret = rng.normal(size=n)
    score = params + 4 * secret + rng.normal(size=n)
    accuracy = params + 3 * secret + depth + rng.normal(size=n)
    return params, depth, score, accuracy


def residual(y: np.ndarray, *xs: np.ndarray) -> np.ndarray:
    design = np.stack([np.ones(len(y)), *map(scipy_stats.rankdata, xs)], axis=1)
    ranks = scipy_stats.rankdata(y)
    return ranks - design @ np.linalg.lstsq(design, ranks, rcond=None)[0]


# --- partial -------------------------------------------------------------------------


def test_partial_correlation_is_that_of_residuals_of_ranks():
    params, depth, score, accuracy = sample(80)
    found = partial_association(score, accuracy, [params, depth])
    a, b = residual(score, params, depth), residual(accuracy, params, depth)
    assert found.value == pytest.approx(np.corrcoef(a, b)[0, 1])
    assert found.low < found.value < found.high


def test_partial_correlation_given_nothing_is_spearmans():
    _, _, score, accuracy = sample(80)
    found, plain = (
        partial_association(score, accuracy, []),
        association(score, accuracy, "spearman"),
    )
    assert found.value == pytest.approx(plain.value)
    assert found.influence == pytest.approx(plain.influence)
    assert (found.low, found.high) == pytest.approx((plain.low, plain.high))


def test_partial_correlation_given_the_same_twice_is_that_given_it_once():
    params, _, score, accuracy = sample(80)
    once = partial_association(score, accuracy, [params])
    twice = partial_association(score, accuracy, [params, 3 * params**3, params])
    assert twice.value == once.value
    assert (twice.low, twice.high) == (once.low, once.high)


def test_independent_leaves_out_linear_combinations():
    rng = np.random.default_rng(0)
    a, b = rng.normal(size=(2, 30))
    assert independent([a, 2 * a, b, a - b, np.zeros(30)]) == [0, 2]


def weighted_partial(w, x, y, z) -> float:
    """The statistic of a distribution with these weights, by its definition."""

    def mid(v):
        f = (np.sign(v[:, None] - v) / 2 + 0.5) @ w
        return f - w @ f

    u, v, c = mid(x), mid(y), mid(z)
    a = u - c * (w @ (u * c)) / (w @ c**2)
    b = v - c * (w @ (v * c)) / (w @ c**2)
    return (w @ (a * b)) / math.sqrt((w @ a**2) * (w @ b**2))


@settings(max_examples=40)
@given(
    x=arrays.arrays(float, 9, elements=few_levels),
    y=arrays.arrays(float, 9, elements=few_levels),
    z=arrays.arrays(float, 9, elements=few_levels),
)
def test_influence_is_the_derivative_of_the_partial_correlation(x, y, z):
    found = partial_association(x, y, [z])
    assume(not math.isnan(found.value) and abs(found.value) < 0.98)
    assume(np.ptp(z) > 0)
    assume(min(np.ptp(residual(x, z)), np.ptp(residual(y, z))) > 0.5)
    n = len(x)
    even, step = np.full(n, 1 / n), 1e-5
    derivative = [
        (
            weighted_partial((1 - step) * even + step * point, x, y, z)
            - weighted_partial((1 + step) * even - step * point, x, y, z)
        )
        / (2 * step)
        for point in np.eye(n)
    ]
    assert found.value == pytest.approx(weighted_partial(even, x, y, z), abs=1e-9)
    assert found.influence == pytest.approx(np.array(derivative), abs=1e-4)


def test_standard_error_is_that_of_deleting_each_point():
    params, depth, score, accuracy = sample(100)
    left_out = []
    for i in range(100):
        p, d, s, a = (np.delete(v, i) for v in (params, depth, score, accuracy))
        left_out.append(np.corrcoef(residual(s, p, d), residual(a, p, d))[0, 1])
    jackknife = math.sqrt(99 / 100 * np.sum((left_out - np.mean(left_out)) ** 2))
    found = partial_association(score, accuracy, [params, depth])
    assert standard_error(found.influence) == pytest.approx(jackknife, rel=0.05)


@pytest.mark.parametrize(
    ("score", "accuracy", "note"),
    [
        (np.full(30, np.nan), np.arange(30.0), "all failed"),
        (np.r_[1.0, 2, 4, np.full(27, np.nan)], np.arange(30.0), "too few"),
        (np.ones(30), np.arange(30.0), "constant"),
        (np.arange(30.0), np.ones(30), "constant truth"),
        (np.arange(30.0) // 3, np.sin(np.arange(30)), "no more than those given"),
        (np.sin(np.arange(30)), np.arange(30.0) // 3, "accuracy is those given"),
    ],
)
def test_partial_correlation_says_why_there_is_none(score, accuracy, note):
    found = partial_association(score, accuracy, [np.arange(30.0) // 3])
    assert math.isnan(found.value)
    assert found.note == note


def test_partial_correlation_uses_points_that_have_everything():
    params, depth, score, accuracy = sample(80)
    params[:5], score[5:10], accuracy[10:15] = np.nan, np.nan, np.nan
    found = partial_association(score, accuracy, [params, depth])
    kept = partial_association(score[15:], accuracy[15:], [params[15:], depth[15:]])
    assert (found.n, found.value) == (65, kept.value)


# --- within bins ---------------------------------------------------------------------


def test_bins_are_values_where_there_are_few_and_large_enough():
    values = np.array([7.0] * 12 + [3.0] * 10 + [5.0] * 9 + [math.nan])
    assert bins_of(values).tolist() == [2] * 12 + [0] * 10 + [-1] * 9 + [-1]


def test_bins_are_quantiles_where_there_are_many_values():
    values = np.random.default_rng(0).normal(size=1000)
    bins = bins_of(values)
    assert np.bincount(bins).tolist() == [50] * 20
    ends = [(values[bins == b].min(), values[bins == b].max()) for b in range(20)]
    assert all(a[1] < b[0] for a, b in itertools.pairwise(ends))
    assert len(set(bins_of(values[:45]).tolist())) == 4


def test_correlation_within_bins_is_the_weighted_mean():
    params, _, score, accuracy = sample(300)
    score[:10] = np.nan
    bins = bins_of(params)
    total, weight = 0.0, 0
    for level in sorted(set(params)):
        here = (params == level) & np.isfinite(score)
        total += here.sum() * scipy_stats.spearmanr(score[here], accuracy[here])[0]
        weight += here.sum()
    found = within_bins(score, accuracy, bins)
    assert found.value == pytest.approx(total / weight)
    assert (found.n, found.bins) == (290, 9)
    assert found.smallest == min(
        ((params == level) & np.isfinite(score)).sum() for level in set(params)
    )


@pytest.mark.thorough
def test_interval_within_bins_covers():
    hits = []
    for seed in range(200):
        rng = np.random.default_rng(seed)
        bins = np.repeat(np.arange(10), 15)
        accuracy = rng.normal(size=150)
        score = rng.normal(size=150) + 5 * bins
        found = within_bins(score, accuracy + bins, bins)
        hits.append(found.low <= 0 <= found.high)
    assert 0.91 <= np.mean(hits) <= 0.99


@pytest.mark.parametrize(
    ("score", "accuracy", "bins", "note"),
    [
        (np.full(30, np.nan), np.arange(30.0), np.zeros(30, int), "all failed"),
        (np.arange(30.0), np.ones(30), np.zeros(30, int), "constant truth"),
        (np.arange(30.0), np.arange(30.0), np.full(30, -1), "no bins"),
        (np.arange(30) // 10, np.arange(30.0), np.arange(30) // 10, "constant in"),
    ],
)
def test_correlation_within_bins_says_why_there_is_none(score, accuracy, bins, note):
    found = within_bins(score.astype(float), accuracy, bins)
    assert math.isnan(found.value)
    assert found.note.startswith(note)


# --- gain ----------------------------------------------------------------------------


def test_gain_is_that_of_regressions_fitted_without_each_fold():
    params, depth, score, accuracy = sample(200)
    found = gain(score, accuracy, [params, depth], seed=4)
    fold = np.random.default_rng(4).permutation(200) % FOLDS

    def powers(v):
        u = (scipy_stats.rankdata(v) - 0.5) / 200
        return [u, u**2, u**3]

    y = scipy_stats.rankdata(accuracy)
    rhos = []
    for variables in ([params, depth], [params, depth, score]):
        columns = [c for v in variables for c in powers(v)]
        design = np.stack([np.ones(200), *columns], axis=1)
        predicted = np.empty(200)
        for f in range(FOLDS):
            there, here = fold != f, fold == f
            slopes = np.linalg.lstsq(design[there], y[there], rcond=None)[0]
            predicted[here] = design[here] @ slopes
        rhos.append(scipy_stats.spearmanr(predicted, y).statistic)
    assert (found.before, found.after) == pytest.approx(rhos, abs=1e-6)
    assert found.difference.value == pytest.approx(rhos[1] - rhos[0], abs=1e-6)
    assert found.difference.low > 0.1


def test_a_score_that_knows_nothing_gains_nothing():
    found = []
    for seed in range(150):
        params, depth, _, accuracy = sample(120, seed)
        noise = np.random.default_rng(1000 + seed).normal(size=120)
        found.append(gain(noise, accuracy, [params, depth], seed=seed).difference)
    assert np.mean([f.value for f in found]) < 0
    assert np.mean([f.low > 0 for f in found]) <= 0.05


def test_a_score_that_is_a_function_of_size_gains_nothing():
    params, depth, _, accuracy = sample(300)
    found = gain(-params, accuracy, [params, depth, 2 * params])
    assert found.difference.note == "same order"
    assert found.difference.value == 0


@pytest.mark.parametrize(
    ("score", "accuracy", "note"),
    [
        (np.full(60, np.nan), np.arange(60.0), "all failed"),
        (np.ones(60), np.arange(60.0), "constant"),
        (np.arange(60.0), np.ones(60), "constant truth"),
        (np.r_[np.arange(20.0), np.full(40, np.nan)], np.arange(60.0), "too few"),
    ],
)
def test_gain_says_why_there_is_none(score, accuracy, note):
    found = gain(score, accuracy, [np.arange(60.0) // 4])
    assert math.isnan(found.difference.value)
    assert found.difference.note == note


# --- the section ---------------------------------------------------------------------


def made(n: int = 300):
    params, depth, score, accuracy = sample(n)
    rng = np.random.default_rng(9)
    scores = {
        "params": params,
        "flops": 2 * params + 1,
        "n_layers": depth,
        "jacov": score,
        "snip": rng.normal(size=n),
        "zen": np.full(n, np.nan),
    }
    return study_of(scores, accuracy, baselines=("params", "flops", "n_layers"))


def test_section_tells_who_adds_to_size():
    study = made()
    block = size([study], Options())
    rows = block.table.set_index("proxy")
    assert list(rows.index) == ["jacov", "n_layers", "snip", "zen"]
    assert rows["word"].to_list() == ["yes", "yes", "not shown", ""]
    sizes = [study.scores["params"], study.scores["flops"]]
    partial = partial_association(study.scores["jacov"], study.accuracy, sizes)
    assert rows.loc["jacov", "partial"] == partial.value
    known = gain(
        study.scores["jacov"], study.accuracy, [*sizes, study.scores["n_layers"]]
    )
    assert rows.loc["jacov", "gain"] == known.difference.value
    assert (rows.loc["jacov", "bins"], rows.loc["jacov", "n_in_bins"]) == (9, 300)
    assert block.conclusion.startswith(
        "toy: 1 of 2 proxies improve on the baselines together, most jacov, from ."
    )


def test_section_says_why_a_number_is_missing():
    printed = {line[1]: line for line in cells(size([made()], Options()))}
    assert set(printed["zen"][3:-1]) == {"all failed"}
    without = study_of({"jacov": np.arange(50.0)}, np.arange(50.0), baselines=())
    printed = {line[1]: line for line in cells(size([without], Options()))}
    assert printed["jacov"][4:6] == ("size was not run",) * 2
    assert printed["jacov"][-2] == "size was not run"


@pytest.mark.parametrize("n", [1, 3, 8])
def test_section_of_few_architectures_gives_words(n):
    block = size([made(n)], Options())
    printed = {line[1]: line for line in cells(block)}
    assert printed["jacov"][-2] == "too few"
    assert not any("nan" in text for line in cells(block) for text in line)
    assert block.conclusion == ""
