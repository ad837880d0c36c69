"""Options of a run: what kinds there are, and how values of each are read."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import TypeVar

from zcbench.names import split_names

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Kind:
    """What values an option takes.

    Attributes:
        metavar: what they are called; ``FILE`` and ``DIR`` are paths.
        parser: value from what a user wrote, or ``ValueError`` with what it must be.
        words: the only ones that there are; empty if there are others.
    """

    metavar: str
    parser: Callable[[object], object]
    words: tuple[str, ...] = ()


def option(default: T, kind: Kind, text: str, *, kept: bool = True) -> T:
    """A field of `zcbench.config.RunConfig`.

    Args:
        default: its default.
        kind: its values.
        text: what it means.
        kept: whether manifests keep it: all that going on with a run takes.
    """
    said = {"kind": kind, "text": text, "kept": kept}
    declared: T = field(default=default, metadata=said)
    return declared


def _text(value: object) -> str:
    if not isinstance(value, str) or not value.strip():
        raise ValueError("a name")
    return value.strip()


def _names(value: object) -> tuple[str, ...]:
    parts = [value] if isinstance(value, str) else value
    if not isinstance(parts, (list, tuple)) or not all(
        isinstance(part, str) for part in parts
    ):
        raise ValueError("a list of names")
    kept = tuple(dict.fromkeys(name for part in parts for name in split_names(part)))
    if not kept:
        raise ValueError("a list of names")
    return kept


def _sources(value: object) -> tuple[str, ...]:
    """Names, or none at all."""
    return () if value in ("", (), []) else _names(value)


def _parameters(value: object) -> tuple[str, ...]:
    """key=value, none or several."""
    words = _sources(value)
    if not all(re.fullmatch(r"[a-z_]+=.+", word) for word in words):
        raise ValueError("key=value, or several with commas")
    return words


def _address(value: object) -> str | None:
    return None if value is None else _text(value)


def _path(value: object) -> Path | None:
    if value is None or isinstance(value, Path):
        return value
    if not isinstance(value, str) or not value or "\0" in value:
        raise ValueError("a path")
    return Path(value)


def _paths(value: object) -> tuple[Path, ...]:
    parts = value.split(",") if isinstance(value, str) else value
    if not isinstance(parts, (list, tuple)):
        raise ValueError("a list of paths")
    return tuple(path for part in parts if (path := _path(part)) is not None)


def _flag(value: object) -> bool:
    if isinstance(value, bool):
        return value
    words = {"1": True, "true": True, "yes": True, "on": True}
    words |= {"0": False, "false": False, "no": False, "off": False}
    if not isinstance(value, str) or value.lower() not in words:
        raise ValueError("true or false")
    return words[value.lower()]


def whole(low: int, high: int | None = None, *, word: str | None = None) -> Kind:
    """Whole numbers from low to high, or a word that stands for one."""
    bounds = f"a whole number of at least {low:,}"
    if high is not None:
        bounds = f"a whole number from {low:,} to {high:,}"
    if word is not None:
        bounds += f" or {word!r}"

    def parser(value: object) -> int | str:
        if word is not None and value == word:
            return word
        if isinstance(value, str) and re.fullmatch(r"\s*[+-]?\d{1,19}\s*", value):
            value = int(value)
        if isinstance(value, bool) or not isinstance(value, int):
            raise ValueError(bounds)
        if value < low or (high is not None and value > high):
            raise ValueError(bounds)
        return value

    return Kind("N", parser)


def _device(value: object) -> str:
    if isinstance(value, str) and re.fullmatch(r"auto|cpu|mps|cuda(:\d+)?", value):
        return value
    raise ValueError("auto, cpu, cuda, cuda:1 or mps")


def choice(*words: str) -> Kind:
    """One of these words."""
    return Kind(f"[{'|'.join(words)}]", _text, words)


def _seconds(value: object) -> float | str:
    wanted = "seconds above 0, 'auto' or 'none'"
    if value in ("auto", "none"):
        return str(value)
    if isinstance(value, bool) or not isinstance(value, str | int | float):
        raise ValueError(wanted)
    try:
        seconds = float(value)
    except (ValueError, OverflowError):
        seconds = 0.0
    if not 0 < seconds < 1e9:
        raise ValueError(wanted)
    return seconds


NAME = Kind("NAME", _text)
NAMES = Kind("NAMES", _names)
SOURCE = Kind("SOURCE", _text)
SOURCES = Kind("NAMES", _sources)
PARAMETERS = Kind("PARAMETERS", _parameters)
ADDRESS = Kind("ADDRESS", _address)
FILE = Kind("FILE", _path)
FILES = Kind("FILE", _paths)
DIR = Kind("DIR", _path)
DEVICE = Kind("DEVICE", _device)
SECONDS = Kind("SECONDS", _seconds)
FLAG = Kind("", _flag)
