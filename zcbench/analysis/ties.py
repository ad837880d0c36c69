"""How often a proxy gives two architectures the same score."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from zcbench.analysis.block import Block, Column, Options
from zcbench.analysis.rows import PLACE, WHERE, Row, frame, merit, rows_of
from zcbench.analysis.study import Study

TABLE = (*PLACE, "proxy", "n", "tied")


def ties(studies: Sequence[Study], options: Options) -> Block:  # noqa: ARG001
    """Share of the pairs of architectures that a proxy does not tell apart."""
    return Block(
        name="ties",
        title="Ties: pairs of architectures with the same score",
        about="Share of all pairs that have a score.",
        table=frame(rows_of(studies, _rows), TABLE),
        columns=(*WHERE, Column("tied", "tied", "share")),
        conclusion="",
    )


def _rows(study: Study) -> list[Row]:
    rows = []
    for proxy, scores in study.scores.items():
        known = scores[np.isfinite(scores)]
        counts = np.unique(known, return_counts=True)[1]
        pairs = len(known) * (len(known) - 1) / 2
        tied = float((counts * (counts - 1) / 2).sum() / pairs) if pairs else 0.0
        rows.append({"proxy": proxy, "n": len(known), "tied": tied})
    return sorted(rows, key=merit("tied"))
