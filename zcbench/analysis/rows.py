"""What the rows of tables have in common: columns that belong together, and order."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, TypeVar

from zcbench.analysis.study import Study, place

R = TypeVar("R", bound=Mapping[str, Any])


def with_ends(*names: str, note: bool = False) -> tuple[str, ...]:
    """Columns of numbers with an interval each, and a note of their own if asked for.

    >>> with_ends("gain", note=True)
    ('gain', 'gain_low', 'gain_high', 'gain_note')
    """
    ends = ("", "_low", "_high", *(["_note"] if note else []))
    return tuple(f"{name}{end}" for name in names for end in ends)


def numbers(
    name: str, value: float, low: float, high: float, note: str | None = None
) -> dict[str, Any]:
    """The cells of such a column.

    Args:
        name: the column.
        value: the number.
        low: lower end of its interval; NaN without one.
        high: upper end.
        note: why something is missing; None if the column has no notes.
    """
    found: dict[str, Any] = {name: value, f"{name}_low": low, f"{name}_high": high}
    return found if note is None else found | {f"{name}_note": note}


def merit(
    name: str, sign: int = -1
) -> Callable[[Mapping[str, Any]], tuple[bool, float, str]]:
    """To sort rows by: the highest first, then by proxy; those without a number last.

    Args:
        name: of the column.
        sign: 1 where the lowest is to be first.
    """
    return lambda row: (math.isnan(row[name]), sign * row[name], row["proxy"])


def by_dataset(
    rows: Sequence[R], studies: Sequence[Study]
) -> Iterator[tuple[Study, str, list[R]]]:
    """Each dataset, how tables name it, and its rows.

    Args:
        rows: with the columns of `place`.
        studies: the datasets.
    """
    for study in studies:
        here = place(study, studies)
        keys = here["run"], here["dataset"]
        yield (
            study,
            here["where"],
            [row for row in rows if (row["run"], row["dataset"]) == keys],
        )
