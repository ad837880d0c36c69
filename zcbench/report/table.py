"""From runs and ground truth to the table of correlations."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from zcbench.errors import UsageError
from zcbench.report.join import Joined, Question, expected_networks, join
from zcbench.report.section import Section
from zcbench.report.verdict import Verdict, judge
from zcbench.stats import KINDS, association

if TYPE_CHECKING:
    import pandas as pd

COLUMNS = (
    "space",
    "dataset",
    "target",
    "population",
    "proxy",
    "n",
    "failed",
    "spearman",
    "spearman_low",
    "spearman_high",
    "kendall",
    "kendall_low",
    "kendall_high",
    "seconds_per_arch",
    "baseline",
    "direction",
    "version",
    "status",
    "note",
    "run",
)
"""Columns of the table, of the CSV and of each entry under "correlations"."""


def correlations(
    runs: Sequence[pd.DataFrame],
    target: str | None = None,
    truth: str | None = None,
    population: str | None = None,
) -> pd.DataFrame:
    """Rank correlation of every proxy with accuracy, for every dataset of some runs.

    Args:
        runs: tables from `load_run`.
        target: ``"val"`` or ``"test"``; None for what each run was made for.
        truth: ``"auto"``, a name or a path; None for what each run was made with.
        population: architectures to speak of; None for those the run sampled from.

    Returns:
        One row per (run, dataset, proxy) with `COLUMNS`, best first in each dataset.
        ``n`` counts the architectures with a score and an accuracy, ``failed`` those
        whose score is not ok; with several repeats a score is their mean, and not ok
        if one of them is not. ``attrs`` hold ``sections`` (a `Section` for each run and
        dataset), ``runs`` (the manifests) and ``notes`` (lines for the user).

    Raises:
        DataError: there is no such target or truth, or it knows no architecture.
        UsageError: a run says nothing about that population.
    """
    import pandas as pd

    question = Question(target, truth, population)
    rows: list[dict[str, Any]] = []
    sections: list[Section] = []
    notes: list[str] = []
    for run in runs:
        for dataset in _datasets(run):
            joined = join(run, dataset, question)
            section = _section(run, dataset, joined)
            sections.append(section)
            rows += _rows(run, section, joined)
            notes += [joined.note] if joined.note else []
    table = pd.DataFrame(rows, columns=list(COLUMNS))
    table.attrs = {
        "sections": sections,
        "runs": [{"path": run.attrs["path"], **run.attrs["manifest"]} for run in runs],
        "notes": notes,
    }
    return table


def traits(proxy: str) -> tuple[bool, str]:
    """(whether a proxy is a baseline, its direction); those of a plug-in if unknown."""
    from zcbench.proxies import PROXIES

    try:
        found = PROXIES.get(proxy)
    except UsageError:  # a plug-in that is not loaded here
        return False, "higher"
    return found.baseline, found.direction


def _datasets(run: pd.DataFrame) -> list[str]:
    """Datasets of a run, in the order it names them."""
    present = run["dataset"].unique().tolist()
    config = run.attrs["manifest"]["config"]
    named = [name for name in config.get("datasets", ()) if name in present]
    return named + [d for d in present if d not in named]


def _rows(run: pd.DataFrame, section: Section, joined: Joined) -> list[dict[str, Any]]:
    versions = run.attrs["manifest"]["proxies"]
    about = {
        "space": section.space,
        "dataset": section.dataset,
        "target": section.target,
        "population": section.population,
        "run": section.run,
    }
    rows = [
        about | {"version": versions.get(proxy, 1)} | _row(proxy, joined)
        for proxy in joined.scores.values
    ]
    return sorted(rows, key=_rank)


def _rank(row: dict[str, Any]) -> tuple[bool, float, str]:
    """Best first: by ρ, in the proxy's own direction."""
    value = row["spearman"]
    merit = -value if row["direction"] == "lower" else value
    return math.isnan(value), -merit, row["proxy"]


def _row(proxy: str, joined: Joined) -> dict[str, Any]:
    status = joined.scores.status_counts(proxy)
    failed = sum(count for word, count in status.items() if word != "missing")
    baseline, direction = traits(proxy)
    row: dict[str, Any] = {
        "proxy": proxy,
        "failed": failed,
        "seconds_per_arch": joined.scores.seconds[proxy],
        "baseline": baseline,
        "direction": direction,
        "status": status,
    }
    for kind in KINDS:
        found = association(joined.scores.values[proxy], joined.accuracy, kind)
        row |= {"n": found.n, "note": found.note, kind: found.value}
        row |= {f"{kind}_low": found.low, f"{kind}_high": found.high}
    if row["note"] == "all failed" and not failed:
        row["note"] = "not run"
    return row


def _section(run: pd.DataFrame, dataset: str, joined: Joined) -> Section:
    manifest = run.attrs["manifest"]
    config = manifest["config"]
    images = manifest.get("minibatch", {}).get(dataset, {})
    kind = "list" if config.get("archs") else "sample"
    return Section(
        run=run.attrs["path"],
        space=str(run["space"].iloc[0]),
        dataset=dataset,
        target=joined.target,
        population=joined.population,
        sampled="all" if config.get("n") == "all" and kind == "sample" else kind,
        architectures=len(joined.scores.archs),
        networks=int((run["dataset"] == dataset).sum()),
        expected=expected_networks(run),
        sample_digest=joined.scores.digest,
        truth=str(joined.truth.get("truth", "")),
        release=str(joined.truth.get("release", "")),
        truth_digest=str(joined.truth.get("digest", "")),
        training_seeds=joined.training_seeds,
        minibatch=str(images.get("name", "")),
        minibatch_digest=str(images.get("digest", "")),
        batch_size=config.get("batch_size"),
        seed=config.get("seed"),
        repeats=config.get("repeats", 1),
        verdict=_verdict(joined),
    )


def _verdict(joined: Joined) -> Verdict:
    scores, baselines = {}, set()
    for proxy, values in joined.scores.values.items():
        baseline, direction = traits(proxy)
        scores[proxy] = -values if direction == "lower" else values
        if baseline:
            baselines.add(proxy)
    return judge(scores, joined.accuracy, baselines)
