"""Conformance checks for proxies of your own: what `zcbench check` runs.

>>> from zcbench.proxies import PROXIES
>>> all(finding.ok for finding in check_proxy(PROXIES.get("snip"), nb201=False))
True
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import TYPE_CHECKING

from zcbench.errors import CHANGED, UsageError
from zcbench.plan import evidence_of, make_plan
from zcbench.proxies import PROXIES
from zcbench.spaces import load_space
from zcbench.types import Proxy, Score

if TYPE_CHECKING:
    from zcbench.types import Batch

NEIGHBOURS = ("snip", "jacov", "nwot", "synflow", "zen")
"""One built-in proxy for each pass, to see that the new one leaves them alone."""

_SEEDED = range(1, 27, 5)
"""Toy networks that are scored under two global seeds."""
_NB201_CELLS = (15_624 // 4 * 3, 15_624 // 4, 9_000, 0)
"""All 3×3, all skip, a random cell, and the empty one."""


@dataclass(frozen=True, slots=True)
class Finding:
    """Result of one check.

    Attributes:
        check: what was checked.
        ok: whether it holds.
        detail: what was seen.
        doubtful: whether it holds, but should be looked at.
    """

    check: str
    ok: bool
    detail: str
    doubtful: bool = False


def check_proxy(
    proxy: Proxy, *, nb201: bool = True, begin: Callable[[], object] = lambda: None
) -> list[Finding]:
    """Everything that a good proxy does.

    Args:
        proxy: a registered proxy.
        nb201: also score four NAS-Bench-201 networks (some seconds).
        begin: is called before every network.

    Returns:
        One finding for each check; the later ones are left out where an earlier one
        makes them pointless.
    """
    findings = [_documented(proxy), _directed(proxy), _referenced(proxy)]
    findings.append(_annotated(proxy))
    if findings[-1].ok:
        findings += _behaviour(proxy, begin)
    if nb201 and all(finding.ok for finding in findings[3:]):
        findings.append(_on_nb201(proxy, begin))
    return findings


def _documented(proxy: Proxy) -> Finding:
    text = proxy.function.__doc__ or ""
    ok = bool(text.strip())
    detail = proxy.summary if ok else "the function has no docstring"
    return Finding("docstring", ok, detail)


def _directed(proxy: Proxy) -> Finding:
    words = f"{proxy.direction} is better"
    text = " ".join((proxy.function.__doc__ or "").split()).lower()
    detail = words if words in text else f"the docstring does not say: {words}"
    return Finding("direction", words in text, detail)


def _referenced(proxy: Proxy) -> Finding:
    """A key that zcbench cites, or that a .bib file beside the plug-in has."""
    key = proxy.reference.strip()
    if not key:
        return Finding("reference", False, "no BibTeX key is given")
    known = map(PROXIES.get, PROXIES.names())
    cited = {p.reference for p in known if p.origin == "built-in"}
    beside = filter(Path.is_file, sorted(Path(proxy.origin).parent.glob("*.bib")))
    entry = re.compile(rf"@\w+\s*\{{\s*{re.escape(key)}\s*,")
    if key in cited or any(
        entry.search(file.read_text("utf-8", errors="replace")) for file in beside
    ):
        return Finding("reference", True, key)
    detail = (
        f"{key}: no paper that zcbench cites has this key; if it is yours, put its "
        "entry into a .bib file beside the plug-in"
    )
    return Finding("reference", True, detail, doubtful=True)


def _annotated(proxy: Proxy) -> Finding:
    try:
        needs = evidence_of(proxy)
    except UsageError as error:
        return Finding("evidence", False, str(error))
    names = ", ".join(record.__name__ for record in needs)
    return Finding("evidence", bool(needs), names or "it asks for none")


def _behaviour(proxy: Proxy, begin: Callable[[], object]) -> Iterator[Finding]:
    """Checks on all 27 toy networks."""
    score = _toy_scorer(begin)
    first, again = score((proxy.name,)), score((proxy.name,))
    alone = {index: scores[proxy.name] for index, scores in first.items()}
    yield _finite(alone)
    same = all(_same(alone[i], again[i][proxy.name]) for i in alone)
    yield _deterministic(same, _random_on(proxy, begin) if same else 0)
    others = tuple(name for name in NEIGHBOURS if name != proxy.name)
    with_others = score((proxy.name, *others))
    same = all(_same(alone[i], with_others[i][proxy.name]) for i in alone)
    detail = _told(same, "the same scores alone and beside other proxies")
    yield Finding("independent", same, detail)
    without = score(others)
    same = all(_same(without[i][o], with_others[i][o]) for i in without for o in others)
    detail = _told(same, f"{', '.join(others)} score the same with it and without")
    told = [s.message for s in alone.values() if _is_trespass(s)]
    yield Finding("leaves others alone", same and not told, (told or [detail])[0])
    values = {s.value for s in alone.values() if s.value is not None}
    detail = f"{len(values)} different scores on {len(alone)} toy networks"
    yield Finding("tells networks apart", len(values) > 1, detail)


def _deterministic(same: bool, n_random: int) -> Finding:
    detail = _told(same, "twice the same scores")
    if n_random:
        detail = (
            f"it draws random numbers of its own: {n_random} of {len(_SEEDED)} toy "
            "networks score otherwise under another global seed. Draw them from "
            "torch.Generator().manual_seed(f.seed), f: FreshNetwork, or do without"
        )
    return Finding("deterministic", same and not n_random, detail)


def _random_on(proxy: Proxy, begin: Callable[[], object]) -> int:
    """On how many networks the generators' state decides, the evidence being one."""
    from zcbench.evaluate import by_generators

    space, batch, plan = load_space("toy"), _batch("toy", "toy", 16), make_plan([proxy])
    n_random = 0
    for index in _SEEDED:
        begin()
        network = space.build(space.architecture(index), "toy")
        one, other = by_generators(network, batch, plan, seeds=(0, 1))
        n_random += not _same(one[proxy.name], other[proxy.name])
    return n_random


def _is_trespass(score: Score) -> bool:
    """Whether it failed for what it left changed: that is a check of its own."""
    return score.message.startswith(CHANGED)


def _finite(scores: Mapping[int, Score]) -> Finding:
    bad = {
        i: s
        for i, s in scores.items()
        if s.status not in ("ok", "undefined") and not _is_trespass(s)
    }
    if bad:
        index, worst = next(iter(bad.items()))
        detail = (
            f"{worst.status} on {len(bad)} of {len(scores)} toy networks, first on "
            f"{load_space('toy').architecture(index).spec}: {worst.message}"
        )
        detail = detail.rstrip(": ")
        if worst.status in ("nan", "inf"):
            detail += '; where the definition gives no number: raise Undefined("why")'
        return Finding("finite", False, detail)
    undefined = sum(s.status == "undefined" for s in scores.values())
    valued = sum(s.status == "ok" for s in scores.values())
    detail = f"{valued} scores, {undefined} undefined"
    return Finding("finite", undefined < len(scores), detail)


def _on_nb201(proxy: Proxy, begin: Callable[[], object]) -> Finding:
    from zcbench.evaluate import evaluate

    space = load_space("nb201")
    plan = make_plan([proxy])
    batch = _batch("nb201", "ImageNet16-120", 16)
    scores = []
    for index in _NB201_CELLS:
        begin()
        network = space.build(space.architecture(index), "ImageNet16-120")
        scores.append(evaluate(network, batch, plan).scores[proxy.name])
    bad = [s for s in scores if s.status not in ("ok", "undefined")]
    milliseconds = 1e3 * median(s.seconds for s in scores)
    detail = f"{milliseconds:.0f} ms a network (16 images of 16×16)"
    if bad:
        detail = f"{bad[0].status} {bad[0].message}".strip()
    return Finding("NAS-Bench-201", not bad, detail)


def _toy_scorer(
    begin: Callable[[], object],
) -> Callable[[tuple[str, ...]], dict[int, Mapping[str, Score]]]:
    from zcbench.evaluate import evaluate

    space = load_space("toy")
    batch = _batch("toy", "toy", 16)

    def score(names: tuple[str, ...]) -> dict[int, Mapping[str, Score]]:
        plan = make_plan([PROXIES.get(name) for name in names])
        scores = {}
        for index in range(len(space)):
            begin()
            network = space.build(space.architecture(index), "toy")
            scores[index] = evaluate(network, batch, plan).scores
        return scores

    return score


def _batch(space: str, task: str, n: int) -> Batch:
    from zcbench.minibatch import open_source

    return open_source("builtin", load_space(space).tasks[task]).batch(n, seed=0)


def _same(a: Score, b: Score) -> bool:
    return (a.value, a.status) == (b.value, b.status)


def _told(ok: bool, claim: str) -> str:
    return claim if ok else f"not {claim}"
