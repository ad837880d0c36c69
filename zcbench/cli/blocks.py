"""Commands that analyse one dataset of a run: what they ask, and what they write."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click

from zcbench.cli.plugin import plugin_option
from zcbench.errors import UsageError

if TYPE_CHECKING:
    from zcbench.report import Block, Study
    from zcbench.report.figures.drawing import Drawing

F = TypeVar("F", bound=Callable[..., Any])
FORMATS = ("text", "md", "csv", "json", "html")


def names(
    context: click.Context, parameter: click.Parameter, value: str
) -> tuple[str, ...]:
    """Callback of an option that takes names between commas; at least one."""
    del context
    found = tuple(dict.fromkeys(n.strip() for n in value.split(",") if n.strip()))
    if not found:
        raise click.BadParameter("No name is given.", param=parameter)
    return found


def names_option(name: str, default: str, text: str) -> Callable[[F], F]:
    """An option that takes names between commas."""
    return click.option(
        name,
        metavar="NAMES",
        default=default,
        show_default=True,
        callback=names,
        help=text,
    )


def count_option(name: str, least: int, default: int, text: str) -> Callable[[F], F]:
    """An option that takes a whole number."""
    return click.option(
        name,
        type=click.IntRange(min=least),
        default=default,
        show_default=True,
        metavar="N",
        help=text,
    )


_DATASET = click.option(
    "--dataset", metavar="NAME", help="One of RUN's.  [default: the only one it has]"
)
_OPTIONS = (
    click.option(
        "--target", metavar="NAME", help="Accuracy.  [default: that of the run]"
    ),
    click.option(
        "--truth",
        metavar="SOURCE",
        help="Ground truth: auto, a name or a path.  [default: that of the run]",
    ),
    click.option(
        "--population",
        metavar="NAME",
        help="These architectures only.  [default: those it sampled from]",
    ),
    count_option("--seed", 0, 0, "Of the trials."),
    click.option(
        "--format",
        "format_name",
        type=click.Choice(FORMATS),
        default="text",
        show_default=True,
        help="How to write the tables; html: with a picture.",
    ),
    click.option(
        "-o",
        "--output",
        type=click.Path(path_type=Path, dir_okay=False),
        metavar="FILE",
        help="Write there, whole or not at all, instead of to stdout.",
    ),
)


def study_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """Options that say which dataset, which accuracy, and where the result goes."""
    for option in reversed((_DATASET, *_OPTIONS, plugin_option)):
        command = option(command)
    return command


def study_of(
    path: Path,
    dataset: str | None,
    target: str | None,
    truth: str | None,
    population: str | None,
) -> Study:
    """The dataset of a run that is asked for, joined with its accuracies.

    Raises:
        UsageError: the run has no such dataset, or several and none is named.
    """
    from zcbench.errors import unknown
    from zcbench.report import studies
    from zcbench.store import load_run

    table = load_run(path)
    there = list(dict.fromkeys(table["dataset"]))
    if dataset is None:
        if len(there) > 1:
            raise UsageError(
                f"{path} has {len(there)} datasets: {', '.join(there)}.",
                "Name one with --dataset.",
            )
        dataset = there[0]
    if dataset not in there:
        raise unknown("dataset of this run", dataset, there)
    kept = table[table["dataset"] == dataset]
    kept.attrs = table.attrs
    study = studies([kept], target, truth, population)[0]
    if study.note:
        click.echo(study.note, err=True)
    return study


def heads(study: Study) -> list[str]:
    """Lines that say what was analysed."""
    from zcbench.analysis.words import setting, title

    return [title(study), setting(study)]


def one_thread() -> None:
    """Keep OpenMP and BLAS to one thread, unless the user says otherwise.

    Matrices here have some hundred rows: threads would mostly wait.
    """
    if "OMP_NUM_THREADS" not in os.environ:
        for name in ("OMP", "OPENBLAS", "MKL"):
            os.environ.setdefault(f"{name}_NUM_THREADS", "1")


def bar(total: int, unit: str) -> Callable[[object], Any]:
    """A progress bar on a terminal, nothing elsewhere."""
    from tqdm import tqdm

    shown = tqdm(total=total, unit=unit, disable=None, leave=False)
    return lambda _: shown.update()


def emit(
    blocks: Sequence[Block],
    heads: Sequence[str],
    facts: Mapping[str, Any],
    format_name: str,
    output: Path | None,
    pictures: Sequence[Drawing] = (),
) -> None:
    """Write sections to stdout or into a file.

    Args:
        blocks: the sections; a CSV holds just one.
        heads: lines that say what they are about.
        facts: what JSON says of them.
        format_name: one of `FORMATS`.
        output: the file; None for stdout.
        pictures: what HTML shows above them.

    Raises:
        UsageError: a CSV is asked for, of several sections.
        DataError: the file cannot be written.
    """
    from zcbench.report import write

    if format_name == "html":
        from zcbench.report.html import render_blocks

        text = render_blocks(f"zcbench {facts['command']}", heads, blocks, pictures)
    else:
        text = _WRITERS[format_name](blocks, heads, facts)
    if output is None:
        click.echo(text, nl=False)
    else:
        write(text, output)


def _text(blocks: Sequence[Block], heads: Sequence[str], _: Mapping[str, Any]) -> str:
    from zcbench.report.text import text_of

    head = "".join(f"{line}\n" for line in heads)
    return "\n".join([head, *map(text_of, blocks)])


def _markdown(
    blocks: Sequence[Block], heads: Sequence[str], _: Mapping[str, Any]
) -> str:
    from zcbench.report.markup import escape_markdown, markdown_of

    head = "".join(f"- {escape_markdown(line)}\n" for line in heads)
    return "\n".join([head, *map(markdown_of, blocks)])


def _csv(blocks: Sequence[Block], _: Sequence[str], __: Mapping[str, Any]) -> str:
    if len(blocks) > 1:
        raise UsageError(
            f"A CSV holds one table, and {len(blocks)} are asked for.",
            "Ask for less, or choose --format json.",
        )
    text: str = blocks[0].table.to_csv(
        index=False, float_format="%.6g", lineterminator="\n"
    )
    return text


def _json(blocks: Sequence[Block], _: Sequence[str], facts: Mapping[str, Any]) -> str:
    import zcbench
    from zcbench.report.machine import SCHEMA, strict

    whole: dict[str, Any] = {"schema": SCHEMA, "zcbench": zcbench.__version__, **facts}
    whole["conclusions"] = {block.name: block.conclusion for block in blocks}
    whole |= {block.name: block.table.to_dict("records") for block in blocks}
    return json.dumps(strict(whole), indent=1, ensure_ascii=False) + "\n"


_WRITERS: Mapping[
    str, Callable[[Sequence[Block], Sequence[str], Mapping[str, Any]], str]
] = {"text": _text, "md": _markdown, "csv": _csv, "json": _json}
