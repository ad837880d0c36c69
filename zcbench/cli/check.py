"""`zcbench check`: does a proxy, a space or a truth of your own behave?"""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING

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
    from zcbench.conformance.proxies import check_proxy
    from zcbench.conformance.spaces import check_space
    from zcbench.conformance.truths import check_truth
    from zcbench.errors import UsageError
    from zcbench.plugins import load_plugins
    from zcbench.proxies import PROXIES
    from zcbench.spaces import SPACES
    from zcbench.truth import TRUTHS

    before = {*PROXIES.names()}, {*SPACES.names()}, {*TRUTHS.names()}
    load_plugins([file])
    proxies = [name for name in PROXIES.names() if name not in before[0]]
    spaces = [name for name in SPACES.names() if name not in before[1]]
    truths = [name for name in TRUTHS.names() if name not in before[2]]
    if not proxies and not spaces and not truths:
        raise UsageError(
            f"{file} registers no proxy, no space and no truth.",
            "See `zcbench new proxy NAME` for how it is done.",
        )
    failed = 0
    for name in proxies:
        failed += _print(name, check_proxy(PROXIES.get(name), nb201=not quick))
    for name in spaces:
        failed += _print(name, check_space(SPACES.get(name)))
    for name in truths:
        failed += _print(name, check_truth(TRUTHS.get(name)))
    if failed:
        click.echo(f"zcbench: {failed} checks failed", err=True)
        raise SystemExit(1)


def _print(name: str, findings: Iterable[Finding]) -> int:
    """Print the findings of one thing; returns how many are bad."""
    click.echo(name)
    failed = 0
    for finding in findings:
        word = "ok  " if finding.ok else "FAIL"
        click.echo(f"  {word}  {finding.check:<22}{finding.detail}")
        failed += not finding.ok
    return failed
