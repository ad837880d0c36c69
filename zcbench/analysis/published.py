"""Scores that others have published, as a table like that of a run.

Two formats are read:

- JSON as NAS-Bench-Suite-Zero writes it (``zc_nasbench201.json``): dataset →
  architecture → proxy → ``{"score": …, "time": …}``, or one dataset without the first
  level. A score of 0.0 with a time of −1 was not computed; −1e8 stands for NaN. An
  architecture is a string of the space, or on nb201 NASLib's six indices.
- CSV, gzip or not: a column ``arch`` (``arch_str``, ``index``) and one for each proxy,
  for one dataset. Columns that are called after accuracies, and those of words, are
  left out; ``attrs["notes"]`` names them.

Aliases of proxies become their names.
"""

from __future__ import annotations

import hashlib
import json
import math
import re
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import pandas as pd

from zcbench.errors import DataError, UsageError, ZcbenchError
from zcbench.files import read, reason, unpacked
from zcbench.flat_file import (
    FlatFile,
    architectures,
    csv_frame,
    is_accuracy,
    read_name,
    unused,
)
from zcbench.spaces import Space, load_space
from zcbench.spaces.base import check_name
from zcbench.tasks import given_tasks, load_task, task_names, with_tasks

_NOT_COMPUTED = (0.0, -1.0)
_NASLIB_NAN = -1e8
_NO_PROXY = re.compile(r"dataset|space|repeat|id|seed|Unnamed.*")
_NUMBER_LIKE = re.compile(
    r"\W*(?:[a-z_.]+\d*\()?[\[(]*[-+]?\d+(?:[.,]\d+)?(?:e[-+]?\d+)?(?!\w).*", re.I
)
"""Words around a number, such as 81.1% or tensor(81.1)."""
_FORMATS = "Give the JSON of NAS-Bench-Suite-Zero, or a CSV with a column arch."

Entry = Mapping[str, Any]
"""Proxy → what is said of it, for one architecture."""


# Over 40 lines: half of them say what it reads and raises.
def load_scores(
    path: Path, space: str | Space, datasets: Sequence[str] = ()
) -> pd.DataFrame:
    """Published scores as `zcbench.load_run` gives those of a run.

    Args:
        path: the file.
        space: name of the space, or the space itself where it was given tasks.
        datasets: which ones; none means all in the file that the space brings. A table
            without datasets needs exactly one.

    Returns:
        One row per (dataset, architecture). A score that is not there is NaN; its
        status is left out if nobody computed it. Versions of proxies are 0: they
        compare with no other.

    Raises:
        DataError: the file cannot be read, or holds no scores of that space.
        UsageError: there is no such space or dataset.
    """
    searched = load_space(space) if isinstance(space, str) else space
    named = [n for n in datasets if n not in searched.tasks and n in task_names()]
    given = [load_task(name, searched.name) for name in named]
    searched = with_tasks(searched, given)
    for name in datasets:
        check_name(searched, "dataset", name)
    content = _content(path)
    notes: list[str] = []
    by_dataset = _read(path, content, searched, datasets, notes)
    rows = [
        row
        for dataset, entries in by_dataset.items()
        for row in _rows(path, searched, dataset, entries)
    ]
    proxies = list(dict.fromkeys(name for row in rows for name in row["scores"]))
    if not proxies:
        raise DataError(f"{path} holds no scores.", _FORMATS)
    digest = hashlib.sha256(content).hexdigest()
    table = as_run(
        rows,
        str(path),
        dict.fromkeys(proxies, 0),
        {"name": f"of {path.name}", "digest": digest},
        {"archs": path.name, "target": "auto", "truth": "auto"},
    )
    table.attrs["notes"] = notes
    table.attrs["manifest"]["tasks"] = {
        given.task.name: given.as_dict()
        for given in given_tasks(searched)
        if given.task.name in by_dataset
    }
    return table


# Over 40 lines: a manifest written out, and what it is made of.
def as_run(
    rows: Sequence[Mapping[str, Any]],
    path: str,
    versions: Mapping[str, int],
    images: Mapping[str, str],
    config: Mapping[str, Any],
) -> pd.DataFrame:
    """Scores that no run has written, as `zcbench.load_run` gives those of a run.

    Args:
        rows: with space, dataset, arch, index, repeat, scores (proxy → number; NaN
            where it is not there), status and seconds as in a run.
        path: what stands for the run directory.
        versions: of the proxies, in the order of their columns.
        images: name and digest of the minibatch.
        config: what is known of the configuration besides.
    """
    flat = [{**row, **row["scores"]} for row in rows]
    more = [key for key in flat[0] if key in ("status", "seconds", "notes")]
    columns = ["space", "dataset", "arch", "index", "repeat", *versions, *more]
    table = pd.DataFrame(flat, columns=columns)
    order = ["dataset", "index"]
    table = table.sort_values(order, ignore_index=True, kind="stable")
    datasets = list(dict.fromkeys(row["dataset"] for row in rows))
    manifest = {
        "schema": 1,
        "config": {
            "space": rows[0]["space"],
            "datasets": datasets,
            "proxies": list(versions),
            "n": None,
            "archs": None,
            "population": "all",
            "repeats": 1,
            **config,
        },
        "proxies": dict(versions),
        "minibatch": dict.fromkeys(datasets, images),
    }
    table.attrs = {"manifest": manifest, "proxies": list(versions), "path": path}
    return table


def _content(path: Path) -> bytes:
    try:
        return unpacked(read(path))
    except OSError as error:
        raise DataError(
            f"The scores {path} cannot be read: {reason(error)}.", _FORMATS
        ) from None


def _read(
    path: Path,
    content: bytes,
    space: Space,
    datasets: Sequence[str],
    notes: list[str],
) -> dict[str, Mapping[str, Entry]]:
    """Dataset → architecture as the file writes it → proxies; adds to the notes."""
    tables: dict[str | None, Mapping[str, Entry]]
    if content.lstrip()[:1] == b"{":
        tables = _from_json(path, content, notes)
    else:
        tables = {None: _from_csv(path, content, space, notes)}
    if None in tables:
        if len(datasets) != 1:
            raise UsageError(
                f"{path} does not say of which dataset its scores are.",
                "Name one with --dataset.",
            )
        return {datasets[0]: tables[None]}
    named = {str(name): table for name, table in tables.items()}
    chosen = datasets or [name for name in space.tasks if name in named]
    lacking = [name for name in chosen if name not in named]
    if lacking or not chosen:
        raise DataError(
            f"{path} has no scores of {', '.join(lacking) or space.name}; its datasets "
            f"are {', '.join(named)}.",
            "Name others with --dataset.",
        )
    return {name: named[name] for name in chosen}


def _from_json(
    path: Path, content: bytes, notes: list[str]
) -> dict[str | None, Mapping[str, Entry]]:
    try:
        top = json.loads(content)
        inner = next(iter(next(iter(top.values())).values()))
        is_one = isinstance(inner, Mapping) and "score" in inner
        tables = {None: top} if is_one else dict(top)
        for table in tables.values():
            for entry in table.values():
                entry.items()
    except (ValueError, RecursionError):
        raise DataError(f"{path} is no valid JSON.", _FORMATS) from None
    except (AttributeError, StopIteration, TypeError):
        raise DataError(
            f"{path} does not map architectures to proxies.", _FORMATS
        ) from None
    entries = [entry for table in tables.values() for entry in table.values()]
    names = dict.fromkeys(str(name) for entry in entries for name in entry)
    scored = {str(n) for entry in entries for n, said in entry.items() if _scores(said)}
    by_name = _canonical(path, [name for name in names if name in scored])
    notes += unused(path, {n: "without a score" for n in names if n not in scored})
    return {
        dataset: {
            arch: {by_name[n]: said for n, said in entry.items() if _scores(said)}
            for arch, entry in table.items()
        }
        for dataset, table in tables.items()
    }


def _scores(said: object) -> bool:
    return isinstance(said, Mapping) and "score" in said


def _canonical(path: Path, names: Sequence[str]) -> dict[str, str]:
    """Name as written → name of the proxy; no two of one."""
    from zcbench.proxies import PROXIES

    written: dict[str, str] = {}
    for name in names:
        proxy = PROXIES.canonical(name)
        if proxy in written:
            raise DataError(
                f"{path} has scores of {proxy} twice, as {written[proxy]} and {name}.",
                "Remove or rename one.",
            )
        written[proxy] = name
    return {name: proxy for proxy, name in written.items()}


def _from_csv(
    path: Path, content: bytes, space: Space, notes: list[str]
) -> dict[str, Entry]:
    frame = csv_frame(path, content, _FORMATS)
    file = FlatFile(path, frame, before=1)
    archs, reasons = architectures(file, space)
    for name in frame.columns:
        if name not in (*reasons, archs.name):
            why = _why_not(file, space, name)
            reasons |= {name: why} if why else {}
    names = [name for name in frame if name not in (*reasons, archs.name)]
    if not names:
        raise DataError(f"{path} holds no scores.", _FORMATS)
    by_name = _canonical(path, names)
    notes += unused(path, reasons)
    rows = frame[names].to_dict("records")
    return {
        arch.spec: {by_name[name]: {"score": row[name]} for name in names}
        for arch, row in zip(archs, rows, strict=True)
    }


def _why_not(file: FlatFile, space: Space, column: str) -> str:
    """Why a column is none of scores, empty if it is one.

    Raises:
        DataError: it is one, but for entries that are no numbers.
    """
    from zcbench.proxies import PROXIES

    if _NO_PROXY.fullmatch(column):
        return "says nothing of scores"
    is_dataset = column.casefold() in {name.casefold() for name in space.tasks}
    if is_accuracy(column) or is_dataset:
        return "an accuracy by its name"
    given = file.frame[column]
    if pd.api.types.is_numeric_dtype(given):
        return ""
    is_proxy = PROXIES.canonical(column) in PROXIES.names()
    if is_proxy or given.dropna().astype(str).map(_NUMBER_LIKE.fullmatch).any():
        file.require_numbers(column)
        return ""
    return "words, not numbers"


def _rows(
    path: Path, space: Space, dataset: str, entries: Mapping[str, Entry]
) -> Iterator[dict[str, Any]]:
    seen: dict[int, str] = {}
    for written, entry in entries.items():
        try:
            arch = read_name(space, str(written))
        except ZcbenchError as error:
            raise DataError(f"{path}: {error.what}", error.hint) from None
        if arch.index in seen:
            raise DataError(
                f"{path} has {arch.spec} twice, as {seen[arch.index]} and {written}.",
                "Keep one.",
            )
        seen[arch.index] = written
        said_of = {name: _read_score(path, name, said) for name, said in entry.items()}
        times = {name: time for name, (*_, time) in said_of.items() if time >= 0}
        yield {
            "space": space.name,
            "dataset": dataset,
            "arch": arch.spec,
            "index": arch.index,
            "repeat": 0,
            "scores": {name: score for name, (score, *_) in said_of.items()},
            "status": {name: why for name, (_, why, _) in said_of.items() if why},
            "seconds": {"proxies": times},
        }


def _read_score(path: Path, name: str, said: Entry) -> tuple[float, str, float]:
    """(score, why there is none, seconds), NaN or empty where there is nothing."""
    try:
        score, time = float(said["score"]), float(said.get("time", math.nan))
    except (TypeError, ValueError, OverflowError):
        raise DataError(
            f"{path} has the score {str(said['score'])[:40]!r} of {name}, which is no "
            "number.",
            _FORMATS,
        ) from None
    if (score, time) == _NOT_COMPUTED:
        return math.nan, "", math.nan
    if math.isnan(score) or score == _NASLIB_NAN:
        return math.nan, "nan", time
    return (math.nan, "inf", time) if math.isinf(score) else (score, "", time)
