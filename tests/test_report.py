"""From run directories to tables: what is counted, joined and concluded."""

from __future__ import annotations

import math

import numpy as np
import pytest
from report_runs import ACCURACY, GOOD, SCORES, SPECS, N, toy_truth, write_run
from scipy import stats as scipy_stats

from zcbench.analysis.block import milliseconds, number
from zcbench.errors import DataError, UsageError
from zcbench.report import COLUMNS, correlations, make_report, studies
from zcbench.stats import association
from zcbench.store import load_run


@pytest.fixture(autouse=True)
def truth(monkeypatch):
    monkeypatch.setattr("zcbench.truth.load_truth", toy_truth)


def table_of(path, *args, **settings):
    table = correlations([load_run(write_run(path, *args, **settings))])
    return table, table.set_index("proxy")


def test_row_holds_what_scipy_says(tmp_path):
    table, rows = table_of(tmp_path / "run")
    assert tuple(table.columns) == COLUMNS
    assert sorted(rows.index) == sorted(SCORES)
    for proxy, scores in SCORES.items():
        row = rows.loc[proxy]
        rho = scipy_stats.spearmanr(scores, ACCURACY).statistic
        tau = scipy_stats.kendalltau(scores, ACCURACY, variant="b").statistic
        assert row["spearman"] == pytest.approx(rho, abs=1e-12)
        assert row["kendall"] == pytest.approx(tau, abs=1e-12)
        found = association(scores, ACCURACY, "kendall")
        assert (row["kendall_low"], row["kendall_high"]) == (found.low, found.high)
        assert (row["n"], row["failed"], row["status"]) == (N, 0, {})
        assert (row["target"], row["population"], row["note"]) == ("val", "all", "")
    assert rows.loc["jacov", "seconds_per_arch"] == pytest.approx(0.003)
    assert rows["baseline"].to_dict() == {
        "params": True,
        "n_layers": True,
        "jacov": False,
        "snip": False,
    }


def test_best_is_first(tmp_path):
    table, _ = table_of(tmp_path / "run")
    assert table["proxy"].iloc[0] == "jacov"
    assert table["spearman"].is_monotonic_decreasing


def test_failures_are_counted_by_reason_and_left_out(tmp_path):
    status = {("snip", 3): "undefined", ("snip", 4): "nan", ("snip", 9): "undefined"}
    _, rows = table_of(tmp_path / "run", status=status)
    row = rows.loc["snip"]
    assert (row["n"], row["failed"]) == (N - 3, 3)
    assert row["status"] == {"nan": 1, "undefined": 2}
    kept = np.delete(np.arange(N), [3, 4, 9])
    rho = scipy_stats.spearmanr(SCORES["snip"][kept], ACCURACY[kept]).statistic
    assert row["spearman"] == pytest.approx(rho)


def test_a_proxy_that_always_fails_has_no_number(tmp_path):
    status = {("jacov", i): "undefined" for i in range(N)}
    table, rows = table_of(tmp_path / "run", status=status)
    row = rows.loc["jacov"]
    assert (row["n"], row["failed"], row["note"]) == (0, N, "all failed")
    assert math.isnan(row["spearman"])
    assert math.isnan(row["kendall_low"])
    assert table["proxy"].iloc[-1] == "jacov"


def test_scores_not_there_yet_are_missing_not_failed(tmp_path):
    late = np.where(np.arange(N) < 20, GOOD, math.nan)
    never = np.full(N, math.nan)
    scores = {**SCORES, "jacov": late}
    _, rows = table_of(tmp_path / "run", scores)
    row = rows.loc["jacov"]
    assert (row["n"], row["failed"], row["status"]) == (20, 0, {"missing": 7})
    run = load_run(tmp_path / "run")
    run["jacov"] = never
    row = correlations([run]).set_index("proxy").loc["jacov"]
    assert (row["n"], row["failed"], row["note"]) == (0, 0, "not run")


def test_repeats_are_averaged_and_one_failure_fails_the_architecture(tmp_path):
    noise = np.random.default_rng(0).normal(size=(N, 2))
    scores = {"params": SCORES["params"], "jacov": GOOD[:, None] + noise}
    path = write_run(tmp_path / "run", scores, repeats=2)
    row = correlations([load_run(path)]).set_index("proxy").loc["jacov"]
    mean = GOOD + noise.mean(axis=1)
    assert row["spearman"] == scipy_stats.spearmanr(mean, ACCURACY).statistic
    run = load_run(path)
    one = run.index[(run["index"] == 5) & (run["repeat"] == 1)][0]
    run.loc[one, "jacov"] = math.nan
    run.at[one, "status"] = {"jacov": "inf"}
    row = correlations([run]).set_index("proxy").loc["jacov"]
    assert (row["n"], row["failed"], row["status"]) == (N - 1, 1, {"inf": 1})
    section = correlations([run]).attrs["studies"][0]
    assert (section.architectures, section.networks, section.partial) == (N, 54, False)


def test_section_says_what_the_table_is_about(tmp_path):
    path = write_run(tmp_path / "run", indices=range(10), n=20, seed=7)
    (section,) = correlations([load_run(path)]).attrs["studies"]
    assert (section.space, section.dataset, section.target) == ("toy", "toy", "val")
    assert (section.truth, section.release) == ("toy", "made up")
    assert section.training_seeds == (2, 3)
    assert (section.minibatch, section.batch_size, section.seed) == ("builtin", 64, 7)
    assert (section.sampled, section.architectures) == ("sample", 10)
    assert (section.networks, section.expected, section.partial) == (10, 20, True)
    whole = correlations([load_run(write_run(tmp_path / "whole"))])
    assert whole.attrs["studies"][0].sampled == "all"
    assert not whole.attrs["studies"][0].partial


def test_study_holds_seeds_and_repeats(tmp_path, monkeypatch):
    def timed(*args):
        return toy_truth(*args).assign(train_time=np.arange(N) * 10.0)

    noise = np.random.default_rng(0).normal(size=(N, 2))
    scores = {"params": SCORES["params"], "jacov": GOOD[:, None] + noise}
    status = {("jacov", 5): "nan"}
    path = write_run(tmp_path / "run", scores, status=status, repeats=2)
    run = load_run(path).sample(frac=1, random_state=0)  # whatever the order of rows
    (study,) = studies([run])
    place = [SPECS.index(arch) for arch in study.archs]
    assert study.train_seconds is None
    assert study.seeds.shape == (N, 3)
    assert study.seeds[:, 0].tolist() == (ACCURACY - 1)[place].tolist()
    assert np.isnan(study.seeds[:, 2]).sum() == 1
    expected = scores["jacov"][place]
    expected[place.index(5)] = np.nan
    assert np.array_equal(study.by_repeat["jacov"], expected, equal_nan=True)
    assert study.scores["jacov"] == pytest.approx(expected.mean(axis=1), nan_ok=True)
    assert (study.proxies, study.baselines) == (("jacov",), ("params",))
    assert study.seconds["jacov"] == pytest.approx(0.002)
    monkeypatch.setattr("zcbench.truth.load_truth", timed)
    (study,) = studies([run])
    assert study.train_seconds.tolist() == [10.0 * i for i in place]


def test_correlations_are_computed_once(tmp_path, monkeypatch):
    from zcbench.analysis import study as module

    calls = []
    known = module.association

    def counted(*args, **settings):
        calls.append(args)
        return known(*args, **settings)

    monkeypatch.setattr(module, "association", counted)
    run = load_run(write_run(tmp_path / "run"))
    make_report([run], sections=["correlations", "verdict", "paired", "tasks"])
    assert len(calls) == 2 * len(SCORES)


def test_list_of_architectures_expects_its_lines(tmp_path):
    path = write_run(tmp_path / "run", indices=[3, 5, 7, 9], archs="archs.txt")
    (path / "archs.txt").write_text("".join(f"{SPECS[i]}\n" for i in (3, 5, 7, 9, 11)))
    (section,) = correlations([load_run(path)]).attrs["studies"]
    assert (section.sampled, section.expected, section.partial) == ("list", 5, True)


def test_target_and_truth_default_to_those_of_the_run(tmp_path):
    run = load_run(write_run(tmp_path / "run", target="test", truth="part"))
    table = correlations([run])
    assert set(table["target"]) == {"test"}
    assert table.attrs["studies"][0].truth == "part"
    other = correlations([run], target="val", truth="auto")
    assert set(other["target"]) == {"val"}
    assert other.attrs["studies"][0].truth == "toy"
    none = load_run(write_run(tmp_path / "none", truth="none"))
    assert correlations([none]).attrs["studies"][0].truth == "toy"


def test_architectures_that_the_truth_lacks_are_named(tmp_path):
    run = load_run(write_run(tmp_path / "run"))
    table = correlations([run], truth="part")
    assert set(table["n"]) == {N - 2}
    assert table.attrs["notes"] == [
        f"{tmp_path / 'run'}: 2 architectures (such as {SPECS[0]}) are not in the "
        "ground truth part for toy toy, and left out."
    ]
    one = load_run(write_run(tmp_path / "one", indices=range(1, 9)))
    assert correlations([one], truth="part").attrs["notes"] == [
        f"{tmp_path / 'one'}: 1 architecture ({SPECS[1]}) is not in the "
        "ground truth part for toy toy, and left out."
    ]


def test_truth_of_another_space_is_an_error(tmp_path):
    run = load_run(write_run(tmp_path / "run"))
    with pytest.raises(DataError) as error:
        correlations([run], truth="foreign")
    assert str(error.value) == (
        f"None of the 27 architectures of {tmp_path / 'run'} is in the ground truth "
        "foreign for toy toy. Give another --truth."
    )


def test_gaps_in_the_truth_are_left_out_but_no_failures(tmp_path):
    run = load_run(write_run(tmp_path / "run"))
    table = correlations([run], truth="gaps")
    assert set(table["n"]) == {N - 4}
    assert set(table["failed"]) == {0}


@pytest.mark.parametrize("target", ["val", "test_12", "loss"])
def test_accuracies_have_a_unit(tmp_path, monkeypatch, target):
    def truth(*args):
        table = toy_truth(*args).rename(columns={"val": target})
        table.attrs["targets"] = [target]
        return table

    monkeypatch.setattr("zcbench.truth.load_truth", truth)
    run = load_run(write_run(tmp_path / "run", target=target))
    report = make_report([run], sections=["search"])
    percent = target != "loss"
    unit = "percent of accuracy" if percent else "units of loss"
    assert report.studies[0].unit == unit


def test_constant_truth_is_said(tmp_path):
    table = correlations([load_run(write_run(tmp_path / "run"))], truth="flat")
    assert set(table["note"]) == {"constant truth"}
    assert table["spearman"].isna().all()


def test_population_narrows_a_run(tmp_path):
    from zcbench.spaces import load_space

    connected = load_space("toy").population("connected")
    run = load_run(write_run(tmp_path / "run"))
    table = correlations([run], population="connected")
    assert set(table["population"]) == {"connected"}
    assert set(table["n"]) == {len(connected)}
    assert 4 < len(connected) < N
    assert not table.attrs["studies"][0].partial


def test_population_is_never_widened(tmp_path):
    run = load_run(write_run(tmp_path / "run", population="trimmed"))
    with pytest.raises(UsageError) as error:
        correlations([run], population="all")
    assert str(error.value) == (
        f"{tmp_path / 'run'} was sampled from the population trimmed, which says "
        "nothing about all. Report trimmed, or run with --population all."
    )
    with pytest.raises(UsageError, match="Unknown population of toy 'conected'"):
        correlations([run], population="conected")


def test_population_without_a_member_is_an_error(tmp_path):
    run = load_run(write_run(tmp_path / "run", indices=[0]))
    with pytest.raises(DataError) as error:
        correlations([run], population="connected")
    assert str(error.value) == (
        f"{tmp_path / 'run'} holds no architecture of population connected. "
        "Give another --population."
    )


def test_several_runs_stay_apart(tmp_path):
    first = load_run(write_run(tmp_path / "first"))
    second = load_run(write_run(tmp_path / "second", seed=1))
    table = correlations([first, second])
    assert len(table) == 2 * len(SCORES)
    assert table["run"].unique().tolist() == [
        str(tmp_path / n) for n in ("first", "second")
    ]
    assert [s.seed for s in table.attrs["studies"]] == [0, 1]


def test_a_lower_is_better_proxy_is_ranked_in_its_direction(tmp_path):
    run = load_run(write_run(tmp_path / "run", {**SCORES, "loss": -GOOD}))
    run.attrs["manifest"]["traits"] = {"loss": {"direction": "lower"}}
    report = make_report([run])
    table, study = report.table, report.studies[0]
    assert table["proxy"].iloc[:2].tolist() == ["jacov", "loss"]
    assert table["spearman"].iloc[1] == -table["spearman"].iloc[0]
    assert table["kendall_low"].iloc[1] == -table["kendall_high"].iloc[0]
    assert study.scores["loss"].tolist() == study.scores["jacov"].tolist()
    assert (study.lower, study.by_repeat["loss"].shape) == ({"loss"}, (N, 1))
    rows = report.verdict.table.set_index("proxy")
    assert rows.loc["loss", "delta"] == rows.loc["jacov", "delta"] > 0


@pytest.mark.parametrize(
    ("value", "text"),
    [(1.0, "1.00"), (-1.0, "-1.00"), (0.996, "1.00"), (0.5, ".50"), (-0.004, ".00")],
)
def test_numbers_read_well(value, text):
    assert number(value) == text


def test_milliseconds_keep_two_digits():
    texts = [milliseconds(s) for s in (0.0, 0.00996, 0.0123, 12.3, 0.00012)]
    assert texts == ["0", "10", "12", "12300", "0.12"]


def test_a_whole_space_takes_seconds(monkeypatch):
    """15,625 architectures × 14 proxies; three times this is the largest table."""
    import time

    import pandas as pd

    n = 15_625
    rng = np.random.default_rng(0)
    names = [f"arch {i}" for i in range(n)]
    accuracy = rng.normal(size=n)
    known = pd.DataFrame({"arch": names, "index": range(n), "val": accuracy})
    known.attrs = {"truth": "made up", "targets": ["val"]}
    monkeypatch.setattr("zcbench.truth.load_truth", lambda *_: known)
    proxies = ["params", "flops", "n_layers", *(f"proxy{i}" for i in range(11))]
    columns = {p: accuracy * k + 5 * rng.normal(size=n) for k, p in enumerate(proxies)}
    columns["n_layers"] = np.round(columns["n_layers"])
    run = pd.DataFrame({"space": "toy", "dataset": "toy", "arch": names, **columns})
    run = run.assign(index=range(n), repeat=0, status=[{}] * n, seconds=[{}] * n)
    run.attrs = {
        "path": "made up",
        "proxies": proxies,
        "manifest": {"config": {"n": n}, "proxies": {}},
    }
    start = time.perf_counter()
    table = correlations([run])
    assert time.perf_counter() - start < 10
    assert set(table["n"]) == {n}


def test_missing_target_is_an_error(tmp_path, monkeypatch):
    monkeypatch.setattr(
        "zcbench.truth.load_truth",
        lambda *_: toy_truth("toy", "toy").drop(columns="test"),
    )
    run = load_run(write_run(tmp_path / "run"))
    with pytest.raises(DataError) as error:
        correlations([run], target="test")
    assert str(error.value) == (
        "The truth toy has no target 'test' for toy toy; it has val. "
        "Take --target val, or another truth: --truth FILE."
    )
