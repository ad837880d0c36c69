"""Train a supernet, one path a step, so that it can be killed at any moment.

Batch, augmentation and path of a step are functions of (seed, repeat, step): no
generator has a state. What has one, weights, statistics and momenta, is in the
checkpoint with the number of steps.
"""

from __future__ import annotations

import io
import math
import time
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
from torch import nn
from torch.nn.functional import cross_entropy

from zcbench.engine.observer import Observer
from zcbench.errors import DataError, UsageError, ZcbenchError
from zcbench.files import opened, write_whole
from zcbench.oneshot.images import Split
from zcbench.oneshot.paths import Paths, Setting
from zcbench.oneshot.supernet import Supernet

MOMENTUM, DECAY, LARGEST = 0.9, 5e-4, 5.0
"""Of SGD; the last is the largest norm of a gradient."""


@dataclass(slots=True)
class Progress:
    """Where a training is.

    Attributes:
        step: steps done.
        seconds: time that they took, all starts together.
        loss: of the last one.
    """

    step: int = 0
    seconds: float = 0.0
    loss: float = math.nan


def train(
    net: Supernet,
    split: Split,
    paths: Paths,
    setting: Setting,
    checkpoint: Path,
    observer: Observer,
    every: float,
    deadline: float,
) -> Progress:
    """Train a supernet, from its checkpoint if there is one.

    Args:
        net: at initialisation, on its device.
        split: the images.
        paths: which to train.
        setting: how.
        checkpoint: where its state is kept, written whole or not at all.
        observer: is told of every step.
        every: seconds from one checkpoint to the next.
        deadline: by `time.monotonic`; when it is over, the state is kept.

    Returns:
        Where it ended: at ``setting.steps``, unless the deadline came before.

    Raises:
        DataError: the checkpoint cannot be read or written, or is of another training.
        UsageError: there are too few images for a batch, or the steps do not come out
            even.
        ZcbenchError: the loss is no finite number.
        KeyboardInterrupt: after the state was kept.
    """
    _check(setting, split, paths)
    state = _State(checkpoint, net, [asdict(setting), list(split.identity)])
    progress = state.progress
    begun = saved = time.monotonic()
    before = progress.seconds
    observer.start(setting.steps, progress.step)
    net.train()
    try:
        while progress.step < setting.steps and time.monotonic() < deadline:
            loss = _gradients(net, split, paths, setting, progress.step)
            state.move(_rate(setting, progress.step), paths.together, loss)
            progress.seconds = before + time.monotonic() - begun
            for _ in range(paths.together):
                observer.advance(0)
            if time.monotonic() - saved >= every:
                state.keep()
                saved = time.monotonic()
    finally:
        observer.finish()
        state.keep()
    return progress


def _check(setting: Setting, split: Split, paths: Paths) -> None:
    if split.n_train < setting.batch_size:
        raise UsageError(
            f"There are {split.n_train:,} training images, and a batch has "
            f"{setting.batch_size:,}.",
            "Give more images, or a smaller --train-batch.",
        )
    if setting.steps % paths.together:
        raise UsageError(
            f"{setting.steps:,} steps do not go by {paths.together}, the operations "
            "that fair sampling trains together.",
            f"Give a multiple of {paths.together} as --steps.",
        )


def _rate(setting: Setting, step: int) -> float:
    return setting.rate * (1 + math.cos(math.pi * step / setting.steps)) / 2


def _gradients(
    net: Supernet, split: Split, paths: Paths, setting: Setting, step: int
) -> float:
    """Those of one path, or the sum of those that go together; their mean loss."""
    net.zero_grad()
    number = step // paths.together
    x, y = split.batch(number, setting.batch_size, augment=setting.augment)
    total = 0.0
    for turn in range(paths.together):
        net.take(paths.at(split.identity, step + turn))
        loss = cross_entropy(net(x), y)
        loss.backward()  # type: ignore[no-untyped-call]
        total += float(loss.detach())
    if not math.isfinite(total):
        raise ZcbenchError(
            f"The loss is not finite at step {step:,}.", "Give a smaller --rate."
        )
    nn.utils.clip_grad_norm_(net.parameters(), LARGEST)
    return total / paths.together


class _State:
    """All that a training has come to, and the file that holds it."""

    def __init__(self, path: Path, net: Supernet, identity: list[Any]) -> None:
        self._path, self._identity = path, identity
        self._sgd = torch.optim.SGD(
            net.parameters(), 1.0, MOMENTUM, weight_decay=DECAY, nesterov=True
        )
        self._parts = (("net", net), ("optimiser", self._sgd))
        self._whole = False  # there is something to keep, and no weight half moved
        self.progress = Progress()
        if path.exists():
            self._load(next(net.parameters()).device)

    def move(self, rate: float, steps: int, loss: float) -> None:
        """Move the weights along their gradients, those of some steps."""
        self._sgd.param_groups[0]["lr"] = rate
        self._whole = False  # Ctrl-C may come in between
        self._sgd.step()
        self.progress.step += steps
        self.progress.loss = loss
        self._whole = True

    def keep(self) -> None:
        """Write the file, whole or not at all; not where nothing was done."""
        if not self._whole:
            return
        stream = io.BytesIO()
        about = {"identity": self._identity, "progress": asdict(self.progress)}
        parts = {name: part.state_dict() for name, part in self._parts}
        torch.save(about | parts, stream)
        try:
            write_whole(self._path, [stream.getvalue()])
        except OSError as error:
            raise DataError(
                f"{self._path} cannot be written: {error.strerror or error}.",
                "Make room or make it writable, then go on with the same command.",
            ) from None

    def _load(self, device: torch.device) -> None:
        try:
            with opened(self._path) as stream:
                state = torch.load(stream, map_location=device, weights_only=True)
            same = state["identity"] == self._identity
            self.progress = Progress(**state["progress"])
            for name, part in self._parts if same else ():
                part.load_state_dict(state[name])
        except Exception as error:  # a damaged file can raise nearly anything
            raise DataError(
                f"The checkpoint {self._path} cannot be read ({type(error).__name__}).",
                "Remove it to train anew.",
            ) from None
        if not same:
            raise DataError(
                f"The checkpoint {self._path} is of another training.",
                "Remove it to train anew.",
            )
