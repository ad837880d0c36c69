"""What a run directory holds, read without locking it."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

from zcbench.errors import DataError
from zcbench.store.records import RESTORE, merge, read_records, reject

if TYPE_CHECKING:
    import pandas as pd

SCHEMA = 1
MANIFEST = "manifest.json"
ARCHS = "archs.txt"


def load_run(path: str | os.PathLike[str]) -> pd.DataFrame:
    """Scores of a run as a table.

    Args:
        path: the run directory.

    Returns:
        One row per (space, dataset, arch, index, repeat), sorted by dataset, index and
        repeat; one float column per proxy, NaN where there is no score; ``status``, a
        dict of proxy → status of those that are not ok; ``seconds``, a dict; where
        scores have notes ``notes``, a dict of proxy → note. Its
        ``attrs`` hold ``manifest``, ``proxies`` (names) and ``path``.

    Raises:
        DataError: there is no run, it has no scores, or a line is invalid.
    """
    import numpy as np
    import pandas as pd

    path = Path(path)
    manifest = read_manifest(path)
    merged = merge(read_records(path))
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
    if any("notes" in record for record in records):
        columns["notes"] = [record.get("notes", {}) for record in records]
    table = pd.DataFrame(columns)
    table.attrs = {"manifest": manifest, "proxies": proxies, "path": str(path)}
    return table


def read_manifest(path: Path) -> dict[str, Any]:
    """Manifest of a run directory.

    Raises:
        DataError: there is no run of a schema that this version knows.
    """
    if not path.is_dir():
        what = "is not a directory" if path.exists() else "does not exist"
        raise DataError(
            f"{path} {what}.", "Give a run directory, as `zcbench run --out` makes."
        )
    try:
        manifest = json.loads((path / MANIFEST).read_bytes(), parse_constant=reject)
    except FileNotFoundError:
        raise DataError(
            f"{path} is not a run directory: it has no {MANIFEST}.",
            "Give a directory that `zcbench run --out` made.",
        ) from None
    except OSError as error:
        raise DataError(f"{path / MANIFEST}: {error.strerror}.") from None
    except (ValueError, RecursionError) as error:
        raise _bad_manifest(path, f"no valid JSON ({error})") from None
    schema = manifest.get("schema") if isinstance(manifest, dict) else None
    if type(schema) is not int:
        raise _bad_manifest(path, "not the manifest of a run")
    _check_schema(path, schema)
    for key in ("config", "proxies"):
        if not isinstance(manifest.get(key), dict):
            raise _bad_manifest(path, f"incomplete: it has no {key!r}")
    if wrong := _misshapen(manifest):
        raise _bad_manifest(path, f"invalid: its {wrong!r} is of the wrong kind")
    return dict(manifest)


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


_OBJECTS = ("device", "minibatch", "plugins", "tasks", "traits", "truth", "versions")
_OF_OBJECTS = ("minibatch", "tasks", "traits", "truth")
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
    checks["architectures_of"] = isinstance(manifest.get("architectures_of", {}), dict)
    checks["resumed"] = isinstance(manifest.get("resumed", []), list)
    return next((key for key, fine in checks.items() if not fine), "")


def is_empty(path: Path) -> bool:
    """Whether a directory holds nothing; hidden files do not count."""
    return path.is_dir() and all(entry.name.startswith(".") for entry in path.iterdir())


def _bad_manifest(path: Path, problem: str) -> DataError:
    return DataError(f"{path / MANIFEST} is {problem}.", RESTORE)
