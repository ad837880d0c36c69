"""What a run directory holds, read without locking it."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from zcbench.errors import DataError
from zcbench.files import (
    CHECKSUM,
    LARGEST_SETTINGS,
    is_intact,
    read,
    reason,
)
from zcbench.store.records import RESTORE, merge, read_records, reject

if TYPE_CHECKING:
    import pandas as pd

SCHEMA = 1
MANIFEST = "manifest.json"
ARCHS = "archs.txt"
ONESHOT = "oneshot"
"""Part of the manifest: column of one-shot scores → dataset → how it was trained."""
_BARE, _OTHER = "it has no checksum.", "its checksum is of another."
UNSIGNED = "{}: its lines have no checksums, so that damage to them may not show."


class Manifest(dict[str, Any]):
    """What a run says of itself; nobody changes it."""

    def __deepcopy__(self, _memo: object) -> Manifest:
        """Itself: pandas copies what a table holds in ``attrs`` with every slice."""
        return self


def load_run(path: str | os.PathLike[str]) -> pd.DataFrame:
    """Scores of a run as a table.

    Args:
        path: the run directory.

    Returns:
        One row per (space, dataset, arch, index, repeat), sorted by dataset, index and
        repeat; one float column per proxy, NaN where there is no score; ``status``, a
        dict of proxy → status of those that are not ok; ``seconds``, a dict; where
        there are any ``notes``, a dict of proxy → note of a score, and ``messages``, a
        dict of proxy → why there is none. Its ``attrs`` hold ``manifest``, ``proxies``
        (names) and ``path``, and ``notes``, lines for the user, if there are any.

    Raises:
        DataError: there is no run, it has no scores, or a line is invalid, was changed
            or names another architecture than its index.
    """
    import numpy as np
    import pandas as pd

    path = Path(path)
    notes: list[str] = []
    old: list[str] = []
    manifest = read_manifest(path, notes.append)
    merged = merge(read_records(path, lambda f: old.append(UNSIGNED.format(f))))
    notes = old + [note for note in notes if not (old and note.endswith(_BARE))]
    if not merged:
        raise DataError(
            f"{path} holds no scores yet.", "Run it again to go on where it stopped."
        )
    records = [merged[key] for key in sorted(merged)]
    present = set().union(*(record["scores"] for record in records))
    proxies = [name for name in manifest["proxies"] if name in present]
    proxies += sorted(present.difference(proxies))
    columns: dict[str, Any] = {
        name: [record[name] for record in records]
        for name in ("space", "dataset", "arch", "index", "repeat")
    }
    for name in proxies:
        column = [record["scores"].get(name) for record in records]
        columns[name] = np.array(column, dtype=float)
    columns["status"] = [record.get("status", {}) for record in records]
    columns["seconds"] = [record.get("seconds", {}) for record in records]
    for name in ("notes", "messages"):
        if any(name in record for record in records):
            columns[name] = [record.get(name, {}) for record in records]
    table = pd.DataFrame(columns)
    table.attrs = {"manifest": manifest, "proxies": proxies, "path": str(path)}
    table.attrs |= {"notes": notes} if notes else {}
    return table


def read_manifest(
    path: Path, note: Callable[[str], object] = lambda _: None
) -> Manifest:
    """Manifest of a run directory.

    Args:
        path: the run directory.
        note: is told if it is not as zcbench wrote it.

    Raises:
        DataError: there is no run of a schema that this version knows.
    """
    try:
        if not path.is_dir():
            what = "is not a directory" if path.exists() else "does not exist"
            hint = "Give a run directory, as `zcbench run --out` makes."
            raise DataError(f"{path} {what}.", hint)
        text = read(path / MANIFEST, LARGEST_SETTINGS)
        manifest = json.loads(text, parse_constant=reject)
    except FileNotFoundError:
        raise DataError(
            f"{path} is not a run directory: it has no {MANIFEST}.",
            "Give a directory that `zcbench run --out` made.",
        ) from None
    except OSError as error:
        raise DataError(f"{path / MANIFEST}: {reason(error)}.") from None
    except (ValueError, RecursionError) as error:
        raise _bad_manifest(path, f"no valid JSON ({reason(error)})") from None
    schema = manifest.get("schema") if isinstance(manifest, dict) else None
    if type(schema) is not int:
        raise _bad_manifest(path, "not the manifest of a run")
    _check_schema(path, schema)
    for key in ("config", "proxies"):
        if not isinstance(manifest.get(key), dict):
            raise _bad_manifest(path, f"incomplete: it has no {key!r}")
    if wrong := _misshapen(manifest):
        raise _bad_manifest(path, f"invalid: its {wrong!r} is of the wrong kind")
    if not is_intact(text):
        why = _OTHER if CHECKSUM in manifest else _BARE
        note(f"{path / MANIFEST} is not as zcbench wrote it: {why}")
    manifest.pop(CHECKSUM, None)
    return Manifest(manifest)


def _check_schema(path: Path, schema: int) -> None:
    if schema > SCHEMA:
        raise DataError(
            f"{path} was written by a newer zcbench (schema {schema}, this one reads "
            f"up to {SCHEMA}).",
            "Update zcbench.",
        )
    if schema < SCHEMA:
        raise DataError(
            f"{path} has the schema {schema}, which no zcbench wrote (this one reads "
            f"{SCHEMA}).",
            RESTORE,
        )


_OBJECTS = (
    "device",
    "minibatch",
    ONESHOT,
    "plugins",
    "tasks",
    "traits",
    "truth",
    "versions",
)
_OF_OBJECTS = ("minibatch", ONESHOT, "tasks", "traits", "truth")
_LISTS = ("datasets", "plugin", "proxies", "task")
_TEXTS = ("minibatch", "population", "precision", "space", "target", "truth")


def _misshapen(manifest: dict[str, Any]) -> str:
    """The first part of a manifest that cannot be what it should; empty if none."""
    config = manifest["config"]
    checks = {key: isinstance(manifest.get(key, {}), dict) for key in _OBJECTS}
    for key in _OF_OBJECTS:
        if checks[key]:
            parts = manifest.get(key, {}).values()
            checks[key] = all(isinstance(part, dict) for part in parts)
    for key in _LISTS:
        values = config.get(key, [])
        fine = isinstance(values, list) and all(isinstance(v, str) for v in values)
        checks[f"config.{key}"] = fine
    for key in _TEXTS:
        checks[f"config.{key}"] = isinstance(config.get(key, ""), str)
    n, repeats = config.get("n", 1), config.get("repeats", 1)
    checks["config.n"] = n == "all" or type(n) is int
    checks["config.repeats"] = type(repeats) is int
    size = config.get("input_size", "auto")
    checks["config.input_size"] = size == "auto" or type(size) is int
    count = manifest.get("architectures")
    checks["architectures"] = count is None or type(count) is int
    checks["config.archs"] = config.get("archs") in (None, ARCHS)  # its own copy
    checks["architectures_of"] = isinstance(manifest.get("architectures_of", {}), dict)
    checks["resumed"] = isinstance(manifest.get("resumed", []), list)
    return next((key for key, fine in checks.items() if not fine), "")


def is_empty(path: Path) -> bool:
    """Whether a directory holds nothing; hidden files do not count."""
    return path.is_dir() and all(entry.name.startswith(".") for entry in path.iterdir())


def _bad_manifest(path: Path, problem: str) -> DataError:
    return DataError(f"{path / MANIFEST} is {problem}.", RESTORE)


def disagreements(found: Mapping[str, Any]) -> list[str]:
    """What one check has found wrong, and what was done about it.

    Args:
        found: an entry of a manifest's ``device_check``.
    """
    proxies: dict[tuple[str, str], list[str]] = {}
    for name, way in found["taken"].items():
        proxies.setdefault((found["reasons"][name], way), []).append(name)
    where = f"{found['about']['space']} {found['about']['dataset']}"
    done = {"none": "have no scores", "float64": "are calculated in float64"}
    return [
        f"{where}: {reason}; {', '.join(names)} "
        f"{done.get(way, f'are calculated with {way}')}"
        for (reason, way), names in proxies.items()
    ]
