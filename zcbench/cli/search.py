"""`zcbench search`."""

from __future__ import annotations

from pathlib import Path

import click

from zcbench.cli.blocks import (
    bar,
    count_option,
    emit,
    heads,
    names_option,
    one_thread,
    study_of,
    study_options,
)


@click.command(short_help="Simulate searches with and without proxies.")
@click.argument("run", metavar="RUN", type=click.Path(path_type=Path))
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
@study_options
def search(
    run: Path,
    methods: tuple[str, ...],
    aids: tuple[str, ...],
    proxies: tuple[str, ...],
    trials: int,
    evaluations: int,
    warmup: int,
    candidates: int,
    dataset: str | None,
    target: str | None,
    truth: str | None,
    population: str | None,
    seed: int,
    format_name: str,
    output: Path | None,
) -> None:
    """Simulate searches among the architectures of RUN, with and without proxies.

    Random search, regularised evolution and a predictor-guided search, each alone and
    with a proxy that warms it up, filters its proposals or feeds its predictor. Costs
    are the benchmark's training times plus the measured times of the proxies. RUN
    should hold all of a space, or a large part of it.

    \b
    Examples:
      zcbench search runs/first --dataset cifar10 --trials 100 --evaluations 50
      zcbench search runs/first --dataset cifar10 --proxies flops,nwot
      zcbench search runs/first --dataset cifar10 --format html -o search.html
    """  # noqa: D301 - click wants \b itself
    one_thread()
    from dataclasses import asdict

    from zcbench.analysis.search import (
        Setting,
        curves,
        search_pool,
        searches,
        simulate,
        variants,
    )
    from zcbench.analysis.search.figure import regret_curves

    study = study_of(run, dataset, target, truth, population)
    pool = search_pool(study, () if proxies == ("all",) else proxies)
    setting = Setting(trials, evaluations, warmup, candidates, seed)
    kinds = variants(pool, methods, aids)
    step = bar(len(kinds), "search")
    traces = {}
    for kind in kinds:
        traces[kind] = simulate(pool, kind, setting)
        step(kind)
    blocks, drawn = [searches(pool, setting, traces)], []
    if format_name in ("json", "html"):
        over_time = curves(pool, traces)
        drawn = regret_curves(over_time, blocks[0], pool)
        blocks += [over_time] if format_name == "json" else []
    facts = {
        "command": "search",
        "run": str(run),
        "section": study.about(),
        "setting": asdict(setting) | {"methods": methods, "aids": aids},
        "unit": pool.unit,
        "measure": pool.measure,
        "scores": list(pool.proxies),
    }
    emit(blocks, heads(study), facts, format_name, output, drawn)
