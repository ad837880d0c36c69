"""Scores of networks, side by side."""

from __future__ import annotations

import textwrap
from collections.abc import Iterator, Mapping, Sequence
from operator import itemgetter
from typing import TYPE_CHECKING, Any

from zcbench.analysis.block import Column, Listing

if TYPE_CHECKING:
    from zcbench.types import Score

Scores = Mapping[str, "Score"]
Texts = tuple[str, ...]
_NOTE_WIDTH = 80
_WRAPPING: Mapping[str, Any] = {
    "subsequent_indent": "  ",
    "break_long_words": False,
    "break_on_hyphens": False,
}
_KEYS = ("network", "proxy", "value", "status", "rank", "seconds", "message", "note")


def ranks(networks: Mapping[str, Scores], proxy: str) -> dict[str, float]:
    """Rank of each network by a proxy, 1 the best; what is no score or noise has none.

    Args:
        networks: network → proxy → score.
        proxy: by which.
    """
    from scipy.stats import rankdata

    from zcbench.proxies import PROXIES

    sign = 1 if PROXIES.get(proxy).direction == "lower" else -1
    values = {
        name: sign * scores[proxy].value  # type: ignore[operator]
        for name, scores in networks.items()
        if scores[proxy].is_ranked
    }
    return dict(zip(values, rankdata(list(values.values())).tolist(), strict=True))


def network_scores(networks: Mapping[str, Scores]) -> Listing:
    """Every score with its rank, a row each, for programs.

    Args:
        networks: network → proxy → score.
    """
    rows: list[dict[str, Any]] = []
    for proxy in next(iter(networks.values())):
        placed = ranks(networks, proxy)
        for name, scores in networks.items():
            one = scores[proxy]
            seconds = round(one.seconds, 6)
            cells = (name, proxy, one.value, one.status, placed.get(name), seconds)
            rows.append(dict(zip(_KEYS, (*cells, one.message, one.note), strict=True)))
    columns = tuple(Column(key, key, "text") for key in _KEYS)
    return Listing("scores", "", "", rows, columns, "")


def side_by_side(
    networks: Mapping[str, Scores], width: int | None = None
) -> list[Listing]:
    """The scores for readers: a row for each proxy, a column for each network.

    Args:
        networks: network → proxy → score.
        width: characters of a line; where that is too few, networks are the rows, in
            as many tables as it takes for all proxies to have room.
    """
    head, rows = ("proxy", *networks), _rows(networks)
    tables: list[Sequence[Texts]] = [list(zip(head, *rows, strict=True))]
    if width is not None and _width(tables[0]) > width:
        tables = list(_turned(("network", *networks), rows, width))
    lines = ["(rank, 1 the best by that proxy)"] if len(networks) > 1 else []
    notes = _notes(networks)
    if width is not None:
        notes = [textwrap.fill(note, _NOTE_WIDTH, **_WRAPPING) for note in notes]
    conclusion = "\n".join(lines + notes)
    *before, last = tables
    return [*(_listing(table, "") for table in before), _listing(last, conclusion)]


def _listing(columns: Sequence[Texts], conclusion: str) -> Listing:
    """A table of columns of texts, each with its head; the first is no number."""
    keys = list(map(str, range(len(columns))))
    rows = [dict(zip(keys, row, strict=True)) for row in zip(*columns, strict=True)]
    shown = tuple(
        Column(key, head, "text" if key == "0" else "number", itemgetter(key))
        for key, head in rows[0].items()
    )
    return Listing("scores", "", "", rows[1:], shown, conclusion)


def _turned(
    first: Texts, columns: Sequence[Texts], width: int
) -> Iterator[list[Texts]]:
    """Tables that begin with the same column, each as wide as there is room."""
    table = [first]
    for column in columns:
        if len(table) > 1 and _width([*table, column]) > width:
            yield table
            table = [first]
        table.append(column)
    yield table


def _width(columns: Sequence[Texts]) -> int:
    gap = 3
    return sum(len(max(column, key=len)) + gap for column in columns) - gap


def readable(value: float) -> str:
    """Six digits that count, or a large whole number in short.

    >>> readable(11689512.0), readable(0.31894912), readable(330.0)
    ('11.7M', '0.318949', '330')
    """
    if not value.is_integer() or not 1e4 <= abs(value) < 1e15:
        return f"{value:.6g}"
    for size, unit in ((1e12, "T"), (1e9, "G"), (1e6, "M"), (1e3, "k")):
        if abs(value) >= 0.9995 * size:
            return f"{value / size:.3g}{unit}"
    return f"{value:.6g}"


def _rows(networks: Mapping[str, Scores]) -> list[tuple[str, ...]]:
    first = next(iter(networks.values()))
    rows = []
    for proxy in first:
        placed = ranks(networks, proxy) if len(networks) > 1 else {}
        cells = []
        for name, scores in networks.items():
            value = scores[proxy].value
            text = scores[proxy].status if value is None else readable(value)
            cells.append(text + (f" ({placed[name]:g})" if name in placed else ""))
        rows.append((proxy, *cells))
    return rows


def _notes(networks: Mapping[str, Scores]) -> list[str]:
    """Why scores are not there, each reason once, and remarks on those that are."""
    reasons: dict[tuple[str, str], list[str]] = {}
    for name, scores in networks.items():
        for proxy, one in scores.items():
            remark = getattr(one, "note", "")
            if one.value is None:
                said = one.status + (f": {one.message}" if one.message else "")
                reasons.setdefault((name, said), []).append(proxy)
            elif remark:
                reasons.setdefault((name, f"({remark})"), []).append(proxy)
    alike: dict[str, list[str]] = {}
    for (name, said), proxies in reasons.items():
        line = f"{_named(proxies, networks[name])} {said}"
        alike.setdefault(line, []).append(name)
    return [f"{', '.join(names)}: {line}" for line, names in alike.items()]


def _named(proxies: Sequence[str], scores: Scores) -> str:
    several = len(proxies) > 3 and len(proxies) == len(scores)
    return f"all {len(proxies)} proxies" if several else ", ".join(proxies)
