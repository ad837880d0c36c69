"""Learning curves, as figures."""

from __future__ import annotations

from zcbench.analysis.block import Block, number
from zcbench.analysis.predict.features import SHUFFLED
from zcbench.report.figures.curves import Curve, draw_curves
from zcbench.report.figures.drawing import Drawing, Role

_CONTROLS = {"encoding", "params", "flops", "n_layers", "baselines"}


def learning_curves(block: Block) -> list[Drawing]:
    """ρ by the number of training architectures, a panel for each model.

    Args:
        block: of `zcbench.analysis.predict.predictions`.
    """
    found = []
    for model, rows in block.table.groupby("model", sort=False):
        curves: list[Curve] = []
        for features, part in rows.groupby("features", sort=False):
            points = part[["train", "spearman", "spearman_low", "spearman_high"]]
            role, dashed = _style(str(features), curves)
            order = points.sort_values("train").itertuples(index=False, name=None)
            curves.append(Curve(str(features), list(order), role, dashed))
        across = "training architectures"
        found.append(draw_curves(str(model), curves, across, "ρ", number))
    return found


def _style(features: str, before: list[Curve]) -> tuple[Role, bool]:
    """The first in ink, controls in orange, what knows nothing dashed."""
    parts = set(features.split("+"))
    if not before:
        return "ink", False
    if SHUFFLED in parts:
        return "muted", True
    return ("baseline" if parts <= _CONTROLS else "accent"), False
