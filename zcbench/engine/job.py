"""A run, checked and resolved, before anything is computed or written."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, cast

from zcbench.config import RunConfig
from zcbench.engine.apart import Death, call_apart
from zcbench.engine.sample import read_archs, sample
from zcbench.engine.stacks import resolve
from zcbench.engine.work import Setup, WorkItem
from zcbench.errors import DataError, UsageError, unknown
from zcbench.minibatch import batch_digest, open_source
from zcbench.plugins import are_loaded, load_plugins
from zcbench.proxies import PROXIES
from zcbench.spaces import SPACES, Space, load_space
from zcbench.spaces.base import Unlisted, check_name
from zcbench.store import Key
from zcbench.tasks import (
    GivenTask,
    check_input_size,
    load_task,
    with_input_size,
    with_tasks,
)

if TYPE_CHECKING:
    from zcbench.types import Precision, Proxy


PATIENCE = 600.0
"""Seconds that code of others may take for a network, unless told otherwise."""
_LOADING = 60.0
"""Seconds that it has at least to be loaded, however short its limit."""


@dataclass(frozen=True, slots=True)
class Job:
    """What a configuration comes to here and now.

    Attributes:
        config: the configuration.
        space: the search space.
        datasets: names of its tasks.
        tasks: those of them that the space does not bring itself.
        proxies: the proxies.
        archs: dataset → indices of its architectures, in the order of work.
        device: torch's name of the device.
        minibatches: dataset → name and digests of its minibatch.
        truths: dataset → attributes of its ground truth; empty without one.
        notes: what the user should know, one line each.
    """

    config: RunConfig
    space: Space
    datasets: tuple[str, ...]
    tasks: tuple[GivenTask, ...]
    proxies: tuple[Proxy, ...]
    archs: Mapping[str, tuple[int, ...]]
    device: str
    minibatches: Mapping[str, Mapping[str, str]]
    truths: Mapping[str, Mapping[str, Any]]
    notes: tuple[str, ...]

    @property
    def every_arch(self) -> tuple[int, ...]:
        """Indices of the architectures of any dataset, in the order of work."""
        return tuple(dict.fromkeys(itertools.chain(*self.archs.values())))

    @property
    def n_networks(self) -> int:
        """How many there are to score, all datasets and repeats together."""
        return sum(map(len, self.archs.values())) * self.config.repeats

    @property
    def setup(self) -> Setup:
        """What workers have to know."""
        config = self.config
        return Setup(
            space=config.space,
            seed=config.seed,
            batch_size=config.batch_size,
            input_size=config.input_size,
            minibatch=config.minibatch,
            device=self.device,
            threads=config.threads,
            precision=cast("Precision", config.precision),
            stack=self.stack,
            plugin=config.plugin,
            tasks=self.tasks,
            apart=self.apart,
            guests=tuple(proxy.name for proxy in self.proxies if proxy.is_guest),
            limit=self._limit,
        )

    @property
    def apart(self) -> bool:
        """Whether networks are scored in other processes, for code of others."""
        if typed_in(self.proxies):
            return False
        guests = any(proxy.is_guest for proxy in self.proxies)
        guests = guests or self.config.space in SPACES.installed
        return bool(guests or self.config.plugin or self.config.timeout != "auto")

    @property
    def _limit(self) -> float | None:
        """Seconds of a network; without code of others there is no limit by itself."""
        timeout = self.config.timeout
        if isinstance(timeout, str):
            return PATIENCE if self.apart and timeout == "auto" else None
        return timeout if self.apart else None

    @property
    def stack(self) -> int | Literal["auto"]:
        """Networks scored at once: ``"auto"`` is left where memory decides."""
        precision = cast("Precision", self.config.precision)
        return resolve(self.config.stack, self.device, precision)

    @property
    def workers(self) -> int | Literal["auto"]:
        """As configured; 1 with proxies that other processes cannot import."""
        return 1 if typed_in(self.proxies) else self.config.workers

    def items(self, done: Callable[[Key], frozenset[str]]) -> list[WorkItem]:
        """Work that is left: all datasets of an architecture, then the next.

        Args:
            done: gives the proxies that need no work for (dataset, index, repeat).
        """
        names = tuple(proxy.name for proxy in self.proxies)
        again = self.config.overwrite == "always"
        wanted = {dataset: set(archs) for dataset, archs in self.archs.items()}
        items = []
        for index in self.every_arch:
            for repeat in range(self.config.repeats):
                for dataset in (d for d in self.datasets if index in wanted[d]):
                    there = frozenset() if again else done((dataset, index, repeat))
                    missing = tuple(name for name in names if name not in there)
                    if missing:
                        items.append(WorkItem(index, dataset, repeat, missing))
        return items


def typed_in(proxies: Iterable[Proxy]) -> list[str]:
    """Names of those that other processes cannot import."""
    return [
        proxy.name
        for proxy in proxies
        if proxy.is_guest and not Path(proxy.origin).is_file()
    ]


def make_job(config: RunConfig) -> Job:
    """Check a configuration against what is there.

    Raises:
        UsageError: something named does not exist.
        DataError: truth or images are missing, or do not cover the sample.
    """
    import torch

    from zcbench.evidence.passes import check_arithmetic

    load_guests(config.plugin)
    tasks = _tasks(config)
    own = load_space(config.space)
    space = with_input_size(with_tasks(own, tasks), config.input_size)
    datasets = tuple(given.task.name for given in tasks)
    datasets = datasets or _datasets(own, config.datasets)
    check_input_size(space, datasets, config.input_size)
    proxies = _proxies(config)
    if config.population == "all" and isinstance(space, Unlisted):
        config = replace(config, population=space.populations[0])
    check_name(space, "population", config.population)
    listed = None if config.archs is None else read_archs(space, config.archs)
    device = find_device(config.device)
    check_arithmetic(cast("Precision", config.precision), torch.device(device))
    truths, archs = {}, {}
    for name in datasets:
        known = None
        if config.truth != "none":
            truths[name], known = _truth(config, space, name)
        archs[name] = tuple(listed or _sample(config, space, known))
        _check_covered(archs[name], known, space, name, truths.get(name, {}))
    return Job(
        config=config,
        space=space,
        datasets=datasets,
        tasks=tasks,
        proxies=proxies,
        archs=archs,
        device=device,
        minibatches={name: _minibatch(config, space, name) for name in datasets},
        truths=truths,
        notes=_notes(config, {len(of) for of in archs.values()}),
    )


def _tasks(config: RunConfig) -> tuple[GivenTask, ...]:
    tasks = tuple(load_task(source, config.space) for source in config.task)
    if tasks and "all" not in config.datasets:
        raise UsageError(
            "--task and --datasets exclude each other.",
            "Drop --datasets: the run is about the tasks.",
        )
    return tasks


def _proxies(config: RunConfig) -> tuple[Proxy, ...]:
    proxies = tuple(PROXIES.select(config.proxies))
    if config.executor != "local" and (names := typed_in(proxies)):
        raise UsageError(
            f"Other machines cannot import {', '.join(names)}.",
            "Put them into a file, and name it with --plugin.",
        )
    return proxies


def load_guests(files: tuple[Path, ...], limit: float = 0.0) -> None:
    """Load plug-in files, at first in another process, which they may end.

    Raises:
        DataError: a file does not exist or cannot be read.
        UsageError: a file raises, takes a name that exists, or ends the process.
    """
    if files and not are_loaded(files):
        death = call_apart(_load, files, limit=max(limit, _LOADING))
        if isinstance(death, Death):
            names = ", ".join(map(str, files))
            raise UsageError(
                f"The plug-in {names} {death} when it was loaded.",
                "Correct the file.",
            )
    load_plugins(files)


def _load(files: tuple[Path, ...], *, begin: Callable[[], object]) -> None:
    begin()
    load_plugins(files)


def find_device(wanted: str) -> str:
    """Torch's name of a device that is there.

    Args:
        wanted: ``cpu``, ``cuda``, ``cuda:1``, ``mps``, or ``auto`` for the first of
            CUDA, MPS and CPU.

    Raises:
        UsageError: it is not there.
    """
    import torch

    kind, _, number = wanted.partition(":")
    n_cuda = torch.cuda.device_count() if torch.cuda.is_available() else 0
    has_mps = torch.backends.mps.is_available()
    if kind == "auto":
        return "cuda" if n_cuda else "mps" if has_mps else "cpu"
    there = {"cpu": True, "mps": has_mps, "cuda": int(number or 0) < n_cuda}
    if not there[kind]:
        raise UsageError(
            f"There is no device {wanted} on this machine.",
            "Use --device auto for the best there is.",
        )
    return wanted


def _notes(config: RunConfig, sizes: set[int]) -> tuple[str, ...]:
    notes = [*PROXIES.broken, *SPACES.broken]
    if config.archs is None and config.n != "all":
        notes += [
            f"the population {config.population} of {config.space} has only "
            f"{size:,} architectures: all are taken"
            for size in sorted(sizes - {config.n})
        ]
    return tuple(notes)


def _datasets(space: Space, wanted: tuple[str, ...]) -> tuple[str, ...]:
    if "all" in wanted:
        return tuple(space.tasks)
    for name in wanted:
        if name not in space.tasks:
            raise unknown(f"dataset of {space.name}", name, space.tasks)
    return wanted


def _minibatch(config: RunConfig, space: Space, dataset: str) -> dict[str, str]:
    source = open_source(config.minibatch, space.tasks[dataset])
    batch = source.batch(config.batch_size, seed=config.seed)
    return {
        "name": source.name,
        "digest": source.digest,
        "batch_digest": batch_digest(batch),
    }


def _truth(
    config: RunConfig, space: Space, dataset: str
) -> tuple[Mapping[str, Any], frozenset[int]]:
    """Attributes of the truth, and the architectures that it covers."""
    from zcbench.truth import choose_target, load_truth

    table = load_truth(space, dataset, config.truth, config.target)
    target = choose_target(table, config.target)
    known = frozenset(table.loc[table[target].notna(), "index"].tolist())
    return {k: said for k, said in table.attrs.items() if k != "notes"}, known


def _sample(
    config: RunConfig, space: Space, known: frozenset[int] | None
) -> Sequence[int]:
    """Architectures of a dataset; an `Unlisted` space has those that are known.

    Raises:
        UsageError: there is no truth to know them from.
    """
    if known is None and isinstance(space, Unlisted):
        space.population(config.population)
    return sample(
        space,
        config.n,
        seed=config.seed,
        population=config.population,
        trained=known or (),
    )


def _check_covered(
    archs: Sequence[int],
    known: frozenset[int] | None,
    space: Space,
    dataset: str,
    truth: Mapping[str, Any],
) -> None:
    """Raise `DataError` unless a truth, if any, knows these architectures."""
    lacking = [] if known is None else [i for i in archs if i not in known]
    if lacking:
        example = space.architecture(lacking[0]).spec
        raise DataError(
            f"The truth {truth['truth']} lacks {len(lacking):,} of the {len(archs):,} "
            f"architectures for {dataset}, such as {example}.",
            "Sample from those that it covers (--archs), or give another --truth.",
        )
