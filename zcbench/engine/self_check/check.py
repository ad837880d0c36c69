"""Compares a device with the CPU, once for each device, version and question."""

from __future__ import annotations

import contextlib
import hashlib
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import torch
from filelock import FileLock

from zcbench.engine.self_check import Way, arithmetic_of, ways_on
from zcbench.engine.self_check.compare import (
    FORMULA,
    Checked,
    Numbers,
    difference,
    numbers_of,
    on_the_cpu,
    sizes,
)
from zcbench.engine.self_check.finding import Finding
from zcbench.engine.self_check.questions import Evidence, Question
from zcbench.evaluate import apply_proxies
from zcbench.evidence.passes import Missing, arithmetic
from zcbench.evidence.table import RECORDS, RUN_WHEN_READ
from zcbench.files import cache_dir, read, write_whole
from zcbench.plan import Plan, make_plan


def find(question: Question) -> Finding:
    """The answer, from the cache if it is there; else by comparing, and kept."""
    file = _place(question.key)
    with _lock(file):
        found = _read(file)
        if found is None:
            found = compare(question)
            if _is_lasting(found):
                _write(file, found)
    # The same device can have another number than when it was checked.
    return replace(found, about={**found.about, "device": str(question.device)})


def compare(question: Question) -> Finding:
    """Try the ways, the fastest first, until all that proxies read agrees."""
    exact = [
        {record: numbers_of(held) for record, held in evidence.items()}
        for evidence in question.exact()
    ]
    if not exact:  # none that could be built: nothing to go by, and nothing to score
        return Finding(question.about, (), {"as asked": {}})
    checks: dict[str, dict[str, Checked]] = {}
    finding = Finding(question.about, question.names, checks)
    for way in ways_on(question.device, question.dtype):
        checks[way] = {}
        for suffix, found in question.found(way):
            checks[way] |= _compared(question, way, exact, found, suffix)
            if not suffix:  # a stack's proxies are calculated on the CPU
                checks[way] |= _formulas(question.plan, found, question.device)
        proxies = question.plan.proxies
        if all(finding.way_of(question.plan, proxy.name) for proxy in proxies):
            break
    return finding


def _compared(
    question: Question,
    way: Way,
    exact: Sequence[Mapping[type, Numbers | Missing]],
    found: Sequence[Evidence],
    suffix: str,
) -> dict[str, Checked]:
    low = arithmetic_of(way, question.dtype, question.precision)[1] != "float32"
    checks = {}
    records = {record for evidence in found for record in evidence}
    for record in sorted(records, key=lambda r: r.__name__):
        bound = question.allowed(record, way)
        pairs = [
            (numbers_of(here[record]), there[record])
            for here, there in zip(found, exact, strict=True)
        ]
        if low and RECORDS[record].by_size:
            pairs = [(sizes(here), sizes(there)) for here, there in pairs]
        errors = [difference(*pair) for pair in pairs]
        known = [error for error in errors if error is not None]
        if len(known) < len(errors):
            said = _unlike(pairs)
            checks[record.__name__ + suffix] = Checked(None, bound, said)
        else:
            checks[record.__name__ + suffix] = Checked(max(known, default=0.0), bound)
    return checks


def _unlike(pairs: Sequence[tuple[Numbers | Missing, Numbers | Missing]]) -> str:
    """Why one side has no record where the other has."""
    for here, there in pairs:
        if isinstance(here, Missing) and not isinstance(there, Missing):
            return here.message or here.status
    return "it is not defined on the CPU"


def _formulas(
    plan: Plan, found: Sequence[Evidence], device: torch.device
) -> dict[str, Checked]:
    """Proxies on the device's evidence, and on the same evidence on the CPU."""
    own = [p for p in plan.proxies if RUN_WHEN_READ.isdisjoint(plan.needs[p.name])]
    plan = make_plan(own)
    errors = dict.fromkeys((proxy.name for proxy in own), 0.0)
    for evidence in found:
        with arithmetic("float32", device):
            here = apply_proxies(plan, evidence, {})
        there = apply_proxies(plan, {r: on_the_cpu(evidence[r]) for r in evidence}, {})
        for name, score in there.items():
            a, b = here[name].value, score.value
            if a is None or b is None:
                error = float(here[name].status != score.status)
            else:
                error = abs(a - b) / abs(b) if b else float(a != b)
            errors[name] = max(errors[name], error)
    return {name: Checked(error, FORMULA) for name, error in errors.items()}


def _is_lasting(found: Finding) -> bool:
    """Whether every record could be made: memory may only have been short today."""
    return bool(found.networks) and all(
        checked.difference is not None
        for checks in found.checks.values()
        for checked in checks.values()
    )


def _place(key: Mapping[str, Any]) -> Path:
    digest = hashlib.sha256(json.dumps(key, sort_keys=True).encode()).hexdigest()
    return cache_dir() / "self_check" / f"{digest[:32]}.json"


@contextlib.contextmanager
def _lock(file: Path) -> Iterator[None]:
    """One process compares, others wait; where nothing can be written, each does."""
    lock, held = FileLock(f"{file}.lock"), False
    with contextlib.suppress(OSError):
        file.parent.mkdir(parents=True, exist_ok=True)
        lock.acquire()
        held = True
    try:
        yield
    finally:
        if held:
            lock.release()


def _read(file: Path) -> Finding | None:
    try:
        return Finding.from_dict(json.loads(read(file)))
    except (OSError, ValueError, TypeError, KeyError, AttributeError):
        return None  # not there, or cut off


def _write(file: Path, finding: Finding) -> None:
    with contextlib.suppress(OSError):
        write_whole(file, [json.dumps(asdict(finding), indent=1).encode()])
