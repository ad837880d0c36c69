"""Who says the same: agreement, bias, ensembles."""

from __future__ import annotations

import dataclasses
import itertools
import math
from pathlib import Path

import numpy as np
import pytest
from report_runs import study_of
from scipy import stats as scipy_stats

import zcbench
from zcbench.analysis.agreement import agreement
from zcbench.analysis.bias import ACCURACY, bias, counts_of
from zcbench.analysis.ensemble import LARGEST, ensemble
from zcbench.report import Options, studies
from zcbench.report.text import cells
from zcbench.spaces import load_space
from zcbench.stats import association, paired_difference
from zcbench.stats import ensemble as module
from zcbench.stats.ensemble import FOLDS, ensembles, greedy, rank_correlations
from zcbench.stats.search_metrics import last_if_missing

RUN = Path(__file__).parent.parent / "results" / "nb201-1000"
NB201 = load_space("nb201")


def spearman(x: np.ndarray, y: np.ndarray) -> float:
    return float(scipy_stats.spearmanr(x, y).statistic)


def scores(n: int = 200, seed: int = 0) -> dict[str, np.ndarray]:
    """Two groups of alike scores and one alone; some fail."""
    rng = np.random.default_rng(seed)
    a, b = rng.normal(size=(2, n))
    found = {
        "snip": a + 0.2 * rng.normal(size=n),
        "jacov": b + 0.2 * rng.normal(size=n),
        "grasp": -a + 0.2 * rng.normal(size=n),
        "epe_nas": b + 0.2 * rng.normal(size=n),
        "plain": rng.normal(size=n),
    }
    found["jacov"][:20] = found["epe_nas"][:20] = found["plain"][10:30] = np.nan
    return found


# --- agreement -----------------------------------------------------------------------


def test_correlations_are_over_the_points_that_both_have():
    values = np.stack(list(scores().values()))
    rho, n = rank_correlations(values)
    for i, j in itertools.product(range(5), repeat=2):
        both = np.isfinite(values[i]) & np.isfinite(values[j])
        assert n[i, j] == both.sum()
        assert rho[i, j] == pytest.approx(spearman(values[i, both], values[j, both]))


def test_correlation_with_a_constant_is_not_defined():
    values = np.stack(
        [np.arange(9.0), np.ones(9), np.full(9, np.nan), np.sin(range(9))]
    )
    rho, _ = rank_correlations(values)
    assert np.isnan(rho).tolist() == [
        [False, True, True, False],
        [True, False, True, True],
        [True, True, False, True],
        [False, True, True, False],
    ]


def test_groups_are_joined_while_their_mean_is_high():
    values = np.stack(list(scores().values()))
    found = module.agreement(values)
    groups = [{i} for i in range(len(values))]

    def likeness(pair):
        return np.mean([abs(found.rho[i, j]) for i in pair[0] for j in pair[1]])

    while len(groups) > 1:
        pair = max(itertools.combinations(groups, 2), key=likeness)
        if likeness(pair) < module.ALIKE:
            break
        groups = [g for g in groups if g not in pair] + [pair[0] | pair[1]]
    assert {frozenset(g) for g in groups} == {
        frozenset(np.flatnonzero(found.group == k).tolist())
        for k in range(found.group.max() + 1)
    }
    assert found.group[found.order].tolist() == sorted(found.group.tolist())
    assert sorted(found.order.tolist()) == list(range(len(values)))


def test_one_score_is_a_group():
    found = module.agreement([np.arange(5.0)])
    assert (found.order.tolist(), found.group.tolist()) == ([0], [0])


def test_section_names_the_closest_and_the_groups():
    study = study_of(scores(), np.arange(200.0), baselines=())
    block = agreement([study], Options())
    rows = block.table.set_index("proxy")
    assert rows.loc["snip", "closest"] == "grasp"
    assert rows.loc["snip", "rho"] < -0.8
    assert rows.loc["jacov", "alike"] == "epe_nas"
    assert rows.loc["jacov", "rho_snip"] == rows.loc["snip", "rho_jacov"]
    assert rows.loc["jacov", "n"] == 180
    assert block.conclusion == (
        "One group here: epe_nas and jacov; grasp and snip. Alone here: plain."
    )


def test_section_compares_datasets():
    first, second = scores(), scores()
    second["grasp"] = np.random.default_rng(3).normal(size=200)
    both = [
        study_of(s, np.arange(200.0), dataset=name)
        for name, s in (("a", first), ("b", second))
    ]
    assert agreement(both, Options()).conclusion == (
        "One group on all 2 datasets: epe_nas and jacov. "
        "Alone on all 2 datasets: plain."
    )


@pytest.mark.parametrize(
    ("made", "word"),
    [
        ({"snip": np.arange(9.0)}, "no other score"),
        ({"snip": np.arange(3.0), "zen": np.arange(3.0)}, "undefined"),
        ({"snip": np.full(9, np.nan), "zen": np.ones(9)}, "undefined"),
    ],
)
def test_section_without_correlations_gives_words(made, word):
    n = len(made["snip"])
    block = agreement([study_of(made, np.arange(float(n)))], Options())
    assert {line[4] for line in cells(block)} == {word}


# --- bias ----------------------------------------------------------------------------


def archs(n: int, seed: int = 0) -> list[str]:
    rng = np.random.default_rng(seed)
    return [NB201.architecture(int(i)).spec for i in rng.choice(15_625, n, False)]


def test_operations_are_counted():
    spec = (
        "|nor_conv_3x3~0|+|none~0|avg_pool_3x3~1|"
        "+|skip_connect~0|nor_conv_1x1~1|nor_conv_3x3~2|"
    )
    found = counts_of("nb201", [spec])
    assert {name: v.tolist() for name, v in found.items()} == {
        "skip": [1],
        "conv": [3],
        "pool": [1],
        "none": [1],
        "conv_minus_pool": [2],
    }


@pytest.mark.parametrize(
    ("space", "specs"), [("unknown", ["x"]), ("nb201", ["no architecture"])]
)
def test_operations_of_unknown_architectures_are_unknown(space, specs):
    assert counts_of(space, specs) == {}


def test_bias_is_the_correlation_with_each_property():
    specs = archs(120)
    counts = counts_of("nb201", specs)
    rng = np.random.default_rng(0)
    accuracy = counts["conv"] + rng.normal(size=120)
    zen = counts["skip"] + rng.normal(size=120)
    zen[:9] = np.nan
    made = {"params": counts["conv"] ** 2, "zen": zen}
    study = study_of(made, accuracy, space="nb201", archs=specs)
    block = bias([study], Options())
    rows = block.table.set_index("proxy")
    assert list(rows.index) == [ACCURACY, "params", "zen"]
    for name in ("skip", "conv", "pool", "none", "conv_minus_pool"):
        of_zen = spearman(zen[9:], counts[name][9:])
        assert rows.loc["zen", name] == pytest.approx(of_zen)
        assert rows.loc["zen", f"{name}_excess"] == pytest.approx(
            of_zen - spearman(accuracy, counts[name])
        )
    assert rows.loc["zen", "params"] == pytest.approx(
        spearman(zen[9:], counts["conv"][9:] ** 2)
    )
    assert math.isnan(rows.loc["zen", "depth"])
    printed = {line[1]: line for line in cells(block)}
    assert printed["zen"][4] == "unknown"
    assert "zen with skip" in block.conclusion


def test_bias_of_a_space_without_operations_gives_words():
    study = study_of({"snip": np.arange(9.0)}, np.arange(9.0), space="made up")
    block = bias([study], Options())
    assert all(line[2:] == ("unknown",) * 8 for line in cells(block))
    assert block.conclusion == ""


def test_sentinels_distort_pearsons_correlation_on_the_committed_run():
    # what the published tables do: Pearson, with failures as −1e8
    study = studies([zcbench.load_run(RUN)])[0]
    jacov, zen = study.scores["jacov"], study.scores["zen"]
    failed = ~np.isfinite(jacov)
    assert 0 < failed.sum() < 30
    assert np.array_equal(failed, ~np.isfinite(zen))
    without = np.corrcoef(jacov[~failed], zen[~failed])[0, 1]
    filled = [np.where(failed, -1e8, score) for score in (jacov, zen)]
    with_sentinels = np.corrcoef(*filled)[0, 1]
    assert with_sentinels > 0.999
    assert abs(without) < 0.5
    # ranks: a sentinel is the worst score, and no more than that
    assert abs(spearman(*filled) - spearman(jacov[~failed], zen[~failed])) < 0.1


# --- ensembles -----------------------------------------------------------------------


def members_by_loops(ranks: np.ndarray, truth: np.ndarray, size: int) -> list[int]:
    picked: list[int] = []
    for _ in range(size):
        merit = {
            j: np.corrcoef(ranks[[*picked, j]].mean(axis=0), truth)[0, 1]
            for j in range(len(ranks))
            if j not in picked
        }
        picked.append(max(merit, key=merit.__getitem__))
    return picked


def centred(values: np.ndarray) -> np.ndarray:
    ranks = scipy_stats.rankdata(values) / len(values)
    return ranks - ranks.mean()


def noisy(n: int = 300, seed: int = 0) -> tuple[list[np.ndarray], np.ndarray]:
    rng = np.random.default_rng(seed)
    a, b, c = rng.normal(size=(3, n))
    accuracy = a + 0.8 * b + 0.5 * c + 0.3 * rng.normal(size=n)
    made = [a, a + 0.1 * rng.normal(size=n), b, c, rng.normal(size=n)]
    made[2][:15] = np.nan
    return made, accuracy


def test_greedy_is_that_of_plain_loops():
    made, accuracy = noisy()
    ranks = np.stack([centred(last_if_missing(s)) for s in made])
    truth = centred(accuracy)
    assert greedy(ranks @ ranks.T, ranks @ truth, 5) == members_by_loops(
        ranks, truth, 5
    )


def test_ensembles_are_judged_on_points_they_were_not_chosen_on():
    made, accuracy = noisy()
    n = len(accuracy)
    found = ensembles(made, accuracy, 4, seed=2)
    ranks = np.stack([centred(last_if_missing(s)) for s in made])
    rng = np.random.default_rng(2)
    fold = rng.permutation(n) % FOLDS
    shuffled = np.stack([row[rng.permutation(n)] for row in ranks])
    members = members_by_loops(ranks, centred(accuracy), 4)
    assert list(found.members) == members
    same = [0] * 4
    for number in range(FOLDS):
        inside, outside = fold != number, fold == number
        truth = scipy_stats.rankdata(accuracy)[inside]
        picked = members_by_loops(ranks[:, inside], truth, 4)
        for k in range(4):
            same[k] += set(picked[: k + 1]) == set(members[: k + 1])
            mean = ranks[picked[: k + 1]].mean(axis=0)[outside]
            assert found.held_out[k, outside] == pytest.approx(mean, abs=1e-9)
            start = ranks[picked[:k]].sum(axis=0) if k else np.zeros(n)
            chance = max(
                shuffled,
                key=lambda row: np.corrcoef((start + row)[inside], truth)[0, 1],
            )
            expected = ((start + chance) / (k + 1))[outside]
            assert found.control[k, outside] == pytest.approx(expected, abs=1e-9)
    assert list(found.repeated) == same


def test_shuffled_scores_do_not_help():
    made, accuracy = noisy()
    found = ensembles(made, accuracy, 4)
    first = association(found.held_out[0], accuracy, "spearman").value
    control = association(found.control[1], accuracy, "spearman").value
    second = association(found.held_out[1], accuracy, "spearman").value
    assert control < first < second
    alone = association(found.control[0], accuracy, "spearman")
    assert abs(alone.value) < 0.15


def test_section_shows_each_step():
    made, accuracy = noisy()
    names = ["params", "snip", "jacov", "zen", "plain"]
    study = study_of(dict(zip(names, made, strict=True)), accuracy)
    block = ensemble([study], Options())
    found = ensembles(made, accuracy, LARGEST, seed=0)
    rows = block.table
    assert rows["added"].to_list() == [names[m] for m in found.members]
    assert rows["size"].to_list() == [1, 2, 3, 4, 5]
    rho = spearman(found.held_out[1], accuracy)
    assert rows.loc[1, "rho"] == pytest.approx(rho)
    step = paired_difference(found.held_out[1], found.held_out[0], accuracy, "spearman")
    assert rows.loc[1, "gain"] == pytest.approx(step.value)
    assert rows.loc[1, "gain_low"] == pytest.approx(step.low)
    over = paired_difference(found.held_out[1], found.control[1], accuracy, "spearman")
    assert rows.loc[1, "over_control_high"] == pytest.approx(over.high)
    enough = block.conclusion.count("+") + 1
    assert not rows.loc[enough - 1, "behind_low"] > 0
    assert (rows.loc[: enough - 2, "behind_low"] > 0).all()
    assert (
        block.conclusion.startswith(
            f"Smallest ensemble that no larger one is shown to beat. toy: {names[0]}"
        )
        or names[found.members[0]] in block.conclusion
    )


@pytest.mark.parametrize(
    ("changes", "word"),
    [
        ({"accuracy": np.full(300, 7.0)}, "constant truth"),
        ({"accuracy": np.r_[np.arange(20.0), np.full(280, np.nan)]}, "too few"),
        ({"scores": {"snip": np.full(300, np.nan)}}, "all failed"),
    ],
)
def test_section_says_why_there_is_no_ensemble(changes, word):
    study = study_of({"snip": np.arange(300.0)}, np.arange(300.0))
    block = ensemble([dataclasses.replace(study, **changes)], Options())
    assert [line[3] for line in cells(block)] == [word]
    assert block.conclusion == ""


def test_ensemble_of_one_score_is_that_score():
    rng = np.random.default_rng(0)
    score, accuracy = rng.normal(size=(2, 100))
    block = ensemble([study_of({"snip": score}, accuracy)], Options())
    assert len(block.table) == 1
    assert block.table.loc[0, "rho"] == pytest.approx(spearman(score, accuracy))
