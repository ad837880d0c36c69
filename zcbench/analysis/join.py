"""Scores of one dataset of a run, joined with the ground truth on the architecture."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from zcbench.analysis.scores import Scores, gather
from zcbench.errors import DataError, UsageError
from zcbench.stats.ranks import Floats

if TYPE_CHECKING:
    import pandas as pd


@dataclass(frozen=True, slots=True)
class Question:
    """What to correlate with; None leaves it to the run.

    Attributes:
        target: ``"val"`` or ``"test"``.
        truth: ``"auto"``, a name or a path.
        population: which architectures.
    """

    target: str | None = None
    truth: str | None = None
    population: str | None = None

    def of(self, config: Mapping[str, Any]) -> tuple[str, str, str]:
        """(target, truth, population) for a run of that configuration."""
        truth = self.truth or config.get("truth", "auto")
        return (
            self.target or config.get("target", "val"),
            "auto" if truth == "none" else truth,
            self.population or config.get("population", "all"),
        )


@dataclass(frozen=True, slots=True)
class Early:
    """Early stopping: an accuracy after a part of the training, as a method.

    Attributes:
        accuracy: [n] mean over training seeds; NaN where it is not known.
        epochs: after how many.
        share: of a whole training.
    """

    accuracy: Floats
    epochs: int
    share: float


@dataclass(frozen=True, slots=True)
class Joined:
    """One dataset of one run with its accuracies.

    Attributes:
        scores: of the n architectures that the truth knows.
        rows: those of the run that they come from, one for each repeat.
        accuracy: [n] of them; NaN where the truth has a gap.
        seeds: [n, s] by training seed, NaN where not trained; [n, 0] if unknown.
        train_seconds: [n] cost of one training; None if the truth does not know it.
        early: validation accuracies after a part of the training.
        target: which accuracy.
        population: which architectures.
        truth: attributes of the ground truth.
        note: lines for the user: architectures left out, how the truth was read.
    """

    scores: Scores
    rows: pd.DataFrame
    accuracy: Floats
    seeds: Floats
    train_seconds: Floats | None
    early: Mapping[str, Early]
    target: str
    population: str
    truth: Mapping[str, Any]
    note: str


def join(run: pd.DataFrame, dataset: str, question: Question) -> Joined:
    """Join one dataset of a run with the ground truth.

    Args:
        run: from `load_run`.
        dataset: one of its datasets.
        question: what to correlate with.

    Raises:
        DataError: there is no such target or truth, or it knows no architecture.
        UsageError: the run says nothing about that population.
    """
    from zcbench.tasks import space_of
    from zcbench.truth import choose_target, load_truth

    manifest = run.attrs["manifest"]
    target, name, population = question.of(manifest["config"])
    space = space_of(str(run["space"].iloc[0]), manifest)
    truth = load_truth(space, dataset, name, target)
    target = choose_target(truth, target)
    rows = run[(run["dataset"] == dataset) & members(run, population)]
    path = run.attrs["path"]
    if not len(rows):
        raise DataError(
            f"{path} holds no architecture of population {population}.",
            "Give another --population.",
        )
    there = rows["arch"].isin(truth["arch"])
    source = (
        f"the ground truth {truth.attrs.get('truth', name)} for {space.name} {dataset}"
    )
    absent = rows.loc[~there, "arch"].unique()
    if not there.any():
        raise DataError(
            f"None of the {len(absent):,} architectures of {path} is in {source}.",
            "Give another --truth.",
        )
    notes = list(truth.attrs.get("notes", ()))
    if len(absent):
        notes.append(f"{path}: {_named(absent)} not in {source}, and left out.")
    rows = rows[there]
    scores = gather(rows, run.attrs["proxies"])
    known = truth.set_index("arch").reindex(scores.archs)
    return Joined(
        scores=scores,
        rows=rows,
        accuracy=known[target].to_numpy(dtype=np.float64),
        seeds=_seeds(known, target),
        train_seconds=_train_seconds(known),
        early=_early(known, truth.attrs.get("epochs", {}), target),
        target=target,
        population=population,
        truth=truth.attrs,
        note="\n".join(notes),
    )


def members(run: pd.DataFrame, population: str) -> pd.Series[bool]:
    """Which rows of a run belong to a population that it can speak for.

    A random sample of a population is one of each part of it, never of a larger one.

    Raises:
        UsageError: the run was sampled from a population without some of these.
    """
    import pandas as pd

    from zcbench.spaces import load_space

    config = run.attrs["manifest"]["config"]
    sampled = config.get("population", "all")
    if population == sampled:
        return pd.Series(True, index=run.index)
    space = load_space(str(run["space"].iloc[0]))
    wanted = space.population(population)
    if not np.isin(wanted, space.population(sampled)).all():
        raise UsageError(
            f"{run.attrs['path']} was sampled from the population {sampled}, which "
            f"says nothing about {population}.",
            f"Report {sampled}, or run with --population {population}.",
        )
    return run["index"].isin(wanted)


def expected_networks(run: pd.DataFrame) -> int | None:
    """How many (architecture, repeat) a run asks for on each dataset; None if unknown.

    Raises:
        UsageError: it asks for all architectures of a space that is not there.
    """
    from zcbench.spaces import load_space

    config = run.attrs["manifest"]["config"]
    n = config.get("n")
    if config.get("archs"):
        listed = Path(run.attrs["path"]) / str(config["archs"])
        n = len(listed.read_text(encoding="utf-8").split()) if listed.exists() else None
    elif n == "all":
        space = load_space(str(run["space"].iloc[0]))
        n = len(space.population(config.get("population", "all")))
    return n * int(config.get("repeats", 1)) if isinstance(n, int) else None


def _named(absent: Any) -> str:
    if len(absent) == 1:
        return f"1 architecture ({absent[0]}) is"
    return f"{len(absent):,} architectures (such as {absent[0]}) are"


def _seeds(known: pd.DataFrame, target: str) -> Floats:
    """Accuracy by training seed, [n, s]."""
    columns = [name for name in known.columns if name.startswith(f"{target}_seed")]
    return np.asarray(known[columns].to_numpy(dtype=np.float64))


def _early(
    known: pd.DataFrame, epochs: Mapping[str, int], target: str
) -> dict[str, Early]:
    """Those that a search may look at: of validation images, as ``val_12``."""
    whole = epochs.get(target, 0)
    return {
        name: Early(known[name].to_numpy(dtype=np.float64), count, count / whole)
        for name, count in epochs.items()
        if name.startswith("val_") and name in known and 0 < count < whole
    }


def _train_seconds(known: pd.DataFrame) -> Floats | None:
    """Seconds of one training, [n]."""
    if "train_time" not in known.columns:
        return None
    return np.asarray(known["train_time"].to_numpy(dtype=np.float64))
