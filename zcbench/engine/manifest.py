"""The manifest: what a run was, and whether another one can go on with it."""

from __future__ import annotations

import datetime
import hashlib
import math
import platform
import subprocess
from collections.abc import Iterable, Mapping
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import TYPE_CHECKING, Any

import zcbench
from zcbench.config import option_name
from zcbench.errors import UsageError
from zcbench.spaces.base import Unlisted
from zcbench.store import ONESHOT, SCHEMA

if TYPE_CHECKING:
    from zcbench.engine.job import Job

Manifest = dict[str, Any]

_PACKAGES = ("torch", "numpy", "scipy", "pandas")
_MUST_MATCH = (
    "space",
    "population",
    "seed",
    "batch_size",
    "input_size",
    "threads",
    "precision",
    "stack",
)
_BEFORE = {"precision": "float32", "stack": 1, "input_size": "auto"}
"""What runs did before these were options."""


def describe(job: Job) -> Manifest:
    """Manifest of a new run."""
    config = job.config
    return {
        "schema": SCHEMA,
        "zcbench": zcbench.__version__,
        "created": datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
        "config": config.kept()
        | {
            "datasets": list(job.datasets),
            "proxies": [proxy.name for proxy in job.proxies],
            "archs": "archs.txt" if config.archs else None,
            "device": job.device,
            "stack": job.stack,
        },
        "proxies": {proxy.name: proxy.version for proxy in job.proxies},
        "traits": {proxy.name: proxy.traits for proxy in job.proxies},
        "architectures": len(job.every_arch),
        "architectures_of": {
            name: len(archs)
            for name, archs in job.archs.items()
            if isinstance(job.space, Unlisted)
        },
        "plugins": _plugin_digests(job),
        "tasks": {given.task.name: given.as_dict() for given in job.tasks},
        "minibatch": dict(job.minibatches),
        "truth": {name: _plain(attrs) for name, attrs in job.truths.items()},
        "versions": {
            "python": platform.python_version(),
            **{name: _version(name) for name in _PACKAGES},
        },
        "device": {"kind": _kind(job.device), "name": _device_name(job.device)},
        "platform": platform.platform(),
        "git": _commit(),
    }


def changed_proxies(old: Manifest, new: Manifest) -> list[str]:
    """Proxies whose scores in the directory come from other code than now."""
    return [
        name
        for name in new["proxies"]
        if name in old["proxies"]
        and (
            old["proxies"][name] != new["proxies"][name]
            or old.get("plugins", {}).get(name) != new["plugins"].get(name)
        )
    ]


def check_same(path: Path, old: Manifest, new: Manifest) -> None:
    """Make sure that scores of both runs can stand side by side.

    Raises:
        UsageError: something that scores depend on differs; the message says what.
    """
    there, here = {**_BEFORE, **old["config"]}, new["config"]
    differing, fix = [], []
    for key in _MUST_MATCH:
        if key == "population" and here["archs"]:
            continue
        if there.get(key) != here[key]:
            differing.append(
                f"{option_name(key)} is {there.get(key)} there, {here[key]} here"
            )
            fix.append(f"--{option_name(key)} {there.get(key)}")
    kinds = old.get("device", {}).get("kind"), new["device"]["kind"]
    if kinds[0] != kinds[1]:
        differing.append(f"device is {kinds[0]} there, {kinds[1]} here")
        fix.append(f"--device {kinds[0]}")
    if bool(there.get("archs")) != bool(here["archs"]):
        has = "a list of architectures", "a random sample"
        first, second = has if there.get("archs") else reversed(has)
        differing.append(f"it holds {first}, this run asks for {second}")
    if (
        there.get("seed") == here["seed"]
        and there.get("batch_size") == here["batch_size"]
    ):
        images = old.get("minibatch", {}), new["minibatch"]
        differing += _minibatch_differences(*images)
    if differing:
        use = f"Use {' '.join(fix)}, or give" if fix else "Give"
        raise UsageError(
            f"{path} is a run of another configuration: {'; '.join(differing)}.",
            f"{use} another --out.",
        )


def merged(old: Manifest, new: Manifest, *, worked: bool) -> Manifest:
    """Manifest of a directory that a second run goes on with.

    Args:
        old: what is there.
        new: of the second run.
        worked: whether it has anything to do; else no machine and no number of workers
            of its own stands behind a score.
    """
    there, here = old["config"], new["config"]
    larger = max((new, old), key=_sample_size)
    config = {
        **here,
        "datasets": _union(there.get("datasets", ()), here["datasets"]),
        "proxies": _union(there.get("proxies", ()), here["proxies"]),
        "plugin": _union(there.get("plugin", ()), here["plugin"]),
        "task": _union(there.get("task", ()), here["task"]),
        "n": larger["config"].get("n"),
        "repeats": max(there.get("repeats", 1), here["repeats"]),
        "workers": here["workers"] if worked else there.get("workers"),
    }
    parts = [*("proxies", "traits", "plugins", "tasks", "minibatch", "truth")]
    parts += ["architectures_of"]
    earlier = {key: old.get(key) for key in ("created", "zcbench", "versions")}
    earlier |= {key: old.get(key) for key in ("device", "platform", "git")}
    this = {key: new[key] for key in earlier}
    checks = old.get("device_check", [])
    history = old.get("resumed", [])
    latest = history[-1] if history else earlier
    if worked and {**latest, "created": ""} != {**this, "created": ""}:
        history = [*history, this]  # other versions or another machine: keep a trace
    return {
        **new,
        **earlier,
        "config": config,
        "architectures": larger.get("architectures"),
        **{part: {**old.get(part, {}), **new[part]} for part in parts},
        **({ONESHOT: old[ONESHOT]} if ONESHOT in old else {}),
        **({"device_check": checks} if checks else {}),
        **({"resumed": history} if history else {}),
    }


def _sample_size(manifest: Manifest) -> float:
    n = manifest["config"].get("n", 0)
    return math.inf if n == "all" else n


def _minibatch_differences(
    old: Mapping[str, Any], new: Mapping[str, Any]
) -> Iterable[str]:
    for dataset in new:
        if dataset not in old or old[dataset] == new[dataset]:
            continue
        there, here = old[dataset].get("name"), new[dataset]["name"]
        if there == here:
            yield f"the {here} images of {dataset} are not the same"
        else:
            yield f"minibatch of {dataset} is {there} there, {here} here"


def _union(first: Iterable[str], second: Iterable[str]) -> list[str]:
    return list(dict.fromkeys([*first, *second]))


def _plugin_digests(job: Job) -> dict[str, str]:
    """For each proxy from a file, the sha256 of that file."""
    digests = {}
    for proxy in job.proxies:
        source = Path(proxy.origin)
        if proxy.is_guest and source.is_file():
            digests[proxy.name] = hashlib.sha256(source.read_bytes()).hexdigest()
    return digests


def _plain(attrs: Mapping[str, Any]) -> dict[str, Any]:
    """Attributes that JSON can hold; others as text."""
    simple = (str, int, float, bool, type(None), list)
    return {k: v if isinstance(v, simple) else str(v) for k, v in attrs.items()}


def _kind(device: str) -> str:
    return device.partition(":")[0]


def _device_name(device: str) -> str:
    if _kind(device) == "cuda":
        import torch

        return str(torch.cuda.get_device_name(device))
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        lines = []
    names = (line.partition(":")[2] for line in lines if line.startswith("model name"))
    return next(names, platform.processor()).strip()


def _version(package: str) -> str | None:
    try:
        return version(package)
    except PackageNotFoundError:
        return None


def _commit() -> str | None:
    """Commit of zcbench's sources, where they are a git checkout."""
    command = ["git", "rev-parse", "HEAD"]
    try:
        head = subprocess.run(  # noqa: S603 - fixed words
            command,
            cwd=Path(__file__).parent,
            capture_output=True,
            text=True,
            timeout=5,
            check=True,
        )
    except (OSError, subprocess.SubprocessError):
        return None
    return head.stdout.strip() or None
