"""params and flops beside scores of a file, for which nothing has to be run."""

from __future__ import annotations

from typing import TYPE_CHECKING

from zcbench.spaces import Space, load_space
from zcbench.spaces.base import SpaceBase

if TYPE_CHECKING:
    import pandas as pd


def with_sizes(table: pd.DataFrame, space: str | Space) -> pd.DataFrame:
    """The table with params and flops beside it, if it has neither and the space can.

    Args:
        table: from `load_scores`.
        space: what it was read with.
    """
    searched = load_space(space) if isinstance(space, str) else space
    added = ("params", "flops")
    known = table["dataset"].isin(list(searched.tasks)).all()
    there = not {*added}.isdisjoint(table.attrs["proxies"])
    if there or not known or not isinstance(searched, SpaceBase):
        return table
    sizes = [
        searched.size(searched.architecture(index), dataset)
        for index, dataset in zip(table["index"], table["dataset"], strict=True)
    ]
    columns = zip(added, zip(*sizes, strict=True), strict=True)
    wider = table.assign(**{name: list(map(float, sizes)) for name, sizes in columns})
    manifest = table.attrs["manifest"]
    wider.attrs = {
        **table.attrs,
        "proxies": [*table.attrs["proxies"], *added],
        "manifest": {
            **manifest,
            "proxies": {**manifest["proxies"], **dict.fromkeys(added, 1)},
        },
        "notes": [
            *table.attrs["notes"],
            f"{' and '.join(added)}: not in the file, computed from the architectures.",
        ],
    }
    return wider
