"""Completion of names in the shell."""

from __future__ import annotations

from collections.abc import Callable, Iterable

import click
from click.shell_completion import CompletionItem

Completer = Callable[[click.Context, click.Parameter, str], list[CompletionItem]]


def _proxies(_: click.Context) -> Iterable[str]:
    from zcbench.proxies import PROXIES, SETS

    return [*SETS, *PROXIES.names()]


def _spaces(_: click.Context) -> Iterable[str]:
    from zcbench.spaces import SPACES

    return SPACES.names()


def _datasets(ctx: click.Context) -> Iterable[str]:
    from zcbench.config import RunConfig
    from zcbench.errors import UsageError
    from zcbench.spaces import load_space

    try:
        space = load_space(ctx.params.get("space") or RunConfig().space)
    except UsageError:
        return []
    return ["all", *space.tasks]


def _completer(names: Callable[[click.Context], Iterable[str]]) -> Completer:
    def complete(
        ctx: click.Context,
        param: click.Parameter,  # noqa: ARG001 - click passes it
        incomplete: str,
    ) -> list[CompletionItem]:
        before, comma, start = incomplete.rpartition(",")
        taken = set(before.split(","))
        return [
            CompletionItem(f"{before}{comma}{name}")
            for name in names(ctx)
            if name.startswith(start) and name not in taken
        ]

    return complete


complete_proxies = _completer(_proxies)
complete_spaces = _completer(_spaces)
complete_datasets = _completer(_datasets)
