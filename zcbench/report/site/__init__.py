"""A leaderboard: static pages from the JSON reports of runs. They load nothing.

An index with the finding and a table proxy × dataset, a page for every proxy and one
for every space. Links are relative, so that they work from a file.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from zcbench.analysis.block import FEW, Block, Column, number
from zcbench.analysis.report import make_report, styled
from zcbench.analysis.rows import PROXY
from zcbench.analysis.side import read_report
from zcbench.analysis.verdict import AHEAD, BEHIND, CLEARLY
from zcbench.errors import AbsentDataError, DataError, count
from zcbench.report.figures.grids import colours
from zcbench.report.html import page, table_of

if TYPE_CHECKING:
    import pandas as pd

Report = Mapping[str, Any]
"""What ``zcbench report --format json`` writes."""
Facts = Callable[[str], tuple[str, Mapping[str, str]]]
"""Proxy → (its definition, label → what is known of it)."""

SECTIONS = ("correlations", "verdict", "agreement")
"""Sections that the pages are made of."""
SAVED = "report.json"
"""A report beside a run, for who does not have the accuracies of its space."""
_KEY = ["run", "space", "dataset", "target", "proxy"]
SHOWN: Mapping[str, Sequence[str]] = {
    "verdict": (*_KEY, "delta", "delta_low", "delta_high", "word"),
    "agreement": (*_KEY, "closest", "rho", "alike"),
}
"""What the pages show of sections; of the correlations they show all."""
_PLACE = ["space", "dataset", "target"]


def collect(
    paths: Sequence[Path], told: Callable[[int], Callable[[], object]] | None = None
) -> tuple[list[Report], list[str]]:
    """Reports of runs, of folders that hold runs, and of JSON files.

    A run whose accuracies are not at hand gives the report that is saved beside it.

    Args:
        paths: of them.
        told: is given their number; what it returns is called after each.

    Returns:
        The reports, and lines for the user: runs that have none, damaged files.

    Raises:
        DataError: something is neither, or nothing is left.
    """
    reports: list[Report] = []
    lines: list[str] = []
    sources = [source for path in paths for source in _sources(path)]
    done = told(len(sources)) if told else lambda: None
    for source in sources:
        try:
            reports.append(_report(source, lines))
        except AbsentDataError as error:
            lines.append(f"{source} is left out: {error}")
        done()
    if not reports:
        raise DataError("No run has accuracies at hand.", " ".join(lines))
    return reports, lines


def _sources(path: Path) -> list[Path]:
    if path.is_file() or (path / "manifest.json").exists():
        return [path]
    if not path.exists():
        raise DataError(f"{path} does not exist.", "Name run directories.")
    runs = sorted(found.parent for found in path.glob("*/manifest.json"))
    if not runs:
        raise DataError(f"{path} holds no run.", "Name run directories.")
    return runs


def _report(path: Path, lines: list[str]) -> Report:
    from zcbench.report.output import render
    from zcbench.store import load_run

    if path.is_file():
        return read_report(path, lines)
    try:
        run = load_run(path)
        lines += run.attrs.get("notes", ())
        made = make_report([run], sections=SECTIONS)
    except AbsentDataError:
        if (path / SAVED).is_file():
            return read_report(path / SAVED, lines)
        raise
    report: Report = json.loads(render(made, "json"))
    return report


def pages(reports: Sequence[Report], facts_of: Facts) -> dict[str, str]:
    """Every page by its path within the site.

    Args:
        reports: from `collect`.
        facts_of: what is known of a proxy.

    Raises:
        DataError: a report lacks what the pages show.
    """
    try:
        table = _table(reports)
        closest = _closest(reports)
    except (KeyError, TypeError) as error:
        raise DataError(
            f"A report lacks {error}.", "Make it again with this zcbench."
        ) from None
    means = _means(table)
    proxies = _by_mean(table, means)
    spaces = list(dict.fromkeys(table["space"]))
    menu = {"spaces": [(s, address("spaces", s)) for s in spaces]}
    menu["proxies"] = [(p, address("proxies", p)) for p in proxies]
    made = {"index.html": _index(table, len(reports), means, menu)}
    for name in proxies:
        rows = table[table["proxy"] == name]
        made[address("proxies", name)] = _proxy(name, rows, closest, facts_of, menu)
    for name in spaces:
        made[address("spaces", name)] = _space(table[table["space"] == name], menu)
    return made


def address(folder: str, name: str) -> str:
    """Path of a page in the site; names that no file can have are spelt otherwise.

    >>> address("proxies", "swap[mu=0.5]")
    'proxies/swap-mu-0.5.html'
    """
    return f"{folder}/{re.sub(r'[^A-Za-z0-9_.]+', '-', name).strip('-.')}.html"


def _table(reports: Sequence[Report]) -> pd.DataFrame:
    """Correlations joined with verdicts; of several runs the one with most networks."""
    import pandas as pd

    rows = pd.DataFrame([row for r in reports for row in r["correlations"]])
    for name in _KEY:
        if not rows[name].map(lambda value: isinstance(value, str)).all():
            raise KeyError(name)
    rows = rows[rows["epochs"] == 0].astype({"spearman": float})
    rows["few"] = rows["few"].astype(bool) if "few" in rows else False
    verdict = pd.DataFrame([row for r in reports for row in r["verdict"]])
    rows = rows.merge(verdict[list(SHOWN["verdict"])], on=_KEY, how="left")
    rows["word"] = rows["word"].fillna("").where(~rows["baseline"], "baseline")
    rows["word"] = rows["word"].where(~rows["few"], "no order")
    rows["where"] = [
        f"{space} · {dataset}" + ("" if target == "val" else f" · {target}")
        for space, dataset, target in rows[_PLACE].itertuples(index=False)
    ]
    best = rows.sort_values("n", ascending=False, kind="stable")
    best = best.drop_duplicates([*_PLACE, "proxy"]).sort_index()
    order = list(dict.fromkeys(best["space"]))
    return best.sort_values(
        "space", key=lambda names: names.map(order.index), kind="stable"
    ).reset_index(drop=True)


def _closest(reports: Sequence[Report]) -> pd.DataFrame:
    import pandas as pd

    rows = [row for r in reports for row in r.get("agreement", ())]
    return pd.DataFrame(rows, columns=list(SHOWN["agreement"]))


def _means(table: pd.DataFrame) -> dict[str, float]:
    """Proxy → mean over spaces of the mean ρ of its datasets."""
    by_space = table.dropna(subset="spearman").groupby(["proxy", "space"])["spearman"]
    return dict(by_space.mean().groupby("proxy").mean())


def _by_mean(table: pd.DataFrame, means: Mapping[str, float]) -> list[str]:
    """Proxies, best mean first; who orders fewer datasets than others after them.

    A mean over the easy ones, or of a few architectures, is no lead.
    """
    ordered = table[~table["few"]].dropna(subset="spearman")
    scored = ordered.groupby("proxy")["where"].nunique()
    most = scored.max()
    return sorted(
        dict.fromkeys(table["proxy"]),
        key=lambda name: (scored.get(name, 0) < most, -means.get(name, -2)),
    )


def _index(
    table: pd.DataFrame,
    runs: int,
    means: Mapping[str, float],
    menu: Mapping[str, Sequence[tuple[str, str]]],
) -> str:
    where = list(dict.fromkeys(table["where"]))
    cells = {(r["proxy"], r["where"]): _cell(r) for r in table.to_dict("records")}
    rows = [
        (name, page_of, means.get(name), [cells.get((name, w)) for w in where])
        for name, page_of in menu["proxies"]
    ]
    n_spaces = table["space"].nunique()
    return page(
        "index.html",
        home="",
        menu=menu,
        where=[w.partition(" · ") for w in where],
        rows=rows,
        number=number,
        headline=finding(table),
        setting=f"{count(len(where), 'dataset')} of {count(n_spaces, 'space')}, "
        f"{count(runs, 'run')}, {len(rows)} proxies."
        + (f" No order: {FEW[2:]}." if table["few"].any() else ""),
    )


def _cell(row: Mapping[str, Any]) -> dict[str, Any]:
    """A cell of the heat map, in the colours of the figure."""
    value = row["spearman"]
    fill, ink = colours(value)
    return {
        "text": "" if math.isnan(value) else number(value),
        "value": value,
        "style": f"background: var(--{fill}); color: var(--{ink})",
        "word": row["word"],
        "title": f"{row['proxy']} on {row['where']}: n = {row['n']:,}, "
        f"{row['failed']:,} without a score; {row['word'] or row['note']}",
    }


def finding(table: pd.DataFrame) -> str:
    """What the verdicts of all datasets add up to, in two sentences."""
    scored = table[~table["baseline"] & ~table["aggregate"]]
    many, spaces = scored["where"].nunique(), scored["space"].nunique()
    ahead = scored[scored["word"].isin((AHEAD, CLEARLY))].groupby("proxy").size()
    behind = scored[scored["word"] == BEHIND].groupby("proxy").size()
    everywhere = [name for name in ahead.index if ahead[name] == many]
    who = ", ".join(everywhere) or "no proxy"
    text = (
        f"Ahead of the best baseline on all {many} datasets of "
        f"{count(spaces, 'space')}: {who}."
    )
    top = ahead.sort_values(ascending=False, kind="stable").head(3)
    told = [
        f"{name} ({count} ahead, {behind.get(name, 0)} behind)"
        for name, count in top.items()
    ]
    return f"{text} Most often ahead: {', '.join(told)}." if told else text


_COLUMNS = (
    Column("spearman", "ρ ↑", "interval"),
    Column("delta", "Δρ to the best baseline", "difference"),
    Column("word", "verdict", "text"),
    Column("kendall", "τ-b ↑", "interval"),
    Column("n", "n", "count"),
    Column("failed", "failed", "count"),
    Column("milliseconds", "ms/network", "number"),
)


def _proxy(
    name: str,
    rows: pd.DataFrame,
    closest: pd.DataFrame,
    facts_of: Facts,
    menu: Mapping[str, Any],
) -> str:
    definition, facts = facts_of(name)
    near = closest[closest["proxy"] == name].merge(
        rows[[*_KEY, "where"]], on=_KEY, how="inner"
    )
    return page(
        "proxy.html",
        home="../",
        menu=menu,
        name=name,
        definition=definition,
        facts=facts,
        table=_block(rows, Column("where", "dataset", "text")),
        near=table_of(
            Block(
                "agreement",
                "",
                "",
                near,
                (
                    Column("where", "dataset", "text"),
                    Column("rho", "ρ between them", "correlation"),
                    Column("closest", "closest proxy", "text"),
                    Column("alike", "same order within noise", "text"),
                ),
                "",
            )
        ),
    )


def _space(rows: pd.DataFrame, menu: Mapping[str, Any]) -> str:
    parts = []
    for where, part in rows.groupby("where", sort=False):
        ordered = part.sort_values(["few", "spearman"], ascending=[True, False])
        parts.append((where, _block(ordered, PROXY)))
    return page(
        "space.html",
        home="../",
        menu=menu,
        name=rows["space"].iloc[0],
        headline=finding(rows),
        setting=f"{FEW}." if rows["few"].any() else "",
        tables=parts,
    )


def _block(rows: pd.DataFrame, first: Column) -> dict[str, Any]:
    table = rows.assign(milliseconds=1000 * rows["seconds_per_arch"].astype(float))
    block = Block("", "", "", table, (first, *_COLUMNS), "")
    return table_of(styled(block, set(table["proxy"][table["baseline"]])))
