"""Scores that others have published, as a table like that of a run.

Two formats are read:

- JSON as NAS-Bench-Suite-Zero writes it (``zc_nasbench201.json``): dataset →
  architecture → proxy → ``{"score": …, "time": …}``, or one dataset without the first
  level. A score of 0.0 with a time of −1 was not computed; −1e8 stands for NaN. An
  architecture is a string of the space, or on nb201 NASLib's six indices.
- CSV, gzip or not: a column ``arch`` (or ``index``) and one for each proxy, for one
  dataset. Columns that are called after accuracies are left out.
"""

from __future__ import annotations

import gzip
import hashlib
import io
import json
import math
import re
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from zcbench.errors import DataError, UsageError, ZcbenchError
from zcbench.spaces import Space, load_space
from zcbench.spaces.base import check_name
from zcbench.tasks import GivenTask, add_task, is_added, load_task, task_names

if TYPE_CHECKING:
    import pandas as pd

    from zcbench.types import Architecture

_NOT_COMPUTED = (0.0, -1.0)
_NASLIB_NAN = -1e8
_NASLIB_OPERATIONS = (
    "skip_connect",
    "none",
    "nor_conv_3x3",
    "nor_conv_1x1",
    "avg_pool_3x3",
)
_NASLIB_ORDER = (0, 1, 3, 2, 4, 5)
"""Place in NASLib's indices of each edge in string order: it sorts by source."""
_INDICES = re.compile(r"[(\[]?\d+(, ?\d+)*[)\]]?")
_NO_PROXY = re.compile(
    r"arch|index|dataset|space|repeat|id|seed|Unnamed.*|.*(acc|val|test).*"
)
_FORMATS = "Give the JSON of NAS-Bench-Suite-Zero, or a CSV with a column arch."

Entry = Mapping[str, Any]
"""Proxy → what is said of it, for one architecture."""


def load_scores(path: Path, space: str, datasets: Sequence[str] = ()) -> pd.DataFrame:
    """Published scores as `zcbench.load_run` gives those of a run.

    Args:
        path: the file.
        space: name of the space.
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
    found = load_space(space)
    given = [_prepare(found, name) for name in datasets]
    content = _content(path)
    by_dataset = _read(path, content, found, datasets)
    rows = [
        row
        for dataset, entries in by_dataset.items()
        for row in _rows(path, found, dataset, entries)
    ]
    proxies = list(dict.fromkeys(name for row in rows for name in row["scores"]))
    if not proxies:
        raise DataError(f"{path} holds no scores.", _FORMATS)
    table = _table(rows, proxies)
    table.attrs = {
        "manifest": _manifest(path, content, space, list(by_dataset), proxies, given),
        "proxies": proxies,
        "path": str(path),
    }
    return table


def _table(rows: Sequence[Mapping[str, Any]], proxies: list[str]) -> pd.DataFrame:
    import pandas as pd

    columns: dict[str, Any] = {
        name: [row[name] for row in rows]
        for name in ("space", "dataset", "arch", "index", "repeat")
    }
    for name in proxies:
        columns[name] = [row["scores"].get(name, math.nan) for row in rows]
    columns |= {name: [row[name] for row in rows] for name in ("status", "seconds")}
    return pd.DataFrame(columns).sort_values(
        ["dataset", "index"], ignore_index=True, kind="stable"
    )


def _prepare(space: Space, dataset: str) -> GivenTask | None:
    """Make sure that the space has a dataset; the task that it is given for that."""
    if dataset not in space.tasks and dataset in task_names():
        add_task(load_task(dataset))
    check_name(space, "dataset", dataset)
    added = is_added(space.name, dataset)
    return GivenTask(space.name, space.tasks[dataset]) if added else None


def _manifest(
    path: Path,
    content: bytes,
    space: str,
    datasets: list[str],
    proxies: list[str],
    given: Sequence[GivenTask | None],
) -> dict[str, Any]:
    digest = hashlib.sha256(content).hexdigest()
    images = {"name": f"of {path.name}", "digest": digest}
    return {
        "schema": 1,
        "config": {
            "space": space,
            "datasets": datasets,
            "proxies": proxies,
            "n": None,
            "archs": path.name,
            "population": "all",
            "repeats": 1,
            "target": "auto",
            "truth": "auto",
        },
        "proxies": dict.fromkeys(proxies, 0),
        "minibatch": dict.fromkeys(datasets, images),
        "tasks": {task.task.name: task.as_dict() for task in given if task},
    }


def _content(path: Path) -> bytes:
    try:
        content = path.read_bytes()
        return gzip.decompress(content) if content[:2] == b"\x1f\x8b" else content
    except (OSError, EOFError) as error:
        reason = getattr(error, "strerror", None) or str(error)
        raise DataError(
            f"The scores {path} cannot be read: {reason}.", _FORMATS
        ) from None


def _read(
    path: Path, content: bytes, space: Space, datasets: Sequence[str]
) -> dict[str, Mapping[str, Entry]]:
    """Dataset → architecture as the file writes it → proxies."""
    is_json = content.lstrip()[:1] == b"{"
    tables = _from_json(path, content) if is_json else {None: _from_csv(path, content)}
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


def _from_json(path: Path, content: bytes) -> dict[str | None, Mapping[str, Entry]]:
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
    return tables


def _from_csv(path: Path, content: bytes) -> dict[str, Entry]:
    import pandas as pd

    try:
        table = pd.read_csv(io.BytesIO(content), dtype={"arch": str})
    except Exception as error:  # parsers raise many kinds
        reason = " ".join(str(error).split()).rstrip(".")[:200]
        raise DataError(f"{path} cannot be read as CSV: {reason}.", _FORMATS) from None
    key = next((name for name in ("arch", "index") if name in table), None)
    if key is None:
        raise DataError(f"{path} has no column arch.", _FORMATS)
    names = [
        name
        for name in table.columns
        if not _NO_PROXY.fullmatch(str(name))
        and pd.api.types.is_numeric_dtype(table[name])
    ]
    if not names:
        raise DataError(f"{path} holds no scores.", _FORMATS)
    if table[key].duplicated().any():
        twice = table.loc[table[key].duplicated(), key].iloc[0]
        raise DataError(f"{path} has two rows for {twice}.", "Keep one.")
    return {
        str(spec): {name: {"score": row[name]} for name in names}
        for spec, row in zip(table[key], table[names].to_dict("records"), strict=True)
    }


def _rows(
    path: Path, space: Space, dataset: str, entries: Mapping[str, Entry]
) -> Iterator[dict[str, Any]]:
    seen: dict[int, str] = {}
    for written, entry in entries.items():
        arch = _architecture(path, space, written)
        if arch.index in seen:
            raise DataError(
                f"{path} has {arch.spec} twice, as {seen[arch.index]} and {written}.",
                "Keep one.",
            )
        seen[arch.index] = written
        scores: dict[str, float] = {}
        status: dict[str, str] = {}
        seconds: dict[str, float] = {}
        for name, said in entry.items():
            if isinstance(said, Mapping) and "score" in said:
                _add(path, name, said, scores, status, seconds)
        yield {
            "space": space.name,
            "dataset": dataset,
            "arch": arch.spec,
            "index": arch.index,
            "repeat": 0,
            "scores": scores,
            "status": status,
            "seconds": {"proxies": seconds},
        }


def _add(
    path: Path,
    name: str,
    said: Entry,
    scores: dict[str, float],
    status: dict[str, str],
    seconds: dict[str, float],
) -> None:
    try:
        score, time = float(said["score"]), float(said.get("time", math.nan))
    except (TypeError, ValueError):
        raise DataError(
            f"{path} has the score {str(said['score'])[:40]!r} of {name}, which is no "
            "number.",
            _FORMATS,
        ) from None
    scores[name] = math.nan
    if (score, time) == _NOT_COMPUTED:
        return
    if time >= 0:
        seconds[name] = time
    if math.isnan(score) or score == _NASLIB_NAN:
        status[name] = "nan"
    elif math.isinf(score):
        status[name] = "inf"
    else:
        scores[name] = score


def _architecture(path: Path, space: Space, written: str) -> Architecture:
    try:
        return space.parse(written)
    except DataError as error:
        refusal: ZcbenchError = error
    numbers = [int(n) for n in re.findall(r"\d+", written)]
    try:
        if _INDICES.fullmatch(written) and space.name == "nb201" and len(numbers) == 6:
            return space.parse(_from_naslib(numbers))
        if len(numbers) == 1 and written.isdigit():
            return space.architecture(numbers[0])
    except (IndexError, ZcbenchError) as error:
        if isinstance(error, ZcbenchError):
            refusal = error
    raise DataError(f"{path}: {refusal.what}", refusal.hint) from None


def _from_naslib(indices: Sequence[int]) -> str:
    """String of NASLib's indices of operations on NAS-Bench-201.

    >>> _from_naslib([4, 0, 3, 1, 4, 2])
    '|avg_pool_3x3~0|+|skip_connect~0|none~1|+|nor_conv_1x1~0|avg_pool_3x3~1|nor_conv_3x3~2|'
    """
    names = [_NASLIB_OPERATIONS[indices[place]] for place in _NASLIB_ORDER]
    a, b, c, d, e, f = names
    return f"|{a}~0|+|{b}~0|{c}~1|+|{d}~0|{e}~1|{f}~2|"
