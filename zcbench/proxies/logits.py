"""The logits at initialisation: a record and a proxy that reads it."""

from __future__ import annotations

from dataclasses import dataclass

from zcbench.evidence.subject import Subject
from zcbench.evidence.table import RECORDS, Making
from zcbench.proxies import proxy


@dataclass(frozen=True, slots=True)
class LogitSpread:
    """How far the logits of the images lie apart.

    Attributes:
        variance: mean over classes of the variance over images.
    """

    variance: float


def measure_logit_spread(subject: Subject) -> LogitSpread:
    """One forward of the minibatch."""
    logits = subject.network(subject.batch.x).detach()
    return LogitSpread(float(logits.double().var(0).mean()))


RECORDS[LogitSpread] = Making(
    passes=("logit_spread",),
    maker=f"{__name__}:measure_logit_spread",
    forward_only=True,
)


@proxy(reference="ning2021evaluating", label_free=True)
def logit_spread(s: LogitSpread) -> float:
    """Variance of the logits over the images. Higher is better."""
    return s.variance
