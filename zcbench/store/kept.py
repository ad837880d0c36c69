"""Scores of single networks in a run directory, for commands that are gone on with."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, Self

from zcbench.errors import UsageError
from zcbench.store.directory import SCHEMA
from zcbench.store.records import Record, merge, read_records
from zcbench.store.writer import RunStore
from zcbench.types import Score

_SPACE = "networks"
_AGAIN = ("error", "oom")
"""What may go better next time."""


class KeptScores:
    """A run directory of networks that no space has; a context manager.

    Args:
        path: the directory; made if it does not exist.
        setting: what scores depend on, by the names of options.
        versions: proxy → version.

    Raises:
        UsageError: it holds scores of another setting, or is being written to.
        DataError: it cannot be read or written, or holds something else.
    """

    def __init__(
        self, path: Path, setting: Mapping[str, Any], versions: Mapping[str, int]
    ) -> None:
        self._store = RunStore(path)
        try:
            self._begin(path, {**setting, "space": _SPACE}, versions)
        except BaseException:
            self._store.close()
            raise

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._store.close()

    def _begin(
        self, path: Path, setting: Mapping[str, Any], versions: Mapping[str, int]
    ) -> None:
        manifest = self._store.manifest or {"config": setting, "networks": []}
        config = manifest["config"]
        other = [n for n in setting if config.get(n) != setting[n]]
        if other:
            named = ", ".join(f"{n.replace('_', '-')} {config.get(n)}" for n in other)
            raise UsageError(
                f"{path} holds scores of another setting: {named}.",
                "Say the same, or give another --out.",
            )
        known = manifest.get("proxies", {})
        changed = [n for n, v in versions.items() if known.get(n, v) != v]
        if changed:
            self._store.drop(changed)
        self._names: list[str] = manifest["networks"]
        self._manifest = manifest | {"schema": SCHEMA, "proxies": known | versions}
        self._records = {key[1]: r for key, r in merge(read_records(path)).items()}
        self._store.write_manifest(self._manifest)

    def of(self, name: str, proxies: Iterable[str]) -> dict[str, Score]:
        """Those scores of a network that need no further work."""
        if name not in self._names:
            return {}
        record = self._records.get(self._names.index(name), {})
        known = record.get("scores", {})
        scores = {p: _score(record, p) for p in proxies if p in known}
        return {p: s for p, s in scores.items() if s.status not in _AGAIN}

    def add(self, name: str, scores: Mapping[str, Score]) -> None:
        """Keep scores of a network; they are on the disk when this returns."""
        if name not in self._names:
            self._names.append(name)
            self._store.write_manifest(self._manifest)
        self._store.append(_record(name, self._names.index(name), scores))


def _record(name: str, index: int, scores: Mapping[str, Score]) -> Record:
    seconds = {p: round(s.seconds, 6) for p, s in scores.items()}
    bad = {p: s for p, s in scores.items() if s.value is None}
    return {
        "space": _SPACE,
        "dataset": _SPACE,
        "arch": name,
        "index": index,
        "repeat": 0,
        "scores": {p: s.value for p, s in scores.items()},
        "status": {p: s.status for p, s in bad.items()},
        "seconds": {"total": math.fsum(seconds.values()), "proxies": seconds},
        "messages": {p: s.message for p, s in bad.items() if s.message},
        "notes": {p: s.note for p, s in scores.items() if s.note},
    }


def _score(record: Record, proxy: str) -> Score:
    def said(part: str, default: Any) -> Any:
        return record.get(part, {}).get(proxy, default)

    return Score(
        record["scores"][proxy],
        said("status", "ok"),
        record.get("seconds", {}).get("proxies", {}).get(proxy, 0.0),
        said("messages", ""),
        said("notes", ""),
    )
