r"""Measure how well made-up images stand in for real ones.

Random architectures are scored on disjoint batches of real images and on batches of
each candidate. The table has Spearman's ρ between the scores on a candidate and on a
real batch, averaged over all such pairs, for every proxy that looks at the data; its
first row is the agreement of the real batches with each other. Writes
fidelity.csv and fidelity.md.

\b
Example:
    python scripts/tune_minibatch.py --images IMAGES -o results/minibatch
"""

from __future__ import annotations

import json
import platform
from collections.abc import Iterator
from dataclasses import dataclass, replace
from itertools import combinations, product
from pathlib import Path

import click
import numpy as np
import pandas as pd
import torch
from numpy.typing import NDArray
from tqdm import tqdm

import zcbench
from zcbench.evaluate import evaluate
from zcbench.minibatch import Source, batch_digest, open_source
from zcbench.minibatch.builtin import RECIPE, Random, builtin_pixels
from zcbench.minibatch.normalise import normalise, statistics
from zcbench.plan import make_plan
from zcbench.proxies import PROXIES
from zcbench.seeding import derive
from zcbench.spaces import load_space
from zcbench.types import Architecture, Batch, Task

REAL = "another real batch"
RECIPES = {
    "dead leaves": replace(RECIPE, texture=0.0, brightness=0.0, contrast=0.0),
    "dead leaves, texture": replace(RECIPE, brightness=0.0, contrast=0.0),
    "dead leaves, texture and light": RECIPE,
}
SPACE = load_space("nb201")


@dataclass(frozen=True)
class Setting:
    """What a measurement depends on besides the images."""

    archs: int
    batch_size: int
    n_real: int
    n_made: int
    seed: int


def spectral_noise(
    n: int, task: Task, seed: object, exponent: float, *, natural: bool
) -> NDArray[np.uint8]:
    """Noise whose amplitude falls with frequency^exponent, as bytes [n, C, H, W].

    Args:
        n: number of images.
        task: gives size and statistics.
        seed: identity that seeds it.
        exponent: 0 is white noise, photographs have about 1.6 at this size.
        natural: correlate the channels, and vary brightness and contrast between
            images, as in photographs; else channels are independent.
    """
    rng = np.random.default_rng(derive(seed, "spectral noise", task.name))
    channels, height, width = task.input_shape
    frequency = np.hypot(np.fft.fftfreq(height)[:, None], np.fft.rfftfreq(width))
    frequency[0, 0] = np.inf
    white = rng.standard_normal((n, channels, height, width))
    spectrum = np.fft.rfft2(white) * frequency**-exponent
    noise = np.fft.irfft2(spectrum, s=(height, width))
    noise /= noise.std((2, 3), keepdims=True).mean()
    if natural:
        mixing = 0.93 ** np.abs(np.subtract.outer(range(channels), range(channels)))
        noise = np.einsum("ij,njhw->nihw", np.linalg.cholesky(mixing), noise)
        contrast = np.exp(0.3 * rng.standard_normal((n, 1, 1, 1)) - 0.09)
        light = rng.standard_normal((n, channels)) @ np.linalg.cholesky(mixing).T
        noise = np.sqrt(0.75) * contrast * noise + 0.5 * light[:, :, None, None]
    mean, std = (value[:, None, None] for value in statistics(task))
    return np.rint(np.clip(mean + std * noise, 0, 1) * 255).astype(np.uint8)


def candidates(task: Task, setting: Setting, index: int) -> Iterator[tuple[str, Batch]]:
    """One batch of each kind of made-up images, all with the same labels."""
    n, seed = setting.batch_size, setting.seed
    identity = (seed, "minibatch", task.name, 0, index)
    labels = torch.from_numpy(Random(*identity, "labels").classes(n, task.n_classes))

    def batch(pixels: NDArray[np.uint8]) -> Batch:
        x = np.ascontiguousarray(normalise(pixels, task))
        return Batch(torch.from_numpy(x), labels)

    gaussian = open_source("gaussian", task)
    yield "Gaussian noise", gaussian.batch(n, seed=seed, index=index)
    for name, natural in (("grey light", False), ("natural colour and light", True)):
        noise = spectral_noise(n, task, (seed, index), 1.6, natural=natural)
        yield f"1/f^1.6 noise, {name}", batch(noise)
    for name, recipe in RECIPES.items():
        pixels = builtin_pixels(n, task, *identity, "images", recipe=recipe)
        yield name, batch(pixels)


def batches(
    task: Task, source: Source, setting: Setting
) -> dict[str, tuple[Batch, ...]]:
    """Kind of images → its batches, real ones first."""
    real = tuple(
        source.batch(setting.batch_size, seed=setting.seed, index=index)
        for index in range(setting.n_real)
    )
    made = [dict(candidates(task, setting, index)) for index in range(setting.n_made)]
    return {REAL: real} | {
        kind: tuple(of_index[kind] for of_index in made) for kind in made[0]
    }


def data_proxies() -> list[str]:
    """Built-in proxies whose score depends on the images."""
    return [
        name
        for name in PROXIES.names()
        if not PROXIES.get(name).data_independent and not PROXIES.get(name).baseline
    ]


def sample(setting: Setting) -> list[Architecture]:
    """Random architectures that connect input and output."""
    members = SPACE.population("connected")
    rng = np.random.default_rng(derive(setting.seed, "tune_minibatch"))
    chosen = rng.permutation(members)[: setting.archs]
    return [SPACE.architecture(int(index)) for index in chosen]


def measure(
    task: Task, kinds: dict[str, tuple[Batch, ...]], setting: Setting, log: Path
) -> pd.DataFrame:
    """Scores, one row per (architecture, batch); what the log has is not done again."""
    plan = make_plan(PROXIES.select(data_proxies()))
    identity = ("dataset", "arch", "seed", "digest")
    done: dict[tuple[object, ...], dict[str, object]] = {}
    log.parent.mkdir(parents=True, exist_ok=True)
    if log.exists():
        known = map(json.loads, log.read_text().splitlines())
        done = {tuple(row[name] for name in identity): row for row in known}
    named = [
        (f"{kind} #{number}", batch, batch_digest(batch))
        for kind, of_kind in kinds.items()
        for number, batch in enumerate(of_kind)
    ]
    rows = []
    with log.open("a") as file:
        for arch, (name, batch, digest) in tqdm(
            [(arch, one) for arch in sample(setting) for one in named], desc=task.name
        ):
            key = (task.name, arch.index, setting.seed, digest)
            if key not in done:
                network = SPACE.build(arch, task.name, seed=setting.seed)
                scores = evaluate(network, batch, plan, seed=setting.seed).scores
                done[key] = dict(zip(identity, key, strict=True)) | {
                    proxy: score.value for proxy, score in scores.items()
                }
                file.write(json.dumps(done[key]) + "\n")
                file.flush()
            rows.append(done[key] | {"batch": name})
    scores = pd.DataFrame(rows).drop(columns=["dataset", "seed", "digest"])
    return scores.astype(dict.fromkeys(data_proxies(), float))


def agreement(
    scores: pd.DataFrame, kinds: dict[str, tuple[Batch, ...]]
) -> pd.DataFrame:
    """Spearman's ρ with the real batches: one row per kind of images."""
    names = {
        kind: [f"{kind} #{number}" for number in range(len(of_kind))]
        for kind, of_kind in kinds.items()
    }
    real = names.pop(REAL)
    pairs = {REAL: list(combinations(real, 2))}
    pairs |= {kind: list(product(made, real)) for kind, made in names.items()}
    columns = {}
    for proxy in scores.columns.drop(["arch", "batch"]):
        table = scores.pivot_table(proxy, index="arch", columns="batch", dropna=False)
        columns[proxy] = {
            kind: np.mean([table[a].corr(table[b], "spearman") for a, b in of_kind])
            for kind, of_kind in pairs.items()
        }
    return pd.DataFrame(columns)


def write(
    tables: dict[str, pd.DataFrame],
    described: dict[str, str],
    datasets: str,
    setting: Setting,
    out: Path,
) -> None:
    """Write fidelity.csv and fidelity.md."""
    out.mkdir(parents=True, exist_ok=True)
    joint = pd.concat(tables, names=["dataset", "images"])
    joint.round(4).to_csv(out / "fidelity.csv")
    lines = [
        "# What the built-in images are worth",
        "",
        "Spearman's ρ over random connected NAS-Bench-201 architectures between "
        "scores on the images of a row and scores on real images: mean over "
        f"{setting.n_made} batches of the row × {setting.n_real} disjoint real ones, "
        f"or over the pairs of real ones in the row “{REAL}”, which is the most that "
        "made-up images can be expected to reach. Batches of "
        f"{setting.batch_size}, seed {setting.seed}, one initialisation; an "
        "architecture whose score is undefined on either side is left out.",
        "",
    ]
    for dataset, table in tables.items():
        lines += [f"## {dataset}", "", described[dataset], "", *markdown(table), ""]
    lines += [
        f"Made by `python scripts/tune_minibatch.py --images FOLDER --datasets "
        f"{datasets} --batch-size {setting.batch_size} --real {setting.n_real} "
        f"--made {setting.n_made} --seed {setting.seed} -o results/minibatch` with "
        f"zcbench {zcbench.__version__}, torch {torch.__version__}, NumPy "
        f"{np.__version__}, one thread, CPU: {processor()}.",
        "",
    ]
    (out / "fidelity.md").write_text("\n".join(lines), encoding="utf-8")


def markdown(table: pd.DataFrame) -> Iterator[str]:
    """Lines of a Markdown table."""
    yield "| images | " + " | ".join(table.columns) + " |"
    yield "|---" * (1 + len(table.columns)) + "|"
    for kind, row in table.iterrows():
        yield f"| {kind} | " + " | ".join(f"{value:.3f}" for value in row) + " |"


def processor() -> str:
    """Model of the CPU."""
    info = Path("/proc/cpuinfo")
    if info.exists():
        for line in info.read_text().splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return platform.processor() or platform.machine()


@click.command(help=__doc__, context_settings={"max_content_width": 88})
@click.option("--images", required=True, help="Folder with real images.")
@click.option(
    "--datasets",
    default="cifar10=60,cifar100=60,ImageNet16-120=60",
    show_default=True,
    help="Datasets, each with a number of architectures.",
)
@click.option("--batch-size", default=64, show_default=True)
@click.option("--real", default=3, show_default=True, help="Real batches.")
@click.option(
    "--made", default=2, show_default=True, help="Batches of each other kind."
)
@click.option("--seed", default=0, show_default=True)
@click.option("-o", "--out", type=click.Path(path_type=Path), required=True)
@click.option(
    "--log",
    type=click.Path(path_type=Path),
    default=Path("runs/tune_minibatch.jsonl"),
    show_default=True,
    help="Scores so far; an interrupted run goes on from them.",
)
def main(
    images: str,
    datasets: str,
    batch_size: int,
    real: int,
    made: int,
    seed: int,
    out: Path,
    log: Path,
) -> None:
    torch.set_num_threads(1)
    tables: dict[str, pd.DataFrame] = {}
    described: dict[str, str] = {}
    for name, archs in (part.split("=") for part in datasets.split(",")):
        setting = Setting(int(archs), batch_size, real, made, seed)
        task = SPACE.tasks[name]
        source = open_source(images, task)
        described[name] = (
            f"{archs} architectures; real images: {source.name}, sha256 "
            f"{source.digest}."
        )
        compared = batches(task, source, setting)
        tables[name] = agreement(measure(task, compared, setting, log), compared)
        write(tables, described, datasets, setting, out)


if __name__ == "__main__":
    main()
