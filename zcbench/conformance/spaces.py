"""Conformance checks for search spaces: what `zcbench check` runs on them.

>>> from zcbench.spaces import load_space
>>> all(finding.ok for finding in check_space(load_space("toy")))
True
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING

from zcbench.conformance.proxies import Finding
from zcbench.errors import (
    DataError,
    UsageError,
    ZcbenchError,
    first_line,
    is_users,
)
from zcbench.spaces import Space
from zcbench.spaces.base import Unlisted, build_network
from zcbench.types import Architecture

if TYPE_CHECKING:
    from torch import Tensor, nn

    from zcbench.types import Batch, Task

_N_STRINGS = 200
_N_NETWORKS = 4
_N_IMAGES = 8
_NO_SPACE = "\0 no architecture \0"

_Check = Callable[[Space], Finding]


def check_space(
    space: Space, begin: Callable[[], object] = lambda: None
) -> list[Finding]:
    """Everything that a good space does.

    Networks are built for a few architectures spread over the space, on every task, and
    scored by all proxies with 8 built-in images: all on the first task, one on others.

    Args:
        space: a search space; its ground truth is not looked at.
        begin: is called before every check.

    Returns:
        One finding for each check; a check that raises has failed.
    """
    checks: dict[str, _Check] = {
        "docstring": _documented,
        "strings": _strings,
        "foreign names": _foreign,
        "populations": _populations,
        "networks": _networks,
        "weights": _weights,
        "proxies": _proxies,
    }
    return [_run(name, check, space, begin) for name, check in checks.items()]


def _run(
    name: str, check: _Check, space: Space, begin: Callable[[], object]
) -> Finding:
    begin()
    try:
        return check(space)
    except BaseException as error:  # a space under test may raise anything
        if is_users(error):
            raise
        text = f"{type(error).__name__}: {first_line(error)}"
        return Finding(name, False, text[:200])


def _documented(space: Space) -> Finding:
    text = (inspect.getdoc(space) or "").partition("\n")[0]
    own = bool(type(space).__doc__)
    return Finding("docstring", own, text if own else "the class has no docstring")


def _strings(space: Space) -> Finding:
    """Positions and strings are inverse to each other, and no string occurs twice."""
    seen = set()
    for index in _spread(len(space), _N_STRINGS):
        arch = space.architecture(index)
        if (arch.space, arch.index) != (space.name, index):
            found = f"architecture({index}) is {arch}"
            return Finding("strings", False, found)
        if space.parse(arch.spec) != arch:
            found = f"parse({arch.spec!r}) is {space.parse(arch.spec)}"
            return Finding("strings", False, found)
        seen.add(arch.spec)
    many = min(len(space), _N_STRINGS)
    detail = f"{len(seen)} different of {many} looked at, of {len(space):,}"
    return Finding("strings", len(seen) == many, detail)


def _foreign(space: Space) -> Finding:
    """What does not exist is refused by the right kind of error."""
    first = space.architecture(0)
    calls: list[tuple[str, type[ZcbenchError], Callable[[], object]]] = [
        ("architecture(-1)", UsageError, lambda: space.architecture(-1)),
        ("architecture(len)", UsageError, lambda: space.architecture(len(space))),
        ("parse of another string", DataError, lambda: space.parse(_NO_SPACE)),
        ("another population", UsageError, lambda: space.population(_NO_SPACE)),
        ("another dataset", UsageError, lambda: space.build(first, _NO_SPACE)),
    ]
    for what, kind, call in calls:
        try:
            call()
        except kind:
            continue
        except BaseException as error:
            if is_users(error):
                raise
            found = f"{what} raises {type(error).__name__}, not {kind.__name__}"
            return Finding("foreign names", False, found)
        return Finding("foreign names", False, f"{what} raises nothing")
    return Finding("foreign names", True, "refused by UsageError or DataError")


def _populations(space: Space) -> Finding:
    """Sorted indices without repeats; ``all`` is there and has everything.

    Of an `Unlisted` space the first has everything.
    """
    import numpy as np

    sizes = []
    some = np.array(list(_spread(len(space), _N_STRINGS)), dtype=np.int64)
    for name in space.populations:
        if isinstance(space, Unlisted):
            members = space.among(name, some)
        else:
            members = space.population(name)
        fine = members.dtype == np.int64 and bool(np.all(np.diff(members) > 0))
        if not fine or not len(members) or members[0] < 0:
            found = f"{name} is not sorted int64 without repeats"
            return Finding("populations", False, found)
        if members[-1] >= len(space):
            return Finding("populations", False, f"{name} has an index too large")
        sizes.append(f"{name} {len(members):,}")
    if isinstance(space, Unlisted):
        first = space.populations[0]
        whole = len(space.among(first, some)) == len(some)
        of = f"of {len(some):,} looked at: {', '.join(sizes)}"
        detail = of if whole else f"{first}, the first, does not have every one"
        return Finding("populations", whole, detail)
    has_all = "all" in space.populations
    whole = has_all and len(space.population("all")) == len(space)
    detail = ", ".join(sizes) if whole else "there is no 'all' with every architecture"
    return Finding("populations", whole, detail)


def _networks(space: Space) -> Finding:
    """In train mode, on the CPU, one output a class, the random state left alone."""
    import torch

    for task in space.tasks.values():
        batch = _batch(task)
        for arch in _some(space):
            before = torch.random.get_rng_state()
            network = space.build(arch, task.name)
            where = f"{arch.spec} on {task.name}"
            if not torch.equal(before, torch.random.get_rng_state()):
                return Finding("networks", False, f"{where} moves the random state")
            if not network.training or _device(network) != "cpu":
                found = f"{where} is not in train mode on the CPU"
                return Finding("networks", False, found)
            shape = tuple(network(batch.x).shape)
            wanted = task.n_classes or shape[-1]
            if shape != (_N_IMAGES, wanted):
                found = f"{where} gives {list(shape)}, not [N, {task.n_classes}]"
                return Finding("networks", False, found)
    some, many = len(_some(space)), len(space.tasks)
    return Finding("networks", True, f"{some} architectures on {many} datasets")


def _weights(space: Space) -> Finding:
    """They depend on (seed, repeat, name) alone."""
    import torch

    task = next(iter(space.tasks))
    known: dict[tuple[str, tuple[int, ...]], Tensor] = {}
    for arch in _some(space):
        weights = _state(build_network(space, arch, task, seed=3, repeat=1))
        for name, value in weights.items():
            key = name, tuple(value.shape)
            if not torch.equal(known.setdefault(key, value), value):
                found = f"{name} of {arch.spec} has other values than in another one"
                return Finding("weights", False, found)
        for seed, repeat in ((4, 1), (3, 2)):
            other = _state(build_network(space, arch, task, seed=seed, repeat=repeat))
            if all(torch.equal(value, other[name]) for name, value in weights.items()):
                found = f"seed or repeat does not matter for {arch.spec}"
                return Finding("weights", False, found)
    return Finding("weights", True, "by seed, repeat and name alone")


def _proxies(space: Space) -> Finding:
    """No proxy raises; each has a score somewhere or says that it is undefined."""
    from zcbench.evaluate import evaluate
    from zcbench.plan import make_plan
    from zcbench.proxies import PROXIES

    plan = make_plan(PROXIES.select("all"))
    undefined: set[str] = set()
    for number, task in enumerate(space.tasks.values()):
        for arch in _some(space)[: 1 if number else None]:
            network = space.build(arch, task.name)
            for name, score in evaluate(network, _batch(task), plan).scores.items():
                if score.status not in ("ok", "undefined"):
                    found = f"{name} on {arch.spec}: {score.status} {score.message}"
                    return Finding("proxies", False, found.strip())
                if score.status == "undefined":
                    undefined.add(name)
    somewhere = ", ".join(sorted(undefined)) or "none"
    return Finding("proxies", True, f"undefined somewhere: {somewhere}")


def _some(space: Space) -> list[Architecture]:
    return [space.architecture(index) for index in _spread(len(space), _N_NETWORKS)]


def _spread(total: int, wanted: int) -> Iterable[int]:
    """Positions from the first to the last, evenly."""
    many = min(total, wanted)
    return [i * (total - 1) // max(1, many - 1) for i in range(many)]


def _batch(task: Task) -> Batch:
    from zcbench.minibatch import open_source

    return open_source("builtin", task).batch(_N_IMAGES, seed=0)


def _device(network: nn.Module) -> str:
    parameter = next(network.parameters(), None)
    return "cpu" if parameter is None else parameter.device.type


def _state(network: nn.Module) -> dict[str, Tensor]:
    """Convolutions' and linear layers' weights: what is drawn at random."""
    return {
        name: value for name, value in network.named_parameters() if value.dim() > 1
    }
