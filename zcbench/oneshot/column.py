"""One-shot scores as a column of a run, beside its proxies."""

from __future__ import annotations

import math
import re
import time
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch

from zcbench.engine import InterruptedRunError, interrupt_on_signals
from zcbench.engine.job import find_device
from zcbench.engine.observer import Observer, Outcome
from zcbench.engine.process import torch_state
from zcbench.errors import UsageError, first_line
from zcbench.oneshot.images import Split, labelled_images
from zcbench.oneshot.paths import Guide, Paths, Setting
from zcbench.oneshot.supernet import (
    Supernet,
    accuracy_of,
    make_supernet,
    supernet_space,
)
from zcbench.oneshot.training import train
from zcbench.proxies import PROXIES
from zcbench.store import ONESHOT, Record, RunStore, merge, read_records
from zcbench.tasks import space_of

VERSION = 1
"""Raised when scores of the same setting change."""
BATCH = 256
"""Images in a batch where nothing is trained."""
_NAME = re.compile(r"[A-Za-z_]\w*")


@dataclass(frozen=True, slots=True, kw_only=True)
class Request:
    """A column to be added to a run.

    Attributes:
        column: its name.
        dataset: one of the run's.
        images: ``"builtin"`` or a path, as ``--minibatch`` takes.
        setting: how supernets are trained.
        guide: the scores that choose paths, if any do.
        device: torch's name of the device, or ``"auto"``.
        threads: of torch on a CPU.
        every: seconds from one checkpoint to the next.
        deadline: by `time.monotonic`.
    """

    column: str
    dataset: str
    images: str
    setting: Setting
    guide: Guide | None = None
    device: str = "auto"
    threads: int = 1
    every: float = 60.0
    deadline: float = math.inf


def add_column(
    path: Path, request: Request, training: Observer, scoring: Observer
) -> Outcome:
    """Train a supernet for each repeat of a run, and score the run's architectures.

    Called again after an interruption, it goes on where it was.

    Args:
        path: the run directory.
        request: what to add.
        training: is told of every step.
        scoring: is told of every network, and what there is to know.

    Raises:
        UsageError: the column is there with another setting, or cannot be had.
        DataError: images, run or checkpoint are missing or invalid.
        ZcbenchError: a training diverged.
        InterruptedRunError: by Ctrl-C, SIGTERM or the deadline.
    """
    with interrupt_on_signals(), RunStore(path) as store, torch_state(request.threads):
        column = _Column(store, request)
        failed = n_done = 0
        try:
            for repeat, records in column.left():
                score = column.scorer(repeat, training)
                scoring.start(len(records), 0)
                for record in records:
                    column.check_time()
                    line = score(record)
                    store.append(line)
                    n_done, failed = n_done + 1, failed + len(line["status"])
                    scoring.advance(len(line["status"]))
                scoring.finish()
            store.compact()
        except KeyboardInterrupt:
            raise InterruptedRunError(
                f"Stopped: steps and scores done so far are kept in {path}.",
                "Go on with the same command.",
            ) from None
        finally:
            scoring.finish()
    return Outcome(path, len(column.records), n_done, failed)


class _Column:
    """A column of an open run.

    Raises:
        UsageError: the column is there with another setting, or cannot be had.
        DataError: there are no such images.
    """

    def __init__(self, store: RunStore, request: Request) -> None:
        self.manifest: dict[str, Any] = store.manifest or {}
        self.store, self.request = store, request
        records = merge(read_records(store.path)).values()
        self.records = [r for r in records if r["dataset"] == request.dataset]
        if not self.records:
            raise UsageError(
                f"{store.path} has no scores on {request.dataset!r}.",
                "Give a dataset of the run.",
            )
        self.seed = int(self.manifest["config"].get("seed", 0))
        self.space = supernet_space(space_of(self.records[0]["space"], self.manifest))
        self.task = self.space.tasks[request.dataset]
        self.device = find_device(request.device)
        self.images = labelled_images(request.images, self.task)
        setting = request.setting
        self.paths = Paths(self.space, setting.sampling, setting.share, request.guide)
        self.about: dict[str, Any] = {
            "setting": asdict(setting),
            "images": {"name": self.images.name, "digest": self.images.digest},
            "device": self.device.partition(":")[0],
            "threads": request.threads,
        }
        self._check_name()
        self._check_same()

    def left(self) -> list[tuple[int, list[Record]]]:
        """Repeats with the records that have no score in this column."""
        name, found = self.request.column, dict[int, list[Record]]()
        for record in self.records:
            key = (record["dataset"], record["index"], record["repeat"])
            if name not in self.store.done(key):
                found.setdefault(record["repeat"], []).append(record)
        return sorted(found.items(), key=lambda item: item[0])

    def check_time(self) -> None:
        """Stop as by Ctrl-C when the time is up."""
        if time.monotonic() >= self.request.deadline:
            raise KeyboardInterrupt

    def scorer(self, repeat: int, observer: Observer) -> _Scorer:
        """What scores architectures by the supernet of a repeat, once it is trained."""
        request, setting = self.request, self.request.setting
        identity = (self.seed, ONESHOT, repeat)
        split = Split.of(self.images, self.task, setting, identity, self.device)
        sizes = setting.channels, setting.depth
        net = make_supernet(self.space, self.task, *sizes, self.seed, repeat)
        net = net.to(self.device)
        name = f"{request.column}-{request.dataset}-{repeat}.pt"
        place = self.store.path / ONESHOT / name
        times = request.every, request.deadline
        progress = train(net, split, self.paths, setting, place, observer, *times)
        if progress.step < setting.steps:
            raise KeyboardInterrupt
        self._note(repeat, progress.seconds)
        return _Scorer(self, net, split)

    def _check_name(self) -> None:
        name, manifest = self.request.column, self.manifest
        ours = name in manifest.get(ONESHOT, {})
        taken = name in PROXIES.names() or (name in manifest["proxies"] and not ours)
        if taken or not _NAME.fullmatch(name):
            raise UsageError(
                f"A one-shot column cannot be called {name!r}.",
                "Give a name of letters, digits and _ that no proxy has.",
            )

    def _check_same(self) -> None:
        column = self.manifest.get(ONESHOT, {}).get(self.request.column, {})
        old = column.get(self.request.dataset)
        if old is None:
            return
        there, here = ({**about, **about["setting"]} for about in (old, self.about))
        differing = [
            f"{key.replace('_', '-')} is {there.get(key)} there, {value} here"
            for key, value in here.items()
            if key != "setting" and there.get(key) != value
        ]
        if differing:
            raise UsageError(
                f"{self.store.path} has another {self.request.column}: "
                f"{'; '.join(differing)}.",
                "Use its setting, or give another --column or --out.",
            )

    def _note(self, repeat: int, seconds: float) -> None:
        """Say in the manifest what the column is, before a score of it is written."""
        name, dataset, old = self.request.column, self.request.dataset, self.manifest
        column = old.get(ONESHOT, {}).get(name, {})
        known = column.get(dataset, {}).get("seconds", {})
        about = self.about | {"seconds": {str(repeat): round(seconds, 3)} | known}
        traits = {"direction": "higher", "baseline": False, "aliases": []}
        self.manifest = {
            **old,
            "proxies": {**old["proxies"], name: VERSION},
            "traits": {**old.get("traits", {}), name: traits | {"costly": True}},
            ONESHOT: {**old.get(ONESHOT, {}), name: {**column, dataset: about}},
        }
        self.store.write_manifest(self.manifest)


class _Scorer:
    """Scores architectures by the weights of a trained supernet."""

    def __init__(self, column: _Column, net: Supernet, split: Split) -> None:
        self._column, self._net = column, net
        self._known = split.known(column.request.setting.recalibrate, BATCH)
        self._images, self._labels = split.validation(BATCH)

    def __call__(self, record: Record) -> Record:
        """A line with the score of the architecture of another, or why it has none."""
        begun, name = time.perf_counter(), self._column.request.column
        value, status, message = self._score(record["arch"])
        seconds = round(time.perf_counter() - begun, 6)
        line: Record = {
            key: record[key] for key in ("space", "dataset", "arch", "index", "repeat")
        }
        line["scores"] = {name: value}
        line["status"] = {} if value is not None else {name: status}
        line["seconds"] = {"total": seconds, "proxies": {name: seconds}}
        return line | ({"messages": {name: message}} if message else {})

    def _score(self, arch: str) -> tuple[float | None, str, str]:
        cell, validation = self._column.space.cell(arch), (self._images, self._labels)
        try:
            value = accuracy_of(self._net, cell, self._known, *validation)
        except (MemoryError, torch.OutOfMemoryError) as error:
            return None, "oom", first_line(error)
        except Exception as error:  # one network must not end the run
            return None, "error", f"{type(error).__name__}: {first_line(error)}"
        return (value, "", "") if math.isfinite(value) else (None, "nan", "")
