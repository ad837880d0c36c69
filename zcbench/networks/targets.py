"""What users write of a network: what builds it, and with which arguments."""

from __future__ import annotations

import ast
import hashlib
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from zcbench.errors import DataError
from zcbench.files import read, reason

_ARGUMENTS = re.compile(r"(?:\s+[A-Za-z_]\w*=\S+)+\s*$")
_SIDES = ("img_size", "image_size", "input_size")


@dataclass(frozen=True, slots=True)
class Target:
    """A network by what builds it.

    Attributes:
        name: ``timm:NAME``, ``torchvision:NAME``, ``MODULE:CALLABLE`` or
            ``FILE.py:CALLABLE``.
        arguments: what the builder is called with, by keyword.
    """

    name: str
    arguments: dict[str, Any]

    @property
    def input_shape(self) -> tuple[int, ...] | None:
        """(C, H, W) that the arguments speak of; None if they do not."""
        side = next((self.arguments[n] for n in _SIDES if n in self.arguments), None)
        sides = (side, side) if isinstance(side, int) else side
        if not isinstance(sides, tuple | list) or not all(
            isinstance(s, int) for s in sides
        ):
            return None
        channels = self.arguments.get("in_chans", 3)
        return (channels, *sides) if len(sides) == 2 else tuple(sides)

    def __str__(self) -> str:
        words = (f"{name}={value}" for name, value in self.arguments.items())
        return " ".join((self.name, *words))


def parse_target(text: str) -> Target:
    """A target, and the arguments that follow it as Python writes them.

    >>> parse_target("nets.py:build  depth=6 act=relu")
    Target(name='nets.py:build', arguments={'depth': 6, 'act': 'relu'})
    """
    found = _ARGUMENTS.search(text)
    if found is None:
        return Target(text.strip(), {})
    pairs = (word.partition("=") for word in found[0].split())
    arguments = {name: _value(written) for name, _, written in pairs}
    return Target(text[: found.start()].strip(), arguments)


def _value(written: str) -> Any:
    """A number, True, a tuple and so on; what is none is a word."""
    try:
        return ast.literal_eval(written)
    except (ValueError, SyntaxError, RecursionError, MemoryError):
        return written


def read_targets(path: Path) -> Iterator[str]:
    """The targets of a file, one a line; what follows a # is a comment.

    Raises:
        DataError: it cannot be read, or names none.
    """
    try:
        text = read(path).decode("utf-8-sig")
    except (OSError, ValueError) as error:
        raise DataError(f"{path} cannot be read: {reason(error)}.", _LINES) from None
    lines = [re.sub(r"(^|\s)#.*", "", line).strip() for line in text.splitlines()]
    if not any(lines):
        raise DataError(f"{path} names no network.", _LINES)
    yield from filter(None, lines)


def identity(target: str) -> str:
    """The target, with the digest of the file that it is in."""
    path = Path(parse_target(target).name.rpartition(":")[0])
    if path.suffix != ".py" or not path.is_file():
        return target
    return f"{target} sha256={hashlib.sha256(path.read_bytes()).hexdigest()[:16]}"


_LINES = "Write one network a line, such as timm:resnet18, arguments after it."
