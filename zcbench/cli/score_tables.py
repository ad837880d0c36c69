"""What `zcbench score` writes: scores of networks as text, Markdown, CSV or JSON."""

from __future__ import annotations

import csv
import io
import json
import textwrap
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from zcbench.report import Report
    from zcbench.types import Score

Scores = Mapping[str, "Score"]
_WIDTH = 88
_NOTE_WIDTH = 80


def ranks(found: Mapping[str, Scores], proxy: str) -> dict[str, float]:
    """Rank of each network by a proxy, 1 the best; those without a score have none."""
    from scipy.stats import rankdata

    from zcbench.proxies import PROXIES

    sign = 1 if PROXIES.get(proxy).direction == "lower" else -1
    values = {
        name: sign * scores[proxy].value  # type: ignore[operator]
        for name, scores in found.items()
        if scores[proxy].value is not None
    }
    return dict(zip(values, rankdata(list(values.values())).tolist(), strict=True))


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


def _rows(found: Mapping[str, Scores]) -> list[tuple[str, ...]]:
    first = next(iter(found.values()))
    rows = []
    for proxy in first:
        placed = ranks(found, proxy) if len(found) > 1 else {}
        cells = []
        for name, scores in found.items():
            value = scores[proxy].value
            text = scores[proxy].status if value is None else readable(value)
            cells.append(text + (f" ({placed[name]:g})" if name in placed else ""))
        rows.append((proxy, *cells))
    return rows


def _notes(found: Mapping[str, Scores]) -> list[str]:
    """Why scores are not there, each reason once, and remarks on those that are."""
    reasons: dict[tuple[str, str], list[str]] = {}
    for name, scores in found.items():
        for proxy, one in scores.items():
            remark = getattr(one, "note", "")
            if one.value is None:
                said = one.status + (f": {one.message}" if one.message else "")
                reasons.setdefault((name, said), []).append(proxy)
            elif remark:
                reasons.setdefault((name, f"({remark})"), []).append(proxy)
    alike: dict[str, list[str]] = {}
    for (name, said), proxies in reasons.items():
        line = f"{_named(proxies, found[name])} {said}"
        alike.setdefault(line, []).append(name)
    return [f"{', '.join(names)}: {line}" for line, names in alike.items()]


def _named(proxies: Sequence[str], scores: Scores) -> str:
    several = len(proxies) > 3 and len(proxies) == len(scores)
    return f"all {len(proxies)} proxies" if several else ", ".join(proxies)


def _text(found: Mapping[str, Scores]) -> str:
    from zcbench.report.text import draw

    head, rows = ("proxy", *found), _rows(found)
    right = (False, *[True] * len(found))
    drawn = draw(head, [(row, "") for row in rows], right, color=False)
    if max(map(len, drawn.splitlines())) > _WIDTH:
        drawn = "\n".join(_turned(head, rows))
    several = "(rank, 1 the best by that proxy)\n" if len(found) > 1 else ""
    notes = "".join(f"{_wrapped(line)}\n" for line in _notes(found))
    return "\n".join(part for part in (drawn, several + notes) if part)


def _wrapped(line: str) -> str:
    return textwrap.fill(
        line,
        _NOTE_WIDTH,
        subsequent_indent="  ",
        break_long_words=False,
        break_on_hyphens=False,
    )


def _turned(head: Sequence[str], rows: Sequence[Sequence[str]]) -> Iterator[str]:
    """Networks as rows; as many tables as it takes for all proxies to have room."""
    from zcbench.report.text import draw

    names, gap = list(head[1:]), 2
    columns = [(len(max(row, key=len)) + gap, row) for row in rows]
    first = len(max(names, key=len)) + gap
    while columns:
        taken, width = 0, first
        while taken < len(columns) and (
            not taken or width + columns[taken][0] <= _WIDTH
        ):
            width += columns[taken][0]
            taken += 1
        here = [row for _, row in columns[:taken]]
        columns = columns[taken:]
        lines = [(name, *(r[i + 1] for r in here)) for i, name in enumerate(names)]
        header = ("network", *(row[0] for row in here))
        right = (False, *[True] * len(here))
        yield draw(header, [(line, "") for line in lines], right, color=False)


def _md(found: Mapping[str, Scores]) -> str:
    from zcbench.report.markup import escape_markdown, markdown_table

    head = ("proxy", *map(escape_markdown, found))
    rows = [(escape_markdown(row[0]), *row[1:]) for row in _rows(found)]
    table = markdown_table(head, rows, (False, *[True] * len(found)))
    notes = [f"- {escape_markdown(line)}\n" for line in _notes(found)]
    return table + "".join(["\n", *notes] if notes else [])


def _records(found: Mapping[str, Scores]) -> list[dict[str, Any]]:
    records = []
    for proxy in next(iter(found.values())):
        placed = ranks(found, proxy)
        for name, scores in found.items():
            one = scores[proxy]
            records.append(
                {
                    "network": name,
                    "proxy": proxy,
                    "value": one.value,
                    "status": one.status,
                    "rank": placed.get(name),
                    "seconds": round(one.seconds, 6),
                    "message": one.message,
                    "note": one.note,
                }
            )
    return records


def _csv(found: Mapping[str, Scores]) -> str:
    records = _records(found)
    stream = io.StringIO()
    writer = csv.DictWriter(stream, list(records[0]), lineterminator="\n")
    writer.writeheader()
    writer.writerows(records)
    return stream.getvalue()


def _json(found: Mapping[str, Scores]) -> str:
    return write_json({"schema": 1, "scores": _records(found)})


def write_json(document: Mapping[str, Any]) -> str:
    """Indented by one, with a last line end."""
    return json.dumps(document, indent=1) + "\n"


def write_scores(found: Mapping[str, Scores], format_name: str) -> str:
    """Scores of networks in one of `WRITERS`."""
    return WRITERS[format_name](found)


def with_report(found: Mapping[str, Scores], report: Report, format_name: str) -> str:
    """The scores, and after them how the proxies rank the accuracies.

    CSV, LaTeX and HTML hold the report alone.
    """
    from zcbench.report import render

    if format_name in ("text", "md"):  # these note it network by network
        report = replace(report, table=report.table.assign(remarks=""))
    end = render(report, format_name)
    if format_name in ("text", "md"):
        return f"{write_scores(found, format_name)}\n{end}"
    if format_name == "json":
        return write_json(json.loads(end) | {"scores": _records(found)})
    return end


WRITERS = {"text": _text, "md": _md, "csv": _csv, "json": _json}
