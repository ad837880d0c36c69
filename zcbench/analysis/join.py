"""From runs to studies: scores joined with the ground truth on the architecture."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from zcbench.aggregates import Aggregate, check_parts
from zcbench.analysis.scores import (
    Reasons,
    count_reasons,
    last_of,
    mean_scores,
    mean_seconds,
    remarks_of,
    scores_by_repeat,
    traits,
    without_noise,
)
from zcbench.analysis.study import PERCENT, Early, Study
from zcbench.errors import DataError, UsageError, count
from zcbench.files import read, reason
from zcbench.stats.ranks import Floats
from zcbench.store import ONESHOT
from zcbench.store.directory import ARCHS
from zcbench.store.records import RESTORE


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
    from zcbench.tasks import space_of
    from zcbench.truth import load_truth

    for run in runs:
        check_parts(aggregates, run.attrs["proxies"], run.attrs["path"])
    joined = []
    for run in runs:
        config = run.attrs["manifest"]["config"]
        space = space_of(str(run["space"].iloc[0]), run.attrs["manifest"])
        asked = target or config.get("target", "val")
        source = truth or config.get("truth", "auto")
        source = "auto" if source == "none" else source
        for dataset in _datasets(run):
            table = load_truth(space, dataset, source, asked)
            joined += [study_of(run, dataset, table, asked, population, aggregates)]
    return joined


# Over 40 lines: one field of a study after the other, each once.
def study_of(
    run: pd.DataFrame,
    dataset: str,
    truth: pd.DataFrame,
    target: str,
    population: str | None = None,
    aggregates: Sequence[Aggregate] = (),
) -> Study:
    """Join one dataset of a run with accuracies.

    Args:
        run: from `load_run`.
        dataset: one of its datasets.
        truth: from `load_truth`.
        target: which accuracy of the truth.
        population: architectures to speak of; None for those the run sampled from.
        aggregates: combinations of ranks, to stand beside the proxies.

    Raises:
        DataError: there is no such target, or the truth knows no architecture.
        UsageError: the run says nothing about that population.
    """
    from zcbench.truth import choose_target

    manifest = run.attrs["manifest"]
    config = manifest["config"]
    target = choose_target(truth, target)
    rows, notes = _known_rows(run, dataset, truth, population)
    rows = without_noise(rows)
    sampled = "list" if config.get("archs") else config.get("population", "all")
    scores, reasons = mean_scores(rows, run.attrs["proxies"])
    values = {proxy: scores[proxy].to_numpy() for proxy in scores}
    known = traits(manifest, scores)
    notes += known.notes(run.attrs["path"])
    study = Study(
        **_setting(run, dataset),
        **_trained(truth, target, scores.index),
        population=population or sampled,
        archs=list(scores.index),
        scores=known.oriented(values),
        by_repeat=known.oriented(scores_by_repeat(rows, scores)),
        whole=_whole(truth, target, len(scores), population or sampled),
        seconds=mean_seconds(rows["seconds"], run.attrs["proxies"]),
        baselines=known.baselines,
        lower=known.lower,
        versions={proxy: manifest["proxies"].get(proxy, 1) for proxy in scores},
        statuses={p: count_reasons(v, [reasons.get(p, {})]) for p, v in values.items()},
        note="\n".join(notes),
        remarks=remarks_of(rows),
        trained={
            name: _seconds_once(manifest, name, dataset) for name in known.trained
        },
    )
    for aggregate in aggregates:
        study = _with_aggregate(study, aggregate, reasons, rows)
    return study


def _trained(truth: pd.DataFrame, target: str, archs: pd.Index[Any]) -> dict[str, Any]:
    """What a study says of its truth, and the truth of its architectures."""
    from zcbench.truth.units import is_percent

    known = truth.set_index("arch").reindex(archs)
    percent = is_percent(target) or truth.attrs.get("unit") == "percent"
    times = known.get("train_time")
    return {
        "part": str(truth.attrs.get("part", "")),
        "target": target,
        "unit": PERCENT if percent else f"units of {target}",
        "truth": str(truth.attrs.get("truth", "")),
        "release": str(truth.attrs.get("release", "")),
        "truth_digest": str(truth.attrs.get("digest", "")),
        "accuracy": known[target].to_numpy(dtype=np.float64),
        "seeds": _seeds(known, target),
        "train_seconds": None if times is None else times.to_numpy(dtype=np.float64),
        "early": _early(known, truth.attrs.get("epochs", {}), target),
    }


def _seconds_once(manifest: Mapping[str, Any], name: str, dataset: str) -> float:
    """Mean training time of the supernets behind a column; NaN if not known."""
    spent = manifest[ONESHOT][name].get(dataset, {}).get("seconds", {})
    return float(np.mean(list(spent.values()))) if spent else math.nan


def _datasets(run: pd.DataFrame) -> list[str]:
    """Datasets of a run, in the order it names them."""
    present = run["dataset"].unique().tolist()
    config = run.attrs["manifest"]["config"]
    named = [name for name in config.get("datasets", ()) if name in present]
    return named + [d for d in present if d not in named]


def _setting(run: pd.DataFrame, dataset: str) -> dict[str, Any]:
    """What a study says of how its run was made."""
    manifest = run.attrs["manifest"]
    config = manifest["config"]
    images: Mapping[str, Any] = manifest.get("minibatch", {}).get(dataset, {})
    kind = "list" if config.get("archs") else "sample"
    return {
        "run": run.attrs["path"],
        "space": str(run["space"].iloc[0]),
        "dataset": dataset,
        "sampled": "all" if config.get("n") == "all" and kind == "sample" else kind,
        "networks": int((run["dataset"] == dataset).sum()),
        "expected": _expected_networks(run, dataset),
        "minibatch": str(images.get("name", "")),
        "minibatch_digest": str(images.get("digest", "")),
        "batch_size": config.get("batch_size"),
        "seed": config.get("seed"),
        "repeats": config.get("repeats", 1),
        "precision": config.get("precision", "float32"),
        "input_size": config.get("input_size", "auto"),
    }


def _known_rows(
    run: pd.DataFrame, dataset: str, truth: pd.DataFrame, population: str | None
) -> tuple[pd.DataFrame, list[str]]:
    """Rows of a dataset and population that the truth knows; lines for the user."""
    path, space = run.attrs["path"], str(run["space"].iloc[0])
    rows = run[(run["dataset"] == dataset) & _members(run, population)]
    if not len(rows):
        raise DataError(
            f"{path} holds no architecture of population {population}.",
            "Give another --population.",
        )
    # Not `isin`, which takes 0.1 s for strings of a whole space, at every dataset.
    there = rows["arch"].map(set(truth["arch"]).__contains__)
    source = f"the ground truth {truth.attrs.get('truth')} for {space} {dataset}"
    absent = rows.loc[~there, "arch"].unique()
    if not there.any():
        raise DataError(
            f"None of the {len(absent):,} architectures of {path} is in {source}.",
            "Give another --truth.",
        )
    notes = list(truth.attrs.get("notes", ()))
    if len(absent):
        several = f"{len(absent):,} architectures (such as {absent[0]}) are"
        named = several if len(absent) > 1 else f"1 architecture ({absent[0]}) is"
        notes.append(f"{path}: {named} not in {source}, and left out.")
    return rows[there], notes


def _members(run: pd.DataFrame, population: str | None) -> pd.Series[bool]:
    """Which rows of a run belong to a population that it can speak for.

    A random sample of a population is one of each part of it, never of a larger one.

    Raises:
        UsageError: the run was sampled from a population without some of these.
    """
    from zcbench.spaces import load_space
    from zcbench.spaces.base import Unlisted

    config = run.attrs["manifest"]["config"]
    sampled = config.get("population", "all")
    if population in (None, sampled):
        return pd.Series(True, index=run.index)
    space = load_space(str(run["space"].iloc[0]))
    if isinstance(space, Unlisted):
        wanted = space.among(population, run["index"].unique())
        covered = sampled == space.populations[0]
    else:
        wanted = space.population(population)
        covered = bool(np.isin(wanted, space.population(sampled)).all())
    if not covered:
        raise UsageError(
            f"{run.attrs['path']} was sampled from the population {sampled}, which "
            f"says nothing about {population}.",
            f"Report {sampled}, or run with --population {population}.",
        )
    return run["index"].isin(wanted)


def _expected_networks(run: pd.DataFrame, dataset: str) -> int | None:
    """How many (architecture, repeat) a run asks for on each dataset; None if unknown.

    Raises:
        UsageError: an earlier zcbench wrote it, and its space is not there.
    """
    from zcbench.spaces import load_space

    manifest = run.attrs["manifest"]
    config = manifest["config"]
    n: int | None = manifest.get("architectures")
    n = manifest.get("architectures_of", {}).get(dataset, n)
    if config.get("archs"):
        n = _listed(Path(run.attrs["path"]) / ARCHS)
    elif n is None and config.get("n"):  # written before runs kept the number
        space = load_space(str(run["space"].iloc[0]))
        n = len(space.population(config.get("population", "all")))
        n = n if config["n"] == "all" else min(n, config["n"])
    return n and n * int(config.get("repeats", 1))


def _listed(file: Path) -> int | None:
    """Architectures in a file; None if it is not there."""
    try:
        return len(read(file).decode().splitlines())
    except (FileNotFoundError, NotADirectoryError):
        return None
    except (OSError, ValueError) as error:
        raise DataError(f"{file} cannot be read: {reason(error)}.", RESTORE) from None


def _seeds(accuracies: pd.DataFrame, target: str) -> Floats:
    """Accuracy by training seed, [n, s]."""
    names = [name for name in accuracies if str(name).startswith(f"{target}_seed")]
    return np.asarray(accuracies[names].to_numpy(dtype=np.float64))


def _whole(
    truth: pd.DataFrame, target: str, n: int, population: str
) -> tuple[Floats, Floats] | None:
    """Accuracy and seeds of all that a sample of the whole space stands for."""
    known = truth[truth[target].notna()]
    if population not in ("all", "trained") or n >= len(known):
        return None
    return known[target].to_numpy(dtype=np.float64), _seeds(known, target)


def _early(
    accuracies: pd.DataFrame, epochs: Mapping[str, int], target: str
) -> dict[str, Early]:
    """Those that a search may look at: of validation images, as ``val_12``."""
    whole = epochs.get(target, 0)
    return {
        name: Early(accuracies[name].to_numpy(np.float64), count, count / whole)
        for name, count in epochs.items()
        if name.startswith("val_") and name in accuracies and 0 < count < whole
    }


def _with_aggregate(
    study: Study, aggregate: Aggregate, reasons: Reasons, rows: pd.DataFrame
) -> Study:
    """The study with one more score; its cohort are the architectures of the study."""
    name, parts = aggregate.name, aggregate.parts
    scores = np.stack([study.scores[part] for part in parts])
    by_repeat = np.stack([study.by_repeat[part] for part in parts])
    for row, part in enumerate(parts):
        behind = last_of(rows, part, aggregate.last, study.archs)
        scores[row][behind] = by_repeat[row][behind] = -np.inf
    values = aggregate.of(scores)
    behind_all = np.isneginf(scores[:, ~np.isnan(values)]).any(axis=0).sum()
    last = f"an undefined part ranks last ({count(int(behind_all), 'network')})"
    columns = [aggregate.of(by_repeat[:, :, r]) for r in range(by_repeat.shape[2])]
    why = count_reasons(values, [reasons.get(part, {}) for part in parts])
    return replace(
        study,
        scores={**study.scores, name: values},
        by_repeat={**study.by_repeat, name: np.stack(columns, axis=1)},
        # Parts share passes, so that their costs do not add up to what it costs.
        seconds={**study.seconds, name: math.nan},
        versions={**study.versions, name: aggregate.version},
        statuses={**study.statuses, name: why},
        remarks={**study.remarks, **({name: last} if behind_all else {})},
        aggregates=(*study.aggregates, name),
    )
