"""Ceilings: from training seeds to the highest correlation that can be reached."""

from __future__ import annotations

import dataclasses
import math

import numpy as np
import pytest
from report_runs import study_of
from scipy import stats as scipy_stats

import zcbench
from zcbench.analysis.ceilings import LIMIT
from zcbench.analysis.ceilings import ceilings as section
from zcbench.report import Options
from zcbench.report.text import cells
from zcbench.stats import association, true_accuracy
from zcbench.stats import ceilings as module
from zcbench.stats.ceilings import ceilings, of_mean, repeatability, top
from zcbench.stats.true_accuracy import TrueAccuracy, local_noise


def trained(
    n: int, noise: float = 0.5, seed: int = 0
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """(true accuracy, mean over seeds, accuracy by seed), two or three seeds."""
    rng = np.random.default_rng(seed)
    true = 90 - 8 * rng.exponential(size=n) ** 1.2
    seeds = true[:, None] + noise * (1 + (90 - true) / 20)[:, None] * rng.normal(
        size=(n, 3)
    )
    seeds[rng.random(n) < 0.5, 2] = np.nan
    return true, np.nanmean(seeds, axis=1), seeds


# --- pieces --------------------------------------------------------------------------


@pytest.mark.parametrize("fraction", [0.01, 0.1, 0.3, 1.0])
@pytest.mark.parametrize("n", [1, 7, 10, 101])
def test_top_takes_the_best_share_and_its_ties(fraction, n):
    accuracy = np.random.default_rng(n).integers(0, 12, size=n).astype(float)
    count = next(k for k in range(n + 1) if k >= fraction * n - 1e-9)
    lowest = sorted(accuracy, reverse=True)[count - 1]
    expected = [value >= lowest for value in accuracy]
    assert top(accuracy, fraction).tolist() == expected


def test_top_leaves_out_points_without_an_accuracy():
    accuracy = np.array([math.nan, 3.0, 1.0, 2.0])
    assert top(accuracy, 0.5).tolist() == [False, True, False, True]
    assert not top(np.full(3, math.nan), 0.5).any()


def test_noise_is_pooled_over_neighbours():
    _, accuracy, seeds = trained(70)
    order = np.argsort(accuracy)
    accuracy, seeds = accuracy[order], seeds[order]
    found = local_noise(accuracy, seeds)
    half = true_accuracy.WINDOW
    for i in range(len(accuracy)):
        squares, freedom = 0.0, 0
        for row in seeds[max(0, i - half) : i + half + 1]:
            known = [value for value in row if not math.isnan(value)]
            squares += sum((v - np.mean(known)) ** 2 for v in known)
            freedom += len(known) - 1
        assert found[i] == pytest.approx(math.sqrt(squares / freedom))


def test_distribution_of_the_true_accuracy_is_bayes_rule_by_plain_loops():
    _, accuracy, seeds = trained(40)
    fitted = TrueAccuracy.fit(accuracy, seeds)
    step, counts = true_accuracy.STEP, np.isfinite(seeds).sum(axis=1)
    order = np.argsort(accuracy)
    noise = dict(
        zip(order.tolist(), local_noise(accuracy[order], seeds[order]), strict=True)
    )
    place, at = {int(order[0]): 0.0}, 0.0
    for a, b in zip(order[:-1].tolist(), order[1:].tolist(), strict=True):
        at += min(6.0, (accuracy[b] - accuracy[a]) / ((noise[a] + noise[b]) / 2))
        place[b] = at
    seen = {i: round((x + 3) / step) for i, x in place.items()}
    bins = max(seen.values()) + 1 + round(3 / step)

    def kernel(observed: int, true: int, seeds_: int) -> float:
        def density(k: int) -> float:
            return math.exp(-0.5 * seeds_ * (step * (k - true)) ** 2)

        return density(observed) / sum(density(k) for k in range(bins))

    k = {
        c: [[kernel(o, t, c) for t in range(bins)] for o in range(bins)] for c in (2, 3)
    }
    prior = [sum(k[2][t][seen[i]] for i in range(40)) for t in range(bins)]
    prior = [p / sum(prior) for p in prior]
    for _ in range(true_accuracy.ITERATIONS):
        new = [0.0] * bins
        for i in range(40):
            row = k[int(counts[i])][seen[i]]
            total = sum(r * p for r, p in zip(row, prior, strict=True))
            for t in range(bins):
                new[t] += row[t] * prior[t] / total / 40
        prior = new
    for i in (0, 7, 39):
        weights = np.array(k[int(counts[i])][seen[i]]) * prior
        row = int(fitted.row[i])
        found = fitted.cumulative[row * bins : (row + 1) * bins] - row
        assert found == pytest.approx(np.cumsum(weights) / weights.sum(), abs=2e-4)


def test_draws_follow_the_distribution():
    _, accuracy, seeds = trained(60)
    fitted = TrueAccuracy.fit(accuracy, seeds)
    point = np.full(20_000, 5)
    drawn = fitted.draw(point, 1, np.random.default_rng(0))[0] / true_accuracy.STEP
    row = int(fitted.row[5])
    expected = fitted.cumulative[row * fitted.bins : (row + 1) * fitted.bins] - row
    counted = [(drawn < k + 0.5).mean() for k in range(fitted.bins)]
    assert counted == pytest.approx(expected.tolist(), abs=0.02)


def test_repeatability_is_the_mean_over_pairs():
    rng = np.random.default_rng(0)
    repeats = rng.normal(size=(50, 1)) + 0.5 * rng.normal(size=(50, 3))
    repeats[:20, 2] = np.nan
    pairs = [
        scipy_stats.spearmanr(repeats[:, 0], repeats[:, 1]).statistic,
        scipy_stats.spearmanr(repeats[20:, 0], repeats[20:, 2]).statistic,
        scipy_stats.spearmanr(repeats[20:, 1], repeats[20:, 2]).statistic,
    ]
    assert repeatability(repeats) == pytest.approx(np.mean(pairs))


@pytest.mark.parametrize(
    "repeats", [np.zeros((9, 0)), np.zeros((9, 1)), np.zeros((9, 2)), np.eye(3)]
)
def test_repeatability_is_unknown_of_one_repeat_of_constants_and_of_few(repeats):
    assert math.isnan(repeatability(repeats))


def test_reliability_of_a_mean_is_that_of_longer_measurements():
    rng = np.random.default_rng(0)
    true = rng.normal(size=40_000)
    first, second = (true[:, None] + rng.normal(size=(len(true), 3)) for _ in range(2))
    one = np.corrcoef(first[:, 0], second[:, 0])[0, 1]
    of_three = np.corrcoef(first.mean(axis=1), second.mean(axis=1))[0, 1]
    assert of_mean(one, 3) == pytest.approx(of_three, abs=0.01)


# --- ceilings ------------------------------------------------------------------------


@pytest.mark.thorough
def test_ceilings_are_those_of_a_known_truth():
    fractions = (1.0, 0.1)
    errors, inside = [], []
    for seed in range(12):
        true, accuracy, seeds = trained(1500, seed=seed)
        found = ceilings(accuracy, seeds, fractions, replicates=24, seed=seed)
        for ceiling, fraction in zip(found.sets, fractions, strict=True):
            best = top(accuracy, fraction)
            value = scipy_stats.spearmanr(true[best], accuracy[best]).statistic
            errors.append(ceiling.value - value)
            inside.append(ceiling.low <= value <= ceiling.high)
    errors_all, errors_top = np.array(errors).reshape(-1, 2).T
    assert abs(errors_all.mean()) < 0.003
    assert abs(errors_top.mean()) < 0.03
    assert np.mean(inside[1::2]) > 0.7


def test_ceilings_predict_a_seed_that_they_have_not_seen():
    # the top 10% by two seeds, and how the third one ranks them
    truth = zcbench.load_truth("nb201", "cifar100")
    seeds = truth[["val_seed0", "val_seed1", "val_seed2"]].dropna().to_numpy()
    known, third = seeds[:, :2], seeds[:, 2]
    accuracy = known.mean(axis=1)
    fitted = TrueAccuracy.fit(accuracy, known)
    rng = np.random.default_rng(0)
    for fraction in (1.0, 0.1):
        best = np.flatnonzero(top(accuracy, fraction))
        expected = [
            scipy_stats.spearmanr(
                drawn + rng.normal(size=len(best)), accuracy[best]
            ).statistic
            for drawn in fitted.draw(best, 20, rng)
        ]
        actual = scipy_stats.spearmanr(third[best], accuracy[best]).statistic
        assert np.mean(expected) == pytest.approx(actual, abs=0.06)


def test_ceilings_do_not_depend_on_how_accuracies_are_scaled():
    _, accuracy, seeds = trained(300)
    a = ceilings(accuracy, seeds, (1.0, 0.1), replicates=5)
    b = ceilings(accuracy * 10 - 3, seeds * 10 - 3, (1.0, 0.1), replicates=5)
    assert [s.value for s in a.sets] == pytest.approx(
        [s.value for s in b.sets], abs=1e-6
    )


def test_same_seed_gives_the_same_ceiling():
    _, accuracy, seeds = trained(100)
    a, b = (ceilings(accuracy, seeds, replicates=5, seed=3).sets for _ in range(2))
    assert [(s.value, s.low, s.high) for s in a] == [
        (s.value, s.low, s.high) for s in b
    ]


@pytest.mark.parametrize(
    ("seeds", "accuracy", "note"),
    [
        (np.empty((40, 0)), np.arange(40.0), "seeds unknown"),
        (np.full((40, 2), np.nan), np.arange(40.0), "seeds unknown"),
        (np.arange(40.0)[:, None], np.arange(40.0), "one seed"),
        (np.arange(38.0).reshape(19, 2), np.arange(19.0), "too few"),
        (np.tile([1.0, 3.0], (40, 1)), np.full(40, 2.0), "constant truth"),
    ],
)
def test_ceilings_say_why_there_is_none(seeds, accuracy, note):
    found = ceilings(accuracy, seeds, (1.0, 0.5))
    assert [ceiling.note for ceiling in found.sets] == [note, note]
    assert all(math.isnan(ceiling.value) for ceiling in found.sets)
    share = found.share(0, association(accuracy, accuracy, "spearman"), np.arange(40))
    assert math.isnan(share.value)


def test_ceiling_of_a_set_of_three_points_is_not_given():
    _, accuracy, seeds = trained(30)
    whole, best = ceilings(accuracy, seeds, (1.0, 0.1), replicates=5).sets
    assert (whole.note, best.note) == ("", "too few")
    assert math.isnan(best.value)


def test_seeds_that_agree_leave_a_ceiling_of_one():
    accuracy = np.arange(40.0)
    found = ceilings(accuracy, np.tile(accuracy[:, None], 3), (1.0, 0.05))
    notes = [(ceiling.value, ceiling.note) for ceiling in found.sets[:1]]
    assert notes == [(1.0, "no noise")]
    assert found.sets[1].note == "too few"


# --- shares and attenuation ----------------------------------------------------------


def test_attenuation_is_taken_out():
    rng = np.random.default_rng(0)
    true, accuracy, seeds = trained(3000, noise=2.0)
    ability = scipy_stats.rankdata(true) / 3000 + 0.3 * rng.normal(size=3000)
    repeats = ability[:, None] + 0.4 * rng.normal(size=(3000, 3))
    score = repeats.mean(axis=1)
    wanted = scipy_stats.spearmanr(ability, true).statistic
    found = ceilings(accuracy, seeds, (1.0,), replicates=40)
    rho = association(score, accuracy, "spearman")
    assert rho.value < wanted - 0.05
    corrected = found.share(
        0, rho, np.arange(3000), reliability=of_mean(repeatability(repeats), 3)
    )
    assert corrected.value == pytest.approx(wanted, abs=0.025)
    assert corrected.low < wanted < corrected.high
    share = found.share(0, rho, np.arange(3000))
    assert share.value == pytest.approx(rho.value / found.sets[0].value)
    assert share.low < share.value < share.high


def test_interval_of_a_share_is_that_of_the_resampled_quotient():
    _, accuracy, seeds = trained(200, noise=2.0)
    score = accuracy + 8 * np.random.default_rng(0).normal(size=200)
    found = ceilings(accuracy, seeds, (1.0,), replicates=150)
    rho = association(score, accuracy, "spearman")
    quotients = []
    for row, deviation in zip(found.counts, found.sets[0].deviations, strict=True):
        drawn = [i for i, times in enumerate(row) for _ in range(int(times))]
        value = scipy_stats.spearmanr(score[drawn], accuracy[drawn]).statistic
        quotients.append(value / (found.sets[0].value + deviation))
    share = found.share(0, rho, np.arange(200))
    half = scipy_stats.t.ppf(0.975, 198) * np.std(quotients, ddof=1)
    assert share.high - share.value == pytest.approx(half, rel=0.1)


# --- the section ---------------------------------------------------------------------


def made(n: int = 400, **changes):
    true, accuracy, seeds = trained(n)
    rng = np.random.default_rng(5)
    scores = {
        "params": np.round(true + 10 * rng.normal(size=n)),
        "jacov": true + 5 * rng.normal(size=n),
        "snip": np.full(n, np.nan),
    }
    return dataclasses.replace(study_of(scores, accuracy, seeds=seeds), **changes)


@pytest.fixture(scope="module")
def block():
    return section([made()], Options())


def row_of(block, proxy: str):
    return block.table[block.table["proxy"] == proxy].iloc[0]


def test_section_shows_ceilings_and_shares(block):
    study = made()
    found = ceilings(study.accuracy, study.seeds)
    limit, jacov = row_of(block, LIMIT), row_of(block, "jacov")
    best = study.seeds[top(study.accuracy, 0.1)]
    assert limit["seeds_agree_top10"] == pytest.approx(repeatability(best))
    for name, ceiling in zip(("all", "top10", "top1"), found.sets, strict=True):
        assert limit[f"rho_{name}"] == pytest.approx(ceiling.value)
        assert jacov[f"ceiling_{name}_low"] == pytest.approx(ceiling.low)
    assert jacov["rho_all"] == study.association("jacov", "spearman").value
    assert jacov["share_all"] == pytest.approx(jacov["rho_all"] / limit["rho_all"])
    assert block.conclusion.startswith(
        f"toy: all at most .{round(1000 * limit['rho_all'])} ["
    )
    assert "by 400 architectures), highest of 2: jacov" in block.conclusion


def test_section_says_why_a_number_is_missing(block):
    printed = {line[1]: line for line in cells(block)}
    assert (
        printed["snip"][2:]
        == ("all failed",) * 2 + ("one repeat",) + ("all failed",) * 5
    )
    assert printed["jacov"][4:6] == ("one repeat", "one repeat")
    assert printed["jacov"][9] == "too few"  # 4 architectures in the top 1%
    assert printed[LIMIT][3:6] == ("", "", "")


def test_section_without_seeds_has_no_ceiling():
    study = made(seeds=np.empty((400, 0)))
    block = section([study], Options())
    printed = {line[1]: line for line in cells(block)}
    assert printed[LIMIT][2] == "seeds unknown"
    assert printed["jacov"][3] == "seeds unknown"
    assert printed["jacov"][2].startswith(".")
    assert block.conclusion == "toy: no ceiling (seeds unknown)."


def test_section_corrects_for_the_proxys_own_noise():
    study = made()
    rng = np.random.default_rng(0)
    repeats = {
        name: np.stack([s, s + (name == "jacov") * rng.normal(size=400)], axis=1)
        for name, s in study.scores.items()
    }
    study = dataclasses.replace(study, by_repeat=repeats)
    block = section([study], Options())
    row = row_of(block, "jacov")
    reliability = of_mean(repeatability(repeats["jacov"]), 2)
    assert row["repeatability"] == pytest.approx(repeatability(repeats["jacov"]))
    assert row["corrected_all"] == pytest.approx(
        row["share_all"] / math.sqrt(reliability)
    )
    assert row_of(block, "params")["repeatability"] == 1.0


@pytest.mark.parametrize(
    ("accuracy", "note"),
    [
        (np.full(400, 10.0), "constant truth"),
        (np.full(400, np.nan), "too few"),
        (np.r_[1.0, 2.0, 3.0, np.full(397, np.nan)], "too few"),
    ],
)
def test_section_of_degenerate_accuracies_gives_words(accuracy, note):
    study = made(accuracy=accuracy, seeds=np.stack([accuracy, accuracy + 1], axis=1))
    block = section([study], Options())
    printed = {line[1]: line for line in cells(block)}
    assert printed["jacov"][2] == note
    assert not any("nan" in text for line in cells(block) for text in line)


def test_replicates_are_what_the_module_says():
    _, accuracy, seeds = trained(60)
    assert len(ceilings(accuracy, seeds).counts) == module.REPLICATES


def test_ceilings_of_a_sample_are_those_of_the_whole_space():
    """The seeds of all architectures say more of the noise than those of a sample."""
    rng = np.random.default_rng(4)
    true = rng.normal(size=4000)
    seeds = true[:, None] + 0.5 * rng.normal(size=(4000, 3))
    accuracy = seeds.mean(axis=1)
    whole = ceilings(accuracy, seeds, replicates=30)
    exact = scipy_stats.spearmanr(true, accuracy).statistic
    assert whole.sets[0].value == pytest.approx(exact, abs=0.01)
    part = rng.choice(4000, 150, replace=False)
    sampled = accuracy[part], seeds[part]
    by_whole = ceilings(*sampled, whole=(accuracy, seeds), replicates=30)
    alone = ceilings(*sampled, replicates=30)
    for one, other, mine in zip(by_whole.sets, whole.sets, alone.sets, strict=True):
        assert one.value == other.value
        assert one.n == other.n
        assert not one.high - one.low > mine.high - mine.low
    assert len(by_whole.members[1]) == 15
    assert by_whole.counts.shape[1] == 150
