"""`zcbench new`: a file to start a plug-in from."""

from __future__ import annotations

import keyword
import re
from importlib.resources import files
from pathlib import Path

import click

from zcbench.errors import UsageError

KINDS = ("proxy", "space", "truth")
_FILES = {"proxy": (".py",), "space": (".py", ".csv"), "truth": (".py",)}
_NEXT = {
    "proxy": "zcbench run --space toy --plugin {0}.py --proxies {0},params",
    "space": "zcbench run --plugin {0}.py --space {0} --truth {0}.csv --n all",
    "truth": "zcbench run --plugin {0}.py --space toy --truth {0}",
}


@click.command(short_help="Write a plug-in to start from.")
@click.argument("kind", type=click.Choice(KINDS))
@click.argument("name")
def new(kind: str, name: str) -> None:
    """Write NAME.py, a proxy, space or truth that passes `zcbench check` as it is.

    A space comes with NAME.csv, made-up accuracies of its architectures. Nothing that
    exists is written over.

    \b
    Examples:
      zcbench new proxy my_proxy
      zcbench new space my_space
      zcbench new truth my_truth
    """  # noqa: D301 - click wants \b itself
    if not re.fullmatch(r"[a-z][a-z0-9_]*", name) or keyword.iskeyword(name):
        raise UsageError(
            f"{name!r} cannot be a name.",
            "Take small letters, digits and _, a letter first, and no Python keyword.",
        )
    _check_free(kind, name)
    written = []
    for ending in _FILES[kind]:
        path = Path(f"{name}{ending}")
        text = (files("zcbench") / "templates" / f"{kind}{ending}.txt").read_text(
            "utf-8"
        )
        try:
            with path.open("x", encoding="utf-8", newline="\n") as stream:
                stream.write(text.replace("NAME", name))
        except OSError as error:
            raise UsageError(f"{path} cannot be written: {error.strerror}.") from None
        written.append(str(path))
    click.echo(f"zcbench: wrote {' and '.join(written)}; next:", err=True)
    click.echo(f"zcbench check {name}.py")
    click.echo(_NEXT[kind].format(name))


def _check_free(kind: str, name: str) -> None:
    from zcbench.plugins import REGISTRIES
    from zcbench.proxies import SETS

    if name in REGISTRIES[kind].names() or (kind == "proxy" and name in SETS):
        raise UsageError(f"There is a {kind} called {name}.", "Take another name.")
    for path in (Path(f"{name}{ending}") for ending in _FILES[kind]):
        if path.exists():
            raise UsageError(
                f"{path} exists and is left as it is.", "Take another name."
            )
