"""How numbers and titles read, in every format."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from zcbench.analysis.study import Study

_TARGETS = {"val": "validation accuracy", "test": "test accuracy"}


def number(value: float, *, places: int = 2, signed: bool = False) -> str:
    """A correlation without leading zero: .71, -.26, 1.00.

    >>> number(0.714), number(-0.26), number(-0.001), number(0.05, signed=True)
    ('.71', '-.26', '.00', '+.05')
    """
    rounded = round(value, places)
    text = f"{rounded:{'+' if signed and rounded else ''}.{places}f}"
    text = text.replace("0.", ".", 1) if -1 < rounded < 1 else text
    return text if rounded else text.removeprefix("-")


def interval(low: float, high: float, *, places: int = 2) -> str:
    """[.69, .73], or nothing where there is none."""
    ends = (number(end, places=places) for end in (low, high))
    return "" if math.isnan(low) else f"[{', '.join(ends)}]"


def percent(share: float) -> str:
    """A share of one: 95%, 99.5%.

    >>> percent(0.95), percent(0.995), percent(0.07)
    ('95%', '99.5%', '7%')
    """
    return f"{100 * share:.3g}%"


def p_value(p: float) -> str:
    """A p-value, two digits that count, never below what is worth telling.

    >>> p_value(0.0431), p_value(0.0004), p_value(1.0), p_value(0.9999)
    ('.043', '<.001', '1.00', '1.00')
    """
    if p < 0.001:
        return "<.001"
    return number(p, places=3 if p < 0.0995 else 2)


def milliseconds(seconds: float) -> str:
    """Two significant digits, as a plain number.

    >>> milliseconds(0.0183), milliseconds(1.234), milliseconds(0.00000123)
    ('18', '1234', '0.0012')
    """
    value = seconds * 1000
    if value == 0 or value >= 9.95:
        return f"{value:.0f}"
    return f"{value:.{1 - math.floor(math.log10(value))}f}"


def title(study: Study) -> str:
    """What a table shows: space, dataset, target, truth."""
    few, many = study.training_seeds
    seeds = f"{few} to {many}" if few < many else str(many)
    plural = "" if seeds == "1" else "s"
    of = f"mean of {seeds} training seed{plural}" if many else "training seeds unknown"
    release = f", {study.release}" if study.release else ""
    target = _TARGETS.get(study.target, study.target)
    return f"{study.space} · {study.task} · {target} ({of}{release})"


def setting(study: Study) -> str:
    """How a table was made: architectures, minibatch, seed."""
    kind = {"all": "", "sample": "sample of ", "list": "list of "}[study.sampled]
    parts = [
        *([f"population {study.population}"] if study.population != "list" else []),
        f"{kind}{study.architectures:,} architectures",
        f"minibatch {study.images}",
    ]
    for name, value in (("batch size", study.batch_size), ("seed", study.seed)):
        parts += [f"{name} {value}"] if value is not None else []
    if study.repeats > 1:
        parts.append(f"mean of {study.repeats} repeats")
    if study.precision != "float32":
        parts.append(study.precision)
    if study.partial:
        parts.append(f"PARTIAL: {study.networks:,} of {study.expected:,} networks")
    return " · ".join(parts)
