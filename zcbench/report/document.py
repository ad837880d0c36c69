"""What a command prints, in any format."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

import zcbench
from zcbench.analysis.block import Block, conclusions

if TYPE_CHECKING:
    from zcbench.analysis.report import Report
    from zcbench.analysis.study import Study
    from zcbench.report.figures.drawing import Drawing

Facts = Sequence[tuple[str, str]]
"""(what, words) of something."""


@dataclass(frozen=True, slots=True, eq=False)
class Gallery:
    """Figures of one kind, in a page.

    Attributes:
        name: of the kind.
        title: what stands above them.
        about: how to read them.
        figures: (the dataset that one is about, its panels).
    """

    name: str
    title: str
    about: str
    figures: Sequence[tuple[str, Sequence[Drawing]]]


@dataclass(frozen=True, slots=True, eq=False)
class Document:
    """What a command prints.

    Attributes:
        blocks: the tables, in reading order.
        facts: what JSON says beside the tables; None: it is the rows of the only one.
        title: of a page.
        heads: lines that say what the blocks are about, where those do not.
        conclusion: what holds over all blocks; empty where each has its own.
        notes: lines for the user, no part of the data: how files were read.
        subjects: in a page, (what was analysed, how it was made).
        leads: in a page, (dataset, its conclusion).
        setting: in a page, how numbers were made.
        galleries: draws the figures of a page.
        fewer: how to ask for one table.
    """

    blocks: Sequence[Block]
    facts: Mapping[str, Any] | None
    title: str = "zcbench"
    heads: Sequence[str] = ()
    conclusion: str = ""
    notes: Sequence[str] = ()
    subjects: Sequence[tuple[str, Facts]] = ()
    leads: Sequence[tuple[str, str]] = ()
    setting: str = ""
    galleries: Callable[[], Sequence[Gallery]] = tuple
    fewer: str = "Ask for less"

    @property
    def parts(self) -> Iterator[Block | str]:
        """Blocks, and below those that share a foot the conclusion and that foot."""
        for block, after in itertools.pairwise([*self.blocks, None]):
            if block is None:
                continue
            yield block
            if block.foot and (after is None or after.foot != block.foot):
                yield from filter(None, (self.conclusion, block.foot))


def document_of(report: Report) -> Document:
    """A whole report; its JSON always holds the correlations and the verdict."""
    from zcbench.analysis.correlations import tidy
    from zcbench.report.provenance import facts, sources

    tables, options = report.tables, report.options
    held = {block.name: block for block in (report.verdict, *report.blocks)}
    return Document(
        blocks=[*(tables if report.shows_table else ()), *report.blocks],
        facts={"zcbench": zcbench.__version__}
        | tidy(report.table)
        | {"options": asdict(options)}
        | {"conclusions": conclusions(list(held.values()))}
        | {report.verdict.name: report.verdict.records()},
        title="zcbench report",
        heads=() if report.shows_table else report.heads,
        conclusion=report.conclusion,
        notes=report.table.attrs["notes"],
        subjects=[
            (run["path"], facts(run) + sources(_studies(report, run["path"])))
            for run in report.table.attrs["runs"]
        ],
        leads=[(block.where, block.conclusion) for block in tables],
        setting=f"Statistics: {100 * options.confidence:g}% confidence, clearly above "
        f"{options.clearly}, {options.resamples:,} resamples, seed {options.seed}.",
        galleries=lambda: _galleries(report),
        fewer="Name one --section",
    )


def _studies(report: Report, run: str) -> list[Study]:
    return [s for s in report.studies if s.run == run]


def _galleries(report: Report) -> list[Gallery]:
    """Every kind that the report has figures of."""
    from zcbench.report.figures import KINDS

    found = []
    for name, kind in KINDS.items():
        figures = [(figure.where, figure.panels) for figure in kind.draw(report)]
        if figures:
            found.append(Gallery(name, kind.title, kind.about, figures))
    return found
