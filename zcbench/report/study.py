"""One dataset of one run with its accuracies: what every analysis starts from."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from zcbench.aggregates import Aggregate, check_parts
from zcbench.errors import UsageError
from zcbench.report.join import Early, Joined, Question, expected_networks, join
from zcbench.report.scores import Scores, repeats_of
from zcbench.report.section import Section
from zcbench.stats import Association, Kind, association
from zcbench.stats.ranks import Floats

if TYPE_CHECKING:
    import pandas as pd


@dataclass(frozen=True, slots=True, eq=False)
class Study:
    """One dataset of one run.

    Every score is oriented: higher is better, also of proxies whose own direction is
    the other one.

    Attributes:
        section: what it is about.
        archs: [n] architecture strings.
        scores: proxy → [n] mean over repeats; NaN where it has no score.
        accuracy: [n] mean over training seeds; NaN where the truth has a gap.
        seeds: [n, s] per training seed, NaN where not trained; [n, 0] if unknown.
        repeats: proxy → [n, r] per repeat; NaN where it has no score.
        seconds: proxy → cost of scoring one network once; NaN if unknown.
        train_seconds: [n] cost of one training; None if the truth does not know it.
        baselines: those of the proxies that are baselines.
        lower: those of the proxies that say lower is better, which are turned here.
        versions: proxy → version.
        statuses: proxy → why there is no score → for how many architectures.
        note: lines for the user: architectures left out, how the truth was read.
        remarks: proxy → what its scores note of their networks, counted.
        aggregates: those of the proxies that are combinations of others' ranks.
        early: early stopping, which trains and is no proxy.
        remembered: correlations that were asked for.
    """

    section: Section
    archs: list[str]
    scores: Mapping[str, Floats]
    accuracy: Floats
    seeds: Floats
    repeats: Mapping[str, Floats]
    seconds: Mapping[str, float]
    train_seconds: Floats | None
    baselines: tuple[str, ...]
    lower: frozenset[str]
    versions: Mapping[str, int]
    statuses: Mapping[str, Mapping[str, int]]
    note: str
    remarks: Mapping[str, str] = field(default_factory=dict)
    aggregates: tuple[str, ...] = ()
    early: Mapping[str, Early] = field(default_factory=dict)
    remembered: dict[tuple[str, Kind, float, bytes], Association] = field(
        default_factory=dict, init=False, repr=False
    )

    @property
    def mean_train_seconds(self) -> float:
        """Cost of one training, on average; NaN if unknown."""
        seconds = self.train_seconds
        if seconds is None or not np.isfinite(seconds).any():
            return math.nan
        return float(np.nanmean(seconds))

    @property
    def proxies(self) -> tuple[str, ...]:
        """Those that are no baselines, in the order of the run."""
        return tuple(name for name in self.scores if name not in self.baselines)

    def association(
        self,
        proxy: str,
        kind: Kind,
        points: NDArray[np.bool_] | None = None,
        *,
        confidence: float = 0.95,
    ) -> Association:
        """Correlation of an oriented score with accuracy; computed once.

        Args:
            proxy: which score.
            kind: ``"spearman"`` or ``"kendall"``.
            points: architectures to speak of; None for all. [n]
            confidence: nominal coverage of the interval.
        """
        score = self.scores[proxy]
        used = np.isfinite(score) & np.isfinite(self.accuracy)
        used = used if points is None else used & points
        key = proxy, kind, confidence, used.tobytes()
        if key not in self.remembered:
            accuracy = np.where(used, self.accuracy, np.nan)
            self.remembered[key] = association(
                score, accuracy, kind, confidence=confidence
            )
        return self.remembered[key]


def studies(
    runs: Sequence[pd.DataFrame],
    target: str | None = None,
    truth: str | None = None,
    population: str | None = None,
    aggregates: Sequence[Aggregate] = (),
) -> list[Study]:
    """Join every dataset of some runs with the ground truth.

    Args:
        runs: tables from `load_run`.
        target: ``"val"`` or ``"test"``; None for what each run was made for.
        truth: ``"auto"``, a name or a path; None for what each run was made with.
        population: architectures to speak of; None for those the run sampled from.
        aggregates: combinations of ranks, to stand beside the proxies.

    Returns:
        One for each run and dataset, in the order of the runs and of their datasets.

    Raises:
        DataError: there is no such target or truth, or it knows no architecture.
        UsageError: a run says nothing about that population, or lacks a part of an
            aggregate.
    """
    for run in runs:
        check_parts(aggregates, run.attrs["proxies"], run.attrs["path"])
    question = Question(target, truth, population)
    return [
        study_of(run, dataset, join(run, dataset, question), aggregates)
        for run in runs
        for dataset in _datasets(run)
    ]


def mixture(studies: Sequence[Study]) -> str:
    """A sentence on what these mix, to follow another; empty if nothing."""
    parts = []
    for word in ("target", "population"):
        values = dict.fromkeys(getattr(s.section, word) for s in studies)
        if len(values) > 1:
            parts.append(f"{word}s {', '.join(values)}")
    return f" Mixed here: {'; '.join(parts)}." if parts else ""


def tables(studies: Sequence[Study]) -> str:
    """How many datasets these are: "3 datasets", or "6 tables of 3 datasets"."""
    count = len({(s.section.space, s.section.dataset) for s in studies})
    text = f"{count} dataset{'s' if count != 1 else ''}"
    return text if count == len(studies) else f"{len(studies)} tables of {text}"


def traits(proxy: str) -> tuple[bool, str]:
    """(whether a proxy is a baseline, its direction); those of a plug-in if unknown."""
    from zcbench.proxies import PROXIES

    try:
        found = PROXIES.get(proxy)
    except UsageError:  # a plug-in that is not loaded here
        return False, "higher"
    return found.baseline, found.direction


def study_of(
    run: pd.DataFrame,
    dataset: str,
    joined: Joined,
    aggregates: Sequence[Aggregate] = (),
) -> Study:
    """One dataset of a run that is joined with its accuracies already."""
    found = joined.scores
    known = {proxy: traits(proxy) for proxy in found.values}
    lower = frozenset(p for p, (_, direction) in known.items() if direction == "lower")
    repeats = repeats_of(joined.rows, found)
    versions = run.attrs["manifest"]["proxies"]
    study = Study(
        section=_section(run, dataset, joined),
        archs=found.archs,
        scores={p: -v if p in lower else v for p, v in found.values.items()},
        accuracy=joined.accuracy,
        seeds=joined.seeds,
        repeats={p: -v if p in lower else v for p, v in repeats.items()},
        seconds=found.seconds,
        train_seconds=joined.train_seconds,
        baselines=tuple(p for p, (baseline, _) in known.items() if baseline),
        lower=lower,
        versions={proxy: versions.get(proxy, 1) for proxy in found.values},
        statuses={proxy: found.status_counts(proxy) for proxy in found.values},
        note=joined.note,
        remarks=found.remarks,
        early=joined.early,
    )
    for aggregate in aggregates:
        study = _with_aggregate(study, aggregate, found)
    return study


def _with_aggregate(study: Study, aggregate: Aggregate, scores: Scores) -> Study:
    """The study with one more score; its cohort are the architectures of the study."""
    name, parts = aggregate.name, aggregate.parts
    values = aggregate.of(np.stack([study.scores[part] for part in parts]))
    repeats = np.stack([study.repeats[part] for part in parts])
    columns = [aggregate.of(repeats[:, :, r]) for r in range(repeats.shape[2])]
    reasons = [scores.statuses.get(part, {}) for part in parts]
    words = Counter(
        next((reason[i] for reason in reasons if i in reason), "missing")
        for i in np.flatnonzero(np.isnan(values)).tolist()
    )
    return replace(
        study,
        scores={**study.scores, name: values},
        repeats={**study.repeats, name: np.stack(columns, axis=1)},
        # Parts share passes, so that their costs do not add up to what it costs.
        seconds={**study.seconds, name: math.nan},
        versions={**study.versions, name: aggregate.version},
        statuses={**study.statuses, name: dict(sorted(words.items()))},
        aggregates=(*study.aggregates, name),
    )


def _datasets(run: pd.DataFrame) -> list[str]:
    """Datasets of a run, in the order it names them."""
    present = run["dataset"].unique().tolist()
    config = run.attrs["manifest"]["config"]
    named = [name for name in config.get("datasets", ()) if name in present]
    return named + [d for d in present if d not in named]


def _section(run: pd.DataFrame, dataset: str, joined: Joined) -> Section:
    manifest = run.attrs["manifest"]
    config = manifest["config"]
    images: Mapping[str, Any] = manifest.get("minibatch", {}).get(dataset, {})
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
        training_seeds=_training_seeds(joined.seeds),
        minibatch=str(images.get("name", "")),
        minibatch_digest=str(images.get("digest", "")),
        batch_size=config.get("batch_size"),
        seed=config.get("seed"),
        repeats=config.get("repeats", 1),
        precision=config.get("precision", "float32"),
    )


def _training_seeds(seeds: Floats) -> tuple[int, int]:
    """(fewest, most) trainings behind an accuracy; (0, 0) if unknown."""
    trained = np.isfinite(seeds).sum(axis=1)
    trained = trained[trained > 0]
    return (int(trained.min()), int(trained.max())) if len(trained) else (0, 0)
