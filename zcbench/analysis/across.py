"""Over all datasets: mean ranks, wins and losses, and tests that count spaces."""

from __future__ import annotations

import math
import warnings
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from itertools import compress
from typing import Any

import numpy as np
from numpy.typing import NDArray

from zcbench.analysis.block import (
    SCORED,
    Block,
    Column,
    Options,
    interval,
    number,
    p_value,
    percent,
)
from zcbench.analysis.comparisons import by_space
from zcbench.analysis.rows import frame, mixture, tables, with_ends
from zcbench.analysis.study import Study
from zcbench.stats import holm, linear_bootstrap
from zcbench.stats.ranks import Floats
from zcbench.stats.tasks import (
    Unit,
    critical_difference,
    fewest_units,
    friedman,
    interval_over_units,
    leads,
    ranks,
    signed_rank,
)

TABLE = (
    *("proxy", "baseline", "datasets", "spaces", "n"),
    *with_ends("mean_rank"),
    *("mean_rank_ordered", "wins", "losses", "silent"),
    *with_ends("lead"),
    *("lead_ordered", "p", "p_holm", "critical_difference", "note"),
)
"""Columns of the table; ``lead`` is the mean Δρ to the best baseline."""


@dataclass(frozen=True, slots=True, eq=False)
class Field:
    """The proxies that can be ranked against each other.

    Attributes:
        names: of them. [k]
        baselines: which of them are baselines.
        points: for each dataset, the architectures that all score who can score there.
        orders: for each dataset, who orders its architectures. [t, k]
        left_out: proxy → why it is not ranked.
    """

    names: tuple[str, ...]
    baselines: tuple[int, ...]
    points: tuple[NDArray[np.bool_], ...]
    orders: NDArray[np.bool_]
    left_out: Mapping[str, str]


def tasks(studies: Sequence[Study], options: Options) -> Block:
    """Mean ranks over datasets, with tests whose unit is the space."""
    field = _field(studies)
    rows, conclusion = [], "No two proxies can be ranked here."
    if len(field.names) > 1:
        units = _units(studies, field, options)
        rows = _rows(studies, field, units, options)
        conclusion = _conclusion(studies, rows, units, options)
    for name, note in field.left_out.items():
        rows.append({"proxy": name, "baseline": False, "note": note})
    return Block(
        name="tasks",
        title="Tasks: mean rank over the datasets",
        about=_about(studies, options),
        table=frame(rows, TABLE),
        columns=(
            Column("proxy", "proxy", "text"),
            Column("n", "n", "count"),
            Column("mean_rank", "mean rank ↓", "interval"),
            Column("mean_rank_ordered", "ordered", "number"),
            Column("wins", "wins", "count"),
            Column("losses", "losses", "count"),
            Column("silent", "no order", "count"),
            Column("lead", "mean Δρ ↑", "difference"),
            Column("lead_ordered", "ordered", "signed"),
            Column("p_holm", "p (Wilcoxon)", "p"),
        ),
        conclusion=conclusion,
    )


def _about(studies: Sequence[Study], options: Options) -> str:
    few = fewest_units(options.confidence)
    return (
        "Ranks of ρ among all proxies, 1 the best, over the architectures that all "
        "of them score. A proxy without an order of a dataset, constant there or "
        f"with scores for fewer than {percent(SCORED)} of it, counts as ρ 0, which "
        "is chance; columns named ordered leave those out (ranks among "
        "those that order them, stretched to all). Wins and losses: datasets on "
        "which ρ is above or below the best baseline's; Δρ: mean distance to it. "
        "Datasets of one space share their architectures and count as one unit, "
        "also in the "
        f"{percent(options.confidence)} intervals (Student's t over spaces with "
        "moderated variances; of one space, its architectures are resampled); "
        f"Wilcoxon's p, corrected by Holm, needs {few} units."
        f"{mixture(studies)}"
    )


def _field(studies: Sequence[Study]) -> Field:
    """Who can be ranked: those who were run on every dataset and order one of them."""
    every = dict.fromkeys(name for study in studies for name in study.scores)
    run = [name for name in every if all(name in study.scores for study in studies)]
    orders = np.array([_orders(study, run) for study in studies], dtype=np.bool_)
    some = np.asarray(orders.any(axis=0))
    left_out = {name: "not on every dataset" for name in every if name not in run}
    for name in compress(run, ~some):
        left_out[name] = "orders no dataset"
    names = tuple(compress(run, some))
    baselines = {name for study in studies for name in study.baselines}
    return Field(
        names=names,
        baselines=tuple(i for i, name in enumerate(names) if name in baselines),
        points=tuple(
            _shared(study, list(compress(run, here)))
            for study, here in zip(studies, orders, strict=True)
        ),
        orders=orders[:, some],
        left_out=left_out,
    )


def _orders(study: Study, names: Sequence[str]) -> list[bool]:
    """Who orders a dataset: with scores on enough of it that are not all equal."""
    enough = [n for n in names if study.n_scored(n) and not study.is_thin(n)]
    points = _shared(study, enough)
    return [
        name in enough
        and not math.isnan(study.association(name, "spearman", points).value)
        for name in names
    ]


def _shared(study: Study, names: Sequence[str]) -> NDArray[np.bool_]:
    """Architectures of a dataset that have an accuracy and all these scores."""
    shared = study.known
    for name in names:
        shared = shared & np.isfinite(study.scores[name])
    return shared


def _units(studies: Sequence[Study], field: Field, options: Options) -> list[Unit]:
    """The correlations of each space, and how they move with its architectures."""
    units = []
    spaces = by_space(studies)
    for rows in spaces.values():
        orders = field.orders[list(rows.places)]
        values = np.zeros(orders.shape)  # no order: as good as chance
        columns = np.zeros((rows.size, *orders.shape), np.float32)
        for task, position in enumerate(rows.places):
            points = field.points[position]
            for k in np.flatnonzero(orders[task]).tolist():
                rho = studies[position].association(field.names[k], "spearman", points)
                values[task, k] = rho.value
                moved = rows.scattered(position, points, rho.influence / rho.n)
                columns[:, task, k] = moved
        deviations = np.empty((0, *orders.shape))
        if len(spaces) == 1:
            rng = np.random.default_rng([options.seed, 0])
            flat = columns.reshape(rows.size, -1)
            moved = linear_bootstrap(flat, options.resamples, rng)
            deviations = moved.reshape(-1, *orders.shape)
        units.append(Unit(values=values, orders=orders, deviations=deviations))
    return units


def _rows(
    studies: Sequence[Study], field: Field, units: Sequence[Unit], options: Options
) -> list[dict[str, Any]]:
    """A row for each ranked proxy, best mean rank first."""
    names, many = field.names, len(units)
    numbers = _mean_ranks(field, units, options) | _leads(field, units, options)
    about = {
        "datasets": len(studies),
        "spaces": many,
        "n": min(int(points.sum()) for points in field.points),
        "critical_difference": critical_difference(
            len(names), many, options.confidence
        ),
    }
    note = (
        f"{many} space{'s' if many > 1 else ''}" if field.baselines else "no baseline"
    )
    rows = []
    for i in np.lexsort((np.array(names), numbers["mean_rank"])).tolist():
        baseline = i in field.baselines
        row = {"proxy": names[i], "baseline": baseline, **about}
        row |= {"note": "baseline" if baseline else note}
        row["silent"] = int((~field.orders[:, i]).sum())
        rows.append(row | {key: float(values[i]) for key, values in numbers.items()})
    return rows


def _mean_ranks(
    field: Field, units: Sequence[Unit], options: Options
) -> dict[str, Floats]:
    by_unit = np.stack([ranks(unit.values).mean(axis=0) for unit in units])

    def resampled(unit: Unit) -> Floats:
        return np.asarray(ranks(unit.resampled).mean(axis=1))

    low, high = np.clip(_ends(by_unit, resampled, units, options), 1, len(field.names))
    return {
        "mean_rank": by_unit.mean(axis=0),
        "mean_rank_low": low,
        "mean_rank_high": high,
        "mean_rank_ordered": _where_ordered([_ranks_ordered(u) for u in units]),
    }


def _leads(field: Field, units: Sequence[Unit], options: Options) -> dict[str, Floats]:
    """Wins, losses and mean Δρ against the best baseline; NaN without one."""
    keys = ("wins", "losses", "lead", "lead_low", "lead_high", "p", "p_holm")
    if not field.baselines:
        empty = np.full(len(field.names), np.nan)
        return dict.fromkeys((*keys, "lead_ordered"), empty)
    by_task = [leads(unit.values, field.baselines) for unit in units]
    whole = np.concatenate(by_task)
    by_unit = np.stack([part.mean(axis=0) for part in by_task])
    low, high = _ends(
        by_unit,
        lambda unit: leads(unit.resampled, field.baselines).mean(axis=1),
        units,
        options,
        pool=[i for i in range(len(field.names)) if i not in field.baselines],
    )
    p = np.array([signed_rank(d, options.confidence) for d in by_unit.T])
    p[list(field.baselines)] = np.nan
    wins, losses = (whole > 0).sum(axis=0), (whole < 0).sum(axis=0)
    values = (wins, losses, by_unit.mean(axis=0), low, high, p, holm(p))
    ordered = [
        np.where(unit.orders, part, np.nan)
        for unit, part in zip(units, by_task, strict=True)
    ]
    return dict(zip(keys, values, strict=True)) | {
        "lead_ordered": _where_ordered(ordered)
    }


def _ranks_ordered(unit: Unit) -> Floats:
    """Ranks among those who order a task, as places from 1 to k; NaN for others."""
    k = unit.values.shape[1]
    every = np.full(unit.values.shape, np.nan)
    for row, values, orders in zip(every, unit.values, unit.orders, strict=True):
        if orders.sum() > 1:
            places = ranks(values[orders]) - 1
            row[orders] = 1 + places * (k - 1) / (orders.sum() - 1)
    return every


def _where_ordered(by_task: Sequence[Floats]) -> Floats:
    """Mean over units of the mean over the tasks that a score orders, [k]."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)  # a mean of nothing is NaN
        by_unit = np.stack([np.nanmean(values, axis=0) for values in by_task])
        return np.asarray(np.nanmean(by_unit, axis=0))


def _ends(
    by_unit: Floats,
    resampled: Callable[[Unit], Floats],
    units: Sequence[Unit],
    options: Options,
    pool: Sequence[int] | None = None,
) -> tuple[Floats, Floats]:
    """Interval of the mean over units; of one unit, over its architectures."""
    if len(units) > 1:
        pool = range(by_unit.shape[1]) if pool is None else pool
        return interval_over_units(by_unit, pool, options.confidence)
    tail = (1 - options.confidence) / 2
    low, high = np.quantile(resampled(units[0]), [tail, 1 - tail], axis=0)
    return low, high


def _conclusion(
    studies: Sequence[Study],
    rows: Sequence[dict[str, Any]],
    units: Sequence[Unit],
    options: Options,
) -> str:
    first, many, k = rows[0], len(units), len(rows)
    ends = interval(first["mean_rank_low"], first["mean_rank_high"])
    text = (
        f"Best mean rank of {k} over {tables(studies)}: {first['proxy']} "
        f"{number(first['mean_rank'])} {ends}."
    )
    if many == 1:
        return (
            f"{text} One space counts as one unit: Friedman's and Nemenyi's tests need "
            "several spaces and are not given, and the intervals speak of other "
            "architectures of this space, not of other spaces."
        )
    by_unit = np.stack([ranks(ranks(unit.values).mean(axis=0) * -1) for unit in units])
    rng = np.random.default_rng([options.seed, many, 2])
    test = friedman(by_unit, options.resamples, rng)
    return (
        f"{text} Friedman over {many} spaces: χ² {test.statistic:.1f}, p "
        f"{p_value(test.p)} by permutation. Nemenyi: mean ranks further apart than "
        f"{first['critical_difference']:.1f} differ at {percent(options.confidence)}."
    )
