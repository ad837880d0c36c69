"""Configuration of a run: one frozen dataclass, whose keys are the option names.

Where a value comes from, strongest first: command line, environment
(``ZCBENCH_BATCH_SIZE``), ``--config FILE``, default.
"""

from __future__ import annotations

import difflib
import json
import re
import tomllib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any, Literal, get_args

from zcbench.errors import DataError, UsageError, unknown
from zcbench.types import Precision

ENVIRONMENT_PREFIX = "ZCBENCH_"
NOT_OPTIONS = frozenset({"CACHE", "DEBUG", "SELF_CHECK"})
"""Environment variables with our prefix that are no options of a run."""

EXECUTORS = ("local", "ray", "slurm")
OVERWRITE = ("only-missing", "always", "never")
PRECISIONS: tuple[str, ...] = get_args(Precision)
_MAX_SEED = 2**63 - 1


@dataclass(frozen=True, slots=True, kw_only=True)
class RunConfig:
    """What to run. Every value is checked on construction.

    Attributes:
        space: search space.
        datasets: tasks of the space, or ``("all",)``.
        proxies: proxy names, or ``("all",)``.
        n: how many architectures to sample, or ``"all"``. Samples are nested: the first
            100 of 200 are those of 100.
        population: which architectures to sample from.
        archs: file with one architecture a line, instead of a sample.
        seed: seed of the sample, the weights and the minibatch.
        repeats: initialisations and minibatches for each architecture.
        batch_size: images in the minibatch.
        minibatch: ``auto``, ``builtin``, ``gaussian`` or a path.
        device: ``auto``, ``cpu``, ``cuda``, ``cuda:1``, ``mps``.
        workers: processes, or ``"auto"``.
        threads: threads of each worker. Scores can differ in the last digits between
            thread counts, never between worker counts.
        precision: ``float32``, or faster and rougher: ``bf16``, on CUDA also ``tf32``.
        stack: networks scored at once. ``"auto"`` is 1, on CUDA as many as memory
            holds. Scores can differ in the last digits.
        executor: ``local``, ``ray`` or ``slurm``: where networks are scored.
        ray_address: of a Ray cluster; None starts one of so many workers here.
        slurm: ``key=value`` parameters of Slurm's jobs, as submitit names them.
        out: run directory; None names a new one under ``runs/``.
        plugin: Python files with more proxies, spaces or truths.
        overwrite: ``only-missing`` does what has no score yet, ``always`` does all
            again, ``never`` refuses a directory that has scores.
        task: tasks that the space does not bring itself, by name or TOML file; the run
            is about them, then, instead of the datasets.
        truth: ``auto``, a name, a path, or ``none`` for no table at the end.
        target: which accuracy, such as ``val`` or ``test``; ``auto`` is the first that
            the truth has.
        dry_run: say what would be done, and do nothing.
        strict: exit with 4 if any score failed.
    """

    space: str = "nb201"
    datasets: tuple[str, ...] = ("all",)
    proxies: tuple[str, ...] = ("all",)
    n: int | Literal["all"] = 100
    population: str = "all"
    archs: Path | None = None
    seed: int = 0
    repeats: int = 1
    batch_size: int = 64
    minibatch: str = "auto"
    device: str = "auto"
    workers: int | Literal["auto"] = "auto"
    threads: int = 1
    stack: int | Literal["auto"] = "auto"
    precision: str = "float32"
    executor: str = "local"
    ray_address: str | None = None
    slurm: tuple[str, ...] = ()
    out: Path | None = None
    plugin: tuple[Path, ...] = ()
    overwrite: str = "only-missing"
    task: tuple[str, ...] = ()
    truth: str = "auto"
    target: str = "auto"
    dry_run: bool = False
    strict: bool = False

    def __post_init__(self) -> None:
        for name in KEYS:
            value = parse(name, getattr(self, name), label=name)
            object.__setattr__(self, name, value)


KEYS: tuple[str, ...] = tuple(field.name for field in fields(RunConfig))


def option_name(key: str) -> str:
    """How a key is spelled as an option: ``batch_size`` is ``batch-size``."""
    return key.replace("_", "-")


def load_config(
    options: Mapping[str, object] | None = None,
    *,
    file: Path | None = None,
    environ: Mapping[str, str] | None = None,
) -> RunConfig:
    """Configuration from all its sources.

    Args:
        options: what the command line gives, by key; strings are parsed.
        file: a TOML file, or the ``manifest.json`` of a run to do again.
        environ: environment variables; those with our prefix are options.

    Returns:
        The configuration, defaults filled in.

    Raises:
        UsageError: a key is unknown or a value is not acceptable.
        DataError: the file is missing or no valid TOML or JSON.
    """
    values: dict[str, Any] = {}
    if file is not None:
        for key, value in _read(file).items():
            name = _known_key(key, f"key of {file.name}")
            label = f"{option_name(name)} in {file.name}"
            values[name] = parse(name, value, label=label)
    for variable, text in (environ or {}).items():
        suffix = variable.removeprefix(ENVIRONMENT_PREFIX)
        if suffix == variable or suffix in NOT_OPTIONS or not text:
            continue
        if (name := suffix.lower()) in KEYS:
            values[name] = parse(name, text, label=variable)
        elif difflib.get_close_matches(name, KEYS, n=1, cutoff=0.75):
            # A slip of the pen; what resembles nothing here belongs to something else.
            known = [ENVIRONMENT_PREFIX + key.upper() for key in KEYS]
            raise unknown("environment variable", variable, known)
    for key, value in (options or {}).items():
        name = _known_key(key, "option")
        values[name] = parse(name, value, label=f"--{option_name(name)}")
    return RunConfig(**values)


def parse(key: str, value: object, *, label: str) -> Any:
    """Value of a key from what a user wrote.

    Args:
        key: one of `KEYS`.
        value: text, or an already typed value.
        label: how the user wrote the key, for the message.

    Returns:
        The value with the type of that attribute of `RunConfig`.

    Raises:
        UsageError: the value is not acceptable.
    """
    if key in _CHOICES:
        if value not in _CHOICES[key]:
            raise unknown(label, str(value), _CHOICES[key])
        return value
    try:
        return _PARSERS[key](value)
    except ValueError as error:
        shown = value if isinstance(value, str) else str(value)
        raise UsageError(f"{label} must be {error}, not {shown[:200]!r}.") from None


def _read(file: Path) -> Mapping[str, object]:
    """Keys and values of a configuration file or manifest."""
    try:
        text = file.read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        raise _unreadable(file, error) from None
    if file.suffix != ".json":
        try:
            return tomllib.loads(text)
        except tomllib.TOMLDecodeError as error:
            raise _unreadable(file, error) from None
    try:
        manifest = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise _unreadable(file, error) from None
    config = manifest.get("config") if isinstance(manifest, dict) else None
    if not isinstance(config, dict):
        raise DataError(
            f"{file} is not the manifest of a run: it has no 'config'.",
            "Give a TOML file, or the manifest.json in a run directory.",
        )
    if config.get("archs"):  # the run keeps its own copy, beside the manifest
        config["archs"] = str(file.parent / "archs.txt")
    return {key: value for key, value in config.items() if value is not None}


def _unreadable(file: Path, error: Exception) -> DataError:
    reason = error.strerror if isinstance(error, OSError) else str(error)
    return DataError(
        f"The configuration {file} cannot be read: {reason}.",
        "See configs/ for examples.",
    )


def _known_key(key: str, kind: str) -> str:
    name = key.replace("-", "_")
    if name not in KEYS:
        raise unknown(kind, key, map(option_name, KEYS))
    return name


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
    names = [name.strip() for part in parts for name in part.split(",")]
    kept = tuple(dict.fromkeys(name for name in names if name))
    if not kept:
        raise ValueError("a list of names")
    return kept


def _sources(value: object) -> tuple[str, ...]:
    """Names, or none at all."""
    return () if value in ("", (), []) else _names(value)


def _parameters(value: object) -> tuple[str, ...]:
    """key=value, none or several."""
    found = _sources(value)
    if not all(re.fullmatch(r"[a-z_]+=.+", word) for word in found):
        raise ValueError("key=value, or several with commas")
    return found


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


def _integer(
    low: int, high: int | None = None, *, word: str | None = None
) -> Callable[[object], int | str]:
    """Parser of whole numbers from low to high, or a word that stands for one."""
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

    return parser


def _device(value: object) -> str:
    if isinstance(value, str) and re.fullmatch(r"auto|cpu|mps|cuda(:\d+)?", value):
        return value
    raise ValueError("auto, cpu, cuda, cuda:1 or mps")


_CHOICES = {"executor": EXECUTORS, "overwrite": OVERWRITE, "precision": PRECISIONS}

_PARSERS: Mapping[str, Callable[[object], object]] = {
    "space": _text,
    "datasets": _names,
    "proxies": _names,
    "n": _integer(1, word="all"),
    "population": _text,
    "archs": _path,
    "seed": _integer(0, _MAX_SEED),
    "repeats": _integer(1),
    "batch_size": _integer(2),
    "minibatch": _text,
    "device": _device,
    "workers": _integer(1, word="auto"),
    "threads": _integer(1),
    "stack": _integer(1, word="auto"),
    "ray_address": _address,
    "slurm": _parameters,
    "out": _path,
    "plugin": _paths,
    "task": _sources,
    "truth": _text,
    "target": _text,
    "dry_run": _flag,
    "strict": _flag,
}
