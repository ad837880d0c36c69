"""The nouns that every layer shares. Importing this does not import torch."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal

if TYPE_CHECKING:
    from torch import Tensor

Status = Literal["ok", "nan", "inf", "undefined", "error", "oom"]
Loss = Literal["cross_entropy", "mse", "none"]
"""What a network is trained to make small: for classes, for real numbers.

``"none"`` is what a part of a network has whose loss needs the rest of it.
"""

Precision = Literal["float32", "tf32", "bf16"]
"""Arithmetic of convolutions and linear layers."""

NOT_RANKED = "not ranked: "
"""Begins a note on a score that is a number and says nothing of its network."""


def is_noise(note: str) -> bool:
    """Whether a score with that note is not to be ranked.

    >>> is_noise("8 of 9 are dead; not ranked: it is constant"), is_noise("8 of 9")
    (True, False)
    """
    return any(part.startswith(NOT_RANKED) for part in note.split("; "))


STATUSES: tuple[Status, ...] = ("ok", "nan", "inf", "undefined", "error", "oom")


@dataclass(frozen=True, slots=True)
class Architecture:
    """One point of a search space.

    Attributes:
        space: name of the space, such as ``"nb201"``.
        index: position in the space's own enumeration, from 0.
        spec: the architecture string, exactly as the benchmark writes it.
    """

    space: str
    index: int
    spec: str


@dataclass(frozen=True, slots=True)
class Task:
    """What a network is to be trained on.

    Attributes:
        name: the dataset, exactly as the benchmark writes it.
        input_shape: (C, H, W) of one image, or (D,) of a vector.
        n_classes: number of classes, which is that of outputs: in a regression, of
            real numbers; 0 if each network has its own.
        loss: ``"mse"`` makes it a regression.
        metric: what trained networks are judged by, higher is better: ``"accuracy"``
            in percent, or another name, in its own unit.
        part: what is built of the networks that were trained; empty if all.
    """

    name: str
    input_shape: tuple[int, ...]
    n_classes: int
    loss: Loss = "cross_entropy"
    metric: str = "accuracy"
    part: str = ""


@dataclass(frozen=True, slots=True)
class Batch:
    """One minibatch.

    Attributes:
        x: images, float32 [N, C, H, W], normalised; or vectors [N, D].
        y: labels, int64 [N]; in a regression real numbers, float32 [N] for one output,
            [N, K] for K; without a loss it does not matter.
        loss: of outputs and y: that of the task.
    """

    x: Tensor
    y: Tensor
    loss: Loss = "cross_entropy"


@dataclass(frozen=True, slots=True)
class Score:
    """What one proxy says of one network.

    Attributes:
        value: the score; None unless ``status`` is ``"ok"``.
        status: ``"ok"``, or why there is no value.
        seconds: cost of this score alone: the passes it needs and its own formula.
        message: the exception's text where ``status`` is ``"error"``, or why it is
            ``"undefined"``.
        note: what a reader of the value should know of this network, if anything.
    """

    value: float | None
    status: Status = "ok"
    seconds: float = 0.0
    message: str = ""
    note: str = ""

    @property
    def is_ranked(self) -> bool:
        """Whether it is a number that can stand beside those of other networks."""
        return self.value is not None and not is_noise(self.note)


@dataclass(frozen=True, slots=True)
class Proxy:
    """A zero-cost proxy: a pure function from evidence to a number.

    Attributes:
        name: id, as NAS-Bench-Suite-Zero writes it where it has one.
        function: evidence records in, number out. Its annotations are its needs.
        reference: BibTeX key in docs/references.bib.
        direction: ``"higher"`` when a higher score claims a better architecture.
        version: raised when scores change; tables of other versions do not compare.
        aliases: other names that users know it by.
        baseline: True for the trivial ones that every proxy should beat.
        data_independent: True if the images do not matter.
        label_free: True if the labels do not matter.
        costly: True if it takes many training steps: it is not among ``all``.
        apart: name of the set that it is in instead of ``all``: ``"transformers"`` if
            it is undefined for other networks, ``"partial"`` if for many of all kinds.
        evidence: ``"parameter=value"`` → argument of the function → the record that it
            gets then, in place of the one that it is annotated with.
        parameters: values of the function's parameters that are not the defaults.
        origin: ``"built-in"``, or where the plug-in came from.
    """

    name: str
    function: Callable[..., float]
    reference: str
    direction: Literal["higher", "lower"] = "higher"
    version: int = 1
    aliases: tuple[str, ...] = ()
    baseline: bool = False
    data_independent: bool = False
    label_free: bool = False
    costly: bool = False
    apart: str = ""
    evidence: Mapping[str, Mapping[str, type]] = field(default_factory=dict)
    parameters: Mapping[str, Any] = field(default_factory=dict)
    origin: str = "built-in"

    @property
    def defaults(self) -> dict[str, Any]:
        """Parameters that users may set, those of the function with a default."""
        parameters = inspect.signature(self.function).parameters.values()
        return {p.name: p.default for p in parameters if p.default is not p.empty}

    @property
    def settings(self) -> list[str]:
        """Its parameters as a name has them: ``mu=800``."""
        return settings({**self.defaults, **self.parameters})

    @property
    def in_all(self) -> bool:
        """Whether the set ``all`` has it."""
        return not self.costly and not self.apart

    @property
    def is_guest(self) -> bool:
        """Whether others wrote it: it is called so that it spoils nothing."""
        return self.origin != "built-in"

    @property
    def traits(self) -> dict[str, Any]:
        """What reading its scores takes: runs keep it, as plug-ins come and go."""
        return {
            "direction": self.direction,
            "baseline": self.baseline,
            "aliases": list(self.aliases),
        }

    @property
    def reads(self) -> str:
        """What of the minibatch matters: nothing, images, or images and labels."""
        if self.data_independent:
            return "nothing"
        return "images" if self.label_free else "images, labels"

    @property
    def summary(self) -> str:
        """First line of the function's docstring."""
        return (self.function.__doc__ or "").strip().partition("\n")[0]


def settings(parameters: Mapping[str, Any]) -> list[str]:
    """Parameters as names have them, which hold no plus.

    >>> settings({"mu": 800.0, "own": True, "sigma": 1e20})
    ['mu=800', 'own=true', 'sigma=1e20']
    """
    texts = {
        name: str(value).lower() if isinstance(value, bool) else str(value)
        for name, value in parameters.items()
    }
    plain = {name: text.removesuffix(".0") for name, text in texts.items()}
    return [f"{name}={text.replace('e+', 'e')}" for name, text in plain.items()]


@dataclass(frozen=True, slots=True)
class Evaluation:
    """All scores of one network, with what they cost.

    Attributes:
        scores: proxy id → `Score`.
        seconds: pass name → seconds, each pass counted once.
    """

    scores: Mapping[str, Score]
    seconds: Mapping[str, float] = field(default_factory=dict)
