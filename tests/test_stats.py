"""Correlations, influence values, intervals: against literal computations."""

from __future__ import annotations

import math
from itertools import permutations, product

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays
from levels import few
from scipy import stats as scipy_stats
from simulations import (
    rank_bootstrap,
    simulate_agreement,
    simulate_coverage,
    simulate_family,
)

from zcbench.stats import (
    KINDS,
    Family,
    Ranks,
    association,
    concordance,
    difference,
    holm,
    linear_bootstrap,
    paired_difference,
    resample_counts,
)
from zcbench.stats.association import standard_error
from zcbench.stats.tasks import (
    PRIOR,
    critical_difference,
    fewest_units,
    friedman,
    interval_over_units,
    leads,
    ranks,
    signed_rank,
)

SCIPY = {
    "spearman": lambda x, y: scipy_stats.spearmanr(x, y).statistic,
    "kendall": lambda x, y: scipy_stats.kendalltau(x, y, variant="b").statistic,
}
few_levels = st.integers(0, 4).map(float)


def sample(n: int, seed: int = 0, *, tied: bool = False) -> tuple[np.ndarray, ...]:
    """(score a, score b, accuracy) that agree in part."""
    rng = np.random.default_rng(seed)
    accuracy = rng.normal(size=n)
    a = accuracy + rng.normal(size=n)
    b = accuracy + a + rng.normal(size=n)
    if tied:
        a, accuracy = np.round(a), np.round(accuracy * 2)
    return a, b, accuracy


def signs(values: np.ndarray) -> np.ndarray:
    return np.sign(values[:, None] - values)


def weighted(kind: str, weights: np.ndarray, x: np.ndarray, y: np.ndarray) -> float:
    """The statistic of a distribution with these weights, by its definition, O(n²)."""
    if kind == "kendall":
        pairs = np.outer(weights, weights)
        agree = (pairs * signs(x) * signs(y)).sum()
        return agree / math.sqrt(
            (pairs * signs(x) ** 2).sum() * (pairs * signs(y) ** 2).sum()
        )
    u = (signs(x) / 2 + 0.5) @ weights  # mid-distribution function
    v = (signs(y) / 2 + 0.5) @ weights
    u, v = u - weights @ u, v - weights @ v
    return (weights @ (u * v)) / math.sqrt((weights @ u**2) * (weights @ v**2))


@given(
    arrays.arrays(float, 23, elements=few_levels),
    arrays.arrays(float, 23, elements=few_levels),
)
def test_concordance_counts_pairs_with_ties(x, y):
    expected = (signs(x) * signs(y)).sum(axis=1)
    assert concordance(Ranks.of(x), Ranks.of(y)).tolist() == expected.tolist()


@pytest.mark.parametrize("n", [1, 2, 3, 64, 65, 1000])
def test_concordance_counts_pairs_for_any_number_of_points(n):
    a, _, accuracy = sample(n)
    expected = (signs(a) * signs(accuracy)).sum(axis=1)
    found = concordance(Ranks.of(a), Ranks.of(accuracy))
    assert found.tolist() == expected.tolist()


def test_concordance_of_a_whole_space_adds_up_to_tau():
    a, _, accuracy = sample(15_625)
    n = len(a)
    tau = concordance(Ranks.of(a), Ranks.of(accuracy)).sum() / (n * (n - 1))
    assert tau == pytest.approx(SCIPY["kendall"](a, accuracy), abs=1e-12)


@pytest.mark.parametrize("kind", KINDS)
@settings(max_examples=40)
@given(
    x=arrays.arrays(float, 9, elements=few_levels),
    y=arrays.arrays(float, 9, elements=few_levels),
)
def test_influence_is_the_derivative_of_the_statistic(kind, x, y):
    assume(np.ptp(x) > 0 and np.ptp(y) > 0)
    n = len(x)
    even, step = np.full(n, 1 / n), 1e-5
    derivative = [
        (
            weighted(kind, (1 - step) * even + step * point, x, y)
            - weighted(kind, (1 + step) * even - step * point, x, y)
        )
        / (2 * step)
        for point in np.eye(n)
    ]
    found = association(x, y, kind)
    assert found.value == pytest.approx(weighted(kind, even, x, y), abs=1e-12)
    assert found.influence == pytest.approx(np.array(derivative), abs=1e-6)
    assert found.influence.mean() == pytest.approx(0, abs=1e-12)


@pytest.mark.parametrize("tied", [False, True])
@pytest.mark.parametrize("kind", KINDS)
def test_standard_error_is_that_of_deleting_each_point(kind, tied):
    x, _, y = sample(120, tied=tied)
    n = len(x)
    left_out = [SCIPY[kind](np.delete(x, i), np.delete(y, i)) for i in range(n)]
    jackknife = math.sqrt((n - 1) / n * np.sum((left_out - np.mean(left_out)) ** 2))
    found = standard_error(association(x, y, kind).influence)
    assert found == pytest.approx(jackknife, rel=0.03)


@pytest.mark.parametrize("tied", few([True, False]))
@pytest.mark.parametrize("kind", KINDS)
def test_interval_is_near_that_of_a_bootstrap(kind, tied):
    x, _, y = sample(300, tied=tied)
    rng = np.random.default_rng(1)
    draws = rng.integers(len(x), size=(1000, len(x)))
    values = [SCIPY[kind](x[drawn], y[drawn]) for drawn in draws]
    found = association(x, y, kind)
    expected = np.quantile(values, [0.025, 0.975])
    assert [found.low, found.high] == pytest.approx(expected, abs=0.015)


@pytest.mark.parametrize("kind", KINDS)
@settings(max_examples=50)
@given(
    x=arrays.arrays(float, 12, elements=few_levels),
    y=arrays.arrays(float, 12, elements=few_levels),
)
def test_value_is_scipys_and_lies_in_its_interval(kind, x, y):
    assume(np.ptp(x) > 0 and np.ptp(y) > 0)
    found = association(x, y, kind)
    assert found.value == pytest.approx(SCIPY[kind](x, y), abs=1e-12)
    if not found.note:
        assert -1 <= found.low < found.value < found.high <= 1


@pytest.mark.parametrize("kind", KINDS)
def test_sign_is_kept(kind):
    x, _, y = sample(50)
    up, down = association(x, y, kind), association(-x, y, kind)
    assert up.value > 0.3
    assert down.value == pytest.approx(-up.value)
    assert (down.low, down.high) == pytest.approx((-up.high, -up.low))


@pytest.mark.parametrize("kind", KINDS)
def test_only_finite_pairs_count(kind):
    x, _, y = sample(40)
    x[[0, 1, 2]] = np.nan, np.inf, -np.inf
    y[5] = np.nan
    kept = np.setdiff1d(np.arange(40), [0, 1, 2, 5])
    found = association(x, y, kind)
    assert found.n == len(found.influence) == 36
    assert found.value == pytest.approx(SCIPY[kind](x[kept], y[kept]))


def test_scale_does_not_matter():
    x, _, y = sample(30)
    huge = association(np.exp(100 * x), y, "spearman")
    assert huge.value == association(x, y, "spearman").value


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(
    ("score", "accuracy", "n", "note"),
    [
        ([], [], 0, "all failed"),
        ([math.nan] * 9, range(9), 0, "all failed"),
        (range(3), range(3), 3, "too few"),
        ([1, 2, 3, math.nan], range(4), 3, "too few"),
        (range(4), [1, 2, 3, math.nan], 3, "too few"),
        ([7] * 9, range(9), 9, "constant"),
        (range(9), [7] * 9, 9, "constant truth"),
        ([7] * 9, [7] * 9, 9, "constant truth"),
    ],
)
def test_no_number_where_there_is_none(kind, score, accuracy, n, note):
    found = association(score, accuracy, kind)
    numbers = [found.value, found.low, found.high]
    assert np.isnan(numbers).all()
    assert (found.n, found.note, len(found.influence)) == (n, note, 0)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("sign", [1, -1])
def test_a_perfect_order_has_a_value_but_no_interval(kind, sign):
    found = association(sign * np.arange(9), np.arange(9) ** 2, kind)
    assert (found.value, found.note) == (sign, "perfect")
    assert math.isnan(found.low)
    assert math.isnan(found.high)


@pytest.mark.parametrize("kind", KINDS)
def test_more_confidence_is_a_wider_interval(kind):
    x, _, y = sample(50)
    narrow = association(x, y, kind, confidence=0.5)
    wide = association(x, y, kind, confidence=0.99)
    assert wide.low < narrow.low < narrow.high < wide.high


@pytest.mark.parametrize("tied", few([False, True]))
@pytest.mark.parametrize("kind", KINDS)
def test_paired_difference_is_near_that_of_a_bootstrap(kind, tied):
    a, b, y = sample(300, tied=tied)
    rng = np.random.default_rng(1)
    draws = rng.integers(len(a), size=(1000, len(a)))
    statistic = SCIPY[kind]
    deltas = [statistic(a[d], y[d]) - statistic(b[d], y[d]) for d in draws]
    found = paired_difference(a, b, y, kind)
    assert found.value == pytest.approx(statistic(a, y) - statistic(b, y))
    expected = np.quantile(deltas, [0.025, 0.975])
    assert [found.low, found.high] == pytest.approx(expected, abs=0.012)
    apart = math.hypot(
        *(standard_error(association(s, y, kind).influence) for s in (a, b))
    )
    assert np.std(deltas) < 0.9 * apart  # pairing matters here


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("seed", range(5))
def test_p_value_agrees_with_the_interval(kind, seed):
    rng = np.random.default_rng(seed)
    a, b, y = rng.normal(size=(3, 30))
    a += y / 3
    found = paired_difference(a, b, y, kind)
    assert (found.p < 0.05) == (found.low > 0 or found.high < 0)
    at_edge = paired_difference(a, b, y, kind, confidence=1 - found.p)
    assert min(at_edge.low, -at_edge.high, key=abs) == pytest.approx(0, abs=1e-9)
    swapped = paired_difference(b, a, y, kind)
    assert (swapped.value, swapped.p) == pytest.approx((-found.value, found.p))


def test_paired_difference_uses_the_shared_points():
    a, b, y = sample(60)
    a[:5], b[5:9] = np.nan, np.nan
    found = paired_difference(a, b, y, "spearman")
    assert found.n == 51
    statistic = SCIPY["spearman"]
    assert found.value == pytest.approx(
        statistic(a[9:], y[9:]) - statistic(b[9:], y[9:])
    )


@pytest.mark.parametrize("kind", KINDS)
def test_scores_of_the_same_order_do_not_differ(kind):
    a, _, y = sample(40, tied=True)
    found = paired_difference(a, 28_000 * a + 73_306, y, kind)
    assert (found.value, found.low, found.high, found.p) == (0, 0, 0, 1)
    assert found.note == "same order"


@pytest.mark.parametrize(
    ("a", "b", "accuracy", "note"),
    [
        ([math.nan] * 9, range(9), range(9), "all failed"),
        (range(9), [1] * 9, range(9), "constant"),
        (range(9), range(9), [1] * 9, "constant truth"),
        (range(3), range(3), range(3), "too few"),
    ],
)
def test_no_difference_where_a_correlation_is_missing(a, b, accuracy, note):
    found = paired_difference(a, b, accuracy, "kendall")
    assert np.isnan([found.value, found.low, found.high, found.p]).all()
    assert found.note == note


@pytest.mark.thorough
@pytest.mark.parametrize("levels", [None, 5])
@pytest.mark.parametrize("kind", KINDS)
def test_intervals_cover_and_tests_reject_at_their_rates(kind, levels):
    found = simulate_coverage(kind, 50, levels=levels, samples=300)
    assert 0.91 <= found.covered <= 0.985
    assert 0.015 <= found.rejected <= 0.09
    assert found.undefined == 0


@pytest.mark.thorough
def test_coverage_follows_the_confidence():
    half = simulate_coverage("spearman", 50, samples=400, confidence=0.5)
    assert 0.42 <= half.covered <= 0.58
    assert 0.42 <= half.rejected <= 0.58


def test_coverage_leaves_out_samples_without_an_interval():
    found = simulate_coverage("kendall", 4, correlation=0.95, samples=100)
    assert 0.2 < found.undefined < 0.9


@pytest.mark.parametrize("kind", KINDS)
def test_interval_at_another_level_is_that_of_its_confidence(kind):
    a, b, y = sample(40)
    found = paired_difference(a, b, y, kind)
    wide = paired_difference(a, b, y, kind, confidence=0.99)
    assert found.interval(0.05) == pytest.approx((found.low, found.high))
    assert found.interval(0.01) == pytest.approx((wide.low, wide.high))
    assert np.isnan(paired_difference(a, b, b * 0, kind).interval(0.01)).all()
    known = difference(*(association(v, y, kind) for v in (a, b)))
    assert (known.value, known.low, known.p) == (found.value, found.low, found.p)
    assert known.influence == pytest.approx(found.influence)
    assert standard_error(found.influence * found.n) == pytest.approx(found.error)


# --- bootstrap -----------------------------------------------------------------------


def test_resamples_draw_n_points_with_replacement():
    rng = np.random.default_rng(0)
    chunks = list(resample_counts(50, 150, rng))
    counts = np.concatenate(chunks)
    assert counts.shape == (150, 50)
    assert max(len(chunk) for chunk in chunks) < 150
    assert set(counts.sum(axis=1)) == {50}
    assert counts.var() == pytest.approx(1 - 1 / 50, rel=0.1)


@pytest.mark.parametrize("tied", [False, True])
def test_rank_bootstrap_ranks_each_resample_anew(tied):
    a, b, y = sample(40, tied=tied)
    found = rank_bootstrap(np.stack([a, b]), y, 70, np.random.default_rng(3))
    counts = np.concatenate(list(resample_counts(40, 70, np.random.default_rng(3))))
    assert found.shape == (70, 2)
    for row, count in zip(found, counts.astype(int), strict=True):
        drawn = np.repeat(np.arange(40), count)
        expected = [SCIPY["spearman"](score[drawn], y[drawn]) for score in (a, b)]
        assert row == pytest.approx(expected)


def test_rank_bootstrap_of_a_constant_resample_is_no_number():
    x = np.array([0.0, 1.0])
    found = rank_bootstrap(x[None], x, 30, np.random.default_rng(0))
    assert set(np.unique(found[np.isfinite(found)])) == {1.0}
    assert 5 < np.isnan(found).sum() < 25


@pytest.mark.parametrize("tied", [False, True])
def test_linear_bootstrap_is_near_the_one_ranked_anew(tied):
    a, b, y = sample(300, tied=tied)
    known = [association(score, y, "spearman") for score in (a, b)]
    influence = np.stack([k.influence / k.n for k in known], axis=1)
    linear = linear_bootstrap(influence, 1500, np.random.default_rng(5))
    anew = rank_bootstrap(np.stack([a, b]), y, 1500, np.random.default_rng(5))
    anew -= [k.value for k in known]
    assert linear.std(axis=0) == pytest.approx(anew.std(axis=0), rel=0.05)
    for i in range(2):
        assert np.corrcoef(linear[:, i], anew[:, i])[0, 1] > 0.97
    delta = linear[:, 0] - linear[:, 1], anew[:, 0] - anew[:, 1]
    assert np.quantile(delta[0], [0.025, 0.975]) == pytest.approx(
        np.quantile(delta[1], [0.025, 0.975]), abs=0.01
    )


# --- many comparisons ----------------------------------------------------------------


@given(st.lists(st.floats(0, 1) | st.just(math.nan), max_size=12))
def test_holm_is_that_of_plain_loops(p):
    found = holm(p)
    known = sorted(value for value in p if not math.isnan(value))
    for value, corrected in zip(p, found, strict=True):
        if math.isnan(value):
            assert math.isnan(corrected)
            continue
        steps = [
            min(1.0, other * (len(known) - place))
            for place, other in enumerate(known)
            if other <= value
        ]
        assert corrected == max(steps)


def family(comparisons: int, shared: float, draws: int = 999, seed: int = 0):
    """Comparisons whose deviations correlate by that much."""
    common = np.full((1, comparisons), math.sqrt(shared))
    own = math.sqrt(1 - shared) * np.eye(comparisons)
    influence = np.concatenate([common, own])  # correlation: shared off the diagonal
    return Family.of([2 * influence], np.random.default_rng(seed), draws)


@pytest.mark.parametrize("confidence", [0.5, 0.9, 0.95])
@pytest.mark.parametrize("shared", [0.0, 0.5, 0.99])
@settings(max_examples=30)
@given(p=st.floats(1e-9, 1))
def test_corrected_p_and_level_agree(confidence, shared, p):
    found = family(20, shared)
    level = found.level(confidence)
    assume(abs(p - level) > 1e-9)
    assert (found.adjusted(p) <= 1 - confidence + 1e-12) == (p < level)
    assert p <= found.adjusted(p) <= min(1, 20 * p) + 1e-15


def test_level_lies_between_bonferronis_and_none():
    alone, apart, same = (
        family(20, shared, 4999).level(0.95) for shared in (0.0, 0.8, 1.0)
    )
    assert alone == pytest.approx(1 - 0.95 ** (1 / 20), rel=0.2)
    assert alone < apart < same
    assert same == pytest.approx(0.05, rel=0.15)
    assert family(1, 0.0).level(0.95) == pytest.approx(0.05)


def test_few_draws_fall_back_to_bonferroni():
    few = family(20, 0.9, draws=10)
    assert few.level(0.95) == pytest.approx(0.05 / 20)
    assert few.adjusted(0.002) == pytest.approx(0.04)
    nothing = Family.of([], np.random.default_rng(0))
    assert (nothing.comparisons, len(nothing.largest)) == (0, 0)
    assert math.isnan(nothing.adjusted(math.nan))


def test_comparisons_without_an_error_do_not_count():
    rng = np.random.default_rng(0)
    influence = rng.normal(size=(50, 2)) * [1, 0]
    known = Family.of([influence], rng, 9999)
    assert known.comparisons == 1
    # One comparison: the largest |z| is the |z| of a normal number.
    assert np.quantile(known.largest, 0.95) == pytest.approx(1.96, abs=0.06)


def test_the_largest_z_is_that_of_the_bootstrap():
    rng = np.random.default_rng(3)
    values = rng.normal(size=(400, 3)) @ rng.normal(size=(3, 12))
    influence = (values - values.mean(axis=0)) / len(values)
    error = np.sqrt(np.square(influence).sum(axis=0))
    resampled = np.abs(linear_bootstrap(influence, 4000, rng)) / error
    by_bootstrap = np.quantile(resampled.max(axis=1), [0.5, 0.95])
    drawn = Family.of([influence], rng, 20_000).largest
    assert np.quantile(drawn, [0.5, 0.95]) == pytest.approx(by_bootstrap, rel=0.04)


def test_the_level_lies_within_what_other_draws_would_give():
    least, most = family(20, 0.5, 20_000).levels(0.95)
    others = [family(20, 0.5, 20_000, seed).level(0.95) for seed in range(1, 21)]
    assert least < min(others)
    assert max(others) < most
    assert most < 1.4 * least


# --- several tasks -------------------------------------------------------------------


def test_ranks_and_leads():
    values = np.array([[0.1, 0.7, 0.7, -0.2], [0.4, 0.3, 0.2, 0.1]])
    assert ranks(values).tolist() == [[3, 1.5, 1.5, 4], [1, 2, 3, 4]]
    assert leads(values, [0, 3]) == pytest.approx(
        np.array([[0, 0.6, 0.6, -0.3], [0, -0.1, -0.2, -0.3]])
    )


def test_friedmans_statistic_is_scipys_and_its_p_that_of_all_permutations():
    table = np.array([[1.0, 2, 3], [2, 1, 3], [1, 2, 3]])
    found = friedman(table, 4000, np.random.default_rng(0))
    assert found.units == 3
    assert found.statistic == pytest.approx(
        scipy_stats.friedmanchisquare(*table.T).statistic
    )
    every = [
        scipy_stats.friedmanchisquare(*np.array(rows).T).statistic
        for rows in product(permutations([1, 2, 3]), repeat=3)
    ]
    exact = np.mean(np.array(every) >= found.statistic - 1e-9)
    assert found.p == pytest.approx(exact, abs=0.025)


@pytest.mark.parametrize("shape", [(1, 4), (3, 1)])
def test_friedman_needs_units_and_scores(shape):
    found = friedman(np.ones(shape), 100, np.random.default_rng(0))
    assert math.isnan(found.statistic)
    assert math.isnan(found.p)


@pytest.mark.parametrize(("k", "q"), [(2, 1.960), (5, 2.728), (10, 3.164)])
def test_critical_difference_is_that_of_the_published_table(k, q):
    """Values of q from Demsar 2006, table 5a."""
    expected = q * math.sqrt(k * (k + 1) / (6 * 12))
    assert critical_difference(k, 12, 0.95) == pytest.approx(expected, rel=1e-3)
    assert math.isnan(critical_difference(k, 1, 0.95))


def test_signed_rank_needs_units():
    differences = np.array([0.1, 0.2, 0.3, 0.4, 0.5, -0.05])
    sizes = np.arange(1, 7)
    sums = [sizes[np.array(signs)].sum() for signs in product([True, False], repeat=6)]
    negative = 1  # the smallest alone
    exact = 2 * np.mean(np.array(sums) <= negative)
    assert signed_rank(differences, 0.95) == pytest.approx(exact)
    assert math.isnan(signed_rank(differences[:5], 0.95))
    assert math.isnan(signed_rank(np.zeros(9), 0.95))
    assert [fewest_units(c) for c in (0.5, 0.9, 0.95, 0.99)] == [2, 5, 6, 8]


def test_intervals_over_units_are_those_of_a_moderated_t():
    values = np.array([[0.1, 0.5, 0.2], [0.3, 0.5, 0.9], [0.2, 0.8, 0.4]])
    low, high = interval_over_units(values, [0, 1], 0.9)
    variance = [np.var(column, ddof=1) for column in values.T]
    prior = (variance[0] + variance[1]) / 2
    for i, column in enumerate(values.T):
        shrunk = (PRIOR * prior + 2 * variance[i]) / (PRIOR + 2)
        half = scipy_stats.t.ppf(0.95, PRIOR + 2) * math.sqrt(shrunk / 3)
        assert low[i] == pytest.approx(column.mean() - half)
        assert high[i] == pytest.approx(column.mean() + half)


@pytest.mark.parametrize("units", [2, 3, 12])
def test_intervals_over_units_cover(units):
    rng = np.random.default_rng(units)
    spread = rng.uniform(0.5, 1.5, size=20)
    hits = []
    for _ in range(300):
        low, high = interval_over_units(
            spread * rng.normal(size=(units, 20)), range(20), 0.95
        )
        hits.append((low <= 0) & (high >= 0))
    assert np.mean(hits) == pytest.approx(0.95, abs=0.03)


# --- simulations ---------------------------------------------------------------------


def test_bootstraps_agree_in_simulation():
    found = simulate_agreement(100, samples=60, resamples=200)
    assert found.error_ratio == pytest.approx(1, abs=0.05)
    assert found.width == pytest.approx(found.width_by_ranks, rel=0.05)
    assert found.covered > 0.85
    assert found.covered_by_ranks > 0.85


@pytest.mark.thorough
def test_tables_reject_at_their_rate():
    settings = {"proxies": 3, "baselines": 2, "datasets": 2, "draws": 2000}
    found = simulate_family(60, samples=150, **settings)
    assert found.comparisons == 12
    assert found.uncorrected > 0.2
    assert found.holm < 0.1
    assert found.largest < 0.1
    assert found.together == 1 - found.largest
    assert found.false_lead < 0.05
    assert math.isnan(found.power_holm)
    better = simulate_family(300, better=0.9, samples=20, **settings)
    assert better.power_largest > 0.9
    assert better.power_holm > 0.9
