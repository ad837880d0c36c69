"""Networks outside the benchmarks with accuracies of the user's own."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from zcbench.analysis.correlations import tabulate
from zcbench.analysis.join import study_of
from zcbench.analysis.published import as_run
from zcbench.analysis.report import Report, report_of
from zcbench.analysis.study import FEWEST
from zcbench.errors import DataError
from zcbench.files import read, reason
from zcbench.flat_file import csv_frame, is_accuracy, shown
from zcbench.stats import KINDS

if TYPE_CHECKING:
    from zcbench.types import Score

_NAMES = ("network", "model", "name", "arch", "architecture")
_ACCURACIES = (
    *("accuracy", "acc", "top1", "top-1", "top_1", "acc1", "acc@1", "test", "val"),
    *("test_accuracy", "val_accuracy", "test_acc", "val_acc", "accuracy_top1"),
)
_COLUMNS = "Give a CSV with the columns network and accuracy."


@dataclass(frozen=True, slots=True)
class Accuracies:
    """A file of accuracies.

    Attributes:
        path: the file.
        column: which of its columns they are.
        values: network as the file writes it → accuracy in percent.
        digest: sha256 of the file.
        fractions: whether the file has fractions of 1, not percent.
    """

    path: Path
    column: str
    values: Mapping[str, float]
    digest: str
    fractions: bool

    def of(self, target: str) -> float:
        """Accuracy of a target, by its whole or by its bare name; NaN if not there.

        One with arguments needs them in the file, too: others may bear the same name.
        """
        named, space, arguments = target.partition(" ")
        bare = named.rpartition(":")[2]
        plain = () if space else (bare.partition(".")[0],)
        for name in (target, f"{bare}{space}{arguments}", *plain):
            if name in self.values:
                return self.values[name]
        return math.nan


def read_accuracies(path: Path, target: str | None = None) -> Accuracies:
    """Read a CSV of names and accuracies.

    Args:
        path: the file.
        target: the column of accuracies; None for the one that is called so, or the
            only one of numbers.

    Raises:
        DataError: it cannot be read, or a name or an accuracy in it cannot be used.
    """
    try:
        content = read(path)
    except OSError as error:
        raise DataError(f"{path} cannot be read: {reason(error)}.", _COLUMNS) from None
    table = csv_frame(path, content, _COLUMNS, as_text=True)
    key, column = _columns(path, table, target)
    values: dict[str, float] = {}
    for name, written in zip(table[key], table[column], strict=True):
        if not isinstance(name, str) or not isinstance(written, str):
            continue
        name = name.strip()
        if name in values:
            raise DataError(f"{path} has two rows for {name}.", "Keep one.")
        values[name] = _accuracy(path, name, written)
    fractions = bool(values) and max(values.values()) <= 1
    if fractions:
        values = {name: 100 * value for name, value in values.items()}
    digest = hashlib.sha256(content).hexdigest()
    return Accuracies(path, column.strip().lower(), values, digest, fractions)


def _columns(path: Path, table: pd.DataFrame, target: str | None) -> tuple[str, str]:
    """The columns of names and of accuracies.

    Raises:
        DataError: one is not there, or there are several; says how to name it.
    """
    names = [str(name) for name in table.columns]
    folded = {name.strip().casefold(): name for name in names}
    numeric = [name for name in names if _are_numbers(table[name])]
    texts = [name for name in names if name not in numeric]
    key = _first(_NAMES, folded) or (texts[0] if len(texts) == 1 else None)
    if key is None:
        raise DataError(f"{path} has no column network.", _COLUMNS)
    if target is not None and target.strip().casefold() not in folded:
        raise DataError(
            f"{path} has no column {target}: its columns are {shown(names)}.",
            "Name one of them with --target.",
        )
    if target is not None:
        return key, folded[target.strip().casefold()]
    called = [name for name in names if is_accuracy(name)]
    among = [name for name in called or numeric if name != key]
    column = _first(_ACCURACIES, folded) or (among[0] if len(among) == 1 else None)
    if column is None and among:
        raise DataError(
            f"{path} does not say which column has the accuracies: its columns are "
            f"{shown(names)}.",
            f"If it is {among[0]}, say --target {among[0]}.",
        )
    if column is None:
        raise DataError(f"{path} has no column accuracy.", _COLUMNS)
    return key, column


def _first(known: Sequence[str], folded: Mapping[str, str]) -> str | None:
    return next((folded[name] for name in known if name in folded), None)


def _are_numbers(column: pd.Series[Any]) -> bool:
    import pandas as pd

    written = column.dropna().str.strip().str.removesuffix("%")
    return bool(
        pd.to_numeric(written.str.replace(",", "."), errors="coerce").notna().all()
    )


def _accuracy(path: Path, name: str, written: str) -> float:
    try:
        value = float(written.strip().removesuffix("%").replace(",", "."))
    except ValueError:
        value = math.nan
    if not 0 <= value <= 100:
        raise DataError(
            f"{path} has the accuracy {written.strip()[:40]!r} of {name}.",
            "Give percent, or fractions of 1.",
        )
    return value


def report_networks(
    scores: Mapping[str, Mapping[str, Score]],
    accuracies: Accuracies,
    setting: Mapping[str, Any],
    sections: Sequence[str],
) -> Report:
    """How well each proxy ranks networks, as `make_report` tells it of a run.

    A correlation over fewer than `FEWEST` networks has no interval and no verdict.
    Sections are about proxies that have an order of the networks.

    Args:
        scores: target → proxy → score.
        accuracies: of those networks; those without one are left out.
        setting: batch_size, seed, precision, and minibatch (its name and digest).
        sections: of the report.
    """
    run = _run(scores, accuracies, setting)
    truth = _truth(scores, accuracies)
    study = study_of(run, accuracies.path.stem, truth, accuracies.column)
    few = {p for p in study.scores if study.n_scored(p) < FEWEST or study.is_thin(p)}
    ranked = {p: score for p, score in study.scores.items() if p not in few}
    report = report_of([replace(study, scores=ranked)], [run], sections=sections)
    table = _cautious(tabulate([study], [run]))
    return replace(report, studies=[study], table=table)


def _cautious(table: pd.DataFrame) -> pd.DataFrame:
    """No interval for a correlation of few networks."""
    few = (table["n"] < FEWEST) & table["spearman"].notna()
    for kind in KINDS:
        table.loc[few, [f"{kind}_low", f"{kind}_high"]] = np.nan
    table.loc[few, "note"] = "too few for an interval"
    return table


def _run(
    scores: Mapping[str, Mapping[str, Score]],
    accuracies: Accuracies,
    setting: Mapping[str, Any],
) -> pd.DataFrame:
    """Scores as `load_run` gives those of a run."""
    from zcbench.proxies import PROXIES

    named = [(n, s) for n, s in scores.items() if math.isfinite(accuracies.of(n))]
    rows = [
        {
            "space": "networks",
            "dataset": accuracies.path.stem,
            "arch": name,
            "index": index,
            "repeat": 0,
            "scores": {p: _number(s.value) for p, s in one.items()},
            "status": {p: s.status for p, s in one.items() if s.status != "ok"},
            "seconds": {"proxies": {p: s.seconds for p, s in one.items() if s.value}},
            "notes": {p: s.note for p, s in one.items() if s.note},
        }
        for index, (name, one) in enumerate(named)
    ]
    versions = {name: PROXIES.get(name).version for name in next(iter(scores.values()))}
    config = {"archs": "networks", **setting}
    images = config.pop("minibatch")
    return as_run(rows, "zcbench score", versions, images, config)


def _number(value: float | None) -> float:
    return math.nan if value is None else value


def _truth(scores: Mapping[str, object], accuracies: Accuracies) -> pd.DataFrame:
    """Accuracies as `load_truth` gives those of a benchmark."""
    column = {"arch": list(scores), accuracies.column: map(accuracies.of, scores)}
    table = pd.DataFrame(column)
    table.attrs = {
        "truth": str(accuracies.path),
        "digest": accuracies.digest,
        "targets": [accuracies.column],
        "unit": "percent",
    }
    return table
