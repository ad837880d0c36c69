"""Equivalence, worth in trainings, functions: against literal computations."""

from __future__ import annotations

import math
from itertools import combinations
from pathlib import Path

import numpy as np
import pytest

import zcbench
from zcbench.analysis.equivalence import (
    BETTER,
    EQUIVALENT,
    UNDECIDED,
    WORSE,
    word_of,
)
from zcbench.report import make_report

RUN = Path(__file__).parent.parent / "results" / "nb201-1000"


@pytest.fixture(scope="module")
def blocks():
    sections = ["verdict", "equivalence", "worth", "functions"]
    report = make_report([zcbench.load_run(RUN)], sections=sections)
    return {block.name: block for block in report.blocks}


@pytest.mark.parametrize(
    ("low", "high", "word"),
    [
        (0.01, 0.2, BETTER),
        (0.01, 0.04, EQUIVALENT),
        (-0.049, 0.049, EQUIVALENT),
        (-0.04, 0.06, UNDECIDED),
        (-0.2, -0.01, WORSE),
        (0.06, 0.2, BETTER),
        (math.nan, math.nan, UNDECIDED),
    ],
)
def test_the_word_of_an_interval(low, high, word):
    assert word_of(low, high, 0.05) == word


@pytest.mark.thorough
def test_every_proxy_has_one_line(blocks):
    table = blocks["equivalence"].table.set_index("proxy")
    proxies = set(blocks["verdict"].table["proxy"])
    assert set(table.index) == proxies
    assert (
        table[["better", "equivalent", "worse", "undecided"]].sum(axis=1) == 3
    ).all()
    assert table.loc["meco", "word"] == BETTER
    assert table.loc["plain", "word"] == WORSE
    assert set(table["baseline"]) == {"params"}


def test_worth_is_that_of_random_trainings(blocks):
    """The expected best of k, by drawing; on the committed run."""
    table = blocks["worth"].table
    row = table[(table["dataset"] == "cifar10") & (table["proxy"] == "meco")].iloc[0]
    study = zcbench.load_truth("nb201", "cifar10").set_index("arch")["val"]
    run = zcbench.load_run(RUN)
    run = run[run["dataset"] == "cifar10"]
    accuracy = study[run["arch"]].to_numpy()
    best = accuracy[run["meco"].to_numpy() == run["meco"].max()].mean()
    assert row["accuracy"] == pytest.approx(best)
    assert row["regret"] == pytest.approx(accuracy.max() - best)
    rng = np.random.default_rng(0)
    count = int(row["worth"])
    drawn = [rng.choice(accuracy, count, replace=False).max() for _ in range(4000)]
    assert np.mean(drawn) == pytest.approx(best, abs=0.15)
    seconds = [s["proxies"]["meco"] for s in run["seconds"]]
    assert row["hours"] == pytest.approx(np.sum(seconds) / 3600, rel=1e-3)


def test_functions_count_once(blocks):
    table = blocks["functions"].table
    space = zcbench.load_space("nb201")
    run = zcbench.load_run(RUN)
    run = run[run["dataset"] == "cifar100"].drop_duplicates("arch")
    run = run[run["op_balance"].notna()]  # the best baseline, which some lack
    classes = {}
    for arch in run["arch"]:
        classes.setdefault(space.function_class(space.parse(arch)), arch)
    rows = table[table["dataset"] == "cifar100"].set_index("proxy")
    assert rows.loc["meco", "n"] == len(run)
    assert rows.loc["meco", "n_functions"] == len(classes)
    for one, other in combinations(sorted(classes)[:50], 2):
        assert one != other
    accuracy = zcbench.load_truth("nb201", "cifar100").set_index("arch")["val"]
    kept = run.set_index("arch").loc[list(classes.values())]
    ours = kept["meco"].rank().corr(accuracy[kept.index].rank())
    assert rows.loc["meco", "value_functions"] == pytest.approx(ours)


def test_all_of_it_in_every_format(blocks):
    for block in blocks.values():
        assert block.conclusion
        assert block.title
