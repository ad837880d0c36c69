"""Together with one-shot training: what proxies add to it, and it to params and flops.

    python scripts/measure_oneshot.py --images ../shared/data --train runs/oneshot
    python scripts/measure_oneshot.py

With --train it makes a run, or goes on with it: supernets of one setting whose paths
are sampled in several ways, three of each. Without, it writes the tables from the
committed run: adds, over, predicted, sampling, search, and summary.
"""

from __future__ import annotations

import argparse
import math
import os
from collections.abc import Sequence
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import Any

os.environ.setdefault("OMP_NUM_THREADS", "1")  # before numpy is imported

import numpy as np
import pandas as pd
from scipy import stats as scipy_stats

import zcbench
from zcbench.analysis.block import estimate, interval, number, title
from zcbench.analysis.join import studies
from zcbench.analysis.predict.features import pool_of
from zcbench.analysis.predict.section import predictions
from zcbench.analysis.predict.trials import Setting as Prediction
from zcbench.analysis.predict.trials import run_trials
from zcbench.analysis.search.pool import Setting as Search
from zcbench.analysis.search.pool import Variant, search_pool
from zcbench.analysis.search.section import searches
from zcbench.analysis.search.simulate import simulate
from zcbench.analysis.study import Study
from zcbench.cli.progress import TerminalObserver
from zcbench.config import RunConfig
from zcbench.engine import execute
from zcbench.oneshot import Guide, Request, Setting, add_column
from zcbench.report import Block
from zcbench.report.text import escape_markdown, markdown_table, table_of
from zcbench.stats import association, paired_difference
from zcbench.stats.partial import gain, partial_association
from zcbench.stats.ranks import Floats, Ranks
from zcbench.stats.search_metrics import best_of, last_if_missing

DATASET, N, REPEATS, SHARE = "cifar10", 300, 3, 0.25
STEPS, BATCH, RATE = 1200, 32, 0.1
LONGER = 1.8
"""Steps that cost what those of the top quarter by params do, to a uniform one's."""
GUIDES = Path("results/search")
"""Scores of the whole space, by which paths are chosen."""
COLUMNS = {
    # column: (sampling, guided by, steps)
    "oneshot": ("uniform", "", STEPS),
    "oneshot_longer": ("uniform", "", round(LONGER * STEPS)),
    "oneshot_params": ("top", "params", STEPS),
    "oneshot_nwot": ("top", "nwot", STEPS),
    "oneshot_shuffled": ("top", "shuffled", STEPS),
    "oneshot_fair": ("fair", "", STEPS),
}
NAMES = {
    "oneshot": "uniform",
    "oneshot_longer": f"uniform, {LONGER:g} times as long",
    "oneshot_params": f"top {SHARE:.0%} by params",
    "oneshot_nwot": f"top {SHARE:.0%} by nwot",
    "oneshot_shuffled": f"{SHARE:.0%} at random",
    "oneshot_fair": "fair (FairNAS)",
}
GIVEN = {
    # what one-shot scores are added to
    "params": ("params",),
    "params, flops, n_layers": ("params", "flops", "n_layers"),
    "nwot": ("nwot",),
    "params, flops, n_layers, nwot, synflow": (
        *("params", "flops", "n_layers", "nwot", "synflow"),
    ),
}
FEATURES = ("params+flops", "params+flops+oneshot", "params+flops+shuffled_oneshot")
FEATURES += tuple(name.replace("params+flops", "encoding") for name in FEATURES)
FULL_PRICE = 2.25
"""Trainings that a supernet of full size costs, by images: see docs/oneshot.md."""
DRAWN, RESAMPLES = 50, 500


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--train", type=Path, help="the run to make or to go on with")
    parser.add_argument("--images", default="builtin", help="images to train on")
    parser.add_argument("--guides", type=Path, default=GUIDES)
    parser.add_argument("--run", type=Path, default=Path("results/oneshot"))
    parser.add_argument("--proxies", type=Path, default=Path("results/nb201-1000"))
    parser.add_argument("-o", "--output", type=Path, default=Path("results/oneshot"))
    options = parser.parse_args()
    if options.train:
        train(options.train, options.images, options.guides)
        return
    study = together(options.run, options.proxies)
    options.output.mkdir(parents=True, exist_ok=True)
    tables = {name: measure(study) for name, (measure, _) in TABLES.items()}
    texts = {name: TABLES[name][1](table) for name, table in tables.items()}
    texts = {name: text + about(study) for name, text in texts.items()}
    for name, table in tables.items():
        write_table(table, options.output / f"{name}.csv")
    block = search(study)
    write_table(block.table, options.output / "search.csv")
    texts["search"] = search_text(block, study) + about(study)
    texts["summary"] = summary(study)
    texts["short"] = short(tables["over"], tables["sampling"])
    for name, text in texts.items():
        path = options.output / f"{name}.md"
        path.write_text(text, encoding="utf-8", newline="\n")
        print(text, flush=True)


def write_table(table: pd.DataFrame, path: Path) -> None:
    table.to_csv(path, index=False, float_format="%.4f", lineterminator="\n")


def train(path: Path, images: str, guides: Path) -> None:
    """Make the run, or what is missing of it."""
    config = RunConfig(
        space="nb201",
        datasets=(DATASET,),
        proxies=("baselines",),
        n=N,
        repeats=REPEATS,
        minibatch=images,
        device="cpu",
        workers=1,
        out=path,
    )
    execute(config, TerminalObserver())
    for column in COLUMNS:
        steps = TerminalObserver(unit="step", aim=f"to train for {column}")
        request = request_of(column, images, guides)
        add_column(path, request, steps, TerminalObserver())


def request_of(column: str, images: str, guides: Path) -> Request:
    sampling, by, steps = COLUMNS[column]
    guide = guide_of(guides, by) if by else None
    setting = Setting(
        steps=steps,
        batch_size=BATCH,
        rate=RATE,
        sampling=sampling,
        share=SHARE if guide else 1.0,
        guide=guide.name if guide else "",
        guide_digest=guide.digest if guide else "",
        channels=8,
        depth=1,
        image_size=16,
        augment=True,
        validation=0.25,
        recalibrate=128,
    )
    return Request(
        column=column,
        dataset=DATASET,
        images=images,
        setting=setting,
        guide=guide,
        device="cpu",
    )


@cache
def scores_of(run: Path) -> pd.DataFrame:
    """Scores of the whole space, read once."""
    return zcbench.load_run(run)


def guide_of(run: Path, by: str) -> Guide:
    """Scores of the whole space, which tell nothing where they are shuffled."""
    table = scores_of(run)
    (dataset,) = set(table["dataset"])
    values = table["nwot" if by == "shuffled" else by].to_numpy()
    if by == "shuffled":
        values = np.random.default_rng(0).permutation(values)
    pairs = zip(table["index"], values, strict=True)
    return Guide(f"{by} on {dataset}", {int(i): float(v) for i, v in pairs})


def cost_of(column: str) -> float:
    """FLOPs of a training, to those of the uniform one."""
    _, by, steps = COLUMNS[column]
    flops = scores_of(GUIDES).set_index("index")["flops"]
    paths = pd.Series(guide_of(GUIDES, by).scores) if by else flops
    best = paths.index[paths >= paths.quantile(1 - SHARE)] if by else paths.index
    return float(flops[best].mean() / flops.mean() * steps / STEPS)


def together(run: Path, proxies: Path) -> Study:
    """One-shot columns beside all the proxies of another run, on the same sample."""
    (shot,) = studies([zcbench.load_run(run)])
    table = zcbench.load_run(proxies)
    kept = table[(table["dataset"] == DATASET) & table["arch"].isin(shot.archs)]
    kept.attrs = table.attrs
    (base,) = studies([kept])
    order = [shot.archs.index(arch) for arch in base.archs]
    columns = [name for name in COLUMNS if name in shot.scores]
    return replace(
        base,
        scores={**base.scores, **{c: shot.scores[c][order] for c in columns}},
        by_repeat={**base.by_repeat, **{c: shot.by_repeat[c][order] for c in columns}},
        seconds={**base.seconds, **{c: shot.seconds[c] for c in columns}},
        statuses={**base.statuses, **{c: shot.statuses[c] for c in columns}},
        trained={c: shot.trained[c] for c in columns},
        repeats=shot.repeats,
        minibatch=shot.minibatch,
    )


def finished(study: Study, name: str) -> list[int]:
    """Supernets of a column that have scored every architecture."""
    single = study.by_repeat.get(name)
    return [] if single is None else list(np.flatnonzero(np.isfinite(single).all(0)))


def shuffled(score: Floats) -> Floats:
    return np.random.default_rng(0).permutation(score)


def mean_rank(*scores: Floats) -> Floats:
    """Of each architecture, those without a score last."""
    ranks = [Ranks.of(last_if_missing(score)).centred for score in scores]
    return np.round(np.mean(ranks, axis=0), 12)


def cells(key: str, value: float, low: float, high: float) -> dict[str, float]:
    return {key: value, f"{key}_low": low, f"{key}_high": high}


def adds(study: Study) -> pd.DataFrame:
    """(a) Every proxy beside the one-shot score."""
    shot, accuracy = study.scores["oneshot"], study.accuracy
    scored = {name: study.scores[name] for name in (*study.baselines, *study.proxies)}
    scored["shuffled nwot"] = shuffled(scored["nwot"])
    level = 1 - 0.05 / len(scored)
    rows = []
    for name, score in scored.items():
        own = association(score, accuracy, "spearman", confidence=level)
        found = gain(score, accuracy, [shot], confidence=level)
        both = mean_rank(shot, score)
        over = [
            paired_difference(both, rival, accuracy, "spearman", confidence=level)
            for rival in (shot, score)
        ]
        rest = partial_association(score, accuracy, [shot], confidence=level)
        row: dict[str, Any] = {"proxy": name, "baseline": name in study.baselines}
        row |= cells("alone", own.value, own.low, own.high) | {"n": own.n}
        row |= {"after": found.after}
        row |= cells(
            "gain", found.difference.value, found.difference.low, found.difference.high
        )
        row |= {"both": association(both, accuracy, "spearman").value}
        row |= cells("over_oneshot", over[0].value, over[0].low, over[0].high)
        row |= cells("over_proxy", over[1].value, over[1].low, over[1].high)
        rows.append(row | cells("partial", rest.value, rest.low, rest.high))
    return pd.DataFrame(rows).sort_values("alone", ascending=False, kind="stable")


def over(study: Study) -> pd.DataFrame:
    """(b) The one-shot score beside what costs nothing."""
    accuracy, rows = study.accuracy, []
    single = study.by_repeat["oneshot"]
    scores = {"mean of 3 supernets": study.scores["oneshot"]}
    scores |= {f"supernet {r}": single[:, r] for r in range(single.shape[1])}
    scores |= {"shuffled": shuffled(study.scores["oneshot"])}
    level = 1 - 0.05 / len(GIVEN)
    for named, given in GIVEN.items():
        known = [study.scores[name] for name in given]
        for name, score in scores.items():
            found = gain(score, accuracy, known, confidence=level)
            rest = partial_association(score, accuracy, known, confidence=level)
            delta = found.difference
            rows.append(
                {"given": named, "oneshot": name, "n": delta.n}
                | {"before": found.before, "after": found.after}
                | cells("gain", delta.value, delta.low, delta.high)
                | cells("partial", rest.value, rest.low, rest.high)
            )
    return pd.DataFrame(rows)


def predicted(study: Study) -> pd.DataFrame:
    """(b) Ridge regression from few trained architectures, on held-out ones."""
    mixed = {"shuffled_oneshot": shuffled(study.scores["oneshot"])}
    pool = pool_of(replace(study, scores={**study.scores, **mixed}))
    how = Prediction(train=(50,), trials=100, models=("ridge",), features=FEATURES)
    return predictions(pool, how, run_trials(pool, how)).table


def sampling(study: Study) -> pd.DataFrame:
    """(c) Ways to sample paths, at equal steps and at equal FLOPs of training."""
    rng = np.random.default_rng(0)
    accuracy, n = study.accuracy, len(study.archs)
    draws = rng.integers(0, n, (RESAMPLES, n))
    rows = []
    for name in COLUMNS:
        if not (kept := finished(study, name)):
            continue
        single = study.by_repeat[name][:, kept]
        rival = study.by_repeat["oneshot"][:, kept]
        values = [association(s, accuracy, "spearman").value for s in single.T]
        score = single.mean(axis=1)
        own = association(score, accuracy, "spearman")
        found, uniform = (best_found(study, s, draws) for s in (single, rival))
        row: dict[str, Any] = {"paths": NAMES[name], "supernets": len(kept)}
        row["flops"] = cost_of(name)
        row |= cells("single", *mean_of(values))
        row |= cells("rho", own.value, own.low, own.high)
        for key, other in (("change", "oneshot"), ("dearer", "oneshot_longer")):
            if name != other and set(kept) <= set(finished(study, other)):
                rank = study.by_repeat[other][:, kept].mean(axis=1)
                delta = paired_difference(score, rank, accuracy, "spearman")
                row |= cells(key, delta.value, delta.low, delta.high)
        row |= cells("found", found[0], *np.quantile(found[1:], [0.025, 0.975]))
        gap = found - uniform
        row |= cells("gap", gap[0], *np.quantile(gap[1:], [0.025, 0.975]))
        rows.append(row)
    for name in ("params", "nwot"):
        own = association(study.scores[name], accuracy, "spearman")
        found = best_found(study, study.scores[name][:, None], draws)
        row = {"paths": f"none: {name} alone", "supernets": 0}
        row |= cells("rho", own.value, own.low, own.high)
        row |= cells("found", found[0], *np.quantile(found[1:], [0.025, 0.975]))
        rows.append(row)
    return pd.DataFrame(rows)


def best_found(study: Study, scores: Floats, draws: np.ndarray) -> Floats:
    """Accuracy of the best of some architectures by one score; then of resamples.

    Args:
        study: gives the accuracies.
        scores: of each supernet. [n, r]
        draws: positions of resampled architectures. [resamples, n]
    """
    values = scores.T
    every = [np.arange(len(study.archs)), *draws]
    return np.array(
        [
            np.mean([best_of(v[d], study.accuracy[d], [DRAWN])[0] for v in values])
            for d in every
        ]
    )


def mean_of(values: Sequence[float]) -> tuple[float, float, float]:
    """Mean over supernets with Student's interval."""
    mean, n = float(np.mean(values)), len(values)
    if n < 2:
        return mean, math.nan, math.nan
    half = float(scipy_stats.t.ppf(0.975, n - 1) * np.std(values, ddof=1) / n**0.5)
    return mean, mean - half, mean + half


def search(study: Study) -> Block:
    """(d) Searches where a score chooses what to train, or what another may judge."""
    scores, seconds = dict(study.scores), dict(study.seconds)
    trained = {"oneshot": study.trained["oneshot"]}
    chance = np.zeros(len(study.archs))  # equal scores come in random order
    chosen = ["params", "nwot", "oneshot"]
    for first in ("params", "nwot"):
        kept = scores[first] >= np.nanquantile(scores[first], 1 - SHARE)
        for second in ("chance", "params", "oneshot"):
            if first == second:
                continue
            name = f"{first}, then {second}"
            scores[name] = np.where(kept, scores.get(second, chance), np.nan)
            seconds[name] = seconds[first] + SHARE * seconds.get(second, 0.0)
            if second in trained:
                trained[name] = trained[second]
            chosen.append(name)
    for name in ("oneshot", "nwot, then oneshot"):
        dear = f"{name}, at full price"
        scores[dear], seconds[dear] = scores[name], seconds[name]
        trained[dear] = FULL_PRICE * study.mean_train_seconds
        chosen.append(dear)
    pool = search_pool(
        replace(study, scores=scores, seconds=seconds, trained=trained), chosen
    )
    how = Search(trials=400, evaluations=50, warmup=100)
    variants = []
    for method in ("random", "evolution"):
        variants.append(Variant(method))
        for aid in ("warmup", "filter"):
            variants += [Variant(method, aid, (name,)) for name in chosen]
    traces = {variant: simulate(pool, variant, how) for variant in variants}
    return searches(pool, how, traces)


def search_text(block: Block, study: Study) -> str:
    return (
        f"**{escape_markdown(block.conclusion)}**\n\n{table_of(block)}\n"
        f"{escape_markdown(block.about)} “X, then Y”: the best {SHARE:.0%} by X, "
        "in the order of Y; chance is the control of what decides. The supernet is "
        "paid before the first training: by what these small ones took here, or “at "
        f"full price” by {FULL_PRICE:g} trainings of the benchmark, which one of full "
        "size takes. Searches differ by their draws; the supernets and the "
        f"{len(study.archs)} architectures are the same for all.\n"
    )


def ends(row: pd.Series, key: str, *, signed: bool = False) -> str:
    if math.isnan(row[key]):
        return ""
    return estimate(row, key, signed=signed)


def adds_text(table: pd.DataFrame) -> str:
    rows = [
        (
            escape_markdown(row["proxy"] + (" *" if row["baseline"] else "")),
            ends(row, "alone"),
            ends(row, "gain", signed=True),
            number(row["both"]),
            ends(row, "over_oneshot", signed=True),
            ends(row, "over_proxy", signed=True),
            ends(row, "partial"),
        )
        for _, row in table.iterrows()
    ]
    head = ("proxy", "ρ alone", "adds to one-shot", "ρ of mean rank with one-shot")
    head += ("against one-shot", "against the proxy", "partial ρ given one-shot")
    return (
        f"{markdown_table(head, rows, (False,) * len(head))}\nAdds: gain in ρ of a "
        "cross-fitted regression on ranks by the proxy, beside the one-shot score. All "
        f"intervals of a column hold together at 95% (Bonferroni over {len(table)}); "
        "`*` a baseline.\n"
    )


def over_text(table: pd.DataFrame) -> str:
    rows = [
        (
            escape_markdown(row["given"]),
            row["oneshot"],
            number(row["before"]),
            number(row["after"]),
            ends(row, "gain", signed=True),
            ends(row, "partial"),
        )
        for _, row in table.iterrows()
    ]
    head = ("given", "one-shot score", "ρ before", "ρ after", "gain", "partial ρ")
    return (
        f"{markdown_table(head, rows, (False,) * len(head))}\nCross-fitted regression "
        "on ranks; intervals of a score hold together at 95% (Bonferroni over "
        f"{len(GIVEN)}).\n"
    )


def predicted_text(table: pd.DataFrame) -> str:
    rows = [
        (escape_markdown(r["features"]), ends(r, "spearman"))
        for _, r in table.iterrows()
    ]
    return (
        f"{markdown_table(('features', 'ρ'), rows, (False, False))}\nRidge regression "
        "on 50 architectures, tested on those that are not isomorphic to one of them; "
        "100 trials, 95% intervals of the mean.\n"
    )


def sampling_text(table: pd.DataFrame) -> str:
    rows = [
        (
            row["paths"],
            str(row["supernets"] or ""),
            f"{row['flops']:.2g}" if row["supernets"] else "",
            ends(row, "single"),
            ends(row, "rho"),
            ends(row, "change", signed=True),
            ends(row, "dearer", signed=True),
            f"{row['found']:.2f} [{row['found_low']:.2f}, {row['found_high']:.2f}]",
            "" if row["paths"] == "uniform" else ends(row, "gap", signed=True),
        )
        for _, row in table.iterrows()
    ]
    there = dict(zip(table["paths"], table["supernets"], strict=True))
    lacking = [
        f"{name} ({REPEATS - there.get(name, 0)} of {REPEATS})"
        for name in NAMES.values()
        if there.get(name, 0) < REPEATS
    ]
    left = f" **Not trained yet: {', '.join(lacking)}.**" if lacking else ""
    head = ("paths trained", "supernets", "FLOPs", "ρ of one", "ρ of their mean score")
    head += (
        "Δρ to uniform",
        f"Δρ to uniform, {LONGER:g}×",
        f"accuracy of the best of {DRAWN}",
        "Δ to uniform",
    )
    return (
        f"{markdown_table(head, rows, (False,) * len(head))}\n{STEPS:,} steps of "
        f"{BATCH} images each, or {LONGER:g} times as many. FLOPs: of the training, to "
        "those of the uniform one; chosen paths are larger networks. Of one: mean of "
        "the supernets, with Student's interval where there are several. Other "
        "intervals: 95% over architectures, Δ paired on these, against uniform "
        "supernets of the same seeds. "
        f"Best of {DRAWN}: accuracy, in percent, of the best by score of {DRAWN} drawn "
        f"at random, mean over supernets.{left}\n"
    )


TABLES = {
    "adds": (adds, adds_text),
    "over": (over, over_text),
    "predicted": (predicted, predicted_text),
    "sampling": (sampling, sampling_text),
}


def about(study: Study) -> str:
    """What it is about: a small thing, and how small."""
    return (
        f"\n{title(study)}; {len(study.archs)} architectures at random. Supernets: "
        "C = 8, N = 1, CIFAR-10 images reduced to 16×16, 768 of them to train on and "
        f"256 to score by, {STEPS:,} steps of {BATCH}; mean of {REPEATS} seeds. Far "
        "from what one-shot training reaches on the whole of CIFAR-10. "
        "`scripts/measure_oneshot.py`.\n"
    )


def short(over: pd.DataFrame, sampling: pd.DataFrame) -> str:
    """What one-shot scores add to params, and a guide to them, in one sentence."""
    adds = over.set_index(["given", "oneshot"]).loc["params", "mean of 3 supernets"]
    paths = sampling.set_index("paths")
    uniform, guided = paths.loc[NAMES["oneshot"]], paths.loc[NAMES["oneshot_nwot"]]
    return (
        "Beside one-shot training in small (3 supernets trained on 768 images, "
        f"{adds['n']:.0f} random architectures, validation accuracy of CIFAR-10, 95% "
        f"intervals): its scores, of ρ {ends(uniform, 'rho')}, add "
        f"{ends(adds, 'gain', signed=True)} to the ρ of params; to train the paths "
        f"that nwot ranks highest changes theirs by "
        f"{ends(guided, 'dearer', signed=True)} against all paths at no smaller cost.\n"
    )


def summary(study: Study) -> str:
    """Four orders of the same architectures."""
    size = mean_rank(study.scores["params"], study.scores["oneshot"])
    best = mean_rank(study.scores["nwot"], study.scores["oneshot"])
    rows = []
    for name, score in (
        ("params", study.scores["params"]),
        ("nwot", study.scores["nwot"]),
        ("one-shot", study.scores["oneshot"]),
        ("mean rank of params and one-shot", size),
        ("mean rank of nwot and one-shot", best),
    ):
        own = association(score, study.accuracy, "spearman")
        change = paired_difference(
            score, study.scores["params"], study.accuracy, "spearman"
        )
        shown = f"{number(own.value)} {interval(own.low, own.high)}"
        delta = (
            f"{number(change.value, signed=True)} {interval(change.low, change.high)}"
        )
        rows.append((name, shown, "" if name == "params" else delta))
    return markdown_table(("order", "ρ", "Δρ to params"), rows, (False,) * 3) + about(
        study
    )


if __name__ == "__main__":
    main()
