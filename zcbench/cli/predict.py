"""`zcbench predict`."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import Literal

import click

from zcbench.cli.blocks import (
    bar,
    count_option,
    emit,
    heads,
    names,
    names_option,
    one_thread,
    study_of,
    study_options,
)


def _sizes(
    context: click.Context, parameter: click.Parameter, value: str
) -> tuple[int, ...]:
    """Numbers between commas."""
    found = names(context, parameter, value)
    if not all(name.isascii() and name.isdigit() and int(name) > 1 for name in found):
        raise click.BadParameter(
            f"{value!r} is not a list of whole numbers of at least 2.", param=parameter
        )
    return tuple(sorted({int(name) for name in found}))


def _test(context: click.Context, parameter: click.Parameter, value: str) -> int | None:
    """A number, or None for the rest."""
    del context
    if value == "rest":
        return None
    if value.isascii() and value.isdigit() and int(value) >= 4:
        return int(value)
    raise click.BadParameter(
        f"{value!r} is neither rest nor a whole number of at least 4.", param=parameter
    )


@click.command(short_help="Predict accuracy from proxies and encodings.")
@click.argument("run", metavar="RUN", type=click.Path(path_type=Path))
@click.option(
    "--train",
    metavar="SIZES",
    default="100",
    show_default=True,
    callback=_sizes,
    help="Training architectures, numbers between commas.",
)
@click.option(
    "--test",
    metavar="N",
    default="rest",
    show_default=True,
    callback=_test,
    help="Test architectures of a trial; rest: all that were not drawn for training.",
)
@count_option("--trials", 1, 100, "How often to draw architectures anew.")
@names_option(
    "--models", "gbdt", "Of gbdt, forest, ridge, knn; if installed, xgboost, lightgbm."
)
@names_option(
    "--features",
    "auto",
    "What to predict from, each joined by + from: encoding, paths, adjacency; "
    "proxies, measured, baselines, shuffled; names of proxies. The first is what the "
    "others are compared with. auto: encoding, proxies, both, and the controls "
    "params+flops, encoding+params+flops and encoding+shuffled.",
)
@names_option("--proxies", "all", "Scores of RUN to use.")
@click.option(
    "--values",
    type=click.Choice(["rank", "raw"]),
    default="rank",
    show_default=True,
    help="Scores by their rank among the training architectures, or as they are.",
)
@click.option(
    "--labels",
    type=click.Choice(["rank", "accuracy"]),
    default="rank",
    show_default=True,
    help="What models learn: the rank of an accuracy, or the accuracy.",
)
@click.option(
    "--isomorphs",
    type=click.Choice(["exclude", "keep"]),
    default="exclude",
    show_default=True,
    help="Test architectures that compute the same function as a training one.",
)
@click.option(
    "--importance",
    is_flag=True,
    help="Also exchange each feature among the test architectures, at the largest "
    "training size.",
)
@study_options
def predict(
    run: Path,
    train: tuple[int, ...],
    test: int | None,
    trials: int,
    models: tuple[str, ...],
    features: tuple[str, ...],
    proxies: tuple[str, ...],
    values: Literal["rank", "raw"],
    labels: Literal["rank", "accuracy"],
    isomorphs: str,
    importance: bool,
    dataset: str | None,
    target: str | None,
    truth: str | None,
    population: str | None,
    seed: int,
    format_name: str,
    output: Path | None,
) -> None:
    """Train predictors of accuracy on a few architectures of RUN, test on the others.

    Tells how much proxies add to what an architecture's encoding says, beside the
    controls: params and flops alone, and scores that were shuffled. Needs scikit-learn:
    pip install 'zcbench[predict]'.

    \b
    Examples:
      zcbench predict runs/first --dataset cifar100 --train 20 --trials 20
      zcbench predict runs/first --dataset cifar10 --train 10,20,50 --models gbdt,ridge
      zcbench predict runs/first --dataset cifar10 --features encoding,encoding+nwot
      zcbench predict runs/first --dataset cifar10 --importance --format json
    """  # noqa: D301 - click wants \b itself
    one_thread()
    from zcbench.analysis.predict import (
        MODELS,
        Setting,
        default_features,
        importances,
        pool_of,
        predictions,
        run_trials,
    )
    from zcbench.analysis.predict.figure import learning_curves
    from zcbench.analysis.predict.models import require
    from zcbench.errors import unknown

    for name in models:
        if name not in MODELS:
            raise unknown("model", name, MODELS)
    for package in ("sklearn", *(m for m in models if m in ("xgboost", "lightgbm"))):
        require(package)
    study = study_of(run, dataset, target, truth, population)
    pool = pool_of(
        study,
        proxies=() if proxies == ("all",) else proxies,
        keep_isomorphs=isomorphs == "keep",
    )
    if features == ("auto",):
        features = default_features(pool)
    setting = Setting(
        train, test, trials, models, features, values, labels, importance, seed
    )
    found = run_trials(pool, setting, bar(trials, "trial"))
    blocks = [predictions(pool, setting, found)]
    blocks += [importances(found)] if importance else []
    facts = {
        "command": "predict",
        "run": str(run),
        "section": study.about(),
        "setting": asdict(setting) | {"isomorphs": isomorphs},
        "scores": list(pool.scores),
    }
    drawn = learning_curves(blocks[0]) if format_name == "html" else ()
    emit(blocks, heads(study), facts, format_name, output, drawn)
