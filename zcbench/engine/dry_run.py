"""What a run would do and how long it would take, without doing it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence

from zcbench.config import RunConfig
from zcbench.engine.executors import Options, count_workers, score
from zcbench.engine.job import Job, make_job
from zcbench.engine.manifest import check_same, describe
from zcbench.engine.observer import duration
from zcbench.engine.stacks import Stack, stacks_of
from zcbench.engine.work import WorkItem
from zcbench.store import Key, is_empty, read_done, read_manifest

N_MEASURED = 3


def dry_run(config: RunConfig) -> list[str]:
    """Lines that describe a run; nothing is written.

    Raises:
        ZcbenchError: whatever would stop the run before it starts.
    """
    job = make_job(config)
    done = _done(job)
    items = job.items(lambda key: done.get(key, frozenset()))
    total = job.n_networks
    return [*_what(job, total, total - len(items)), *_passes(job), *_time(job, items)]


def _done(job: Job) -> Mapping[Key, frozenset[str]]:
    """What the run directory has, if it is one that the run could go on with."""
    path = job.config.out
    if path is None or not path.exists() or is_empty(path):
        return {}
    check_same(path, read_manifest(path), describe(job))
    return read_done(path)


def _what(job: Job, total: int, done: int) -> list[str]:
    config = job.config
    truths = {str(a.get("release", a.get("truth", "?"))) for a in job.truths.values()}
    images = dict.fromkeys(batch["name"] for batch in job.minibatches.values())
    side = config.input_size
    size = "" if side == "auto" else f" at {side}×{side}"
    sizes = [len(archs) for archs in job.archs.values()]
    counts = f"{sizes[0]:,} architectures × {len(sizes)} datasets"
    if len(set(sizes)) > 1:
        counts = f"{' + '.join(map(str, sizes))} architectures"
    origin = config.archs or f"sampled with seed {config.seed}"
    there = f", {done:,} of them already done" if done else ""
    return [
        f"space      {job.space.name}, population {config.population}, {origin}",
        f"datasets   {' '.join(job.datasets)}",
        f"networks   {counts} × {config.repeats} repeats = {total:,}{there}",
        f"minibatch  {config.batch_size} images{size}: {' '.join(images)}",
        f"truth      {config.target}: {'; '.join(sorted(truths)) or 'none'}",
        f"device     {job.device}, {count_workers(job.workers, job.device)} workers "
        f"× {config.threads} threads"
        + ("" if config.executor == "local" else f", executor {config.executor}"),
    ]


def _passes(job: Job) -> list[str]:
    from zcbench.plan import make_plan

    plan = make_plan(job.proxies)
    width = max(map(len, plan.passes), default=0)
    lines = ["passes     each once per network, shared by the proxies named"]
    lines += [f"  {name:<{width}}  {' '.join(ids)}" for name, ids in plan.users.items()]
    served = {name for ids in plan.users.values() for name in ids}
    if rest := [proxy.name for proxy in job.proxies if proxy.name not in served]:
        lines.append(f"  {'-':<{width}}  {' '.join(rest)}")
    return lines


def _time(job: Job, items: Sequence[WorkItem]) -> list[str]:
    """Estimate from a few networks of each dataset."""
    left = Counter(item.dataset for item in items)
    if not left:
        return ["time       nothing is missing"]
    per_network, n_measured = {}, {}
    for dataset in left:
        some = [item for item in items if item.dataset == dataset]
        trials = [i for stack in _trials(stacks_of(job.setup, some)) for i in stack]
        # In other processes where code of others is among it; warmed up in any case.
        records = list(score(job.setup, trials, Options(workers=1)))
        n_measured[dataset] = len(trials)
        spent = [record["seconds"].get("total", 0.0) for record in records]
        per_network[dataset] = sum(spent) / len(trials)
    workers = min(count_workers(job.workers, job.device), len(items))
    seconds = sum(count * per_network[name] for name, count in left.items()) / workers
    each = ", ".join(f"{name} {spent:.2g} s" for name, spent in per_network.items())
    return [
        f"time       about {duration(seconds)} (a network takes: {each}; measured on "
        f"{max(n_measured.values())} each)"
    ]


def _trials(stacks: Iterator[Stack]) -> list[Stack]:
    """The first stacks that have enough networks together."""
    trials: list[Stack] = []
    for stack in stacks:
        trials.append(stack)
        if sum(map(len, trials)) >= N_MEASURED:
            break
    return trials
