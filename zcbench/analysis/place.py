"""Where a row of a section belongs: the columns that all their tables share."""

from __future__ import annotations

from collections.abc import Sequence

from zcbench.analysis.study import Study

PLACE = ("run", "space", "dataset", "target", "population", "where")
"""What a row is about; ``where`` is how it is printed."""


def place(study: Study, studies: Sequence[Study]) -> dict[str, str]:
    """The columns `PLACE` of the rows of a dataset.

    Args:
        study: the dataset.
        studies: all of the report: with several runs, each is named.
    """
    section = study.section
    several = len({s.section.run for s in studies}) > 1
    return {
        "run": section.run,
        "space": section.space,
        "dataset": section.dataset,
        "target": section.target,
        "population": section.population,
        "where": section.dataset + (f" · {section.run}" if several else ""),
    }
