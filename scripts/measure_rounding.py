"""What does jacov say where the gradient that it reads is rounding of 0?

    python scripts/measure_rounding.py --space SPACE --dataset DATASET --truth FILE

Calculates jacov as code does that does not look whether there is a gradient: in
float32 on two minibatches, and in float64. Writes a page under results/rounding: the
size of the gradient beside one that is not 0 (of the outputs with random signs), ρ
with accuracy of each, ρ between them, and that of #params on the same networks.
"""

from __future__ import annotations

import argparse
import itertools
from pathlib import Path

import numpy as np
import torch

import zcbench
from zcbench.engine.sample import sample
from zcbench.errors import Undefined
from zcbench.evidence.minibatch_pass import is_rounding, row_correlation
from zcbench.evidence.records import InputCorrelation
from zcbench.minibatch import Source, open_source
from zcbench.proxies.input_gradients import jacov
from zcbench.report.text import markdown_table
from zcbench.seeding import generator
from zcbench.spaces import Space
from zcbench.stats import association
from zcbench.tasks import with_input_size

WAYS = {
    "float32": (torch.float32, 0),
    "float32, another minibatch": (torch.float32, 1),
    "float64": (torch.float64, 0),
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--space", required=True)
    parser.add_argument("--dataset", required=True)
    parser.add_argument("--truth", required=True)
    parser.add_argument("--input-size", type=int, default=32)
    parser.add_argument("--batch-size", type=int, default=16)
    parser.add_argument("--n", type=int, default=100)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("-o", "--output", type=Path, default=Path("results/rounding"))
    options = parser.parse_args()
    torch.set_num_threads(1)
    space = with_input_size(zcbench.load_space(options.space), options.input_size)
    source = open_source("builtin", space.tasks[options.dataset])
    archs = sample(space, options.n, seed=options.seed, population="all")
    found = np.array([scores(space, index, source, options) for index in archs])
    options.output.mkdir(parents=True, exist_ok=True)
    page = describe(found, archs, options)
    name = f"{options.space}-{options.dataset}.md"
    (options.output / name).write_text(page, encoding="utf-8")
    print(page)


def scores(
    space: Space, index: int, source: Source, options: argparse.Namespace
) -> list[float]:
    """Score of each way, size of the gradient in each, and #params."""
    values, sizes = [], []
    for dtype, repeat in WAYS.values():
        batch = source.batch(options.batch_size, seed=options.seed, repeat=repeat)
        network = space.build(
            space.architecture(index), options.dataset, seed=options.seed
        ).to(dtype)
        x = batch.x.to(dtype).requires_grad_()
        outputs = network(x)
        rows = gradient(outputs.sum(), x)
        signs = torch.randint(0, 2, (len(x), 1), generator=generator("signs")) * 2 - 1
        other = gradient((network(x) * signs).sum(), x)
        if rows.any() and not is_rounding(rows, x, outputs):
            raise SystemExit(f"Architecture {index} has a gradient: no rounding.")
        correlation = row_correlation(rows.double())
        try:
            values.append(jacov(InputCorrelation(correlation, (), outputs.shape[1])))
        except Undefined:  # exactly 0
            values.append(np.nan)
        sizes.append(float(rows.norm() / other.norm()))
    return [*values, *sizes, float(sum(p.numel() for p in network.parameters()))]


def gradient(total: torch.Tensor, x: torch.Tensor) -> torch.Tensor:
    """[N, C·H·W]."""
    if not total.requires_grad:
        return torch.zeros_like(x).flatten(1)
    (found,) = torch.autograd.grad(total, x, allow_unused=True)
    return (torch.zeros_like(x) if found is None else found).detach().flatten(1)


def describe(found: np.ndarray, archs: list[int], options: argparse.Namespace) -> str:
    """The page."""
    truth = zcbench.load_truth(options.space, options.dataset, options.truth)
    accuracy = truth.set_index("index")[truth.attrs["targets"][0]][archs]
    n = len(WAYS)
    used = np.isfinite(found[:, :n]).all(1)
    rows = []
    for number, name in enumerate([*WAYS, "params"]):
        column = found[used, number if number < n else -1]
        rho = association(column, accuracy[used], "spearman")
        size = f"{np.median(found[used, n + number]):.0e}" if number < n else ""
        rows.append([name, size, f"{rho.value:.2f} [{rho.low:.2f}, {rho.high:.2f}]"])
    pairs = ", ".join(
        f"{a} and {b} {association(x, y, 'spearman').value:.2f}"
        for (a, x), (b, y) in itertools.combinations(
            zip(WAYS, found[used, :n].T, strict=True), 2
        )
    )
    about = (
        f"jacov of rounding errors: {options.space}, {options.dataset}, {used.sum()} "
        f"of {len(archs)} random architectures (the others' gradient is exactly 0), "
        f"seed {options.seed}, built-in images of {options.input_size}², batch size "
        f"{options.batch_size}, 95% intervals."
    )
    head = ["jacov in", "gradient beside one that is not 0", "ρ with accuracy"]
    table = markdown_table(head, rows, [False, True, True])
    return f"{about}\n\n{table}\nρ between them: {pairs}.\n"


if __name__ == "__main__":
    main()
