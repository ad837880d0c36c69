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

from zcbench.analysis.block import Block, Column, Options
from zcbench.analysis.comparisons import Comparison, Comparisons, comparisons
from zcbench.analysis.rows import merit, numbers
from zcbench.analysis.study import Study, mixture, place, tables
from zcbench.analysis.words import interval, number, percent
from zcbench.stats.multiple import DRAWS

CLEARLY, AHEAD, NONE, BEHIND = (
    "clearly ahead",
    "ahead",
    "no difference shown",
    "behind",
)
WORDS = (CLEARLY, AHEAD, NONE, BEHIND)
"""What is said of a proxy, best first."""
TABLE = (
    "run",
    "space",
    "dataset",
    "target",
    "population",
    "where",
    "proxy",
    "baseline",
    "n",
    "missing",
    "value",
    "baseline_value",
    "delta",
    "delta_low",
    "delta_high",
    "p",
    "p_holm",
    "word",
    "borderline",
    "note",
)
"""Columns of the table; ``dataset`` is empty in rows across all datasets."""


@dataclass(frozen=True, slots=True)
class Lead:
    """A proxy against the best of several baselines, or of several datasets.

    Attributes:
        best: the comparison with the smallest difference.
        low: lower end of the corrected interval of that difference; NaN without one.
        high: upper end.
        p: corrected p-value of what the sign of the difference says.
        p_holm: the same by Holm's correction.
        note: why a number is missing.
    """

    best: Comparison
    low: float
    high: float
    p: float
    p_holm: float
    note: str

    @classmethod
    def over(cls, entries: Sequence[Comparison]) -> Lead | None:
        """The lead over all of them at once; None where no difference is defined.

        To be ahead of the best is to be ahead of all: the largest p-value. To be
        behind the best is to be behind one: the smallest p-value of those.
        """
        defined = [e for e in entries if not math.isnan(e.found.delta)]
        if not defined:
            return None
        best = min(defined, key=lambda e: e.found.delta)
        note = next((e.found.note for e in defined if math.isnan(e.low)), "")
        if note:
            return cls(best, math.nan, math.nan, math.nan, math.nan, note)
        ahead = best.found.delta > 0
        tests = defined if ahead else [e for e in defined if e.found.delta <= 0]
        pick = max if ahead else min
        return cls(
            best=best,
            low=min(e.low for e in defined),
            high=min(e.high for e in defined),
            p=pick(e.p for e in tests),
            p_holm=pick(e.p_holm for e in tests),
            note=best.found.note,
        )

    def word(self, clearly: float) -> str:
        """One of `WORDS`, or empty where there is no interval."""
        return "" if math.isnan(self.low) else _word(self.low, self.high, clearly)


def _word(low: float, high: float, clearly: float) -> str:
    if low > 0:
        return CLEARLY if low > clearly else AHEAD
    return BEHIND if high < 0 else NONE


def _borderline(
    entries: Sequence[Comparison], levels: tuple[float, float], clearly: float
) -> bool:
    """Whether other random numbers of the report could give another word."""
    words = set()
    for level in levels:
        ends = [e.found.interval(level) for e in entries if math.isfinite(e.low)]
        low, high = min(low for low, _ in ends), min(high for _, high in ends)
        words.add(_word(low, high, clearly))
    return len(words) > 1


def verdict(studies: Sequence[Study], options: Options) -> Block:
    """Every proxy against the best baseline, by dataset and across datasets.

    Args:
        studies: the datasets of the report.
        options: what "clearly" means, and the confidence.
    """
    import pandas as pd

    found = comparisons(studies, options)
    rows: list[dict[str, Any]] = []
    for position, study in enumerate(studies):
        here = [_row(studies, position, p, found, options) for p in study.proxies]
        rows += sorted(here, key=merit("delta"))
    across = _across(studies, rows, found) if len(studies) > 1 else []
    table = pd.DataFrame(rows + across, columns=list(TABLE))
    return Block(
        name="verdict",
        title="Verdict: against the best baseline, on the same architectures",
        about=_about(found, options, studies),
        table=table,
        columns=(
            Column("where", "dataset", "text"),
            Column("proxy", "proxy", "text"),
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


def _row(
    studies: Sequence[Study],
    position: int,
    proxy: str,
    found: Comparisons,
    options: Options,
) -> dict[str, Any]:
    study = studies[position]
    own = study.association(proxy, "spearman", confidence=options.confidence)
    row = dict.fromkeys(TABLE, math.nan) | {
        **place(study, studies),
        "proxy": proxy,
        "baseline": "",
        "n": own.n,
        "missing": len(study.archs) - own.n,
        "value": own.value,
    }
    entries = found.of(position, proxy)
    lead = Lead.over(entries)
    if lead is None:
        note = own.note or ("no baseline" if not entries else entries[0].found.note)
        return row | {"word": "", "borderline": False, "note": note}
    word = lead.word(options.clearly)
    near = bool(word) and _borderline(entries, found.levels, options.clearly)
    return row | _numbers(lead) | {"word": word, "borderline": near}


def _numbers(lead: Lead) -> dict[str, Any]:
    best = lead.best
    return {
        "baseline": best.baseline,
        "n": best.found.n,
        "value": best.value,
        "baseline_value": best.rival,
        **numbers("delta", best.found.delta, lead.low, lead.high),
        "p": lead.p,
        "p_holm": lead.p_holm,
        "note": lead.note,
    }


def _across(
    studies: Sequence[Study],
    rows: Sequence[dict[str, Any]],
    found: Comparisons,
) -> list[dict[str, Any]]:
    """One row for each proxy: its least lead on any dataset, and where it leads."""
    across = []
    for proxy in dict.fromkeys(row["proxy"] for row in rows):
        words = [row["word"] for row in rows if row["proxy"] == proxy]
        lead = Lead.over([e for e in found.entries if e.proxy == proxy])
        if lead is None:
            continue
        about = {
            "run": "",
            "space": "",
            "dataset": "",
            "where": f"all {tables(studies)}",
            "proxy": proxy,
        }
        for name in ("target", "population"):
            values = dict.fromkeys(row[name] for row in rows)
            about[name] = ", ".join(values)
        word = _summary(words, len(studies))
        note = lead.note
        if sum(bool(w) for w in words) < len(studies):
            note = "not on every dataset"
            lead = Lead(lead.best, math.nan, math.nan, math.nan, math.nan, note)
        row = dict.fromkeys(TABLE, math.nan) | about | _numbers(lead)
        row["borderline"] = any(r["borderline"] for r in rows if r["proxy"] == proxy)
        across.append(row | {"missing": math.nan, "word": word, "note": note})
    return sorted(across, key=merit("delta"))


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


def _about(found: Comparisons, options: Options, studies: Sequence[Study]) -> str:
    text = (
        f"Δρ: ρ of the proxy minus that of the best baseline where both have a score; "
        f"{percent(options.confidence)} intervals and p corrected for all "
        f"{found.count:,} comparisons (largest |z| of {DRAWS:,} draws from their joint "
        f"distribution). Ahead: the interval lies above 0; clearly: "
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
    place = f"on all {tables(studies)}" if many else "here"
    margin = number(options.clearly, signed=True)
    clear = rows[rows["word"] == CLEARLY]
    text = (
        f"Clearly ahead of the best baseline {place} (corrected "
        f"{percent(options.confidence)} interval of Δρ above {margin}): "
        f"{', '.join(map(_lead, clear.to_dict('records'))) or 'no proxy'}."
    )
    ahead = rows[rows["word"] == AHEAD]
    text += f" Ahead {place} by less: " if len(clear) else f" Ahead {place} (above 0): "
    text += (", ".join(map(_lead, ahead.to_dict("records"))) or "none") + "."
    if many:
        some = rows[rows["word"].str.startswith(f"{AHEAD} on")]
        if len(some):
            named = ", ".join(f"{r.proxy} ({r.word})" for r in some.itertuples())
            text += f" On some: {named}."
    behind = int((rows["word"] == BEHIND).sum())
    text += f" Behind {place}: {behind} of {len(rows)} proxies."
    near = table[(table["dataset"] != "") & table["borderline"]]
    if len(near):
        named = ", ".join(f"{r.proxy} ({r.where})" for r in near.itertuples())
        text += f" Borderline, by chance of the correction: {named}."
    return text


def _lead(row: dict[str, Any]) -> str:
    ends = interval(row["delta_low"], row["delta_high"])
    return f"{row['proxy']} {number(row['delta'], signed=True)} {ends}"
