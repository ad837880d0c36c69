"""`zcbench predict`."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import asdict, replace
from typing import TYPE_CHECKING, Any

import click

from zcbench.cli.options import count_option, names, names_option
from zcbench.cli.progress import steps
from zcbench.cli.study import document, of_study
from zcbench.errors import unknown

if TYPE_CHECKING:
    from zcbench.cli.study import Work
    from zcbench.report import Block, Document, Gallery


def _sizes(
    context: click.Context, parameter: click.Parameter, value: str
) -> tuple[int, ...]:
    """Numbers between commas."""
    given = names(context, parameter, value)
    if not all(name.isascii() and name.isdigit() and int(name) > 1 for name in given):
        raise click.BadParameter(
            f"{value!r} is not a list of whole numbers of at least 2.", param=parameter
        )
    return tuple(sorted({int(name) for name in given}))


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
@click.option(
    "--train",
    metavar="SIZES",
    default="100",
    callback=_sizes,
    help="Training architectures, numbers between commas.",
)
@click.option(
    "--test",
    metavar="N",
    default="rest",
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
    help="Scores by their rank among the training architectures, or as they are.",
)
@click.option(
    "--labels",
    type=click.Choice(["rank", "accuracy"]),
    default="rank",
    help="What models learn: the rank of an accuracy, or the accuracy.",
)
@click.option(
    "--isomorphs",
    type=click.Choice(["exclude", "keep"]),
    default="exclude",
    help="Test architectures that compute the same function as a training one.",
)
@click.option(
    "--importance",
    is_flag=True,
    help="Also exchange each feature among the test architectures, at the largest "
    "training size.",
)
@of_study
def predict(
    work: Work, proxies: tuple[str, ...], isomorphs: str, **options: Any
) -> Document:
    """Train predictors of accuracy on a few architectures of RUN, test on the others.

    Tells how much proxies add to what an architecture's encoding says, beside the
    controls: params and flops alone, and scores that were shuffled. Needs scikit-learn:
    pip install 'zcbench[predict]'.

    \b
    Examples:
      zcbench predict runs/first --dataset cifar100 --train 20 --trials 20
      zcbench predict runs/first --train 10,20,50 --models gbdt,ridge
      zcbench predict runs/first --features encoding,encoding+nwot
      zcbench predict runs/first --dataset cifar10 --importance --format json
      zcbench predict runs/first --dataset cifar10 --trials 1000 --out predicted
    """  # noqa: D301 - click wants \b itself
    from zcbench.analysis.predict.features import default_features, pool_of
    from zcbench.analysis.predict.section import importances, predictions
    from zcbench.analysis.predict.trials import Setting, run_trials

    setting = Setting(**options)
    _check(setting.models)
    keep = isomorphs == "keep"
    chosen = () if proxies == ("all",) else proxies
    pool = pool_of(work.study, proxies=chosen, keep_isomorphs=keep)
    if setting.features == ("auto",):
        setting = replace(setting, features=default_features(pool))
    about = asdict(setting) | {"isomorphs": isomorphs}
    parts = work.parts(about | {"proxies": list(pool.scores)})
    trials = run_trials(pool, setting, steps(setting.trials, "trial"), parts)
    blocks = [predictions(pool, setting, trials)]
    blocks += [importances(trials)] if setting.importance else []
    facts = {"setting": about, "scores": list(pool.scores)}
    return document("predict", work.study, blocks, facts, lambda: [_gallery(blocks[0])])


def _check(models: Iterable[str]) -> None:
    """Make sure that there are these models, and the packages that they need.

    Raises:
        UsageError: there is no such model, or a package is missing.
    """
    from zcbench.analysis.predict.models import MODELS, require

    for name in models:
        if name not in MODELS:
            raise unknown("model", name, MODELS)
    for package in ("sklearn", *(m for m in models if m in ("xgboost", "lightgbm"))):
        require(package)


def _gallery(block: Block) -> Gallery:
    from zcbench.report import Gallery
    from zcbench.report.figures.curves import learning_curves

    about = "ρ on the test architectures. Controls: orange."
    return Gallery("learning", "Learning curves", about, learning_curves(block))
