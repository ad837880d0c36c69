"""`zcbench check`: does a proxy, a space or a truth of your own behave?"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

if TYPE_CHECKING:
    from zcbench.conformance.proxies import Finding


@click.command()
@click.argument("file", type=click.Path(path_type=Path))
@click.option("--quick", is_flag=True, help="Leave out the NAS-Bench-201 networks.")
def check(file: Path, quick: bool) -> None:
    """Check what FILE adds: proxies, spaces, truths. It is code: it can do anything.

    Each proxy must have a docstring and a reference, ask for evidence by its
    annotations, give finite numbers (or say undefined), the same ones every time,
    whatever other proxies run, and leave those alone. Each space must name its
    architectures without doubt, and build networks whose weights depend on seed, repeat
    and name alone. Each truth must give tables of the architectures of its space. Exit
    code 1 if one does not.

    \b
    Examples:
      zcbench check my_proxies.py
      zcbench check my_proxies.py --quick
      zcbench check my_space.py
      zcbench check my_truth.py
    """  # noqa: D301 - click wants \b itself
    failed = sum(_print(name, findings) for name, findings in _checked(file, quick))
    if failed:
        click.echo(f"zcbench: {failed} checks failed", err=True)
        raise SystemExit(1)


def _checked(file: Path, quick: bool) -> list[tuple[str, Iterable[Finding]]]:
    """Each thing that a file registers, with its findings.

    Raises:
        UsageError: it registers nothing.
    """
    from zcbench.conformance.proxies import check_proxy
    from zcbench.conformance.spaces import check_space
    from zcbench.conformance.truths import check_truth
    from zcbench.errors import UsageError
    from zcbench.plugins import load_plugins
    from zcbench.proxies import PROXIES
    from zcbench.spaces import SPACES
    from zcbench.truth import TRUTHS

    checks: tuple[tuple[Any, Callable[..., Iterable[Finding]]], ...] = (
        (PROXIES, partial(check_proxy, nb201=not quick)),
        (SPACES, check_space),
        (TRUTHS, check_truth),
    )
    before = [set(registry.names()) for registry, _ in checks]
    load_plugins([file])
    added = [
        (name, of(registry.get(name)))
        for (registry, of), there in zip(checks, before, strict=True)
        for name in registry.names()
        if name not in there
    ]
    if not added:
        raise UsageError(
            f"{file} registers no proxy, no space and no truth.",
            "See `zcbench new proxy NAME` for how it is done.",
        )
    return added


def _print(name: str, findings: Iterable[Finding]) -> int:
    """Print the findings of one thing; returns how many are bad."""
    click.echo(name)
    failed = 0
    for finding in findings:
        word = "ok  " if finding.ok else "FAIL"
        click.echo(f"  {word}  {finding.check:<22}{finding.detail}")
        failed += not finding.ok
    return failed
