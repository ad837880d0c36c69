"""Networks of the user's own, scored one after the other: what `zcbench score` does."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import click

from zcbench.errors import ZcbenchError, is_users, out_of_memory, visible

if TYPE_CHECKING:
    from torch import nn

    from zcbench.minibatch import Source
    from zcbench.store.kept import KeptScores
    from zcbench.types import Batch, Score

Scores = Mapping[str, "Score"]
_SHAPE = (3, 32, 32)
_QUIET_SECONDS = 15.0
"""Without a terminal, lines come no more often than that."""
_COSTS: Mapping[str, float] = {
    "forward": 1.3,
    "relu_codes": 0.3,
    "relu_patterns": 0.4,
    "loss_backward": 2.4,
    "hessian_product": 7.5,
    "input_backward": 0.8,
    "per_image_loss": 6.0,
    "per_image_logits": 7.0,
    "part_gradients": 2.2,
    "block_features": 3.0,
    "gaussian_response": 2.0,
}
"""Pass → what it takes, in forwards of the minibatch.

Between resnet18 and mobilenetv2_050 of timm, 16 images of 112×112 on a CPU.
"""
_FIXED: Mapping[str, float] = {
    "structure": 60.0,
    "synaptic_flow": 16.0,
    "channel_correlation": 13.0,
    "image_correlation": 15.0,
    "drawn_patterns": 700.0,
    "minibatch_kernel": 650.0,
    "first_gradients": 170.0,
}
"""Pass → what it takes whatever the minibatch, in forwards of one image.

The last three by their number of forwards and backwards.
"""


@dataclass(frozen=True, slots=True)
class Setting:
    """What is the same for all networks of a command.

    Attributes:
        shape: (C, H, W) of the images; None for each network's own.
        classes: number of logits.
        proxies: which ones.
        batch_size: images in the minibatch.
        seed: of weights and images.
        minibatch: where the images come from.
        precision: of weights and images.
    """

    shape: tuple[int, ...] | None
    classes: int
    proxies: tuple[str, ...]
    batch_size: int
    seed: int
    minibatch: str
    precision: Literal["float64", "float32"]

    @property
    def kept(self) -> dict[str, Any]:
        """What scores depend on, for a directory that keeps them."""
        return {
            "input": None if self.shape is None else list(self.shape),
            "classes": self.classes,
            "batch_size": self.batch_size,
            "seed": self.seed,
            "minibatch": self.minibatch,
            "precision": self.precision,
        }


class Progress:
    """Tells on stderr how it goes: all on a terminal, now and then elsewhere."""

    def __init__(self) -> None:
        self._terminal = sys.stderr.isatty()
        self._said = time.monotonic()

    def tell(self, text: str) -> None:
        """One line, if it is time for one."""
        now = time.monotonic()
        if self._terminal or now - self._said >= _QUIET_SECONDS:
            self._said = now
            click.echo(visible(text), err=True)


@dataclass
class Session:
    """Builds and scores networks, and keeps what went wrong.

    Attributes:
        setting: what is the same for all.
        kept: where scores are kept; None if nowhere.
        errors: network → why it could not be scored.
        sources: shape of images → where they came from.
    """

    setting: Setting
    kept: KeptScores | None = None
    errors: dict[str, ZcbenchError] = field(default_factory=dict)
    sources: dict[tuple[int, ...], Source] = field(default_factory=dict)
    _batches: dict[tuple[int, ...], Batch] = field(default_factory=dict)
    _progress: Progress = field(default_factory=Progress)

    def expand(self, targets: Iterable[str]) -> Iterator[str]:
        """Every network once; wildcards that find none stay, and will say so."""
        from zcbench.networks.loading import expand

        seen = set()
        for target in targets:
            try:
                names = expand(target)
            except ZcbenchError as error:
                self.errors[target] = error
                names = [target]
            yield from (name for name in names if name not in seen)
            seen.update(names)

    def scored(self, names: Sequence[str]) -> dict[str, Scores]:
        """Scores of every network."""
        found: dict[str, Scores] = {}
        for number, name in enumerate(names, start=1):
            place = f"{number}/{len(names)} " if len(names) > 1 else ""
            found[name] = self._scores(name, place)
        return found

    def _scores(self, target: str, place: str) -> Scores:
        """Of one network; whatever it does ends nothing else."""
        from zcbench.networks.targets import identity
        from zcbench.types import Score

        key, wanted = identity(target), self.setting.proxies
        known = self.kept.of(key, wanted) if self.kept else {}
        missing = [name for name in wanted if name not in known]
        if not missing:
            return known
        start = time.monotonic()
        with self._told(target) as failure:
            known |= (new := self._evaluated(target, missing, place))
        if failure:
            status, text = failure
            new = dict.fromkeys(missing, Score(None, status, 0.0, text))
            known |= new
        if self.kept:
            self.kept.add(key, new)
        seconds = time.monotonic() - start
        self._progress.tell(f"{place}{target}: {_in_short(known)} ({seconds:.0f} s)")
        return {name: known[name] for name in wanted}

    @contextmanager
    def _told(self, target: str) -> Iterator[list[Any]]:
        """Catches what a network raises: leaves (status, why) in the list."""
        from zcbench.networks.loading import failed

        failure: list[Any] = []
        try:
            yield failure
            return
        except ZcbenchError as known:
            error = known
        except BaseException as other:  # code of others
            if is_users(other):
                raise
            hint = "ZCBENCH_DEBUG=1 shows where, if it is the only network."
            error = failed(f"Scoring {target}", other, hint)
            error.__cause__ = other
        self.errors[target] = error
        failure += ["oom" if out_of_memory(error) else "error", str(error)]

    def build(self, target: str) -> tuple[nn.Module, Batch, float]:
        """A network, its minibatch, and seconds of the forward of an image.

        Raises:
            UsageError: it cannot be built, or is no classifier of these images.
        """
        from zcbench.networks.loading import build_network, check_network, own_shape

        if target in self.errors:
            raise self.errors[target]
        setting = self.setting
        network = build_network(target, setting.classes, setting.seed)
        batch = self._batch(setting.shape or own_shape(network, target) or _SHAPE)
        seconds = check_network(network, batch.x, setting.classes, target)
        return network, batch, seconds

    def _evaluated(
        self, target: str, proxies: Sequence[str], place: str
    ) -> dict[str, Score]:
        from zcbench.engine.observer import duration
        from zcbench.engine.process import within_memory
        from zcbench.scoring import score

        with within_memory():
            network, batch, seconds = self.build(target)
            expected = expected_seconds(proxies, seconds, self.setting.batch_size)
            shape = "×".join(map(str, batch.x.shape[1:]))
            self._progress.tell(
                f"{place}{target} on {shape}: about {duration(expected)}"
            )
            return score(
                network,
                batch,
                proxies,
                seed=self.setting.seed,
                precision=self.setting.precision,
                told=lambda name, one: self._progress.tell(
                    f"  {name} {_in_short({name: one}, named=False)}"
                ),
            )

    def _batch(self, shape: tuple[int, ...]) -> Batch:
        from zcbench.minibatch import open_source
        from zcbench.types import Task

        if shape not in self._batches:
            task = Task("images", shape, self.setting.classes)
            self.sources[shape] = open_source(self.setting.minibatch, task)
            source, setting = self.sources[shape], self.setting
            self._batches[shape] = source.batch(setting.batch_size, seed=setting.seed)
        return self._batches[shape]


@contextmanager
def session(setting: Setting, out: Path | None) -> Iterator[Session]:
    """A session that keeps its scores in a directory, if one is named."""
    from zcbench.proxies import PROXIES
    from zcbench.store.kept import KeptScores

    with ExitStack() as stack:
        kept = None
        if out is not None:
            versions = {name: PROXIES.get(name).version for name in setting.proxies}
            kept = stack.enter_context(KeptScores(out, setting.kept, versions))
        yield Session(setting, kept)


def expected_seconds(proxies: Sequence[str], forward: float, batch_size: int) -> float:
    """What scoring will take, roughly.

    Args:
        proxies: which ones.
        forward: seconds of the forward of one image.
        batch_size: images in the minibatch.
    """
    from zcbench.plan import make_plan
    from zcbench.proxies import PROXIES

    passes = make_plan([PROXIES.get(name) for name in proxies]).passes
    each = sum(_COSTS.get(name, 0.0) for name in passes)
    once = sum(_FIXED.get(name, 0.0) for name in passes)
    once += _FIXED["structure"] * ("forward" in passes and "structure" not in passes)
    return forward * (each * batch_size + once)


def _in_short(scores: Scores, *, named: bool = True) -> str:
    """Such as: params 11.7M, flops 1.81G, 2 undefined."""
    from zcbench.analysis.network_scores import readable

    parts, others = [], dict[str, int]()
    for name, one in scores.items():
        if one.value is None:
            others[one.status] = others.get(one.status, 0) + 1
        else:
            parts.append(f"{name if named else ''} {readable(one.value)}".strip())
    if not named and others:
        return next(iter(scores.values())).status
    return ", ".join([*parts, *(f"{n} {word}" for word, n in others.items())])
