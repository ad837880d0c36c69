"""A run against a baseline run: correlations, failures, and score by score.

Of two run directories the correlations are compared on the architectures that both have
scored, by the interval of their paired difference: what the two share cancels, so that
a change of .03 shows among 1,000 architectures where each ρ alone is known to .04.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from zcbench.errors import DataError, UsageError
from zcbench.stats import Difference, Kind
from zcbench.stats.ranks import Floats

if TYPE_CHECKING:
    import pandas as pd

    from zcbench.report import Study

VERDICTS = ("worse", "gone", "not comparable", "better", "new", "same")
"""What a row can say; the first two are regressions."""
REGRESSIONS = frozenset({"worse", "gone"})
COLUMNS = (
    "space",
    "dataset",
    "proxy",
    "verdict",
    "reason",
    "spearman_before",
    "spearman_after",
    "kendall_before",
    "kendall_after",
    "failed_before",
    "failed_after",
    "scores",
    "scores_differ",
    *(
        f"{kind}_change{end}"
        for kind in ("spearman", "kendall")
        for end in ("", "_low", "_high")
    ),
)
"""Columns of the table that `compare` returns."""

Key = tuple[str, str, str]
"""(space, dataset, proxy)."""
_KINDS: tuple[tuple[Kind, str], ...] = (("spearman", "ρ"), ("kendall", "τ"))
_FEWEST = 10
"""Shared architectures with which two samples can be compared."""
ALWAYS = 0.1
"""A change of ρ or τ that counts however wide its interval is.

The table did move by that much, and all else being equal the code moved it, even if
another sample of so few architectures might not show it.
"""


@dataclass(frozen=True, slots=True)
class Tolerances:
    """How much may change.

    Attributes:
        table: of ρ and τ; a smaller change is none.
        confidence: of the paired intervals: a larger change is one if they leave out 0.
        score: of a score, relative to the larger of the two. For a proxy whose scores
            have both signs the typical size of its scores counts instead where it is
            larger: what cancels to nearly nothing has no relative accuracy.
        strict: whether a score beyond its tolerance makes the row worse.
    """

    table: float = 0.01
    confidence: float = 0.99
    score: float = 1e-4
    strict: bool = False


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


def compare(
    baseline: Path,
    run: Path,
    tolerances: Tolerances | None = None,
    *,
    target: str | None = None,
) -> pd.DataFrame:
    """Compare a run with a baseline, each a run directory or a JSON report.

    Args:
        baseline: what to hold against.
        run: what to judge.
        tolerances: how much may change.
        target: ``"val"`` or ``"test"``; None for what the baseline was made for.

    Returns:
        One row per (space, dataset, proxy) with `COLUMNS`, regressions first.
        Where both are run directories ``scores`` counts the pairs of scores compared
        and ``scores_differ`` those beyond the tolerance, and the columns of changes
        have the paired differences, up is better. ``attrs["notes"]`` says which
        datasets were compared on a part of their architectures, and how scores and
        truth were read.

    Raises:
        DataError: one of them cannot be read, or its truth is missing.
        UsageError: a strict comparison of scores is asked for where there are none.
    """
    import pandas as pd

    tolerances = tolerances or Tolerances()
    if tolerances.strict:
        for path in (baseline, run):
            if not path.is_dir() and path.exists():
                raise UsageError(
                    f"{path} is a report, which holds no scores to compare.",
                    "Give two run directories, or drop --scores.",
                )
    old, new = _load(baseline), _load(run)
    notes: list[str] = []
    if isinstance(old, pd.DataFrame) and isinstance(new, pd.DataFrame):
        old, new, notes = _shared(old, new)
    before = _side(baseline, old, target)
    targets = {row["target"] for row in before.rows.values()}
    if target is None and len(targets) == 1:
        (target,) = targets
    after = _side(run, new, target)
    rows = [_row(key, before, after, tolerances) for key in _keys(before, after)]
    table = pd.DataFrame(rows, columns=list(COLUMNS))
    rank = table["verdict"].map(VERDICTS.index)
    table = table.loc[rank.sort_values(kind="stable").index].reset_index(drop=True)
    table.attrs = {"baseline": before.name, "run": after.name, "target": target}
    read = [s.note for side in (before, after) for s in side.studies.values()]
    notes += [line for note in read for line in note.splitlines()]
    table.attrs["notes"] = list(dict.fromkeys(notes))
    return table


def check_comparable(table: pd.DataFrame) -> None:
    """Make sure that a comparison has compared something.

    Raises:
        DataError: no row is comparable, so that the absence of regressions means
            nothing.
    """
    if (table["verdict"] == "not comparable").all():
        reasons = ", ".join(dict.fromkeys(table["reason"]))
        raise DataError(
            f"Nothing in {table.attrs['run']} can be compared with "
            f"{table.attrs['baseline']}: {reasons}.",
            "Run with the settings of the baseline, or make a new baseline.",
        )


def _load(path: Path) -> pd.DataFrame | Mapping[str, Any]:
    """Scores of a run directory, or a JSON report.

    Raises:
        DataError: it is neither.
    """
    from zcbench.store import load_run

    return _read_report(path) if path.is_file() else load_run(path)


def _shared(
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


def _side(
    path: Path, loaded: pd.DataFrame | Mapping[str, Any], target: str | None
) -> Side:
    """What is known of a run or a report.

    Raises:
        DataError: the report is damaged, or the truth of the run is missing.
    """
    from zcbench.analysis.correlations import tabulate
    from zcbench.report import studies
    from zcbench.report.machine import document, strict

    if isinstance(loaded, Mapping):
        return _parsed(path, loaded, None, {})
    found = studies([loaded], target)
    by_place = {(s.space, s.dataset): s for s in found}
    return _parsed(path, strict(document(tabulate(found, [loaded]))), loaded, by_place)


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
    numbers = kept["spearman"], kept["kendall"]
    fine = all(value is None or isinstance(value, float | int) for value in numbers)
    if not fine or not isinstance(kept["failed"], int):
        raise TypeError
    return kept | {"missing": row["status"].get("missing", 0)}


_HOW_TO_REPORT = "Give a run directory, or what `zcbench report --format json` writes."
_ROW_FIELDS = ("target", "version", "direction", "failed", "spearman", "kendall")


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
        "precision": config.get("precision", "float32"),
        "seed": config.get("seed"),
        "repeats": config.get("repeats", 1),
    }


def _read_report(path: Path) -> Mapping[str, Any]:
    try:
        document = json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise DataError(f"{path} cannot be read: {error.strerror}.") from None
    except (ValueError, RecursionError):
        raise DataError(f"{path} is no valid JSON.", _HOW_TO_REPORT) from None
    if not isinstance(document, dict) or not {"runs", "correlations"} <= set(document):
        raise DataError(f"{path} is not a report of zcbench.", _HOW_TO_REPORT)
    if document.get("schema") != 1:
        raise DataError(
            f"{path} has schema {document.get('schema')}, this zcbench reads 1.",
            "Make the report again, or update zcbench.",
        )
    return document


def _keys(before: Side, after: Side) -> Iterator[Key]:
    yield from before.rows
    yield from (key for key in after.rows if key not in before.rows)


def _row(key: Key, before: Side, after: Side, tolerances: Tolerances) -> dict[str, Any]:
    old, new = before.rows.get(key), after.rows.get(key)
    row: dict[str, Any] = dict(zip(("space", "dataset", "proxy"), key, strict=True))
    for when, side in (("before", old), ("after", new)):
        for name in ("spearman", "kendall", "failed"):
            row[f"{name}_{when}"] = None if side is None else side[name]
    if old is None or new is None:
        return row | {"verdict": "new" if old is None else "gone", "reason": ""}
    reason = _obstacle(key, before, after)
    if reason:
        return row | {"verdict": "not comparable", "reason": reason}
    compared, differing = _count_differences(key, before, after, tolerances.score)
    row |= {"scores": compared, "scores_differ": differing}
    paired = _paired(key, before, after, tolerances.confidence)
    for kind, found in paired.items():
        row |= {f"{kind}_change": found.delta}
        row |= {f"{kind}_change_low": found.low, f"{kind}_change_high": found.high}
    worse, better, noise = _changes(old, new, paired, tolerances.table)
    if tolerances.strict and differing:
        worse.append(
            f"{differing:,} of {compared:,} scores differ by more than "
            f"{tolerances.score:g}"
        )
    verdict = "worse" if worse else "better" if better else "same"
    return row | {"verdict": verdict, "reason": ", ".join(worse or better or noise)}


def _obstacle(key: Key, before: Side, after: Side) -> str:
    """Why two rows cannot be compared; empty if they can."""
    old, new = before.rows[key], after.rows[key]
    there, here = before.settings.get(key[:2], {}), after.settings.get(key[:2], {})
    differing = [f"other {name}" for name in there if there[name] != here.get(name)]
    if old["missing"] or new["missing"]:
        differing.append("not all scores are there yet")
    if old["direction"] != new["direction"]:
        words = f"{old['direction']} is better then, {new['direction']} now"
        differing.append(words)
    if old["version"] != new["version"]:
        differing.append(f"proxy version {old['version']} then, {new['version']} now")
    return ", ".join(differing)


def _paired(
    key: Key, before: Side, after: Side, confidence: float
) -> dict[Kind, Difference]:
    """How much better the new scores rank, where there are scores on both sides."""
    from zcbench.stats import paired_difference

    old, new = before.studies.get(key[:2]), after.studies.get(key[:2])
    if old is None or new is None:
        return {}
    place = {arch: i for i, arch in enumerate(old.archs)}
    same = np.array([place[arch] for arch in new.archs])
    scores = new.scores[key[2]], old.scores[key[2]][same]
    return {
        kind: paired_difference(*scores, new.accuracy, kind, confidence=confidence)
        for kind, _ in _KINDS
    }


def is_certain(found: Difference) -> bool:
    """Whether a change counts, if it is beyond the tolerance.

    Its interval leaves out 0, or there is none, or the change is beyond `ALWAYS`.
    """
    chance = found.low <= 0 <= found.high and math.fabs(found.delta) <= ALWAYS
    return not chance


def _changes(
    old: Mapping[str, Any],
    new: Mapping[str, Any],
    paired: Mapping[Kind, Difference],
    tolerance: float,
) -> tuple[list[str], list[str], list[str]]:
    """What has become worse, what better, and what looks so but may be chance."""
    worse, better, noise = [], [], []
    sign = -1 if new["direction"] == "lower" else 1
    for name, symbol in _KINDS:
        then, now, found = old[name], new[name], paired.get(name)
        if then is None or now is None:
            if then is not None:
                worse.append(f"{symbol} is gone")
            elif now is not None:
                better.append(f"{symbol} is there")
            continue
        if found is None or math.isnan(found.low):
            gain, words, certain = sign * (now - then), "", True
        else:
            gain, certain = found.delta, is_certain(found)
            low, high = sorted((sign * found.low, sign * found.high))
            words = f" [{low:+.3f}, {high:+.3f}]"
        if math.fabs(gain) <= tolerance:
            continue
        change = f"{symbol} {sign * gain:+.3f}{words}"
        if not certain:
            noise.append(f"{change} may be chance")
        else:
            (worse if gain < 0 else better).append(change)
    if old["failed"] != new["failed"]:
        change = f"failed {old['failed']:,} then, {new['failed']:,} now"
        (worse if new["failed"] > old["failed"] else better).append(change)
    return worse, better, noise


def _count_differences(
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
