"""`zcbench check`: does a proxy of your own behave?"""

from __future__ import annotations

from pathlib import Path

import click


@click.command()
@click.argument("file", type=click.Path(path_type=Path))
@click.option("--quick", is_flag=True, help="Leave out the NAS-Bench-201 networks.")
def check(file: Path, quick: bool) -> None:
    """Check the proxies of FILE, a Python file. It is code: it can do anything.

    Each proxy must have a docstring and a reference, ask for evidence by its
    annotations, give finite numbers (or say undefined), the same ones every time,
    whatever other proxies run, and leave those alone. Exit code 1 if one does not.

    \b
    Examples:
      zcbench check my_proxies.py
      zcbench check my_proxies.py --quick
    """  # noqa: D301 - click wants \b itself
    from zcbench.errors import UsageError
    from zcbench.plugins import load_plugins
    from zcbench.proxies import PROXIES
    from zcbench.testing import check_proxy

    before = set(PROXIES.names())
    load_plugins([file])
    names = [name for name in PROXIES.names() if name not in before]
    if not names:
        raise UsageError(
            f"{file} registers no proxy.",
            "Decorate a function with @zcbench.proxy(reference=...).",
        )
    failed = 0
    for name in names:
        click.echo(name)
        for finding in check_proxy(PROXIES.get(name), nb201=not quick):
            word = "ok  " if finding.ok else "FAIL"
            click.echo(f"  {word}  {finding.check:<22}{finding.detail}")
            failed += not finding.ok
    if failed:
        click.echo(f"zcbench: {failed} checks failed", err=True)
        raise SystemExit(1)
