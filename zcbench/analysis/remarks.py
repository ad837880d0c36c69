"""What scores note of their networks, counted: "16–32 of 21–37 layers … (12 networks)".

Notes differ between networks by their numbers alone, so that those of a kind become one
remark with the range of each number.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import Any

NUMBER = re.compile(r"\d+(?:,\d{3})*(?:\.\d+)?")
SEPARATOR = "; "


def counted(notes: Mapping[Any, Iterable[str]]) -> str:
    """The remarks on one proxy.

    Args:
        notes: network → its notes, each of which may be several.

    >>> counted({0: ["16 of 21 layers are dead"], 3: ["32 of 37 layers are dead"]})
    '16–32 of 21–37 layers are dead (2 networks)'
    """
    kinds: dict[str, dict[Any, list[str]]] = {}
    for network, several in notes.items():
        for note in several:
            for one in note.split(SEPARATOR):
                kind = NUMBER.sub("0", one)
                kinds.setdefault(kind, {})[network] = NUMBER.findall(one)
    return SEPARATOR.join(_said(kind, found) for kind, found in kinds.items())


def _said(kind: str, found: Mapping[Any, list[str]]) -> str:
    ranges = [_range(column) for column in zip(*found.values(), strict=True)]
    texts = iter(ranges)
    many = "network" if len(found) == 1 else "networks"
    text = NUMBER.sub(lambda _: next(texts), kind)
    return f"{text} ({len(found):,} {many})"


def _range(written: Iterable[str]) -> str:
    ordered = sorted(set(written), key=lambda text: float(text.replace(",", "")))
    return ordered[0] if len(ordered) == 1 else f"{ordered[0]}–{ordered[-1]}"


def grouped(remarks: Mapping[str, str]) -> tuple[str, ...]:
    """One line for each remark, with the proxies that it is on.

    Args:
        remarks: proxy → what `counted` says.

    >>> grouped({"snip": "a (2 networks)", "zen": "", "plain": "a (2 networks)"})
    ('snip, plain: a (2 networks)',)
    """
    proxies: dict[str, list[str]] = {}
    for proxy, said in remarks.items():
        for remark in said.split(SEPARATOR) if said else ():
            proxies.setdefault(remark, []).append(proxy)
    return tuple(f"{', '.join(names)}: {text}" for text, names in proxies.items())
