"""`zcbench check`: does a proxy, a space or a truth of your own behave?"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from pathlib import Path
from typing import TYPE_CHECKING

import click

if TYPE_CHECKING:
    from zcbench.conformance.proxies import Finding


@click.command()
@click.argument("file", type=click.Path(path_type=Path))
@click.option("--quick", is_flag=True, help="Leave out the NAS-Bench-201 networks.")
@click.option(
    "--timeout",
    type=click.FloatRange(0, min_open=True),
    default=600.0,
    metavar="SECONDS",
    help="Longest that a network, or a check of a space or truth, may take.",
)
def check(file: Path, quick: bool, timeout: float) -> None:
    """Check what FILE adds: proxies, spaces, truths. It is code: it can do anything.

    Each proxy must have a docstring and a reference, ask for evidence by its
    annotations, give finite numbers (or say undefined), the same ones every time,
    whatever other proxies run, and leave those alone. Each space must name its
    architectures without doubt, and build networks whose weights depend on seed, repeat
    and name alone. Each truth must give tables of the architectures of its space. Exit
    code 1 if one does not, also by ending the process that it is checked in. ?? marks
    what only you can know, such as the key of a paper.

    \b
    Examples:
      zcbench check my_proxies.py
      zcbench check my_proxies.py --quick --timeout 10
      zcbench check my_space.py
      zcbench check my_truth.py
    """  # noqa: D301 - click wants \b itself
    from zcbench.engine.job import load_guests
    from zcbench.errors import UsageError
    from zcbench.plugins import REGISTRIES

    before = {kind: {*registry.names()} for kind, registry in REGISTRIES.items()}
    load_guests((file,), timeout)
    added = [
        (kind, name)
        for kind, registry in REGISTRIES.items()
        for name in registry.names()
        if name not in before[kind]
    ]
    if not added:
        raise UsageError(
            f"{file} registers no proxy, no space and no truth.",
            "See `zcbench new proxy NAME` for how it is done.",
        )
    failed = sum(
        _print(name, _checked(file, kind, name, quick, timeout)) for kind, name in added
    )
    if failed:
        click.echo(f"zcbench: {failed} checks failed", err=True)
        raise SystemExit(1)


def _checked(
    file: Path, kind: str, name: str, quick: bool, timeout: float
) -> Iterable[Finding]:
    """Findings on one thing, from another process, which it may end."""
    from zcbench.conformance.proxies import Finding
    from zcbench.engine.apart import Death, call_apart

    found = call_apart(_findings, file, kind, name, quick, limit=timeout)
    if isinstance(found, Death):
        return [Finding("process", False, f"the {kind} {found}")]
    findings: list[Finding] = found
    return findings


def _findings(
    file: Path, kind: str, name: str, quick: bool, *, begin: Callable[[], object]
) -> list[Finding]:
    from zcbench.conformance.proxies import check_proxy
    from zcbench.conformance.spaces import check_space
    from zcbench.conformance.truths import check_truth
    from zcbench.engine.process import start_worker
    from zcbench.plugins import REGISTRIES, load_plugins

    start_worker(threads=1)
    load_plugins([file])
    added = REGISTRIES[kind].get(name)
    if kind == "proxy":
        return check_proxy(added, nb201=not quick, begin=begin)
    if kind == "space":
        return check_space(added, begin=begin)
    return list(check_truth(added))


def _print(name: str, findings: Iterable[Finding]) -> int:
    """Print the findings of one thing; returns how many are bad."""
    click.echo(name)
    failed = 0
    for finding in findings:
        word = ("??  " if finding.doubtful else "ok  ") if finding.ok else "FAIL"
        click.echo(f"  {word}  {finding.check:<22}{finding.detail}")
        failed += not finding.ok
    return failed
