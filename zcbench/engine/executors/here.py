"""Networks scored in this process."""

from __future__ import annotations

from collections.abc import Iterable

from zcbench.engine.executors import Options, Records
from zcbench.engine.process import torch_state
from zcbench.engine.stacks import stacks_of
from zcbench.engine.work import Evaluator, Setup, WorkItem


def score(setup: Setup, items: Iterable[WorkItem], _options: Options) -> Records:
    """Score one stack after the other; torch's threads are restored afterwards."""
    with torch_state(setup.threads):
        evaluator = Evaluator(setup)
        for stack in stacks_of(setup, items):
            yield from evaluator.together(stack)
