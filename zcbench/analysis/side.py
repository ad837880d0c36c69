"""The sides of a comparison: a run with its accuracies, or a report of one."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from zcbench.analysis.correlations import tabulate, tidy
from zcbench.analysis.join import studies
from zcbench.analysis.study import Study
from zcbench.errors import DataError
from zcbench.files import CHECKSUM, is_intact, read, reason
from zcbench.stats.ranks import Floats

Key = tuple[str, str, str]
"""(space, dataset, proxy)."""
_HOW_TO_REPORT = "Give a run directory, or what `zcbench report --format json` writes."
_FEWEST = 10
"""Shared architectures with which two samples can be compared."""
_ROW_FIELDS = (
    *("target", "version", "direction", "n", "failed", "status"),
    *("spearman", "kendall"),
)


@dataclass(frozen=True, slots=True)
class Side:
    """What is known of one of the two.

    Attributes:
        name: as it was given.
        rows: rows of its report, as `zcbench.report.COLUMNS`.
        settings: (space, dataset) → name → what must be equal to compare.
        run: its scores; None if only a report is at hand.
        studies: (space, dataset) → its scores joined with accuracies; likewise.
    """

    name: str
    rows: Mapping[Key, Mapping[str, Any]]
    settings: Mapping[tuple[str, str], Mapping[str, Any]]
    run: pd.DataFrame | None
    studies: Mapping[tuple[str, str], Study]


def load(path: Path, notes: list[str]) -> pd.DataFrame | Mapping[str, Any]:
    """Scores of a run directory, or a JSON report.

    Args:
        path: of the one or the other.
        notes: lines for the user are added to it.

    Raises:
        DataError: it is neither.
    """
    from zcbench.store import load_run

    if path.is_file():
        return read_report(path, notes)
    run = load_run(path)
    notes += run.attrs.get("notes", [])
    return run


def shared(
    old: pd.DataFrame, new: pd.DataFrame
) -> tuple[pd.DataFrame, pd.DataFrame, list[str]]:
    """The rows of both runs on the architectures that both have; and what that means.

    A dataset of which they share too few stays as it is.
    """
    notes = []
    for dataset in (d for d in old["dataset"].unique() if (new["dataset"] == d).any()):
        archs = [
            frozenset(run.loc[run["dataset"] == dataset, "arch"]) for run in (old, new)
        ]
        both = archs[0] & archs[1]
        if archs[0] == archs[1] or len(both) < _FEWEST:
            continue
        notes.append(
            f"Compared on the {len(both):,} architectures of {dataset} that both have, "
            f"of {len(archs[0]):,} and {len(archs[1]):,}."
        )
        old, new = (
            _kept(run, (run["dataset"] != dataset) | run["arch"].isin(both))
            for run in (old, new)
        )
    return old, new, notes


def _kept(run: pd.DataFrame, rows: pd.Series[bool]) -> pd.DataFrame:
    kept = run[rows]
    kept.attrs = run.attrs
    return kept


def side_of(
    path: Path, loaded: pd.DataFrame | Mapping[str, Any], target: str | None
) -> Side:
    """What is known of a run or a report.

    Raises:
        DataError: the report is damaged, or the truth of the run is missing.
    """
    if isinstance(loaded, Mapping):
        return _parsed(path, loaded, None, {})
    joined = studies([loaded], target)
    by_place = {(s.space, s.dataset): s for s in joined}
    return _parsed(path, tidy(tabulate(joined, [loaded])), loaded, by_place)


def _parsed(
    path: Path,
    document: Mapping[str, Any],
    run: pd.DataFrame | None,
    studies: Mapping[tuple[str, str], Study],
) -> Side:
    rows: dict[Key, Mapping[str, Any]] = {}
    settings = {}
    try:
        for row in document["correlations"]:
            if row.get("epochs"):  # early stopping, which is the truth's and no score
                continue
            key = (row["space"], row["dataset"], row["proxy"])
            if key in rows:
                raise DataError(
                    f"{path} reports {key[2]} on {key[1]} more than once.",
                    "Make a report of one run.",
                )
            rows[key] = _checked(row)
        for manifest in document["runs"]:
            for section in manifest["sections"]:
                where = section["space"], section["dataset"]
                settings[where] = _settings(manifest, section)
    except (KeyError, TypeError, AttributeError):
        raise DataError(f"{path} is not a report of zcbench.", _HOW_TO_REPORT) from None
    if not rows:
        raise DataError(f"{path} holds no correlations.")
    return Side(str(path), rows, settings, run, studies)


def _checked(row: Mapping[str, Any]) -> Mapping[str, Any]:
    """The fields of a row that a comparison uses.

    Raises:
        KeyError: one is not there.
        TypeError: one is not of its type.
    """
    kept = {name: row[name] for name in _ROW_FIELDS}
    kept["missing"] = row["status"].get("missing", 0)
    for kind in ("spearman", "kendall"):
        if kept[kind] is not None and kept[kind] != kept[kind]:
            kept[kind] = None
        if not (
            kept[kind] is None or (_is_number(kept[kind]) and abs(kept[kind]) <= 1)
        ):
            raise TypeError
    texts = (row["space"], row["dataset"], row["proxy"], kept["target"])
    counts = (kept["n"], kept["failed"], kept["missing"])
    if (
        not all(isinstance(text, str) for text in texts)
        or not all(type(count) is int and 0 <= count < 1 << 63 for count in counts)
        or kept["direction"] not in ("higher", "lower")
    ):
        raise TypeError
    return kept | {"remarks": str(row.get("remarks") or "")}


def _is_number(value: object) -> bool:
    return type(value) in (int, float)


def _settings(
    manifest: Mapping[str, Any], section: Mapping[str, Any]
) -> dict[str, Any]:
    """What must be equal for two tables to be comparable, by the name users know."""
    config = manifest["config"]
    # Reports of earlier versions say of a list that it is of the population "all".
    listed = section["sampled"] == "list" and section["population"] == "all"
    return {
        "target": section["target"],
        "truth": (section["truth"], section["truth_digest"]),
        "population": "list" if listed else section["population"],
        "sample of architectures": section["sample_digest"],
        "minibatch": (section["minibatch"], section["minibatch_digest"]),
        "batch size": config.get("batch_size"),
        "input size": config.get("input_size", "auto"),
        "precision": config.get("precision", "float32"),
        "seed": config.get("seed"),
        "repeats": config.get("repeats", 1),
    }


def read_report(path: Path, notes: list[str]) -> Mapping[str, Any]:
    """What ``zcbench report --format json`` has written.

    Raises:
        DataError: it cannot be read, or is no such report.
    """
    try:
        text = read(path)
        document = json.loads(text)
    except OSError as error:
        raise DataError(f"{path} cannot be read: {reason(error)}.") from None
    except (ValueError, RecursionError):
        raise DataError(f"{path} is no valid JSON.", _HOW_TO_REPORT) from None
    if not isinstance(document, dict) or not {"runs", "correlations"} <= set(document):
        raise DataError(f"{path} is not a report of zcbench.", _HOW_TO_REPORT)
    schema = document.get("schema")
    if schema != 1:
        raise DataError(
            f"{path} has schema {str(schema)[:40]}, this zcbench reads 1.",
            "Make the report again, or update zcbench.",
        )
    if CHECKSUM not in document:
        notes.append(f"{path} has no checksum, so that changes to it may not show.")
    elif not is_intact(text):
        notes.append(f"{path} is not as zcbench wrote it: its checksum is of another.")
    return document


def count_differences(
    key: Key, before: Side, after: Side, tolerance: float
) -> tuple[int | None, int | None]:
    """(pairs of scores, those that differ); None where there are only reports."""
    if before.run is None or after.run is None:
        return None, None
    old, new = _scores(before.run, key), _scores(after.run, key)
    joined = old.to_frame("old").join(new.to_frame("new"), how="outer")
    differ = differing(
        joined["old"].to_numpy(float), joined["new"].to_numpy(float), tolerance
    )
    return len(joined), int(differ.sum())


def _scores(run: pd.DataFrame, key: Key) -> pd.Series[float]:
    """Scores of a proxy on a dataset by (architecture, repeat)."""
    rows = run[run["dataset"] == key[1]]
    return rows.set_index(["arch", "repeat"])[key[2]]


def differing(old: Floats, new: Floats, tolerance: float) -> NDArray[np.bool_]:
    """Which scores are not the same within a relative tolerance.

    Args:
        old: scores of the baseline, NaN where there is none. [n]
        new: scores now. [n]
        tolerance: see `Tolerances`.

    Returns:
        [n] booleans; a score on one side alone differs.
    """
    there, here = np.isfinite(old), np.isfinite(new)
    size = np.fmax(np.abs(old), np.abs(new))
    if (old[there] < 0).any() and (old[there] > 0).any():
        size = np.fmax(size, np.median(np.abs(old[there])))
    beyond = np.abs(new - old) > tolerance * size
    return np.where(there & here, beyond, there | here)
