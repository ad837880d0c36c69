"""Better, equivalent, worse or undecided against one baseline: a line for each proxy.

“No difference shown” is not “no difference”. Two scores are equivalent where the
interval of Δρ lies within a margin on both sides of zero: two one-sided tests
(`schuirmann1987comparison`), here at the corrected level of the report's intervals,
which hold together.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence

from zcbench.analysis.block import Block, Column, Options, number, percent
from zcbench.analysis.comparisons import Comparison, comparisons
from zcbench.analysis.rows import PROXY, Row, everywhere, frame, mixture, numbers
from zcbench.analysis.study import Study

BETTER, EQUIVALENT, WORSE, UNDECIDED = "better", "equivalent", "worse", "undecided"
WORDS = (BETTER, EQUIVALENT, WORSE, UNDECIDED)
AGAINST = "params"
"""The baseline, where the run has it; otherwise its first one."""
TABLE = (
    *("proxy", "baseline", "datasets", "n", "few"),
    *("delta_least", "delta_least_low", "delta_most", "delta_most_high"),
    *WORDS,
    *("word", "note"),
)


def equivalence(studies: Sequence[Study], options: Options) -> Block:
    """Every proxy against #params: whether the difference is shown to be small."""
    every = dict.fromkeys(name for study in studies for name in study.rivals)
    baseline = AGAINST if AGAINST in every else next(iter(every), "")
    pairs: dict[str, list[Comparison]] = {}
    for entry in comparisons(studies, options).entries:
        if entry.baseline == baseline:
            pairs.setdefault(entry.proxy, []).append(entry)
    rows = [_row(several, studies, options.clearly) for several in pairs.values()]
    rows.sort(key=lambda row: (WORDS.index(row["word"]), row["few"], row["proxy"]))
    margin = number(options.clearly)
    return Block(
        name="equivalence",
        title=f"Better, equivalent, worse: against {baseline or 'no baseline'}",
        about=(
            f"Δρ on the same architectures, with {percent(options.confidence)} "
            "intervals that hold together. Equivalent: the interval lies within "
            f"±{margin}; else better or worse: it leaves out 0; else undecided. In "
            f"all: the word that holds on every dataset.{mixture(studies)}"
        ),
        table=frame(rows, TABLE),
        columns=(
            PROXY,
            Column("delta_least", "least Δρ", "signed"),
            Column("delta_most", "most Δρ", "signed"),
            *(Column(word, word, "count") for word in WORDS),
            Column("word", "in all", "text"),
        ),
        conclusion=_conclusion(rows, baseline, margin, studies),
    )


def word_of(low: float, high: float, margin: float) -> str:
    """What an interval of Δρ says; undecided where there is none."""
    if -margin < low and high < margin:
        return EQUIVALENT
    if low > 0:
        return BETTER
    return WORSE if high < 0 else UNDECIDED


def _row(entries: Sequence[Comparison], studies: Sequence[Study], margin: float) -> Row:
    deltas = [e.together for e in entries]
    few = [studies[e.study].is_thin(e.proxy) for e in entries]
    words = Counter(
        UNDECIDED if thin else word_of(delta.low, delta.high, margin)
        for delta, thin in zip(deltas, few, strict=True)
    )
    same = [word for word in WORDS if words[word] == len(studies)]
    row: Row = {
        "proxy": entries[0].proxy,
        "baseline": entries[0].baseline,
        "datasets": len(studies),
        "few": any(few),
        "n": min(e.single.n for e in entries),
        **{word: words[word] for word in WORDS},
        "word": same[0] if same else UNDECIDED,
    }
    known = [delta for delta in deltas if not math.isnan(delta.value)]
    if not known:
        return row | {"note": entries[0].single.note}
    least, most = (pick(known, key=lambda delta: delta.value) for pick in (min, max))
    return row | numbers("delta_least", least) | numbers("delta_most", most)


def _conclusion(
    rows: Sequence[Row], baseline: str, margin: str, studies: Sequence[Study]
) -> str:
    if not rows:
        return "There is no baseline to be equivalent to."
    parts = []
    for word in WORDS[:-1]:
        named = ", ".join(row["proxy"] for row in rows if row["word"] == word)
        parts.append(f"{word}: {named or 'none'}")
    rest = sum(row["word"] == UNDECIDED for row in rows)
    return (
        f"Against {baseline} {everywhere(studies)}, within ±{margin}: "
        f"{'; '.join(parts)}. Undecided or not the same everywhere: {rest} of "
        f"{len(rows)}."
    )
