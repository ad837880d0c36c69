"""Which cases of a test are for `make test`, and which for `make test-all`."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import pytest


def few(cases: Iterable[Any], count: int = 1) -> list[Any]:
    """The first cases; the others are thorough."""
    first = list(cases)
    others = [case if isinstance(case, tuple) else (case,) for case in first[count:]]
    marked = [pytest.param(*case, marks=pytest.mark.thorough) for case in others]
    return first[:count] + marked
