"""Which proxies beat the best baseline, by how much, and with what certainty.

The best baseline is not known beforehand. So a proxy is ahead only where it is ahead of
every baseline: the interval of Δρ against the best of them runs from the smallest lower
end to the smallest upper end of the intervals against each. All intervals of a report
hold together, hence so do these, whichever baseline is the best.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import pandas as pd

from zcbench.analysis.block import Block, Column, Options, difference, number, percent
from zcbench.analysis.comparisons import Comparison, Comparisons, comparisons
from zcbench.analysis.rows import (
    PLACE,
    WHERE,
    Row,
    blank,
    everywhere,
    frame,
    merit,
    mixture,
    numbers,
    once,
    place,
    tables,
    with_ends,
)
from zcbench.analysis.study import FEWEST, Study
from zcbench.stats import Estimate
from zcbench.stats.paired import DRAWS

CLEARLY, AHEAD, NONE, BEHIND = (
    "clearly ahead",
    "ahead",
    "no difference shown",
    "behind",
)
WORDS = (CLEARLY, AHEAD, NONE, BEHIND)
"""What is said of a proxy, best first."""
TABLE = (
    *PLACE,
    *("proxy", "baseline", "n", "missing", "value", "baseline_value"),
    *with_ends("delta"),
    *("p", "p_holm", "word", "borderline", "note"),
)
"""Columns of the table; ``dataset`` is empty in rows across all datasets."""


_FEW = "of too few for a verdict"


@dataclass(frozen=True, slots=True)
class Lead:
    """A proxy against the best of several baselines, or of several datasets.

    Attributes:
        best: the comparison with the smallest difference.
        together: that difference with the corrected interval of all.
        p: corrected p-value of what the sign of the difference says.
        p_holm: the same by Holm's correction.
        note: why a number is missing.
    """

    best: Comparison
    together: Estimate
    p: float = math.nan
    p_holm: float = math.nan
    note: str = ""

    @classmethod
    def over(cls, entries: Sequence[Comparison]) -> Lead | None:
        """The lead over all of them at once; None where no difference is defined.

        To be ahead of the best is to be ahead of all: the largest p-value. To be
        behind the best is to be behind one: the smallest p-value of those.
        """
        defined = [e for e in entries if not math.isnan(e.single.value)]
        if not defined:
            return None
        best = min(defined, key=lambda e: e.single.value)
        delta = best.single.value
        note = next((e.single.note for e in defined if math.isnan(e.together.low)), "")
        if note:
            return cls(best, Estimate(delta), note=note)
        tests = defined if delta > 0 else [e for e in defined if e.single.value <= 0]
        pick = max if delta > 0 else min
        low = min(e.together.low for e in defined)
        high = min(e.together.high for e in defined)
        return cls(
            best=best,
            together=Estimate(delta, low, high),
            p=pick(e.p for e in tests),
            p_holm=pick(e.p_holm for e in tests),
            note=best.single.note,
        )

    def word(self, clearly: float) -> str:
        """One of `WORDS`, or empty where there is no interval."""
        low, high = self.together.low, self.together.high
        return "" if math.isnan(low) else _word(low, high, clearly)


def _word(low: float, high: float, clearly: float) -> str:
    if low > 0:
        return CLEARLY if low > clearly else AHEAD
    return BEHIND if high < 0 else NONE


def _borderline(
    entries: Sequence[Comparison], levels: tuple[float, float], clearly: float
) -> bool:
    """Whether other random numbers of the report could give another word."""
    known = [e.single for e in entries if math.isfinite(e.together.low)]
    ends = ([single.interval(level) for single in known] for level in levels)
    words = {
        _word(min(low for low, _ in at), min(high for _, high in at), clearly)
        for at in ends
    }
    return len(words) > 1


@once
def verdict(studies: tuple[Study, ...], options: Options) -> Block:
    """Every proxy against the best baseline, by dataset and across datasets."""
    compared = comparisons(studies, options)
    rows: list[Row] = []
    for position, study in enumerate(studies):
        here = [_row(studies, position, p, compared, options) for p in study.proxies]
        rows += sorted(here, key=merit("delta", study.thin))
    across = _across(studies, rows, compared) if len(studies) > 1 else []
    table = frame(rows + across, TABLE)
    return Block(
        name="verdict",
        title="Verdict: against the best baseline, on the same architectures",
        about=_about(compared, options, studies),
        table=table,
        columns=(
            *WHERE,
            Column("n", "n", "count"),
            Column("value", "ρ", "correlation"),
            Column("baseline", "best baseline", "text"),
            Column("baseline_value", "its ρ", "correlation"),
            Column("delta", "Δρ ↑", "difference"),
            Column("p", "p", "p"),
            Column("p_holm", "p (Holm)", "p"),
            Column("word", "verdict", "text"),
        ),
        conclusion=_conclusion(table, studies, options),
    )


def ahead_of(table: pd.DataFrame) -> pd.DataFrame:
    """The rows of a verdict whose proxy is ahead, clearly or not."""
    return table[table["word"].isin([CLEARLY, AHEAD])]


def _row(
    studies: Sequence[Study],
    position: int,
    proxy: str,
    compared: Comparisons,
    options: Options,
) -> Row:
    study = studies[position]
    own = study.association(proxy, "spearman", confidence=options.confidence)
    row = blank(TABLE) | place(study, studies, proxy)
    row |= {"proxy": proxy, "baseline": "", "value": own.value}
    row |= {"n": own.n, "missing": len(study.archs) - own.n}
    entries = compared.of(position, proxy)
    lead = Lead.over(entries)
    if lead is None:
        note = own.note or ("no baseline" if not entries else entries[0].single.note)
        return row | {"word": "", "borderline": False, "note": note}
    if study.is_thin(proxy) or own.n < FEWEST:
        alone = Lead(lead.best, Estimate(lead.together.value), note=_FEW)
        return row | _numbers(alone) | {"word": "", "borderline": False}
    word = lead.word(options.clearly)
    near = bool(word) and _borderline(entries, compared.levels, options.clearly)
    return row | _numbers(lead) | {"word": word, "borderline": near}


def _numbers(lead: Lead) -> Row:
    best = lead.best
    return {
        "baseline": best.baseline,
        "n": best.single.n,
        "value": best.value,
        "baseline_value": best.rival,
        **numbers("delta", lead.together),
        "p": lead.p,
        "p_holm": lead.p_holm,
        "note": lead.note,
    }


def _across(
    studies: Sequence[Study], rows: Sequence[Row], compared: Comparisons
) -> list[Row]:
    """One row for each proxy: its least lead on any dataset, and where it leads."""
    about: Row = dict.fromkeys(("run", "space", "dataset"), "")
    about |= {"where": f"all {tables(studies)}"}
    for name in ("target", "population"):
        about[name] = ", ".join(dict.fromkeys(row[name] for row in rows))
    across = []
    for proxy in dict.fromkeys(row["proxy"] for row in rows):
        here = [row for row in rows if row["proxy"] == proxy]
        lead = Lead.over([e for e in compared.entries if e.proxy == proxy])
        if lead is None:
            continue
        words = [row["word"] for row in here]
        if sum(map(bool, words)) < len(studies):
            delta = Estimate(lead.together.value)
            lead = Lead(lead.best, delta, note="not on every dataset")
        row = blank(TABLE) | about | _numbers(lead)
        row |= {"proxy": proxy, "word": _summary(words, len(studies))}
        row |= {k: any(r[k] for r in here) for k in ("few", "borderline")}
        across.append(row)
    few = {row["proxy"] for row in across if row["few"]}
    return sorted(across, key=merit("delta", few))


def _summary(words: Sequence[str], datasets: int) -> str:
    """A word that holds on every dataset, or on how many which holds."""
    ahead = sum(word in (CLEARLY, AHEAD) for word in words)
    behind = sum(word == BEHIND for word in words)
    if len(words) == datasets and len(set(words)) == 1:
        return words[0]
    if ahead == datasets:
        return AHEAD
    parts = [
        f"{name} on {count} of {datasets}"
        for name, count in ((AHEAD, ahead), (BEHIND, behind))
        if count
    ]
    return ", ".join(parts) or (NONE if NONE in words else "")


def _about(compared: Comparisons, options: Options, studies: Sequence[Study]) -> str:
    text = (
        f"Δρ: ρ of the proxy minus that of the best baseline where both have a score; "
        f"{percent(options.confidence)} intervals and p corrected for all "
        f"{compared.count:,} comparisons (largest |z| of {DRAWS:,} draws from their "
        f"joint distribution). Ahead: the interval lies above 0; clearly: "
        f"above {number(options.clearly, signed=True)}."
    )
    if len(studies) > 1:
        text += " Across datasets: the least of the leads, which all must hold."
    return text + mixture(studies)


def _conclusion(table: Any, studies: Sequence[Study], options: Options) -> str:
    """What holds on every dataset, and what on some."""
    if table["delta"].isna().all():
        return "No proxy can be set against a baseline here."
    many = len(studies) > 1
    rows = table[table["dataset"] == ""] if many else table
    here = everywhere(studies)
    margin = number(options.clearly, signed=True)
    clear = rows[rows["word"] == CLEARLY]
    text = (
        f"Clearly ahead of the best baseline {here} (corrected "
        f"{percent(options.confidence)} interval of Δρ above {margin}): "
        f"{_leads(clear, options) or 'no proxy'}."
    )
    ahead = rows[rows["word"] == AHEAD]
    text += f" Ahead {here} by less: " if len(clear) else f" Ahead {here} (above 0): "
    text += (_leads(ahead, options) or "none") + "."
    if many:
        some = rows[rows["word"].str.startswith(f"{AHEAD} on")]
        if len(some):
            named = ", ".join(f"{r.proxy} ({r.word})" for r in some.itertuples())
            text += f" On some: {named}."
    behind = int((rows["word"] == BEHIND).sum())
    text += f" Behind {here}: {behind} of {len(rows)} proxies."
    near = table[(table["dataset"] != "") & table["borderline"]]
    if len(near):
        named = ", ".join(f"{r.proxy} ({r.where})" for r in near.itertuples())
        text += f" Borderline, by chance of the correction: {named}."
    return text


def _leads(rows: pd.DataFrame, options: Options) -> str:
    """Every proxy with its lead; empty where there is none."""
    decides = (0.0, options.clearly)
    columns = (rows[name] for name in ("proxy", "delta", "delta_low", "delta_high"))
    return ", ".join(
        f"{name} {difference(delta, low, high, decides)}"
        for name, delta, low, high in zip(*columns, strict=True)
    )
