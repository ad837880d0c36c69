"""What a check has found, and what follows from it for every proxy."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any, cast

from zcbench.engine.self_check import Way
from zcbench.engine.self_check.compare import Checked
from zcbench.plan import Plan, make_plan
from zcbench.types import Evaluation, Proxy, Score

STACKED = " (stacked)"
"""What follows a record's name if many networks at once have made it."""


@dataclass(frozen=True, slots=True)
class Finding:
    """Outcome of one check.

    Attributes:
        about: device, its name, versions, precision, and what was compared.
        networks: the architectures.
        checks: way → name of a record, or of a proxy for its formula → what came out;
            ways that were not needed are left out.
    """

    about: Mapping[str, str]
    networks: tuple[str, ...]
    checks: Mapping[str, Mapping[str, Checked]]

    def way_of(self, plan: Plan, proxy: str) -> Way | None:
        """First way in which all that a proxy reads agrees, its formula, too."""
        names = [record.__name__ for record in plan.needs[proxy]]
        names += [name + STACKED for name in names]
        for way, checks in self.checks.items():
            if all(checks[n].agrees for n in (*names, proxy) if n in checks):
                return cast("Way", way)
        return None

    def reason(self, plan: Plan, proxy: str) -> str:
        """Why no way, or not the first, is good enough for a proxy."""
        names = [record.__name__ for record in plan.needs[proxy]]
        names += [name + STACKED for name in names]
        asked = next(iter(self.checks.values()))
        for name in (*names, proxy):
            if name in asked and not asked[name].agrees:
                what = "formula" if name == proxy else "record"
                return (
                    f"on {self.about['device']} the {what} {name} disagrees with the "
                    f"CPU in float64 ({asked[name]})"
                )
        return ""

    def as_dict(self, plan: Plan) -> dict[str, Any]:
        """For the manifest: with what was done about each proxy."""
        ways = {proxy.name: self.way_of(plan, proxy.name) for proxy in plan.proxies}
        others = {name: way for name, way in ways.items() if way != "as asked"}
        return {
            **asdict(self),
            "agreed": not others,
            "taken": {name: way or "none" for name, way in others.items()},
            "reasons": {name: self.reason(plan, name) for name in others},
        }

    @classmethod
    def from_dict(cls, held: Mapping[str, Any]) -> Finding:
        """The reverse; what is more in it is left out."""
        checks = {
            way: {name: Checked(**one) for name, one in checks.items()}
            for way, checks in held["checks"].items()
        }
        return cls(held["about"], tuple(held["networks"]), checks)


def evaluate_by_ways(
    finding: Finding | None,
    plan: Plan,
    evaluate: Callable[[Plan, Way], Sequence[Evaluation]],
) -> list[Evaluation]:
    """Scores of networks, each proxy in the way that its evidence is right in.

    Args:
        finding: of the check; None if none was needed.
        plan: which proxies.
        evaluate: scores the networks with some proxies in one way.

    Returns:
        For each network all scores of the plan. Proxies for which no way is good have
        the status ``error``.
    """
    groups: dict[Way | None, list[Proxy]] = {}
    for proxy in plan.proxies:
        way = finding.way_of(plan, proxy.name) if finding else "as asked"
        groups.setdefault(way, []).append(proxy)
    if list(groups) == ["as asked"] or not groups:
        return list(evaluate(plan, "as asked"))
    failed = {
        proxy.name: Score(None, "error", 0.0, finding.reason(plan, proxy.name))
        for proxy in groups.pop(None, [])
        if finding
    }
    parts = [evaluate(make_plan(some), way) for way, some in groups.items() if way]
    parts = parts or [evaluate(make_plan([]), "as asked")]
    return [_merged(plan, failed, some) for some in zip(*parts, strict=True)]


def _merged(
    plan: Plan, failed: Mapping[str, Score], parts: Sequence[Evaluation]
) -> Evaluation:
    """Scores in the order of the plan; seconds of all."""
    scores, seconds = dict(failed), dict[str, float]()
    for part in parts:
        scores |= part.scores
        for name, spent in part.seconds.items():
            seconds[name] = seconds.get(name, 0.0) + spent
    return Evaluation({p.name: scores[p.name] for p in plan.proxies}, seconds)
