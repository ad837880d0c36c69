"""`zcbench search`."""

from __future__ import annotations

from dataclasses import asdict, fields
from functools import partial
from typing import TYPE_CHECKING, Any

import click

from zcbench.cli.options import count_option, names_option
from zcbench.cli.progress import steps
from zcbench.cli.study import document, of_study

if TYPE_CHECKING:
    from zcbench.analysis.search.pool import SearchPool, Setting, Variant
    from zcbench.cli.study import Work
    from zcbench.report import Block, Document, Gallery
    from zcbench.store.parts import Arrays


# Over 40 lines: options, and the help that click shows.
@click.command(short_help="Simulate searches with and without proxies.")
@names_option("--methods", "random,evolution,predictor", "How to search.")
@names_option(
    "--aids",
    "none,warmup,filter,features",
    "How a proxy helps; none: each method alone; features: as columns of the "
    "predictor.",
)
@names_option(
    "--proxies",
    "all",
    "Scores of RUN that help, each in turn; as features, all together.",
)
@count_option("--trials", 2, 400, "Searches of each kind.")
@count_option("--evaluations", 1, 200, "Trainings of a search.")
@count_option("--warmup", 1, 500, "Architectures that a warm-up scores.")
@count_option("--candidates", 2, 10, "Architectures of which a filter takes the best.")
@of_study
def search(
    work: Work,
    methods: tuple[str, ...],
    aids: tuple[str, ...],
    proxies: tuple[str, ...],
    **options: Any,
) -> Document:
    """Simulate searches among the architectures of RUN, with and without proxies.

    Random search, regularised evolution and a predictor-guided search, each alone and
    with a proxy that warms it up, filters its proposals or feeds its predictor. Costs
    are the benchmark's training times plus the measured times of the proxies. RUN
    should hold all of a space, or a large part of it.

    \b
    Examples:
      zcbench search runs/first --dataset cifar10 --trials 100 --evaluations 50
      zcbench search runs/first --dataset cifar10 --proxies flops,nwot --out found
      zcbench search runs/first --dataset cifar10 --format html -o search.html
    """  # noqa: D301 - click wants \b itself
    from zcbench.analysis.search.pool import Setting, Trace, search_pool, variants
    from zcbench.analysis.search.section import curves, searches

    pool = search_pool(work.study, () if proxies == ("all",) else proxies)
    setting = Setting(**options)
    kinds = variants(pool, methods, aids)
    about = asdict(setting) | {"methods": methods, "aids": aids}
    parts = work.parts(about | {"proxies": list(pool.proxies)})
    done, traces = steps(len(kinds), "search"), {}
    for number, kind in enumerate(kinds):
        make = partial(_arrays, pool, kind, setting)
        traces[kind] = Trace(**parts.of(f"search-{number:04d}", make))
        done()
    table = searches(pool, setting, traces)
    blocks = [table, *([curves(pool, traces)] if work.format_name == "json" else ())]
    facts = {
        "setting": about,
        "unit": pool.unit,
        "measure": pool.measure,
        "scores": list(pool.proxies),
    }
    return document(
        "search",
        work.study,
        blocks,
        facts,
        lambda: [_gallery(curves(pool, traces), table, pool)],
    )


def _arrays(pool: SearchPool, kind: Variant, setting: Setting) -> Arrays:
    from zcbench.analysis.search.simulate import simulate

    trace = simulate(pool, kind, setting)
    return {field.name: getattr(trace, field.name) for field in fields(trace)}


def _gallery(over_time: Block, table: Block, pool: SearchPool) -> Gallery:
    from zcbench.report import Gallery
    from zcbench.report.figures.curves import regret_curves

    drawn = regret_curves(over_time, table, pool)
    return Gallery("regret", over_time.title, over_time.about, drawn)
