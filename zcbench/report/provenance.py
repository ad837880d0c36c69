"""What a run was, in words: what one needs to do it again."""

from __future__ import annotations

import shlex
from collections.abc import Mapping, Sequence
from typing import Any

from zcbench.analysis.study import Study
from zcbench.store.device_check import disagreements


def command(config: Mapping[str, Any]) -> str:
    """The command that makes a run, every option written out.

    >>> command({"space": "nb201", "datasets": ["cifar10"], "n": 100, "archs": None})
    'zcbench run --space nb201 --datasets cifar10 --n 100'
    """
    from zcbench.config import option_name

    words = ["zcbench", "run"]
    for key, value in config.items():
        if value is None or value == []:
            continue
        text = ",".join(map(str, value)) if isinstance(value, list) else str(value)
        words += [f"--{option_name(key)}", text]
    return shlex.join(words)


def facts(manifest: Mapping[str, Any]) -> list[tuple[str, str]]:
    """(what, words) of a run: command, when, where, with which versions.

    Args:
        manifest: that of the run, of which anything may be missing.
    """
    config = manifest.get("config", {})
    found = [("Command", command(config) if manifest.get("zcbench") else "")]
    found += [("Made", _made(manifest)), ("Machine", _machine(manifest))]
    found.append(("Versions", _versions(manifest)))
    found += [("Device check", words) for words in device_checks(manifest)]
    for again in manifest.get("resumed", []):
        parts = (_made(again), _machine(again), _versions(again))
        found.append(("Resumed", "; ".join(filter(None, parts))))
    return [(what, words) for what, words in found if words]


def sources(studies: Sequence[Study]) -> list[tuple[str, str]]:
    """(what, words) of the datasets of a run: sample, truth, minibatch.

    What is the same for all datasets is told once.
    """
    found: list[tuple[str, str]] = []
    by_dataset = [(study.dataset, _source(study)) for study in studies]
    for what in ("Sample", "Truth", "Minibatch"):
        words = dict.fromkeys(parts[what] for _, parts in by_dataset)
        if len(words) == 1:
            found.append((what, next(iter(words))))
        else:
            found += [(f"{what}, {name}", parts[what]) for name, parts in by_dataset]
    return found


def device_checks(manifest: Mapping[str, Any]) -> list[str]:
    """What the checks of the device have found, a line each."""
    lines: list[str] = []
    for found in manifest.get("device_check", []):
        lines += disagreements(found) or [
            f"{found['about']['device']} agrees with the CPU in float64 in "
            f"{found['about']['precision']} on {len(found['networks'])} networks of "
            f"{found['about']['space']} {found['about']['dataset']}"
        ]
    return list(dict.fromkeys(lines))


def _source(study: Study) -> dict[str, str]:
    digests = {
        "Sample": study.sample_digest,
        "Truth": study.truth_digest,
        "Minibatch": study.minibatch_digest,
    }
    release = f", {study.release}" if study.release else ""
    kind = {"all": "all", "sample": "sample of", "list": "list of"}[study.sampled]
    words = {
        "Sample": f"{kind} {study.architectures:,} architectures, population "
        f"{study.population}, repeats {study.repeats}"
        f"{_known('seed', study.seed)}",
        "Truth": f"{study.target} of {study.truth}{release}",
        "Minibatch": f"{study.images}{_known('batch size', study.batch_size)}",
    }
    return {
        what: text + (f" (sha256 {digests[what]})" if digests[what] else "")
        for what, text in words.items()
    }


def _known(what: str, value: int | None) -> str:
    """, seed 0; or nothing, as of scores that others have published."""
    return "" if value is None else f", {what} {value}"


def _made(manifest: Mapping[str, Any]) -> str:
    parts = [str(manifest.get("created") or "")]
    if manifest.get("zcbench"):
        parts.append(f"zcbench {manifest['zcbench']}")
    if manifest.get("git"):
        parts.append(f"commit {manifest['git']}")
    return ", ".join(filter(None, parts))


def _machine(manifest: Mapping[str, Any]) -> str:
    device = manifest.get("device") or {}
    parts = [device.get("name") or device.get("kind"), manifest.get("platform")]
    return ", ".join(str(part) for part in parts if part)


def _versions(manifest: Mapping[str, Any]) -> str:
    versions = manifest.get("versions") or {}
    return ", ".join(f"{name} {v}" for name, v in versions.items() if v)
