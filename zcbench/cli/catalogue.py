"""`zcbench list` and `zcbench show`. Neither imports torch or pandas."""

from __future__ import annotations

import inspect
import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from zcbench.cli.complete import complete_proxies

if TYPE_CHECKING:
    from zcbench.types import Proxy

Row = dict[str, Any]

_plugin_option = click.option(
    "--plugin",
    "plugins",
    type=click.Path(path_type=Path),
    multiple=True,
    metavar="FILE",
    help="Python file with more of them. It is code, and is run.",
)


@click.command("list", short_help="List proxies, spaces, datasets, truths, tasks.")
@click.argument("kind", metavar="proxies|spaces|datasets|truths|tasks")
@click.option("--json", "as_json", is_flag=True, help="JSON instead of a table.")
@_plugin_option
def list_names(kind: str, as_json: bool, plugins: tuple[Path, ...]) -> None:
    """List what zcbench knows.

    \b
    Examples:
      zcbench list proxies
      zcbench list datasets --json
      zcbench list proxies --plugin mine.py
    """  # noqa: D301 - click wants \b itself
    from zcbench.errors import unknown

    if kind not in _KINDS:
        raise unknown("list", kind, _KINDS)
    _load(plugins)
    rows = _KINDS[kind]()
    if as_json:
        click.echo(json.dumps(rows, indent=1, ensure_ascii=False))
    else:
        click.echo(_table(rows))
    _warn_of_broken()


@click.command(short_help="Explain one proxy.")
@click.argument("proxy", shell_complete=complete_proxies)
@_plugin_option
def show(proxy: str, plugins: tuple[Path, ...]) -> None:
    """Explain one proxy: formula, what it needs, where it comes from.

    \b
    Examples:
      zcbench show snip
      zcbench show naswot
    """  # noqa: D301 - click wants \b itself
    from zcbench.proxies import PROXIES

    _load(plugins)
    found = PROXIES.get(proxy)
    lines = [found.name, ""]
    if documentation := inspect.getdoc(found.function):
        lines += [*documentation.splitlines(), ""]
    facts = _facts(found)
    width = max(map(len, facts))
    lines += [f"{label:<{width}}  {value}" for label, value in facts.items()]
    click.echo("\n".join(lines))


def _facts(proxy: Proxy) -> dict[str, str]:
    from zcbench.plan import make_plan

    plan = make_plan([proxy])
    evidence = ", ".join(record.__name__ for record in plan.needs[proxy.name])
    facts = {
        "direction": f"{proxy.direction} is better",
        "evidence": evidence or "none",
        "passes": ", ".join(plan.passes) or "none",
        "images": "do not matter" if proxy.data_independent else "matter",
        "labels": "do not matter" if proxy.label_free else "matter",
        "baseline": "yes" if proxy.baseline else "no",
        "version": str(proxy.version),
        "reference": proxy.reference,
        "source": _source(proxy.function),
    }
    if proxy.aliases:
        facts["aliases"] = ", ".join(proxy.aliases)
    return facts


def _source(function: Callable[..., float]) -> str:
    code = inspect.unwrap(function).__code__
    return f"{code.co_filename}:{code.co_firstlineno}"


def _proxies() -> list[Row]:
    from zcbench.plan import make_plan
    from zcbench.proxies import PROXIES

    rows = []
    for proxy in PROXIES.select("all"):
        passes = make_plan([proxy]).passes
        rows.append(
            {
                "name": proxy.name,
                "baseline": proxy.baseline,
                "direction": proxy.direction,
                "passes": list(passes),
                "version": proxy.version,
                "reference": proxy.reference,
                "summary": proxy.summary,
            }
        )
    return rows


def _spaces() -> list[Row]:
    from zcbench.spaces import SPACES

    return [
        {
            "name": name,
            "architectures": len(space),
            "datasets": list(space.tasks),
            "populations": list(space.populations),
            "summary": (inspect.getdoc(space) or "").partition("\n")[0],
        }
        for name in SPACES.names()
        for space in (SPACES.get(name),)
    ]


def _datasets() -> list[Row]:
    from zcbench.spaces import SPACES

    return [
        {
            "name": task.name,
            "space": name,
            "input": "×".join(map(str, task.input_shape)),
            "classes": task.n_classes,
        }
        for name in SPACES.names()
        for task in SPACES.get(name).tasks.values()
    ]


def _truths() -> list[Row]:
    from zcbench.truth import TRUTHS

    return [
        {"name": name, "space": truth.space, "description": truth.description}
        for name in TRUTHS.names()
        for truth in (TRUTHS.get(name),)
    ]


def _tasks() -> list[Row]:
    """Tasks that can be given to a space with --task."""
    from zcbench.tasks import load_task, task_names

    return [
        {
            "name": name,
            "space": given.space,
            "input": "×".join(map(str, given.task.input_shape)),
            "classes": given.task.n_classes,
        }
        for name in task_names()
        for given in (load_task(name),)
    ]


_KINDS: dict[str, Callable[[], list[Row]]] = {
    "proxies": _proxies,
    "spaces": _spaces,
    "datasets": _datasets,
    "truths": _truths,
    "tasks": _tasks,
}


def _table(rows: Sequence[Row]) -> str:
    """Aligned columns, as wide as they need to be: pipes have no width."""
    if not rows:
        return "none"
    cells = [list(rows[0]), *([_cell(value) for value in row.values()] for row in rows)]
    widths = [max(map(len, column)) for column in zip(*cells, strict=True)]
    return "\n".join(
        "  ".join(
            f"{cell:<{width}}" for cell, width in zip(row, widths, strict=True)
        ).rstrip()
        for row in cells
    )


def _cell(value: object) -> str:
    if isinstance(value, bool):
        return "yes" if value else ""
    if isinstance(value, list):
        return ",".join(value)
    return f"{value:,}" if isinstance(value, int) else str(value)


def _load(plugins: tuple[Path, ...]) -> None:
    from zcbench.plugins import load_plugins

    load_plugins(plugins)


def _warn_of_broken() -> None:
    from zcbench.proxies import PROXIES
    from zcbench.spaces import SPACES

    for line in [*PROXIES.broken, *SPACES.broken]:
        click.echo(f"zcbench: {line}", err=True)
