"""Do the intervals over few spaces cover at their nominal rate? A simulation.

    python scripts/measure_spaces.py

Draws spaces from populations of spaces: each proxy has a strength, which moves from
space to space (normal, or skewed as an exponential), less from task to task and with
the sampled architectures; spaces have 1 to 7 tasks; in one population a proxy orders
nothing in a quarter of the spaces. The truth is the mean over 20,000 spaces. Counts how
often the 95% intervals of mean Δρ (to the best of two baselines) and of the mean rank
contain it: as zcbench makes them, and by the percentiles of resampled spaces. Writes
spaces.csv and spaces.md.
"""

from __future__ import annotations

import argparse
import platform
import time
from pathlib import Path

import numpy as np
import pandas as pd
import scipy

from zcbench.report.text import markdown_table
from zcbench.stats.tasks import interval_over_units, leads, ranks

PROXIES = 20
BASELINES = (0, 1)
STRENGTH = np.linspace(0.3, 0.6, PROXIES)
TASKS = (1, 1, 2, 3, 4, 6, 7)
SPACES = (2, 3, 4, 6, 8, 10, 12)
POPULATIONS = {
    "normal": (False, 0.0),
    "skewed": (True, 0.0),
    "normal, a quarter silent": (False, 0.25),
}
"""Name → (skewed effects of spaces, share of the spaces that a proxy cannot order)."""
MEASURES = ("mean Δρ", "mean rank")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--samples", type=int, default=2000, help="of each setting")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("-o", "--output", type=Path, default=Path("results/statistics"))
    options = parser.parse_args()
    start = time.perf_counter()
    rows = []
    for name, population in POPULATIONS.items():
        rng = np.random.default_rng([options.seed, len(name)])
        truth = [values.mean(axis=0) for values in draw(20_000, rng, *population)]
        for spaces in SPACES:
            covered = counts(spaces, truth, options.samples, rng, population)
            for measure, shares in zip(MEASURES, covered, strict=True):
                rows.append({"population": name, "spaces": spaces, "of": measure})
                rows[-1] |= shares
    table = pd.DataFrame(rows)
    options.output.mkdir(parents=True, exist_ok=True)
    table.to_csv(options.output / "spaces.csv", index=False, float_format="%.4f")
    seconds = time.perf_counter() - start
    text = described(table, options, seconds)
    (options.output / "spaces.md").write_text(text, encoding="utf-8")
    print(text)


def draw(
    spaces: int, rng: np.random.Generator, skewed: bool, silent: float
) -> tuple[np.ndarray, np.ndarray]:
    """Mean Δρ and mean rank of each proxy in each space, two of [spaces, proxies]."""
    delta, place = np.empty((2, spaces, PROXIES))
    for space in range(spaces):
        tasks = rng.choice(TASKS)
        effect = (
            rng.exponential(size=PROXIES) - 1 if skewed else rng.normal(size=PROXIES)
        )
        sampled = 0.03 * rng.normal(size=PROXIES)  # by architectures: all tasks alike
        by_task = 0.07 * rng.normal(size=(tasks, PROXIES))
        rho = STRENGTH + 0.1 * rng.normal() + 0.15 * effect + sampled + by_task
        mute = rng.random(PROXIES) < silent
        mute[list(BASELINES)] = False
        rho = np.where(mute, 0.0, np.clip(rho, -1, 1))
        delta[space] = leads(rho, BASELINES).mean(axis=0)
        place[space] = ranks(rho).mean(axis=0)
    return delta, place


def counts(
    spaces: int,
    truth: list[np.ndarray],
    samples: int,
    rng: np.random.Generator,
    population: tuple[bool, float],
) -> list[dict[str, float]]:
    """Of each measure: shares of the intervals that contain the truth, and widths."""
    others = [i for i in range(PROXIES) if i not in BASELINES]
    pools = (others, range(PROXIES))
    hits = [{"t": [], "percentile": [], "width": []} for _ in MEASURES]
    for _ in range(samples):
        drawn = draw(spaces, rng, *population)
        for values, of, pool, kept in zip(drawn, truth, pools, hits, strict=True):
            low, high = interval_over_units(values, pool, 0.95)
            kept["t"].append(((low <= of) & (of <= high))[others])
            kept["width"].append((high - low)[others])
            chosen = rng.integers(spaces, size=(200, spaces))
            low, high = np.quantile(values[chosen].mean(axis=1), [0.025, 0.975], axis=0)
            kept["percentile"].append(((low <= of) & (of <= high))[others])
    return [
        {
            "covered": np.mean(kept["t"]),
            "covered_least": np.mean(kept["t"], axis=0).min(),
            "percentile": np.mean(kept["percentile"]),
            "width": np.mean(kept["width"]),
        }
        for kept in hits
    ]


def described(table: pd.DataFrame, options: argparse.Namespace, seconds: float) -> str:
    header = (
        *("spaces differ", "interval of", "spaces", "covers", "of the worst proxy"),
        *("percentiles would", "width"),
    )
    cells = [
        (
            r.population,
            r.of,
            str(r.spaces),
            *(f"{100 * v:.1f}%" for v in (r.covered, r.covered_least, r.percentile)),
            f"{r.width:.2f}",
        )
        for r in table.itertuples()
    ]
    right = (False, False, *[True] * 5)
    return (
        f"#### Over spaces: nominal 95%\n\n"
        f"{markdown_table(header, cells, right)}\n"
        f"{options.samples:,} samples each, {PROXIES} proxies of which "
        f"{len(BASELINES)} are baselines, spaces of 1 to 7 tasks; covers: mean "
        "over the proxies that are no baselines; percentiles: of 200 resamples of the "
        "spaces.\n\n"
        f"Command: `python scripts/measure_spaces.py --samples {options.samples} "
        f"--seed {options.seed}`, {seconds:.0f} s on one core ({platform.machine()}), "
        f"Python {platform.python_version()}, numpy {np.__version__}, scipy "
        f"{scipy.__version__}.\n"
    )


if __name__ == "__main__":
    main()
