"""`zcbench list` and `zcbench show`. Neither imports torch or pandas."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

import click

from zcbench.cli.options import complete_proxies, plugin_option

if TYPE_CHECKING:
    from zcbench.aggregates import Aggregate
    from zcbench.types import Proxy, Task

Row = dict[str, Any]


@click.command("list", short_help="List proxies, spaces, datasets, truths, tasks.")
@click.argument("kind", metavar="proxies|spaces|datasets|truths|tasks")
@click.option("--json", "as_json", is_flag=True, help="JSON instead of a table.")
@plugin_option
def list_names(kind: str, as_json: bool) -> None:
    """List what zcbench knows.

    \b
    Examples:
      zcbench list proxies
      zcbench list datasets --json
      zcbench list proxies --plugin mine.py
    """  # noqa: D301 - click wants \b itself
    from zcbench.analysis.block import Column, Listing
    from zcbench.errors import unknown
    from zcbench.report import Document, emit

    if kind not in _KINDS:
        raise unknown("list", kind, _KINDS)
    rows = _KINDS[kind]()
    keys = rows[0] if rows else ()
    columns = tuple(Column(key, key, "text", _words(key)) for key in keys)
    listing = Listing(kind, "", "", rows, columns, "", ruled=False)
    emit(Document([listing], None), "json" if as_json else "text")
    _warn_of_broken()


@click.command(short_help="Explain one proxy.")
@click.argument("proxy", shell_complete=complete_proxies)
@plugin_option
def show(proxy: str) -> None:
    """Explain one proxy: formula, what it needs, where it comes from.

    \b
    Examples:
      zcbench show snip
      zcbench show naswot
    """  # noqa: D301 - click wants \b itself
    from zcbench.report import fitted

    name, text, facts = describe(proxy)
    width = max(map(len, facts))
    lines = [name, "", *([text, ""] if text else [])]
    lines += [f"{label:<{width}}  {value}" for label, value in facts.items()]
    click.echo(fitted("\n".join(lines)))


def describe(proxy: str) -> tuple[str, str, dict[str, str]]:
    """Name, definition and facts of a proxy or a combination.

    Raises:
        UsageError: there is no such proxy.
    """
    from zcbench.aggregates import AGGREGATES
    from zcbench.proxies import PROXIES

    if proxy in AGGREGATES:
        combined = AGGREGATES[proxy]
        definition = inspect.getdoc(combined.combine) or ""
        return combined.name, definition, _aggregate(combined)
    one = PROXIES.get(proxy)
    return one.name, inspect.getdoc(one.function) or "", _facts(one)


def _aggregate(aggregate: Aggregate) -> dict[str, str]:
    return {
        "parts": ", ".join(aggregate.parts),
        "use": f"zcbench report RUN --aggregate {aggregate.name}",
        "cohort": "its value depends on which other architectures are there",
        "direction": "higher is better",
        "version": str(aggregate.version),
        "reference": aggregate.reference,
    }


def _facts(proxy: Proxy) -> dict[str, str]:
    from zcbench.plan import cost_class, make_plan

    plan = make_plan([proxy])
    evidence = ", ".join(record.__name__ for record in plan.needs[proxy.name])
    facts = {
        "direction": f"{proxy.direction} is better",
        "evidence": evidence or "none",
        "passes": ", ".join(plan.passes) or "none",
        "cost": cost_class(proxy) + ("" if proxy.in_all else ", not among all"),
        "images": "do not matter" if proxy.data_independent else "matter",
        "labels": "do not matter" if proxy.label_free else "matter",
        "baseline": "yes" if proxy.baseline else "no",
        "version": str(proxy.version),
        "reference": proxy.reference,
        "source": _source(proxy.function),
    }
    if proxy.settings:
        facts["parameters"] = ", ".join(proxy.settings)
    if proxy.aliases:
        facts["aliases"] = ", ".join(proxy.aliases)
    return facts


def _source(function: Callable[..., float]) -> str:
    code = inspect.unwrap(function).__code__
    return f"{code.co_filename}:{code.co_firstlineno}"


def _proxies() -> list[Row]:
    from zcbench.aggregates import AGGREGATES
    from zcbench.proxies import PROXIES

    return [
        *map(_row, PROXIES.select(PROXIES.names())),
        *map(_row_of_parts, AGGREGATES.values()),
    ]


def _row(proxy: Proxy) -> Row:
    from zcbench.plan import cost_class, make_plan

    return {
        "name": proxy.name,
        "kind": "baseline" if proxy.baseline else "proxy",
        "cost": cost_class(proxy),
        "reads": proxy.reads,
        "baseline": proxy.baseline,
        "direction": proxy.direction,
        "passes": list(make_plan([proxy]).passes),
        "parameters": proxy.settings,
        "version": proxy.version,
        "reference": proxy.reference,
        "summary": proxy.summary,
    }


def _row_of_parts(aggregate: Aggregate) -> Row:
    from zcbench.plan import make_plan
    from zcbench.proxies import PROXIES

    return {
        "name": aggregate.name,
        "kind": "aggregate",
        "cost": "its parts'",
        "reads": "ranks",
        "baseline": False,
        "direction": "higher",
        "passes": list(make_plan(PROXIES.select(aggregate.parts)).passes),
        "parameters": [],
        "version": aggregate.version,
        "reference": aggregate.reference,
        "summary": f"Of {', '.join(aggregate.parts)}. {aggregate.summary}",
    }


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
        _row_of_task(task, name)
        for name in SPACES.names()
        for task in SPACES.get(name).tasks.values()
    ]


def _row_of_task(task: Task, space: str) -> Row:
    return {
        "name": task.name,
        "space": space,
        "input": "×".join(map(str, task.input_shape)),
        "classes": task.n_classes,
    }


def _truths() -> list[Row]:
    from zcbench.truth import TRUTHS

    return [
        {"name": name, "space": truth.space, "description": truth.description}
        for name in TRUTHS.names()
        for truth in (TRUTHS.get(name),)
    ]


def _tasks() -> list[Row]:
    """Tasks that can be given to a space with --task."""
    from zcbench.spaces import SPACES
    from zcbench.tasks import load_task, task_names

    return [
        _row_of_task(given.task, space)
        for name in task_names()
        for space in SPACES.names()
        if (given := load_task(name, space)).space == space
    ]


_KINDS: dict[str, Callable[[], list[Row]]] = {
    "proxies": _proxies,
    "spaces": _spaces,
    "datasets": _datasets,
    "truths": _truths,
    "tasks": _tasks,
}


def _words(key: str) -> Callable[[Mapping[str, Any]], str]:
    """How the cells of a column read."""

    def words(row: Mapping[str, Any]) -> str:
        value = row[key]
        if isinstance(value, bool):
            return "yes" if value else ""
        if isinstance(value, list):
            return ",".join(value)
        return f"{value:,}" if isinstance(value, int) else str(value)

    return words


def _warn_of_broken() -> None:
    from zcbench.plugins import REGISTRIES

    REGISTRIES["truth"].names()  # loads what is installed
    for registry in REGISTRIES.values():
        for line in registry.broken:
            click.echo(f"zcbench: {line}", err=True)
