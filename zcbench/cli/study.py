"""Commands that analyse one dataset of a run: what they ask, and what they write."""

from __future__ import annotations

import functools
import hashlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from zcbench.cli.options import (
    accuracy_options,
    count_option,
    format_option,
    one_thread,
    output_option,
    plugin_option,
)
from zcbench.errors import InterruptedRunError, UsageError, unknown, visible

if TYPE_CHECKING:
    from zcbench.report import Block, Document, Gallery, Study
    from zcbench.store.parts import Parts

_OPTIONS: Sequence[Callable[..., Callable[..., None]]] = (
    click.argument("run", metavar="RUN", type=click.Path(path_type=Path)),
    click.option(
        "--dataset",
        metavar="NAME",
        help="One of RUN's.  [default: the only one it has]",
    ),
    accuracy_options,
    plugin_option,
    count_option("--seed", 0, 0, "Of the trials.", None),
    click.option(
        "--out",
        "kept",
        type=click.Path(path_type=Path),
        metavar="DIR",
        help="Keep every finished part there; run again, only what is missing is done.",
    ),
    format_option("text", "md", "csv", "json", "html"),
    output_option,
)


def of_study(command: Callable[..., Document]) -> Callable[..., None]:
    """A command about one dataset of a run, with the options that choose it.

    It is given its work and its own options; what it returns is written.
    """

    @functools.wraps(command)
    def whole(
        run: Path,
        dataset: str | None,
        target: str | None,
        truth: str | None,
        population: str | None,
        format_name: str,
        output: Path | None,
        kept: Path | None,
        **options: Any,
    ) -> None:
        one_thread()
        from zcbench.report import emit

        study = _study(run, dataset, (target, truth, population))
        try:
            made = command(Work(study, format_name, kept), **options)
        except KeyboardInterrupt:
            raise _stopped(kept) from None
        emit(made, format_name, output)

    decorated: Callable[..., None] = whole
    for option in reversed(_OPTIONS):
        decorated = option(decorated)
    return decorated


@dataclass(frozen=True, slots=True, eq=False)
class Work:
    """What is asked of a command.

    Attributes:
        study: what it is about.
        format_name: how it will be written.
        kept: folder of finished parts; None if they are not kept.
    """

    study: Study
    format_name: str
    kept: Path | None

    def parts(self, setting: Mapping[str, Any]) -> Parts:
        """Where parts are kept that depend on this setting, and on the study."""
        import zcbench
        from zcbench.store.parts import Parts

        scores = {name: values.tobytes() for name, values in self.study.scores.items()}
        data = self.study.archs, self.study.accuracy.tobytes(), scores
        about = {
            "zcbench": zcbench.__version__,
            **{k: v for k, v in self.study.about().items() if k != "run"},
            "data": hashlib.sha256(repr(data).encode()).hexdigest(),
            "seconds": self.study.seconds,
        }
        return Parts(self.kept, {**about, **setting})


def _stopped(kept: Path | None) -> InterruptedRunError:
    if kept is None:
        return InterruptedRunError(
            "Interrupted.", "With --out DIR it can be gone on with."
        )
    return InterruptedRunError(
        f"Interrupted: what was finished is kept in {visible(str(kept))}.",
        "Go on with the same command.",
    )


def _study(
    path: Path,
    dataset: str | None,
    accuracies: tuple[str | None, str | None, str | None],
) -> Study:
    """The dataset of a run that is asked for, joined with its accuracies.

    Raises:
        UsageError: the run has no such dataset, or several and none is named.
    """
    from zcbench.analysis.join import studies
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
    study = studies([kept], *accuracies)[0]
    for note in [*table.attrs.get("notes", ()), *study.note.splitlines()]:
        click.echo(visible(note), err=True)
    return study


def document(
    command: str,
    study: Study,
    blocks: Sequence[Block],
    facts: Mapping[str, Any],
    galleries: Callable[[], Sequence[Gallery]],
) -> Document:
    """What a command says of one dataset.

    Args:
        command: its name.
        study: the dataset.
        blocks: the tables.
        facts: what JSON says of them, beside the dataset and their conclusions.
        galleries: draws the figures of a page.
    """
    import zcbench
    from zcbench.analysis.block import conclusions
    from zcbench.analysis.report import heads
    from zcbench.report import Document

    about = {"command": command, "run": study.run, "section": study.about()}
    told = {"conclusions": conclusions(blocks)}
    return Document(
        blocks,
        {"zcbench": zcbench.__version__, **about, **facts, **told},
        title=f"zcbench {command}",
        heads=heads(study),
        galleries=galleries,
    )
