"""Hundreds of searches at once: every array has one row for each of them.

Three methods, each alone or with the aid of a proxy:

- random: architectures drawn uniformly, without repetition;
- evolution: regularised (ageing) evolution, Real et al. 2019: the best of a few members
  of the population has a mutated child, which replaces the oldest member;
- predictor: in rounds, a model learns from all that is trained and picks what to train
  next, as BANANAS (White et al. 2021) does. The model is a Bayesian linear regression
  on operations and paths, and each pick follows its own draw from the posterior
  (independent Thompson sampling), so that hundreds are solved at once.

Aids:

- none;
- warmup: the first architectures to be trained are the best by proxy of a random
  sample, in place of the first few at random (Abdelfattah et al. 2021);
- filter: several candidates are drawn where one is wanted, and the best by proxy is
  taken (their "move proposal");
- features: proxies are columns of the predictor, beside the encoding.

What has no score comes after all that has one.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from functools import partial

import numpy as np

from zcbench.analysis.search.pool import (
    FEWEST,
    SearchPool,
    Setting,
    Trace,
    Variant,
    normal_scores,
)
from zcbench.errors import UsageError
from zcbench.seeding import derive
from zcbench.stats.ranks import Floats, Ints

ROUND = 10
"""Architectures that a predictor picks between two fits; size of a population."""
PARENTS = 3
"""Members of a population among which a parent is the best (NATS-Bench's setting)."""
MUTANTS = 5
"""Mutations of each of the best ten that a predictor looks at."""
STRANGERS = 50
"""Architectures at random that a predictor looks at besides."""
PENALTY = 1.0
"""Prior precision of the weights of the predictor, its labels being normal scores."""


def simulate(pool: SearchPool, variant: Variant, setting: Setting) -> Trace:
    """Run all trials of one variant.

    Variants share the random numbers of their first steps, so that their differences,
    trial by trial, are less noisy than they are.

    Raises:
        UsageError: more evaluations are asked for than there are architectures.
    """
    if not FEWEST <= setting.evaluations <= len(pool):
        raise UsageError(
            f"{setting.evaluations:,} evaluations are asked for, and there are "
            f"{len(pool):,} architectures.",
            f"Ask for {FEWEST} to {len(pool):,} with --evaluations.",
        )
    search = _Search(pool, variant, setting)
    _METHODS[variant.method](search)
    return search.trace()


class _Search:
    """All trials of one variant, in step."""

    def __init__(self, pool: SearchPool, variant: Variant, setting: Setting) -> None:
        self.pool, self.variant, self.setting = pool, variant, setting
        self.rng = np.random.default_rng(derive("search", setting.seed))
        trials, n = setting.trials, len(pool)
        self.rows = np.arange(trials)
        self.done = 0
        self.chosen = np.zeros((trials, setting.evaluations), dtype=np.int64)
        self.seen = np.zeros((trials, setting.evaluations))
        self.hours = np.zeros((trials, setting.evaluations))
        once = sum(pool.proxies[name].once for name in variant.proxies)
        self.clock = np.full(trials, float(once))
        self.taken = np.zeros((trials, n), dtype=bool)
        self.scored = np.zeros((trials, n), dtype=bool)
        self.order = np.zeros(n)
        if variant.aid in ("warmup", "filter"):
            self.order = _last(pool.proxies[variant.proxies[0]].order)

    @property
    def left(self) -> int:
        """How many trainings each trial may still do."""
        return self.setting.evaluations - self.done

    def train(self, chosen: Ints) -> None:
        """Train one more architecture in every trial.

        Args:
            chosen: positions that their trial has not trained. [trials]
        """
        pool = self.pool
        draw = self.rng.random(len(chosen)) * pool.trained[chosen]
        self.clock = self.clock + pool.hours[chosen]
        self.chosen[:, self.done] = chosen
        self.seen[:, self.done] = pool.seen[chosen, draw.astype(np.int64)]
        self.hours[:, self.done] = self.clock
        self.taken[self.rows, chosen] = True
        self.done += 1

    def strangers(self, count: int) -> Ints:
        """Untrained architectures at random, with repetition, [trials, count]."""
        drawn = self.rng.integers(0, len(self.pool), (len(self.rows), count))
        for _ in range(8):
            bad = self.taken[self.rows[:, None], drawn]
            if not bad.any():
                return drawn
            drawn[bad] = self.rng.integers(0, len(self.pool), int(bad.sum()))
        # Few are left: choose among exactly those.
        for row in np.flatnonzero(self.taken[self.rows[:, None], drawn].any(axis=1)):
            free = np.flatnonzero(~self.taken[row])
            drawn[row] = self.rng.choice(free, count)
        return drawn

    def mutants(self, parents: Ints, count: int) -> Ints:
        """Untrained neighbours, [trials, count]; strangers where there are too few.

        Args:
            parents: positions. [trials]
            count: how many of each, all different.
        """
        near = self.pool.neighbours[parents]
        turn = self.rng.random(near.shape)
        turn[(near < 0) | self.taken[self.rows[:, None], near]] = math.inf
        if (short := count - near.shape[1]) > 0:
            near = np.pad(near, ((0, 0), (0, short)))
            turn = np.pad(turn, ((0, 0), (0, short)), constant_values=math.inf)
        first = np.argsort(turn, axis=1)[:, :count]
        chosen = np.take_along_axis(near, first, axis=1)
        missing = np.isinf(np.take_along_axis(turn, first, axis=1))
        if missing.any():
            chosen = np.where(missing, self.strangers(count), chosen)
        return chosen

    def pay(self, candidates: Ints, proxies: Sequence[str]) -> None:
        """Add the cost of scoring what was not scored before.

        Args:
            candidates: positions, perhaps repeated. [trials, k]
            proxies: by which.
        """
        ordered = np.sort(candidates, axis=1)
        new = ~self.scored[self.rows[:, None], ordered]
        new[:, 1:] &= ordered[:, 1:] != ordered[:, :-1]
        for name in proxies:
            hours = self.pool.proxies[name].hours[ordered]
            self.clock = self.clock + (hours * new).sum(axis=1)
        self.scored[self.rows[:, None], ordered] = True

    def best(self, candidates: Ints, count: int = 1) -> Ints:
        """The best of some candidates by proxy, best first, [trials, count]."""
        self.pay(candidates, self.variant.proxies)
        # Equal scores in random order, which is that of the candidates.
        rank = np.argsort(-self.order[candidates], axis=1, kind="stable")
        return np.take_along_axis(candidates, rank[:, :count], axis=1)

    def one(self, draw: Callable[[int], Ints]) -> Ints:
        """One candidate, or the best by proxy of several where a proxy filters."""
        if self.variant.aid != "filter":
            return draw(1)[:, 0]
        return self.best(draw(self.setting.candidates))[:, 0]

    def start(self) -> None:
        """Train the first few: at random, or the best by proxy of a sample."""
        first = min(ROUND, self.left)
        if self.variant.aid != "warmup":
            for _ in range(first):
                self.train(self.one(self.strangers))
            return
        size = min(max(self.setting.warmup, first), len(self.pool))
        keys = self.rng.random((len(self.rows), len(self.pool)), dtype=np.float32)
        sample = np.argpartition(keys, size - 1, axis=1)[:, :size]
        for chosen in self.best(sample, first).T:
            self.train(chosen)

    def trace(self) -> Trace:
        """What was trained, and what it is worth."""
        best = np.maximum.accumulate(self.seen, axis=1)
        new = np.diff(best, axis=1, prepend=-math.inf) > 0
        at = np.maximum.accumulate(np.where(new, np.arange(new.shape[1]), 0), axis=1)
        reached = self.pool.accuracy[np.take_along_axis(self.chosen, at, axis=1)]
        return Trace(self.chosen, self.seen, self.hours, reached)


def _random(search: _Search) -> None:
    search.start()
    while search.left:
        search.train(search.one(search.strangers))


def _evolution(search: _Search) -> None:
    search.start()
    rows = search.rows
    while search.left:
        young = max(0, search.done - ROUND)
        keys = search.rng.random((len(rows), search.done - young))
        few = young + np.argsort(keys, axis=1)[:, :PARENTS]
        win = np.argmax(np.take_along_axis(search.seen, few, axis=1), axis=1)
        parents = search.chosen[rows, few[rows, win]]
        search.train(search.one(partial(search.mutants, parents)))


def _predictor(search: _Search) -> None:
    search.start()
    columns = _columns(search)
    rows = search.rows
    while search.left:
        if search.variant.aid == "features":
            search.pay(search.chosen[:, : search.done], search.variant.proxies)
        past = slice(0, search.done)
        top = np.argsort(-search.seen[:, past], axis=1, kind="stable")[:, :ROUND]
        parents = np.take_along_axis(search.chosen[:, past], top, axis=1)
        near = [search.mutants(parent, MUTANTS) for parent in parents.T]
        candidates = np.hstack([*near, search.strangers(STRANGERS)])
        if search.variant.aid == "filter":
            candidates = search.best(candidates, 2 * ROUND)
        elif search.variant.aid == "features":
            search.pay(candidates, search.variant.proxies)
        picks = min(ROUND, search.left)
        weights = posterior(
            columns[search.chosen[:, past]],
            np.array([normal_scores(row) for row in search.seen[:, past]]),
            search.rng.standard_normal((len(rows), columns.shape[1], picks)),
        )
        value = columns[candidates] @ weights
        for pick in range(picks):
            open_ = ~search.taken[rows[:, None], candidates]
            wanted = np.where(open_, value[:, :, pick], -math.inf)
            chosen = candidates[rows, np.argmax(wanted, axis=1)]
            spent = ~open_.any(axis=1)
            if spent.any():
                chosen = np.where(spent, search.strangers(1)[:, 0], chosen)
            search.train(chosen)


_METHODS: dict[str, Callable[[_Search], None]] = {
    "random": _random,
    "evolution": _evolution,
    "predictor": _predictor,
}


def _columns(search: _Search) -> Floats:
    """What a predictor sees: a one, the encoding, and proxies if they are features.

    A missing score is the middle of the order, and a column says that it is missing.
    """
    parts = [np.ones((len(search.pool), 1)), search.pool.encoding]
    if search.variant.aid == "features":
        for name in search.variant.proxies:
            order = search.pool.proxies[name].order
            missing = np.isnan(order)
            parts.append(np.where(missing, 0.0, order)[:, None])
            parts += [missing[:, None].astype(float)] if missing.any() else []
    return np.hstack(parts)


def posterior(x: Floats, y: Floats, noise: Floats) -> Floats:
    """Draws from the posteriors of many Bayesian linear regressions, [t, d, k].

    Prior N(0, I / PENALTY); the variance of the noise is that of the residuals of the
    posterior mean, at least .01.

    Args:
        x: [t, c, d] what is known of c architectures in each of t regressions.
        y: [t, c] their labels.
        noise: [t, d, k] standard normal numbers, k draws.
    """
    across = x.transpose(0, 2, 1)
    precision = across @ x
    index = np.arange(x.shape[2])
    precision[:, index, index] += PENALTY
    factor = np.linalg.cholesky(precision)
    mean = np.linalg.solve(precision, across @ y[:, :, None])
    rest = y - (x @ mean)[:, :, 0]
    sigma = np.sqrt(np.maximum((rest**2).mean(axis=1), 0.01))
    spread = np.linalg.solve(factor.transpose(0, 2, 1), noise)
    return np.asarray(mean + sigma[:, None, None] * spread)


def _last(order: Floats) -> Floats:
    """What has no score comes last."""
    return np.where(np.isnan(order), -math.inf, order)
