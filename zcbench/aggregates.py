"""Aggregates: combinations of the ranks that several proxies give.

They work on the table of scores, never on networks, and say where an architecture
stands among the others at hand: with another cohort the same architecture has another
value. No accuracy enters. What is fitted to accuracies is in the report's section
``ensemble``, and cannot be named here. This file does not import torch.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from zcbench.errors import UsageError, unknown
from zcbench.names import split_names

if TYPE_CHECKING:
    from zcbench.stats.ranks import Floats

_ROWS = 512
"""Architectures that are compared with all others at once."""


@dataclass(frozen=True, slots=True)
class Aggregate:
    """A combination of ranks. Higher is better, always.

    Attributes:
        name: as it was asked for: ``"az_nas"``, ``"mean_rank:jacov,nwot"``.
        parts: proxies that it combines.
        combine: their oriented scores [k, n], all finite → [n].
        reference: BibTeX key of the paper.
        version: raised when values change.
        last: why a part is undefined that then ranks last, as in the authors' code.
    """

    name: str
    parts: tuple[str, ...]
    combine: Callable[[Floats], Floats]
    reference: str
    version: int = 1
    last: frozenset[str] = frozenset()

    @property
    def summary(self) -> str:
        """First line of the function's docstring."""
        return (self.combine.__doc__ or "").partition("\n")[0]

    def of(self, scores: Floats) -> Floats:
        """Value of every architecture of a cohort.

        Args:
            scores: of the parts, higher is better, −inf for what ranks last, NaN where
                there is none. [k, n]

        Returns:
            [n]; NaN where a part has no score. Only the others are ranked.
        """
        import numpy as np

        values = np.full(scores.shape[1], np.nan)
        whole = (scores < np.inf).all(axis=0)  # NaN is not
        if whole.any():
            values[whole] = self.combine(scores[:, whole])
        return values


def mean_rank(scores: Floats) -> Floats:
    """Mean of the ranks that the parts give, as a share of the cohort.

    Ties have their mean rank. 1: the best by every part. Scores [k, n] → [n].
    """
    import numpy as np

    return np.asarray(_ranks(scores).mean(axis=0))


def vote(scores: Floats) -> Floats:
    """Share of the others that an architecture beats by a majority of the parts.

    A part votes for the architecture with the higher score, and abstains where both are
    equal; as many votes for as against are half a win. Scores [k, n] → [n].
    """
    import numpy as np

    n = scores.shape[1]
    wins = np.zeros(n)
    for start in range(0, n, _ROWS):
        some, others = scores[:, start : start + _ROWS, None], scores[:, None, :]
        votes = (some > others).sum(axis=0) - (some < others).sum(axis=0)
        wins[start : start + _ROWS] = ((np.sign(votes) + 1) / 2).sum(axis=1)
    return np.asarray((wins - 0.5) / max(1, n - 1))  # less the tie with itself


def log_rank(scores: Floats) -> Floats:
    """Σ over the parts of log(rank / cohort): near the top by all of them.

    Lee & Ham 2024: one bad rank costs more than in a mean. A part of AZ-NAS ranks last
    where a block does nothing or its features are constant, as in its authors' code and
    VKDNW's; there is no rank where another has no score. Scores [k, n] → [n].
    """
    import numpy as np

    return np.asarray(np.log(_ranks(scores)).sum(axis=0))


def _ranks(scores: Floats) -> Floats:
    """Rank of each score in its row as a share of its length, 1 the best, ties mean."""
    import numpy as np
    from scipy.stats import rankdata

    return np.asarray(rankdata(scores, axis=1) / scores.shape[1])


CONSTANT = "the features of a block are constant"
UNCHANGED = "a block hands gradients on unchanged"
"""Why parts of AZ-NAS are undefined where its authors' code has −inf."""
_AZ = frozenset({CONSTANT, UNCHANGED})

AGGREGATES: Mapping[str, Aggregate] = {
    aggregate.name: aggregate
    for aggregate in (
        Aggregate("vote", ("synflow", "jacov", "snip"), vote, "abdelfattah2021zero"),
        Aggregate(
            "mean_rank", ("synflow", "jacov", "nwot"), mean_rank, "borda1781memoire"
        ),
        Aggregate(
            "te_nas", ("ntk_cond", "lin_regions"), mean_rank, "chen2021neural", 2
        ),
        Aggregate(
            "az_nas",
            ("az_expressivity", "az_progressivity", "az_trainability", "flops"),
            log_rank,
            "lee2024aznas",
            2,
            _AZ,
        ),
        Aggregate(
            "vkdnw_agg",
            ("vkdnw", "jacov", "az_expressivity", "az_trainability", "flops"),
            log_rank,
            "tybl2025training",
            2,
            _AZ,
        ),
    )
}
"""Aggregates by name, with the parts that they have unless others are named."""


def parse(text: str) -> Aggregate:
    """Aggregate of a name, or of a name and other parts.

    >>> parse("mean_rank:snip,params").parts
    ('snip', 'params')

    Raises:
        UsageError: there is no such aggregate, or fewer than two parts are named.
    """
    name, colon, rest = text.partition(":")
    if name.strip() not in AGGREGATES:
        raise unknown("aggregate", name.strip(), AGGREGATES)
    aggregate = AGGREGATES[name.strip()]
    if not colon:
        return aggregate
    parts = tuple(dict.fromkeys(split_names(rest)))
    if len(parts) < 2:
        raise UsageError(
            f"The aggregate {text!r} names fewer than two parts.",
            f"Name proxies, such as {aggregate.name}:{','.join(aggregate.parts)}.",
        )
    return replace(aggregate, name=f"{aggregate.name}:{','.join(parts)}", parts=parts)


def check_parts(
    aggregates: Sequence[Aggregate], known: Sequence[str], run: str
) -> None:
    """Make sure that a run has all parts.

    Raises:
        UsageError: it lacks some.
    """
    for aggregate in aggregates:
        absent = [part for part in aggregate.parts if part not in known]
        if absent:
            raise UsageError(
                f"{run} has no scores of {', '.join(absent)}, which {aggregate.name} "
                "combines.",
                f"Add them to the run with --proxies {','.join(aggregate.parts)}, or "
                "name other parts.",
            )
