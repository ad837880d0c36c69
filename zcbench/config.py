"""Options of a run: one table, from which all that knows them takes them.

Each is a field of `RunConfig`, and said nowhere else: the command line, configuration
files, environment variables, the manifest and docs/configuration.md come from it.
Where a value comes from, strongest first: command line, environment
(``ZCBENCH_BATCH_SIZE``), ``--config FILE``, default.
"""

from __future__ import annotations

import difflib
import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any, Literal, get_args

from zcbench import options as of
from zcbench.errors import DataError, UsageError, unknown
from zcbench.files import LARGEST_SETTINGS, read, read_toml, reason
from zcbench.options import option
from zcbench.types import Precision

ENVIRONMENT_PREFIX = "ZCBENCH_"
NOT_OPTIONS = frozenset({"CACHE", "DEBUG", "SELF_CHECK"})
"""Environment variables with our prefix that are no options of a run."""
_MAX_SEED = 2**63 - 1


@dataclass(frozen=True, slots=True, kw_only=True)
class RunConfig:
    """What to run. Every value is checked on construction.

    The text of each option says what it is. ``archs`` goes before ``n`` and
    ``population``; ``task`` goes before ``datasets``.
    """

    space: str = option(
        "nb201",
        of.NAME,
        "Search space; or several with commas, or all that have accuracies at hand: "
        "a run for each, and one report.",
    )
    datasets: tuple[str, ...] = option(
        ("all",), of.NAMES, "Datasets of the space: all, or names with commas."
    )
    proxies: tuple[str, ...] = option(
        ("all",), of.NAMES, "Proxies: all, or names with commas."
    )
    n: int | Literal["all"] = option(
        100,
        of.whole(1, word="all"),
        "Architectures to sample, or all. The first 100 of 200 are those of 100.",
    )
    population: str = option("all", of.NAME, "Sample from these only.")
    archs: Path | None = option(  # noqa: RUF009 - makes a field
        None,
        of.FILE,
        "Take these instead of a sample: one architecture string or index a line.",
    )
    seed: int = option(0, of.whole(0, _MAX_SEED), "Seed of sample, weights and images.")
    repeats: int = option(
        1, of.whole(1, 10_000), "Initialisations and minibatches per network."
    )
    batch_size: int = option(64, of.whole(2, 1_000_000), "Images in the minibatch.")
    minibatch: str = option(
        "auto", of.SOURCE, "Images: auto, builtin, gaussian, or a path."
    )
    input_size: int | Literal["auto"] = option(
        "auto",
        of.whole(1, 4096, word="auto"),
        "Height and width of the images, in pixels; auto is each dataset's own.",
    )
    device: str = option("auto", of.DEVICE, "auto, cpu, cuda, cuda:1 or mps.")
    workers: int | Literal["auto"] = option(
        "auto",
        of.whole(1, 10_000, word="auto"),
        "Processes; auto is one for each core (one in all on a GPU). Scores do not "
        "depend on it.",
    )
    threads: int = option(
        1,
        of.whole(1, 1_000),
        "Threads of each worker. Last digits of scores can depend on it.",
    )
    stack: int | Literal["auto"] = option(
        "auto",
        of.whole(1, 1_000_000, word="auto"),
        "Networks scored at once; auto is 1, on CUDA as many as memory holds. Last "
        "digits of scores can depend on it.",
    )
    precision: str = option(
        "float32",
        of.choice(*get_args(Precision)),
        "Arithmetic of the passes: float32, bf16, or on CUDA tf32. See "
        "docs/precision.md.",
    )
    executor: str = option(
        "local",
        of.choice("local", "ray", "slurm"),
        "Where networks are scored: here, on a Ray cluster, or by Slurm's array jobs. "
        "See docs/scale.md.",
    )
    ray_address: str | None = option(
        None,
        of.ADDRESS,
        "Ray cluster, such as auto or HOST:6379; without it one is started here.",
    )
    slurm: tuple[str, ...] = option(
        (),
        of.PARAMETERS,
        "Parameters of the jobs, key=value with commas, such as timeout_min=60.",
    )
    timeout: float | Literal["auto", "none"] = option(
        "auto",
        of.SECONDS,
        "Longest that a network may take; auto is 600 with plug-ins, else none.",
    )
    out: Path | None = option(  # noqa: RUF009 - makes a field
        None,
        of.DIR,
        "Run directory. On one that exists, only what is missing is done. Without it, "
        "a new one under runs/.",
        kept=False,
    )
    plugin: tuple[Path, ...] = option(
        (),
        of.FILES,
        "Python file with proxies of your own. It is code, and is run.",
    )
    overwrite: str = option(
        "only-missing",
        of.choice("only-missing", "always", "never"),
        "What to do with scores that are there.",
        kept=False,
    )
    task: tuple[str, ...] = option(
        (),
        of.SOURCES,
        "Run on these tasks instead of the datasets: names, or TOML files, with "
        "commas.",
    )
    truth: str = option(
        "auto", of.SOURCE, "Ground truth: auto, a name, a path, or none."
    )
    target: str = option(
        "auto",
        of.NAME,
        "Accuracy to correlate with: val, test or another that the truth has; auto is "
        "its first.",
    )
    dry_run: bool = option(
        False, of.FLAG, "Say what would be done and how long it takes.", kept=False
    )
    strict: bool = option(
        False, of.FLAG, "Exit with 4 if any score failed.", kept=False
    )

    def __post_init__(self) -> None:
        for name in KEYS:
            value = parse(name, getattr(self, name), label=name)
            object.__setattr__(self, name, value)

    def kept(self) -> dict[str, Any]:
        """What a manifest keeps of it, as JSON has it."""
        values = {
            key: getattr(self, key) for key in KEYS if OPTIONS[key].metadata["kept"]
        }
        return {key: _plain(value) for key, value in values.items()}


OPTIONS = {field.name: field for field in fields(RunConfig)}
KEYS = tuple(OPTIONS)
_SAMPLE = ("n", "population")
"""What a list of architectures takes the place of."""


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

    Of a list of architectures and a sample, the stronger source decides.

    Args:
        options: what the command line gives, by key; strings are parsed.
        file: a TOML file, or the ``manifest.json`` of a run to do again.
        environ: environment variables; those with our prefix are options.

    Returns:
        The configuration, defaults filled in.

    Raises:
        UsageError: a key is unknown, a value is not acceptable, or one source gives
            both a list and a sample.
        DataError: the file is missing or no valid TOML or JSON.
    """
    values: dict[str, Any] = {}
    if file is not None:
        keys = {_known_key(k, f"key of {file.name}"): v for k, v in _read(file).items()}
        _override(values, keys, lambda key: f"{option_name(key)} in {file.name}")
    variables = {}
    for variable, text in (environ or {}).items():
        suffix = variable.removeprefix(ENVIRONMENT_PREFIX)
        if suffix == variable or suffix in NOT_OPTIONS or not text:
            continue
        if (name := suffix.lower()) in KEYS:
            variables[name] = text
        elif difflib.get_close_matches(name, KEYS, n=1, cutoff=0.75):
            # A slip of the pen; what resembles nothing here belongs to something else.
            known = [ENVIRONMENT_PREFIX + key.upper() for key in KEYS]
            raise unknown("environment variable", variable, known)
    _override(values, variables, lambda key: ENVIRONMENT_PREFIX + key.upper())
    given = {_known_key(k, "option"): value for k, value in (options or {}).items()}
    _override(values, given, lambda key: f"--{option_name(key)}")
    return RunConfig(**values)


def _override(
    values: dict[str, Any],
    stronger: Mapping[str, object],
    label: Callable[[str], str],
) -> None:
    """Put the values of a stronger source over others; label names it to the user."""
    if stronger.get("archs") is not None:
        for key in _SAMPLE:
            if key in stronger:
                both = label("archs"), label(key)
                raise UsageError(
                    f"{both[0]} and {both[1]} exclude each other.",
                    f"Drop {both[1]} or {both[0]}.",
                )
            values.pop(key, None)
    elif any(key in stronger for key in _SAMPLE):
        values.pop("archs", None)
    for key, value in stronger.items():
        values[key] = parse(key, value, label=label(key))


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
    kind: of.Kind = OPTIONS[key].metadata["kind"]
    if kind.words and value not in kind.words:
        raise unknown(label, str(value), kind.words)
    try:
        return kind.parser(value)
    except ValueError as error:
        shown = value if isinstance(value, str) else str(value)
        raise UsageError(f"{label} must be {error}, not {shown[:200]!r}.") from None


def _read(file: Path) -> Mapping[str, object]:
    """Keys and values of a configuration file or manifest."""
    what, hint = "The configuration", "See configs/ for examples."
    if file.suffix != ".json":
        return read_toml(file, what, hint)
    try:
        manifest = json.loads(read(file, LARGEST_SETTINGS))
    except (OSError, ValueError, RecursionError) as error:
        text = f"{what} {file} cannot be read: {reason(error)}."
        raise DataError(text, hint) from None
    config = manifest.get("config") if isinstance(manifest, dict) else None
    if not isinstance(config, dict):
        raise DataError(
            f"{file} is not the manifest of a run: it has no 'config'.",
            "Give a TOML file, or the manifest.json in a run directory.",
        )
    if config.get("archs"):  # the run keeps its own copy, beside the manifest
        config["archs"] = str(file.parent / "archs.txt")
        config = {key: value for key, value in config.items() if key not in _SAMPLE}
    if config.get("task"):  # which are its datasets
        config.pop("datasets", None)
    return {key: value for key, value in config.items() if value is not None}


def _known_key(key: str, kind: str) -> str:
    name = key.replace("-", "_")
    if name not in KEYS:
        raise unknown(kind, key, map(option_name, KEYS))
    return name


def _plain(value: object) -> object:
    """A value as JSON has it."""
    if isinstance(value, tuple):
        return [str(part) for part in value]
    return str(value) if isinstance(value, Path) else value
