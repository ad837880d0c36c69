"""Whole reports of made-up studies, for the tests of what shows them."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd
from report_runs import study_of

from zcbench.analysis import NAMES, analyse
from zcbench.analysis.block import Options
from zcbench.analysis.correlations import tabulate
from zcbench.analysis.report import Report
from zcbench.analysis.study import Study

NASTY = "<script>alert(1)</script>"
NAMES_OF_PROXIES = (
    "params",
    "flops",
    "good",
    "bad",
    NASTY,
    'a"$b_{c}\x1b',
    "flat",
    "no",
)


def study(
    seed: int = 0,
    n: int = 60,
    dataset: str = "one",
    space: str = "toy",
    run: str = "run",
    names: Sequence[str] = NAMES_OF_PROXIES,
    seeds: int = 0,
) -> Study:
    """A study with two baselines; ``flat`` is constant, ``no`` has no score."""
    rng = np.random.default_rng([seed, n])
    accuracy = 90 - 10 * rng.exponential(size=n)
    scores = {
        name: accuracy + (2 + 3 * i) * rng.normal(size=n)
        for i, name in enumerate(names)
    }
    scores |= {"flat": np.ones(n), "no": np.full(n, np.nan)}
    if "bad" in scores:
        scores["bad"] = -scores["bad"]
        scores["bad"][: n // 12] = np.nan
    found = study_of(
        {name: scores[name] for name in names},
        accuracy,
        baselines=("params", "flops"),
        dataset=dataset,
        space=space,
        run=run,
        seeds=accuracy[:, None] + 0.3 * rng.normal(size=(n, seeds)),
    )
    for i, name in enumerate(found.scores):
        found.seconds[name] = 0.001 * (1 + i % 4)
    return found


def report_of(
    studies: Sequence[Study], sections: Sequence[str] = NAMES, **options: float
) -> Report:
    """A report as `make_report` makes it, without runs on disk."""
    chosen = Options(**{"resamples": 100, **options})
    runs = []
    for path in dict.fromkeys(s.run for s in studies):
        run = pd.DataFrame()
        run.attrs = {"path": path, "manifest": {"config": {"proxies": ["x"], "n": 60}}}
        runs.append(run)
    verdict = analyse("verdict", studies, chosen)
    return Report(
        studies=studies,
        table=tabulate(studies, runs),
        verdict=verdict,
        blocks=[analyse(name, studies, chosen) for name in sections],
        shows_table=True,
        options=chosen,
    )
