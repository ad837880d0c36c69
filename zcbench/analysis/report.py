"""A whole report: what the formats write."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass, replace

import pandas as pd

from zcbench.aggregates import Aggregate
from zcbench.analysis import CHOICES, TABLE, analyse
from zcbench.analysis.block import FEW, Block, Options, setting, title
from zcbench.analysis.correlations import printed, tabulate
from zcbench.analysis.join import studies
from zcbench.analysis.study import Study
from zcbench.analysis.verdict import AHEAD, CLEARLY, verdict
from zcbench.errors import UsageError, unknown


@dataclass(frozen=True, slots=True, eq=False)
class Report:
    """What is known of some runs.

    Attributes:
        studies: each dataset of each run, joined with its accuracies.
        table: correlations of every proxy, as `correlations` gives them.
        verdict: every proxy against the best baseline; always there.
        blocks: the sections that were asked for, in reading order.
        shows_table: whether the table of correlations was.
        options: what the reader has chosen.
    """

    studies: Sequence[Study]
    table: pd.DataFrame
    verdict: Block
    blocks: Sequence[Block]
    shows_table: bool
    options: Options

    @property
    def tables(self) -> list[Block]:
        """The correlations of each dataset, whether or not they were asked for."""
        return printed(self.studies, self.table, self.verdict, self.options)

    @property
    def conclusion(self) -> str:
        """The verdict over all datasets; empty where there is one."""
        return self.verdict.conclusion if len(self.studies) > 1 else ""

    @property
    def heads(self) -> list[str]:
        """What it is about, a title and a setting for each dataset."""
        return [line for study in self.studies for line in heads(study)]


def make_report(
    runs: Sequence[pd.DataFrame],
    target: str | None = None,
    truth: str | None = None,
    population: str | None = None,
    *,
    sections: Sequence[str] = (TABLE,),
    options: Options | None = None,
    aggregates: Sequence[Aggregate] = (),
) -> Report:
    """Analyse some runs.

    Args:
        runs: tables from `load_run`.
        target: ``"val"`` or ``"test"``; None for what each run was made for.
        truth: ``"auto"``, a name or a path; None for what each run was made with.
        population: architectures to speak of; None for those the run sampled from.
        sections: which of `CHOICES`, or ``"all"``.
        options: what the reader may choose; None for the defaults.
        aggregates: combinations of ranks, from `zcbench.aggregates.parse`.

    Raises:
        DataError: there is no such target or truth, or it knows no architecture.
        UsageError: a run says nothing about that population, lacks a part of an
            aggregate, or there is no such section.
    """
    choose(sections)
    joined = studies(runs, target, truth, population, aggregates)
    return report_of(joined, runs, sections=sections, options=options)


def report_of(
    joined: Sequence[Study],
    runs: Sequence[pd.DataFrame],
    *,
    sections: Sequence[str] = (TABLE,),
    options: Options | None = None,
) -> Report:
    """The same of what is joined with its accuracies already.

    Args:
        joined: each dataset of each run.
        runs: what they come from.
        sections: as of `make_report`.
        options: likewise.
    """
    chosen = choose(sections)
    options = options or Options()
    made = (analyse(name, joined, options) for name in chosen if name != TABLE)
    baselines = {name for study in joined for name in study.baselines}
    return Report(
        studies=joined,
        table=tabulate(joined, runs, confidence=options.confidence),
        verdict=verdict(joined, options),
        blocks=[styled(block, baselines) for block in made],
        shows_table=TABLE in chosen,
        options=options,
    )


def heads(study: Study) -> tuple[str, str]:
    """Two lines that say what was analysed, and how it was made."""
    return title(study), f"  {setting(study)}"


def styled(block: Block, baselines: Collection[str]) -> Block:
    """A section whose rows are marked as those of the correlations are."""
    return replace(
        block,
        about=_explained(block),
        styles=tuple(
            "ahead"
            if row.get("word") in (CLEARLY, AHEAD)
            else "baseline"
            if row.get("proxy") in baselines
            else ""
            for row in block.records()
        ),
    )


def _explained(block: Block) -> str:
    """How to read it, with the mark of too few scores where a row has it."""
    marked = any(row.get("few") is True for row in block.records())
    return " ".join(filter(None, (block.about, f"{FEW}." if marked else "")))


def choose(sections: Sequence[str]) -> tuple[str, ...]:
    """Names of sections in reading order, each once.

    Raises:
        UsageError: there is no such section, or none is named.
    """
    if not sections:
        raise UsageError("No section is named.", "Name some, or all.")
    for name in sections:
        if name not in (*CHOICES, "all"):
            raise unknown("section", name, (*CHOICES, "all"))
    return tuple(n for n in CHOICES if n in sections or "all" in sections)
