"""Early stopping, where the truth has accuracies after a part of the training."""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from report_runs import ACCURACY, N, toy_truth, write_run
from scipy import stats

from zcbench.analysis.regression import compare
from zcbench.analysis.search.pool import Setting, Variant, search_pool
from zcbench.analysis.search.simulate import simulate
from zcbench.report import make_report, render, studies
from zcbench.store import load_run

EARLY = ACCURACY + 5 * np.random.default_rng(3).normal(size=N)
EARLY[4] = math.nan
HOURS = np.random.default_rng(4).uniform(1, 3, N)


def truth_with_epochs(
    space: str, dataset: str, source: str = "auto", target: str = "auto"
) -> pd.DataFrame:
    table = toy_truth(space, dataset, source, target)
    attrs = {**table.attrs, "epochs": {"val": 200, "val_12": 12, "test_12": 12}}
    order = table["index"].to_numpy()
    table = table.assign(
        val_12=EARLY[order], test_12=EARLY[order], train_time=3600 * HOURS[order]
    )
    table.attrs = attrs
    return table


@pytest.fixture(autouse=True)
def truth(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("zcbench.truth.load_truth", truth_with_epochs)


def test_it_has_a_row_and_is_no_proxy(tmp_path: Path) -> None:
    report = make_report([load_run(write_run(tmp_path / "run"))], sections=["all"])
    rows = report.table.set_index("proxy")
    assert list(report.table["proxy"]).count("val_12") == 1
    assert "test_12" not in rows.index
    row = rows.loc["val_12"]
    known = ~np.isnan(EARLY)
    assert row["spearman"] == pytest.approx(
        stats.spearmanr(EARLY[known], ACCURACY[known])[0]
    )
    assert (row["n"], row["failed"], row["epochs"]) == (N - 1, 1, 12)
    assert row["seconds_per_arch"] == pytest.approx(0.06 * 3600 * HOURS.mean())
    assert rows.loc["jacov", "epochs"] == 0
    for block in report.blocks:
        assert "val_12" not in block.table.to_csv()
    text = render(report)
    assert "val_12 ‡" in text
    assert "no zero-cost proxy" in " ".join(text.split())
    assert "val_12 ‡" in render(report, "html")
    told = json.loads(render(report, "json"))
    assert sum(row["epochs"] == 12 for row in told["correlations"]) == 1


def test_without_such_columns_nothing_is_said(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("zcbench.truth.load_truth", toy_truth)
    report = make_report([load_run(write_run(tmp_path / "run"))])
    assert "‡" not in render(report)
    assert set(report.table["epochs"]) == {0}


def test_comparisons_leave_it_out(tmp_path: Path) -> None:
    run = write_run(tmp_path / "run")
    report = tmp_path / "report.json"
    report.write_text(render(make_report([load_run(run)]), "json"))
    for baseline in (run, report):
        table = compare(baseline, run)
        assert "val_12" not in set(table["proxy"])
        assert set(table["verdict"]) == {"same"}


def test_a_search_pays_for_it_by_the_architecture(tmp_path: Path) -> None:
    (study,) = studies([load_run(write_run(tmp_path / "run"))])
    pool = search_pool(study)
    assert list(pool.proxies) == [*study.scores, "val_12"]
    assert pool.proxies["val_12"].hours == pytest.approx(0.06 * pool.hours)
    order = pool.proxies["val_12"].order
    assert np.isnan(order).tolist() == np.isnan(EARLY[_order(study.archs)]).tolist()
    setting = Setting(trials=3, evaluations=12, warmup=27)
    trace = simulate(pool, Variant("random", "warmup", ("val_12",)), setting)
    paid = trace.hours[:, 0] - pool.hours[trace.chosen[:, 0]]
    assert paid == pytest.approx(0.06 * pool.hours.sum())
    assert list(search_pool(study, ["val_12"]).proxies) == ["val_12"]


def _order(archs: list[str]) -> list[int]:
    from zcbench.spaces import load_space

    parse: Callable[[str], object] = load_space("toy").parse
    return [parse(arch).index for arch in archs]  # type: ignore[attr-defined]
