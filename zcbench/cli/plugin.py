"""The option that adds plug-in files to a command."""

from __future__ import annotations

from pathlib import Path

import click


def _load(
    context: click.Context,
    parameter: click.Parameter,  # noqa: ARG001 - click passes it
    files: tuple[Path, ...],
) -> None:
    """Run the files before anything else of the command looks for names."""
    if context.resilient_parsing or not files:
        return
    from zcbench.plugins import load_plugins

    load_plugins(files)


plugin_option = click.option(
    "--plugin",
    "plugins",
    type=click.Path(path_type=Path),
    multiple=True,
    metavar="FILE",
    expose_value=False,
    is_eager=True,
    callback=_load,
    help="Python file with proxies, spaces or truths of your own. It is code, and is "
    "run.",
)
