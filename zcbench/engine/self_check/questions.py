"""What is asked of a device: to make records of some networks as the CPU does."""

from __future__ import annotations

import contextlib
import hashlib
from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import torch
from torch import nn

import zcbench
from zcbench.engine.evaluator import StackEvaluator, can_stack
from zcbench.engine.self_check import Way, arithmetic_of, taking
from zcbench.engine.self_check.compare import allowed
from zcbench.engine.self_check.finding import STACKED
from zcbench.engine.self_check.networks import images, networks_of, without_noise
from zcbench.evaluate import gather
from zcbench.evidence.clock import Clock
from zcbench.evidence.copies import cast, deep_copied, left_alone
from zcbench.evidence.passes import Missing, attempt
from zcbench.plan import Plan
from zcbench.spaces.base import Space, build_network
from zcbench.types import Architecture, Batch, Precision

Evidence = Mapping[type, Any]
_SEED = 0
_CPU = torch.device("cpu")


class Question(ABC):
    """Does a device make the records that proxies read as the CPU does?

    Attributes:
        plan: the proxies.
        device: where scores are to be calculated.
        dtype: of weights and images, as asked.
        precision: what float32 passes may round to.
        code: what else the answer depends on.
    """

    plan: Plan
    device: torch.device
    dtype: torch.dtype = torch.float32
    precision: Precision = "float32"
    code: str = ""

    @property
    @abstractmethod
    def subject(self) -> Mapping[str, str]:
        """What networks the question is about, in words."""

    @property
    @abstractmethod
    def names(self) -> tuple[str, ...]:
        """The networks that are compared."""

    @abstractmethod
    def networks(self) -> Iterator[nn.Module]:
        """The networks, on the CPU; the caller may change them."""

    @property
    @abstractmethod
    def batch(self) -> Batch:
        """The minibatch, on the CPU."""

    @property
    def about(self) -> dict[str, str]:
        """What the answer holds for."""
        dtype = "float64" if self.dtype == torch.float64 else self.precision
        return {**describe_device(self.device), "precision": dtype, **self.subject}

    @property
    def key(self) -> Mapping[str, Any]:
        """All that the answer depends on, for the cache."""
        bounds = {r.__name__: self.allowed(r, "as asked") for r in self.plan.records}
        versions = {proxy.name: proxy.version for proxy in self.plan.proxies}
        return {
            **{k: v for k, v in self.about.items() if k != "device"},
            "zcbench": zcbench.__version__,
            "bounds": dict(sorted(bounds.items())),
            "proxies": dict(sorted(versions.items())),
            "code": self.code,
        }

    def allowed(self, record: type, way: Way) -> float:
        """Bound of a record in a way."""
        return allowed(record, *arithmetic_of(way, self.dtype, self.precision))

    def exact(self) -> list[Evidence]:
        """Evidence of each network: the CPU, float64, one network at a time."""
        return self._one_by_one(_CPU, torch.float64, "float32")

    def found(self, way: Way) -> Iterator[tuple[str, list[Evidence]]]:
        """(what follows the records' names, evidence) by each engine on the device."""
        dtype, precision = arithmetic_of(way, self.dtype, self.precision)
        with taking(way):
            yield "", self._one_by_one(self.device, dtype, precision)

    def _one_by_one(
        self, device: torch.device, dtype: torch.dtype, precision: Precision
    ) -> list[Evidence]:
        batch = _moved(self.batch, device, dtype)
        return [
            _evidence(network, batch, self.plan.records, precision)
            for network in self.networks()
        ]


@dataclass(frozen=True)
class OfSpace(Question):
    """The same for a run: a few networks of its space, both engines.

    Attributes:
        space: the space of the run.
        task: one of its tasks.
        stacked: whether several networks at once are scored, too.
    """

    space: Space
    task: str
    plan: Plan
    device: torch.device
    precision: Precision = "float32"
    stacked: bool = False
    code: str = ""

    @property
    def subject(self) -> Mapping[str, str]:
        """Space, dataset and engines."""
        engines = "alone and stacked" if self.stacked else "alone"
        return {"space": self.space.name, "dataset": self.task, "engines": engines}

    @property
    def names(self) -> tuple[str, ...]:
        """Architectures."""
        return tuple(arch.spec for arch in self._architectures)

    @cached_property
    def _architectures(self) -> list[Architecture]:
        return networks_of(self.space, self.task)

    def networks(self) -> Iterator[nn.Module]:
        """At initialisation."""
        for arch in self._architectures:
            yield build_network(self.space, arch, self.task, seed=_SEED)

    @property
    def batch(self) -> Batch:
        """Noise."""
        return images(self.space.tasks[self.task])

    def found(self, way: Way) -> Iterator[tuple[str, list[Evidence]]]:
        """By both engines, if the run uses both."""
        yield from super().found(way)
        able = can_stack(self.space, self.task, self.precision)
        if self.stacked and able and self.names:
            with taking(way):
                yield STACKED, self._at_once(way)

    def _at_once(self, way: Way) -> list[Evidence]:
        dtype, precision = arithmetic_of(way, self.dtype, self.precision)
        evaluator = StackEvaluator(
            self.space,
            self.task,
            self.batch,
            self.plan,
            seed=_SEED,
            device=self.device,
            dtype=dtype,
            precision=precision,
        )
        found = evaluator.evidence(self._architectures, Clock(self.device))
        if found is None:
            missing = Missing("oom", "memory ran out")
            return [dict.fromkeys(self.plan.records, missing) for _ in self.names]
        return found


N_IMAGES = 8
"""Of the minibatch that one's own network is checked with."""


@dataclass(frozen=True)
class OfNetwork(Question):
    """The same for one network of the user's own, at its own weights.

    Attributes:
        network: left as it is.
        images: its minibatch, of which a few are taken.
    """

    network: nn.Module
    images: Batch
    plan: Plan
    device: torch.device
    dtype: torch.dtype = torch.float32

    @property
    def subject(self) -> Mapping[str, str]:
        """Its class."""
        return {"network": type(self.network).__name__}

    @property
    def code(self) -> str:  # type: ignore[override]
        """Modules, shapes of all tensors, and of the images; not the weights."""
        tensors = {k: tuple(v.shape) for k, v in self.network.state_dict().items()}
        text = f"{self.network}{tensors}{tuple(self.batch.x.shape)}"
        return hashlib.sha256(text.encode()).hexdigest()

    @property
    def names(self) -> tuple[str, ...]:
        """Its class."""
        return tuple(self.subject.values())

    def networks(self) -> Iterator[nn.Module]:
        """A copy that draws no random numbers: devices draw different ones.

        None of a network that cannot be copied, which scoring will say.
        """
        copied = attempt(lambda: deep_copied(self.network).to("cpu"))
        if not isinstance(copied, Missing):
            with left_alone(self.network, copied):
                yield without_noise(copied)

    @property
    def batch(self) -> Batch:
        """The first images."""
        x, y = self.images.x[:N_IMAGES].cpu(), self.images.y[:N_IMAGES].cpu()
        return replace(self.images, x=x, y=y)


def _evidence(
    network: nn.Module, batch: Batch, records: frozenset[type], precision: Precision
) -> Evidence:
    device = batch.x.device
    network = cast(network.to(device), batch.x.dtype)
    clock = Clock(device)
    return gather(network, batch, records, clock, seed=_SEED, precision=precision)[0]


def _moved(batch: Batch, device: torch.device, dtype: torch.dtype) -> Batch:
    y = batch.y.to(dtype) if batch.y.is_floating_point() else batch.y
    return replace(batch, x=batch.x.to(device, dtype), y=y.to(device))


def describe_device(device: torch.device) -> dict[str, str]:
    """Its name, and the versions of what calculates on it."""
    found = {"device": str(device), "torch": torch.__version__}
    if device.type != "cuda":
        return {**found, "name": device.type}
    driver = "unknown"
    with contextlib.suppress(OSError):  # only Linux tells it here
        text = Path("/proc/driver/nvidia/version").read_text(encoding="utf-8")
        driver = text.partition("\n")[0].strip()
    cudnn = torch.backends.cudnn.version()  # type: ignore[no-untyped-call]
    return {
        **found,
        "name": torch.cuda.get_device_name(device),
        "cuda": f"{torch.version.cuda}, cuDNN {cudnn}",
        "driver": driver,
    }
