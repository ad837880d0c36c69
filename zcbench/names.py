"""Lists of names, as users write them between commas."""

from __future__ import annotations

import re

_COMMA = re.compile(r",(?![^\[\]]*\])")
"""One that is not within brackets, where parameters of one name stand."""


def split_names(text: str) -> list[str]:
    """Names between commas, in order, empty ones left out.

    >>> split_names("snip, reg_swap[mu=1,sigma=2],")
    ['snip', 'reg_swap[mu=1,sigma=2]']
    """
    return [name for part in _COMMA.split(text) if (name := part.strip())]
