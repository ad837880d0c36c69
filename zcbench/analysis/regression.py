"""A run against a baseline run: correlations, failures, and score by score.

Of two run directories the correlations are compared on the architectures that both have
scored, by the interval of their paired difference: what the two share cancels, so that
a change of .03 shows among 1,000 architectures where each ρ alone is known to .04.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from zcbench.analysis.block import Block, Column, Style, number, places_of
from zcbench.analysis.rows import frame, numbers, with_ends
from zcbench.analysis.scores import grouped
from zcbench.analysis.side import (
    Key,
    Side,
    count_differences,
    load,
    shared,
    side_of,
)
from zcbench.errors import DataError, UsageError
from zcbench.stats import Difference, Family, Kind, paired_difference

VERDICTS = ("worse", "gone", "not comparable", "better", "new", "same")
"""What a row can say; the first two are regressions."""
REGRESSIONS = frozenset({"worse", "gone"})
_BOTH = ("spearman", "kendall", "failed")
COLUMNS = (
    *("space", "dataset", "proxy", "verdict", "reason"),
    *(f"{name}_{when}" for name in _BOTH for when in ("before", "after")),
    *("scores", "scores_differ"),
    *with_ends("spearman_change", "kendall_change"),
)
"""Columns of the table that `compare` returns."""

_STYLES: Mapping[str, Style] = {"worse": "worse", "gone": "worse", "better": "better"}
_KINDS: tuple[tuple[Kind, str], ...] = (("spearman", "ρ"), ("kendall", "τ"))


@dataclass(frozen=True, slots=True)
class Tolerances:
    """How much may change.

    Attributes:
        table: of ρ and τ; a smaller change is none.
        confidence: that no change of a whole table is seen where none is: a larger
            change is one if its interval leaves out 0, and all intervals of the table
            hold together at this confidence.
        score: of a score, relative to the larger of the two. For a proxy whose scores
            have both signs the typical size of its scores counts instead where it is
            larger: what cancels to nearly nothing has no relative accuracy.
        strict: whether a score beyond its tolerance makes the row worse.
    """

    table: float = 0.01
    confidence: float = 0.99
    score: float = 1e-4
    strict: bool = False


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
        truth were read; ``attrs["failures"]`` what is told of proxies that fail now.

    Raises:
        DataError: one of them cannot be read, or its truth is missing.
        UsageError: a strict comparison of scores is asked for where there are none.
    """
    tolerances = tolerances or Tolerances()
    before, after, target, notes = _sides(baseline, run, target, tolerances.strict)
    paired = _paired(before, after, tolerances.confidence)
    keys = dict.fromkeys((*before.rows, *after.rows))
    rows = [_row(k, before, after, paired.get(k, {}), tolerances) for k in keys]
    rows.sort(key=lambda row: VERDICTS.index(row["verdict"]))
    table = frame(rows, COLUMNS)
    table.attrs = {"baseline": before.name, "run": after.name, "target": target}
    failing = {
        key[2]: row["remarks"] for key, row in after.rows.items() if row["failed"]
    }
    table.attrs |= {"notes": notes, "failures": failing}
    return table


def _sides(
    baseline: Path, run: Path, target: str | None, strict: bool
) -> tuple[Side, Side, str | None, list[str]]:
    """Both of them, the target that they are compared on, and lines for the user."""
    for path in (baseline, run) if strict else ():
        if not path.is_dir() and path.exists():
            raise UsageError(
                f"{path} is a report, which holds no scores to compare.",
                "Give two run directories, or drop --scores.",
            )
    notes: list[str] = []
    old, new = (load(path, notes) for path in (baseline, run))
    if isinstance(old, pd.DataFrame) and isinstance(new, pd.DataFrame):
        old, new, said = shared(old, new)
        notes += said
    before = side_of(baseline, old, target)
    targets = {row["target"] for row in before.rows.values()}
    if target is None and len(targets) == 1:
        (target,) = targets
    after = side_of(run, new, target)
    read = [s.note for side in (before, after) for s in side.studies.values()]
    notes += [line for note in read for line in note.splitlines()]
    return before, after, target, list(dict.fromkeys(notes))


def comparison(table: pd.DataFrame) -> Block:
    """How the table of `compare` reads: its rows, and how many say what.

    Args:
        table: the table.
    """
    counts = table["verdict"].value_counts()
    parts = [f"{counts[word]} {word}" for word in VERDICTS if word in counts]
    return Block(
        name="rows",
        title=f"{table.attrs['run']} against {table.attrs['baseline']}",
        about="",
        table=table,
        columns=(
            Column("verdict", "", "text"),
            Column("dataset", "dataset", "text"),
            Column("proxy", "proxy", "text"),
            Column("spearman_change", "ρ", "difference", _move("spearman")),
            Column("kendall_change", "τ-b", "difference", _move("kendall")),
            Column("scores_differ", "scores", "count", _differing),
            Column("reason", "why", "text"),
        ),
        conclusion=f"{', '.join(parts)}.",
        remarks=grouped(table.attrs["failures"]),
        styles=tuple(_STYLES.get(verdict, "") for verdict in table["verdict"]),
    )


def _move(kind: Kind) -> Callable[[Mapping[str, Any]], str]:
    """.71, or .71 → .68 where the two read differently."""

    def words(row: Mapping[str, Any]) -> str:
        then, now = (
            "–" if _missing(row[name]) else number(row[name], places=3)
            for name in (f"{kind}_before", f"{kind}_after")
        )
        return now if then == now else f"{then} → {now}"

    return words


def _differing(row: Mapping[str, Any]) -> str:
    if _missing(row["scores"]):  # of a report, which has none
        return ""
    return f"{row['scores_differ']:,.0f} of {row['scores']:,.0f} differ"


def _missing(value: float | None) -> bool:
    """Whether a cell has no number: None where no row of its column has one."""
    return value is None or math.isnan(value)


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


def _row(
    key: Key,
    before: Side,
    after: Side,
    paired: Mapping[Kind, Difference],
    tolerances: Tolerances,
) -> dict[str, Any]:
    old, new = before.rows.get(key), after.rows.get(key)
    row: dict[str, Any] = dict(zip(("space", "dataset", "proxy"), key, strict=True))
    for when, side in (("before", old), ("after", new)):
        for name in _BOTH:
            row[f"{name}_{when}"] = None if side is None else side[name]
    if failure := _total_failure(old, new):
        return row | {"verdict": "worse", "reason": failure}
    if old is None or new is None:
        return row | {"verdict": "new" if old is None else "gone", "reason": ""}
    reason = _obstacle(key, before, after)
    if reason:
        return row | {"verdict": "not comparable", "reason": reason}
    compared, differing = count_differences(key, before, after, tolerances.score)
    row |= {"scores": compared, "scores_differ": differing}
    for kind, change in paired.items():
        row |= numbers(f"{kind}_change", change)
    worse, better, noise = _changes(old, new, paired, tolerances.table)
    if tolerances.strict and differing:
        worse.append(
            f"{differing:,} of {compared:,} scores differ by more than "
            f"{tolerances.score:g}"
        )
    verdict = "worse" if worse else "better" if better else "same"
    return row | {"verdict": verdict, "reason": ", ".join(worse or better or noise)}


def _total_failure(old: Mapping[str, Any] | None, new: Mapping[str, Any] | None) -> str:
    """Why a proxy has no score at all now, whatever its version; empty if it has some.

    What is undefined everywhere, and was not defined before, is no failure.
    """
    if new is None or not _is_without(new):
        return ""
    if {*new["status"]} <= {"undefined"} and (old is None or _is_without(old)):
        return ""
    why = ", ".join(f"{count:,} {word}" for word, count in new["status"].items())
    return f"no network has a score ({why})"


def _is_without(row: Mapping[str, Any]) -> bool:
    return not row["n"] and row["failed"] > 0 and not row["missing"]


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
    before: Side, after: Side, confidence: float
) -> dict[Key, dict[Kind, Difference]]:
    """How much better the new scores of each row rank, where both sides have scores.

    The intervals of a table hold together: with a hundred rows one in a hundred would
    else be called worse by chance. Datasets are taken as independent of each other,
    which if they are not makes the intervals wider, not narrower.
    """
    by_row: dict[Key, dict[Kind, Difference]] = {}
    influences = []
    for where, new in after.studies.items():
        old = before.studies.get(where)
        keys = [
            key
            for key in before.rows
            if key[:2] == where
            and key in after.rows
            and not _obstacle(key, before, after)
        ]
        if old is None or not keys:
            continue
        place = {arch: i for i, arch in enumerate(old.archs)}
        same = np.array([place[arch] for arch in new.archs])
        for key in keys:
            scores = new.scores[key[2]], old.scores[key[2]][same]
            by_row[key] = {
                kind: paired_difference(*scores, new.accuracy, kind)
                for kind, _ in _KINDS
            }
        here = [d.influence for key in keys for d in by_row[key].values()]
        influences.append(np.stack(here, axis=1))
    level = Family.of(influences, np.random.default_rng(0)).level(confidence)
    for key, differences in by_row.items():
        for kind, d in differences.items():
            low, high = d.interval(level)
            by_row[key][kind] = replace(d, low=low, high=high)
    return by_row


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
        then, now, moved = old[name], new[name], paired.get(name)
        if then is None or now is None:
            if then is not None:
                worse.append(f"{symbol} is gone")
            elif now is not None:
                better.append(f"{symbol} is there")
            continue
        if moved is None or math.isnan(moved.low):
            gain, words, certain = sign * (now - then), "", True
        else:
            gain, certain = moved.value, not moved.low <= 0 <= moved.high
            low, high = sorted((sign * moved.low, sign * moved.high))
            places = places_of(low, high, (0.0,), least=3)
            words = f" [{low:+.{places}f}, {high:+.{places}f}]"
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
