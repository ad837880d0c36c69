"""Lines of ``scores.jsonl``: reading, checking, merging."""

from __future__ import annotations

import gzip
import json
import re
import zlib
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any, NoReturn

from zcbench.errors import DataError, ZcbenchError
from zcbench.files import CHECKSUM, Readable, is_intact, opened, reason, signed
from zcbench.types import STATUSES

SCORES = "scores.jsonl"
RESTORE = "Restore the file from a copy, or run again into a new directory."
_CHUNK_BYTES = 1 << 22  # lines parsed by one call of json.loads
_LONGEST = 1 << 24  # bytes of a line
_RETRIED = frozenset({"error", "oom"})

Record = dict[str, Any]
"""A line of scores.jsonl."""
Key = tuple[str, int, int]
"""(dataset, architecture index, repeat)."""


def read_records(
    path: Path, unsigned: Callable[[Path], object] = lambda _: None
) -> Iterator[Record]:
    """Lines of a run directory in the order they were written, torn tail dropped.

    Args:
        path: the run directory.
        unsigned: is told of a file whose lines have no checksums, as earlier versions
            wrote them. In any other each must have its own.

    Raises:
        DataError: a line is invalid or was changed; the message names file and line.
    """
    file = _scores_file(path)
    if file is None:
        return
    reader = _Reader(file)
    try:
        with opened(file) as raw:
            packed = file.suffix == ".gz"
            stream = gzip.GzipFile(fileobj=raw) if packed else raw
            yield from reader.records(stream)
    except (OSError, zlib.error) as error:  # gzip.BadGzipFile is one
        raise DataError(f"{file} cannot be read: {reason(error)}.", RESTORE) from None
    except EOFError:
        raise DataError(f"{file} is cut short.", RESTORE) from None
    if reader.signed is False:
        unsigned(file)


def read_done(path: Path) -> dict[Key, frozenset[str]]:
    """For each line's key, the proxies that need no further work.

    Those that failed by an error or for want of memory may do better next time.
    """
    done: dict[Key, frozenset[str]] = {}
    for record in read_records(path):
        note(done, record)
    return done


def note(done: dict[Key, frozenset[str]], record: Record) -> None:
    """Add a line to what `read_done` returns."""
    key = (record["dataset"], record["index"], record["repeat"])
    status = record.get("status", {})
    scored = set(record["scores"])
    again = {name for name in scored if status.get(name) in _RETRIED}
    names = (done.get(key, frozenset()) | scored) - again
    done[key] = _SAME_SETS.setdefault(names, names)


def _scores_file(path: Path) -> Path | None:
    plain, packed = path / SCORES, path / f"{SCORES}.gz"
    if plain.exists() and packed.exists():
        raise DataError(
            f"{path} holds both {plain.name} and {packed.name}.", "Remove one of them."
        )
    return next((file for file in (plain, packed) if file.exists()), None)


class _Reader:
    """Takes a file apart.

    Attributes:
        signed: whether its lines have checksums; None before the first.
    """

    def __init__(self, file: Path) -> None:
        self.file = file
        self.signed: bool | None = None
        self._count = 0
        self._check = _Architectures()

    def records(self, stream: Readable) -> Iterator[Record]:
        rest = b""
        while piece := stream.read(_CHUNK_BYTES):
            *lines, rest = (rest + piece).split(b"\n")
            if len(rest) > _LONGEST:
                number = self._count + len(lines) + 1
                raise _bad_line(self.file, number, f"has more than {_LONGEST:,} bytes")
            yield from self._parse(lines)
        if rest and is_whole(rest):
            yield from self._parse([rest])

    def _parse(self, lines: list[bytes]) -> list[Record]:
        """Records of whole lines; one call of the parser for all if it can be."""
        try:
            text = b"[" + b",".join(lines) + b"]"
            records: list[Record] = json.loads(text, parse_constant=reject)
        except (ValueError, RecursionError):
            records = []
        if len(records) != len(lines):
            records = [self._one(line, i) for i, line in enumerate(lines)]
        for offset, (record, line) in enumerate(zip(records, lines, strict=True)):
            if problem := _problem(record) or self._changed(record, line):
                raise _bad_line(self.file, self._count + offset + 1, problem)
        self._count += len(lines)
        return records

    def _one(self, line: bytes, offset: int) -> Record:
        try:
            record: Record = json.loads(line, parse_constant=reject)
        except (ValueError, RecursionError):
            number = self._count + offset + 1
            raise _bad_line(self.file, number, "is no valid JSON") from None
        return record

    def _changed(self, record: Record, line: bytes) -> str:
        """How a line differs from what was written; empty if it does not."""
        has = record.pop(CHECKSUM, None) is not None
        if self.signed is None:
            self.signed = has
        if has != self.signed:
            return "has a checksum, unlike others" if has else "lacks its checksum"
        if has and not is_intact(line):
            return "was changed or damaged: its checksum is of another line"
        return self._check(record)


class _Architectures:
    """Whether index and architecture are the same, in spaces that are known."""

    def __init__(self) -> None:
        self._known: dict[tuple[str, int], str | None] = {}

    def __call__(self, record: Record) -> str:
        place = record["space"], record["index"]
        if place not in self._known:
            self._known[place] = self._spec(*place)
        spec = self._known[place]
        if spec in (record["arch"], None):
            return ""
        if not spec:
            return f"has the index {place[1]}, which {place[0]} does not have"
        return f"has the index {place[1]}, which is {spec}, not {record['arch']}"

    @staticmethod
    def _spec(space: str, index: int) -> str | None:
        from zcbench.spaces import SPACES

        if space not in SPACES.names():  # of a plug-in that is not loaded
            return None
        try:
            return SPACES.get(space).architecture(index).spec
        except ZcbenchError:
            return ""


def line_of(record: Record) -> bytes:
    """The line of a record, with its checksum."""
    return signed(json.dumps(record, allow_nan=False).encode()) + b"\n"


def is_whole(tail: bytes) -> bool:
    """Whether a last line lacks nothing but its newline."""
    try:
        record = json.loads(tail, parse_constant=reject)
        return not _problem(record) and (CHECKSUM not in record or is_intact(tail))
    except (ValueError, RecursionError):
        return False


def reject(constant: str) -> NoReturn:
    """Refuse NaN and Infinity, which Python's parser would take."""
    raise ValueError(f"{constant} is not JSON")


_FIELDS = {"space": str, "dataset": str, "arch": str, "index": int, "repeat": int}
_NUMBERS = {float, int, type(None)}
_SECONDS = {float, int}
_SURROGATE = re.compile("[\ud800-\udfff]")
_LARGEST = 2**63 - 1
_INFINITE = float("inf")


def _problem(record: object) -> str:
    """What is wrong with a line; empty if nothing is."""
    if not isinstance(record, dict):
        return "is not an object"
    for name, kind in _FIELDS.items():
        if type(record.get(name)) is not kind:
            return f"lacks a valid {name!r}"
    if record["index"] < 0 or record["repeat"] < 0:
        return "has a negative index or repeat"
    if max(record["index"], record["repeat"]) > _LARGEST:
        return "has an index or repeat that is too large"
    if "scores" not in record:
        return "lacks a valid 'scores'"
    for name in ("scores", "status", "seconds", "messages", "notes"):
        if not isinstance(record.get(name, {}), dict):
            return f"lacks a valid {name!r}"
    if not _are_seconds(record.get("seconds", {})):
        return "lacks a valid 'seconds'"
    return _score_problem(record["scores"], record.get("status", {}))


def _are_seconds(seconds: Mapping[str, Any]) -> bool:
    if not all(isinstance(seconds.get(p, {}), dict) for p in ("passes", "proxies")):
        return False
    spent = (seconds.get("total", 0.0), *seconds.get("proxies", {}).values())
    return {*map(type, spent)} <= _SECONDS


def _score_problem(scores: Mapping[str, Any], status: Mapping[str, Any]) -> str:
    """What is wrong with the scores of a line; empty if nothing is."""
    if any(not name.isascii() and _SURROGATE.search(name) for name in scores):
        return "names a proxy in characters that are no text"
    values = scores.values()
    kinds = set(map(type, values))
    if not kinds <= _NUMBERS:
        return "has a score that is no number"
    if int in kinds and max(abs(v) for v in values if type(v) is int) >= 1 << 1023:
        return "has a score that is too large"
    if _INFINITE in values or -_INFINITE in values:
        return "has a score that is not finite"
    if status or None in values:
        if not all(isinstance(s, str) and s in STATUSES for s in status.values()):
            return "has an unknown status"
        if {name for name, value in scores.items() if value is None} != status.keys():
            return "has a status for other proxies than those without a score"
    return ""


def _bad_line(file: Path, number: int, problem: str) -> DataError:
    return DataError(f"{file}, line {number}: {problem}.", RESTORE)


def merge(records: Iterable[Record]) -> dict[Key, Record]:
    """Records by key, in order of first appearance, later scores winning."""
    merged: dict[Key, Record] = {}
    for record in records:
        key = (record["dataset"], record["index"], record["repeat"])
        earlier = merged.get(key)
        merged[key] = record if earlier is None else _merge_two(earlier, record)
    return merged


def _merge_two(earlier: Record, later: Record) -> Record:
    replaced = later["scores"]
    out: Record = {**earlier, "scores": {**earlier["scores"], **replaced}}
    for name in ("status", "messages", "notes"):
        kept = {p: v for p, v in earlier.get(name, {}).items() if p not in replaced}
        if both := {**kept, **later.get(name, {})}:
            out[name] = both
        else:
            out.pop(name, None)
    old, new = earlier.get("seconds", {}), later.get("seconds", {})
    seconds: dict[str, Any] = {**old, **new}
    for part in ("passes", "proxies"):
        if part in old and part in new:
            seconds[part] = {**old[part], **new[part]}
    if not earlier["scores"].keys() <= replaced.keys():  # both were worked for
        seconds["total"] = old.get("total", 0.0) + new.get("total", 0.0)
    out["seconds"] = seconds
    return out


_SAME_SETS: dict[frozenset[str], frozenset[str]] = {}
"""One object for equal sets: there is an entry for every architecture."""
