"""What simulated searches found, as sections of a report."""

from __future__ import annotations

import math
from collections.abc import Mapping

import numpy as np
import pandas as pd

from zcbench.analysis.block import Block, Column, percent
from zcbench.analysis.predict.section import CONFIDENCE, mean_of
from zcbench.analysis.rows import Row, numbers, with_ends
from zcbench.analysis.search.pool import SearchPool, Setting, Trace, Variant
from zcbench.analysis.search.simulate import PARENTS, ROUND
from zcbench.stats.ranks import Floats

POINTS = 40
"""Moments of a curve."""
_KEY = ("method", "aid", "proxy")
_VARIANT = tuple(Column(key, key, "text") for key in _KEY)


def searches(
    pool: SearchPool,
    setting: Setting,
    traces: Mapping[Variant, Trace],
) -> Block:
    """Regret of each variant, how it compares with the method alone, and its cost.

    Args:
        pool: what was searched.
        setting: how.
        traces: what came of each variant.
    """
    half = min(max(ROUND, setting.evaluations // 4), setting.evaluations)
    budget = common_hours(traces)
    rows = _rows(pool, traces, {"early": half, "end": setting.evaluations}, budget)
    return Block(
        name="search",
        title="What simulated searches find, and what proxies save them",
        about=_about(pool, setting, budget),
        table=pd.DataFrame(rows),
        columns=(
            *_VARIANT,
            Column("regret_early", f"regret of {half} ↓", "interval"),
            Column("regret_end", f"of {setting.evaluations:,} ↓", "interval"),
            Column("regret_time", f"in {_cost(budget, pool)} ↓", "interval"),
            Column("change", "Δ from alone", "difference"),
            Column("speedup", "× faster", "number"),
            Column("hours", pool.unit, "number"),
        ),
        conclusion=_conclusion(pool, traces, rows, budget),
    )


def _rows(
    pool: SearchPool,
    traces: Mapping[Variant, Trace],
    counts: Mapping[str, int],
    budget: float,
) -> list[Row]:
    """One for each variant: regret after some trainings, and after a time."""
    in_time = {
        variant: regret_at(pool, trace, np.array([budget]))[:, 0]
        for variant, trace in traces.items()
    }
    rows = []
    for variant, trace in traces.items():
        row = _names(variant) | {"trials": len(trace.best)}
        regret = pool.accuracy.max() - trace.best
        for name, count in counts.items():
            row |= numbers(f"regret_{name}", mean_of(regret[:, count - 1]))
        row |= numbers("regret_time", mean_of(in_time[variant]))
        row["hours"] = float(trace.hours[:, -1].mean())
        row |= dict.fromkeys((*with_ends("change"), "speedup"), math.nan)
        alone = Variant(variant.method)
        if alone in traces and variant != alone:
            change = in_time[variant] - in_time[alone]
            row |= numbers("change", mean_of(change))
            row["speedup"] = speedup(pool, trace, traces[alone])
        rows.append(row)
    return rows


def curves(
    pool: SearchPool,
    traces: Mapping[Variant, Trace],
) -> Block:
    """Mean regret against cost, at moments that all trials have in common.

    Args:
        pool: what was searched.
        traces: what came of each variant.
    """
    rows: list[Row] = []
    for variant, trace in traces.items():
        first, last = trace.hours[:, 0].max(), trace.hours[:, -1].min()
        moments = np.geomspace(first, max(last, first), POINTS)
        moments[0], moments[-1] = first, max(last, first)
        regret = regret_at(pool, trace, moments)
        for moment, values in zip(moments.tolist(), regret.T, strict=True):
            row = _names(variant) | {"label": variant.label, "hours": moment}
            rows.append(row | numbers("regret", mean_of(values)))
    return Block(
        name="curves",
        title="Regret against time",
        about=f"Mean over trials, in {pool.unit}, {percent(CONFIDENCE)} intervals.",
        table=pd.DataFrame(rows),
        columns=(
            *_VARIANT,
            Column("hours", pool.unit, "number"),
            Column("regret", "regret ↓", "interval"),
        ),
        conclusion="",
    )


def common_hours(traces: Mapping[Variant, Trace]) -> float:
    """The latest moment that no trial of any variant has finished before."""
    return float(min(trace.hours[:, -1].min() for trace in traces.values()))


def regret_at(pool: SearchPool, trace: Trace, moments: Floats) -> Floats:
    """Regret of what was found by some moments, [trials, moments].

    Before the first training is done, an architecture at random stands for the find.

    Args:
        pool: what was searched.
        trace: of one variant.
        moments: in the unit of the pool.
    """
    done = np.array(
        [np.searchsorted(row, moments, side="right") for row in trace.hours]
    )
    best = np.take_along_axis(trace.best, np.maximum(done - 1, 0), axis=1)
    best = np.where(done > 0, best, pool.accuracy.mean())
    return np.asarray(pool.accuracy.max() - best)


def speedup(pool: SearchPool, trace: Trace, alone: Trace) -> float:
    """How much sooner the mean regret is at what the method alone has in the end.

    Cost of the method alone over cost with the aid, both until the mean regret is first
    at most that of the method alone at its end; NaN if the aid never gets there.

    Args:
        pool: what was searched.
        trace: with the aid.
        alone: without.
    """
    end = float(alone.hours[:, -1].min())
    moments = np.linspace(0, end, 2001)[1:]
    mean = regret_at(pool, alone, moments).mean(axis=0)
    goal = mean[-1]
    before = moments[np.argmax(mean <= goal)]
    aided = regret_at(pool, trace, moments).mean(axis=0) <= goal
    return float(before / moments[np.argmax(aided)]) if aided.any() else math.nan


def _names(variant: Variant) -> Row:
    return dict(zip(_KEY, (variant.method, variant.aid, _by(variant)), strict=True))


def _by(variant: Variant) -> str:
    few = 4
    names = variant.proxies
    return ", ".join(names) if len(names) < few else f"all {len(names)}"


def _cost(cost: float, pool: SearchPool) -> str:
    unit = "h" if pool.unit == "GPU-hours" else pool.unit
    return f"{cost:,.3g} {unit}" if cost < 1000 else f"{cost:,.0f} {unit}"


def _about(pool: SearchPool, setting: Setting, budget: float) -> str:
    costs = (
        "Time: the benchmark's training time, plus the measured time of every score "
        "that is asked for, on the machine of the run"
        if pool.unit == "GPU-hours"
        else "The truth knows no training times: a training counts as 1, a score as 0"
    )
    steps = (
        "A mutation changes one place"
        if pool.changes == 1
        else f"A mutation leads to a nearest architecture among these, up to "
        f"{pool.changes} places away"
    )
    return (
        f"{setting.trials:,} searches of each kind among {len(pool):,} architectures, "
        f"{setting.evaluations:,} trainings each. A search sees the accuracy of one "
        f"training seed. Regret: {pool.measure}, mean over training seeds, that "
        "its best find lacks on the best architecture. "
        f"{costs}. Δ: against the same method without aid after {_cost(budget, pool)}, "
        "trial by trial; × faster: to the regret that the method alone has in the "
        f"end. Warm-up: the best {ROUND} of {setting.warmup:,} at random; filter: the "
        f"best of {setting.candidates}. Evolution: population {ROUND}, parents the "
        f"best of {PARENTS}. {steps}. {percent(CONFIDENCE)} intervals of the mean "
        "over searches."
    )


def _conclusion(
    pool: SearchPool,
    traces: Mapping[Variant, Trace],
    rows: list[Row],
    budget: float,
) -> str:
    """For each method: alone, the best aid, and the best aid that is a baseline."""
    parts = []
    for method in dict.fromkeys(variant.method for variant in traces):
        here = {
            variant: row["regret_time"]
            for variant, row in zip(traces, rows, strict=True)
            if variant.method == method
        }
        alone = here.pop(Variant(method), None)
        if alone is None or not here:
            continue
        known = {v for v in here if set(v.proxies) <= set(pool.baselines)}
        text = f"{method} alone {alone:.2f}"
        if others := set(here) - known:
            best = min(others, key=lambda v: (here[v], v.label))
            text += f", with {_aid(best)} {here[best]:.2f}"
        if known:
            best = min(known, key=lambda v: (here[v], v.label))
            text += f", with the baselines' best, {_aid(best)}, {here[best]:.2f}"
        parts.append(text)
    if not parts:
        return ""
    return (
        f"{pool.measure[0].upper()}{pool.measure[1:]} that finds lack after "
        f"{_cost(budget, pool)}: "
        f"{'; '.join(parts)}."
    )


def _aid(variant: Variant) -> str:
    return f"{variant.aid} by {_by(variant)}"
