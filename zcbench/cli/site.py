"""`zcbench site`."""

from __future__ import annotations

from pathlib import Path

import click

from zcbench.cli.options import folder_option, plugin_option


@click.command(short_help="A leaderboard of pages from runs.")
@click.argument(
    "results",
    metavar="RESULTS...",
    nargs=-1,
    required=True,
    type=click.Path(path_type=Path),
)
@folder_option("site")
@plugin_option
def site(results: tuple[Path, ...], output: Path) -> None:
    """Write static pages: the finding, a table of all, a page a proxy and a space.

    RESULTS are run directories, folders that hold some, or JSON reports. A run whose
    accuracies are not at hand gives the report.json beside it, made where they were:
    zcbench report RUN --section correlations,verdict,agreement --format json.

    \b
    Examples:
      zcbench site runs/first runs/second
      zcbench site results -o public
    """  # noqa: D301 - click's mark for "do not wrap"
    from zcbench.cli.catalogue import describe
    from zcbench.cli.progress import steps
    from zcbench.errors import UsageError, visible
    from zcbench.files import make_folder, write
    from zcbench.report.site import collect, pages

    def facts_of(proxy: str) -> tuple[str, dict[str, str]]:
        try:
            _, definition, facts = describe(proxy)
        except UsageError:  # a plug-in that is not at hand
            return "It is not known to this zcbench.", {}
        return definition, {k: v for k, v in facts.items() if k != "source"}

    reports, left_out = collect(results, lambda total: steps(total, "run"))
    for line in left_out:
        click.echo(visible(line), err=True)
    made = pages(reports, facts_of)
    for address, text in made.items():
        path = output / address
        make_folder(path.parent)
        write(visible(text, lines=True), path)
    click.echo(output / "index.html")
