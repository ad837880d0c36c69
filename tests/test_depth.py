"""What is left of a proxy at equal depth and size."""

from __future__ import annotations

import numpy as np
import pytest
from report_runs import study_of
from scipy import stats

from zcbench.analysis.depth import depth
from zcbench.report import Options
from zcbench.stats.partial import partial_association


def sample(n: int = 400, seed: int = 0) -> tuple[dict[str, np.ndarray], np.ndarray]:
    """Scores that are depth alone, depth and more, and depth against the rest."""
    rng = np.random.default_rng(seed)
    layers = rng.integers(1, 8, n).astype(float)
    params = layers + rng.normal(size=n)
    secret = rng.normal(size=n)
    scores = {
        "params": params,
        "n_layers": layers,
        "disguise": layers + 0.1 * rng.normal(size=n),
        "knows": layers + secret,
        "turns": 5 * layers - secret,
    }
    return scores, layers + secret + 0.3 * rng.normal(size=n)


def rows(scores: dict[str, np.ndarray], accuracy: np.ndarray, baselines=("params",)):
    study = study_of(scores, accuracy, baselines=baselines)
    block = depth([study], Options())
    return block, block.table.set_index("proxy")


def test_what_remains_is_told_from_depth_in_disguise():
    scores, accuracy = sample()
    block, table = rows(scores, accuracy, ("params", "n_layers"))
    assert list(table.index) == ["knows", "disguise", "turns"]
    assert table["word"].to_dict() == {
        "knows": "yes",
        "disguise": "not shown",
        "turns": "turns",
    }
    assert (table["rho"] > 0.4).all()
    assert "something remains of 1 of 3 proxies, most of knows" in block.conclusion


def test_the_numbers_are_those_of_their_definitions():
    scores, accuracy = sample()
    _, table = rows(scores, accuracy)
    row = table.loc["knows"]
    layers = scores["n_layers"]
    within = sum(
        (layers == k).sum()
        * stats.spearmanr(scores["knows"][layers == k], accuracy[layers == k])[0]
        for k in np.unique(layers)
    ) / len(layers)
    assert row["within"] == pytest.approx(within)
    assert (row["bins"], row["n_in_bins"]) == (7, 400)
    given = [layers, scores["params"]]
    partial = partial_association(scores["knows"], accuracy, given)
    assert row["partial"] == partial.value
    assert row["given"] == "n_layers, params"


def test_without_depth_there_is_a_reason_and_constant_depth_changes_nothing():
    scores, accuracy = sample()
    lacking = {name: s for name, s in scores.items() if name != "n_layers"}
    block, table = rows(lacking, accuracy)
    assert set(table["within_note"]) == set(table["partial_note"])
    assert set(table["partial_note"]) == {"n_layers was not run"}
    assert block.conclusion == ""
    constant = scores | {"n_layers": np.full(len(accuracy), 3.0)}
    _, table = rows(constant, accuracy)
    assert table.loc["knows", "within"] == pytest.approx(table.loc["knows", "rho"])
    size = partial_association(scores["knows"], accuracy, [scores["params"]])
    assert table.loc["knows", "partial"] == pytest.approx(size.value)
