"""What a run says of its proxies: scores, why there is none, cost, traits, remarks."""

from __future__ import annotations

import math
import re
from collections import Counter
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from zcbench.errors import UsageError, count
from zcbench.stats.ranks import Floats
from zcbench.store import ONESHOT
from zcbench.types import NOT_RANKED, is_noise

NOISE = NOT_RANKED.strip(": ")
"""Status of scores that are numbers, but noise."""
_LONGEST = 200
"""Characters of a message below a table."""
Reasons = dict[str, dict[int, str]]
"""Proxy → position of an architecture → the first status of it that is not ok."""
NUMBER = re.compile(r"\d+(?:,\d{3})*(?:\.\d+)?")
SEPARATOR = "; "
"""Between the notes of one score."""


def mean_scores(
    rows: pd.DataFrame, proxies: Sequence[str]
) -> tuple[pd.DataFrame, Reasons]:
    """Average repeats: an architecture fails if any of its repeats does.

    Args:
        rows: of one dataset, from `load_run`.
        proxies: its columns of scores.

    Returns:
        Scores by architecture and proxy, NaN where there is none; why they are not ok.
    """
    code, archs = pd.factorize(rows["arch"])
    n, repeats = len(archs), np.bincount(code)
    values = {
        proxy: np.bincount(code, rows[proxy].to_numpy(float), minlength=n) / repeats
        for proxy in proxies
    }
    reasons: Reasons = {}
    for position, status in zip(code.tolist(), rows["status"], strict=True):
        for proxy, word in status.items():
            reasons.setdefault(proxy, {}).setdefault(position, word)
    for proxy, failed in reasons.items():
        if proxy in values:
            values[proxy][list(failed)] = np.nan
    return pd.DataFrame(values, index=pd.Index(archs)), reasons


def without_noise(rows: pd.DataFrame) -> pd.DataFrame:
    """Rows in which scores that are noted as noise have the status "not ranked"."""
    if "notes" not in rows:
        return rows
    status = [
        {**known, **{p: NOISE for p, note in notes.items() if is_noise(str(note))}}
        for known, notes in zip(rows["status"], rows["notes"], strict=True)
    ]
    marked = rows.assign(status=status)
    for proxy in dict.fromkeys(name for known in status for name in known):
        noise = [known.get(proxy) == NOISE for known in status]
        if any(noise):
            marked.loc[noise, proxy] = math.nan
    marked.attrs = rows.attrs
    return marked


def scores_by_repeat(rows: pd.DataFrame, scores: pd.DataFrame) -> dict[str, Floats]:
    """Proxy → [n, r] its scores by repeat, NaN where it has none."""
    row = scores.index.get_indexer(pd.Index(rows["arch"]))
    column, labels = pd.factorize(rows["repeat"], sort=True)
    values = {p: np.full((len(scores), len(labels)), np.nan) for p in scores}
    for proxy, by_repeat in values.items():
        by_repeat[row, column] = rows[proxy].to_numpy(float)
    return values


def count_reasons(
    values: Floats, reasons: Sequence[Mapping[int, str]]
) -> dict[str, int]:
    """Why there is no value → how often, ``"missing"`` last.

    Args:
        values: [n], NaN where there is none.
        reasons: position → why, of each score that a value is made of.
    """
    words = Counter(
        next((reason[i] for reason in reasons if i in reason), "missing")
        for i in np.flatnonzero(np.isnan(values)).tolist()
    )
    return dict(sorted(words.items(), key=lambda item: (item[0] == "missing", item)))


def last_of(
    rows: pd.DataFrame, proxy: str, why: Collection[str], archs: Sequence[str]
) -> NDArray[np.bool_]:
    """[n] whether a proxy is undefined for an architecture, for one of these reasons.

    Not if one of its networks has failed in another way.
    """
    said: dict[str, set[str]] = {}
    messages = rows["messages"] if "messages" in rows else [{}] * len(rows)
    for arch, status, told in zip(rows["arch"], rows["status"], messages, strict=True):
        if proxy in status:
            undefined = status[proxy] == "undefined"
            said.setdefault(arch, set()).add(told.get(proxy, "") if undefined else "")
    return np.array([bool(said.get(a)) and said[a] <= set(why) for a in archs], bool)


def mean_seconds(column: pd.Series[Any], proxies: Sequence[str]) -> dict[str, float]:
    """Proxy → mean cost of scoring one network once; NaN if not known."""
    spent: dict[str, list[float]] = {proxy: [] for proxy in proxies}
    for seconds in column:
        for proxy, value in seconds.get("proxies", {}).items():
            if proxy in spent:
                spent[proxy].append(value)
    return {p: float(np.mean(v)) if v else math.nan for p, v in spent.items()}


@dataclass(frozen=True, slots=True)
class Traits:
    """What the names of proxies stand for.

    Attributes:
        baselines: those that others are compared with.
        lower: those of which lower is better.
        trained: those for which networks are trained.
        unknown: those of which neither the run nor a loaded plug-in says it.
    """

    baselines: tuple[str, ...]
    lower: frozenset[str]
    trained: tuple[str, ...]
    unknown: tuple[str, ...]

    def oriented(self, scores: Mapping[str, Floats]) -> dict[str, Floats]:
        """The same scores, higher being better of all."""
        return {p: -v if p in self.lower else v for p, v in scores.items()}

    def notes(self, run: str) -> list[str]:
        """A line for the user where something is unknown; none elsewhere."""
        about = (
            f"{run}: neither the run nor a loaded plug-in says whether a higher or a "
            f"lower score is better of {', '.join(self.unknown)}: higher is taken. "
            "--plugin FILE loads one."
        )
        return [about] if self.unknown else []


def traits(manifest: Mapping[str, Any], proxies: Iterable[str]) -> Traits:
    """Traits of the proxies of a run.

    Args:
        manifest: of the run; those written before it kept traits rely on the registry.
        proxies: names.
    """
    said = {proxy: _said(manifest, proxy) for proxy in proxies}
    return Traits(
        baselines=tuple(proxy for proxy in said if said[proxy].get("baseline")),
        lower=frozenset(p for p in said if said[p].get("direction") == "lower"),
        trained=tuple(proxy for proxy in said if proxy in manifest.get(ONESHOT, {})),
        unknown=tuple(proxy for proxy in said if not said[proxy]),
    )


def aliases(manifest: Mapping[str, Any]) -> dict[str, str]:
    """Other names of the proxies of a run → their names in it."""
    return {
        alias: proxy
        for proxy in manifest["proxies"]
        for alias in _said(manifest, proxy).get("aliases", ())
    }


def _said(manifest: Mapping[str, Any], proxy: str) -> Mapping[str, Any]:
    """Direction, baseline and aliases of a proxy; empty if nobody knows it."""
    from zcbench.proxies import PROXIES

    if kept := manifest.get("traits", {}).get(proxy):
        return dict(kept)
    try:
        return PROXIES.get(proxy).traits
    except UsageError:  # of a plug-in that is not loaded
        return {}


def remarks_of(rows: pd.DataFrame) -> dict[str, str]:
    """Proxy → what its scores note of their networks, counted; then why some failed."""
    notes: dict[str, dict[str, list[str]]] = {}
    if "notes" in rows:
        for arch, noted in zip(rows["arch"], rows["notes"], strict=True):
            for proxy, note in noted.items():
                notes.setdefault(proxy, {}).setdefault(arch, []).append(str(note))
    remarks = {proxy: counted(several) for proxy, several in notes.items()}
    for proxy, why in _failures(rows).items():
        remarks[proxy] = SEPARATOR.join(filter(None, (remarks.get(proxy), *why)))
    return remarks


def _failures(rows: pd.DataFrame) -> dict[str, list[str]]:
    """Proxy → the first message of each status, and of how many networks that is."""
    first: dict[tuple[str, str], str] = {}
    archs: dict[tuple[str, str], set[str]] = {}
    messages = rows["messages"] if "messages" in rows else [{}] * len(rows)
    for arch, status, said in zip(rows["arch"], rows["status"], messages, strict=True):
        for proxy, word in status.items():
            archs.setdefault((proxy, word), set()).add(arch)
            if said.get(proxy):
                first.setdefault((proxy, word), str(said[proxy]))
    failures: dict[str, list[str]] = {}
    for (proxy, word), text in first.items():
        told = " ".join(text.split()).replace(SEPARATOR, ", ").rstrip(".")[:_LONGEST]
        n = len(archs[proxy, word])
        failures.setdefault(proxy, []).append(f"{word}: {told} ({count(n, 'network')})")
    return failures


def counted(notes: Mapping[Any, Iterable[str]]) -> str:
    """The remarks on one proxy: "16–32 of 21–37 layers … (12 networks)".

    Notes differ between networks by their numbers alone, so that those of a kind become
    one remark with the range of each number.

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
    return SEPARATOR.join(
        _remark(kind, by_network) for kind, by_network in kinds.items()
    )


def _remark(kind: str, by_network: Mapping[Any, list[str]]) -> str:
    ranges = [_range(column) for column in zip(*by_network.values(), strict=True)]
    texts = iter(ranges)
    text = NUMBER.sub(lambda _: next(texts), kind)
    return f"{text} ({count(len(by_network), 'network')})"


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
