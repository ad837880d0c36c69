"""Which path of a supernet is trained at which step: a function of (seed, step)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from zcbench.errors import DataError
from zcbench.minibatch.builtin import Random
from zcbench.networks.cell_graph import Cell, edges_of
from zcbench.seeding import derive
from zcbench.spaces.cell import CellSpace

SAMPLINGS = ("uniform", "fair", "top", "weighted")


@dataclass(frozen=True, slots=True)
class Guide:
    """Scores that say which paths to train.

    Attributes:
        name: of the proxy, for tables.
        scores: index of an architecture → its score, higher is better.
    """

    name: str
    scores: Mapping[int, float]

    @property
    def digest(self) -> str:
        """Equal for equal scores."""
        return f"{derive(*sorted(self.scores.items())):016x}"


class Paths:
    """The path of each step.

    `uniform`: every operation is as likely on every edge (single-path one-shot, Guo et
    al. 2020). `fair`: the paths of as many steps as there are operations have each
    operation of each edge once (FairNAS, Chu et al. 2021), and the weights move once,
    by the sum of their gradients. `top`: one of the best share of the guide's
    architectures; `weighted`: any of them, with a probability that grows with its rank.

    Args:
        space: the space.
        sampling: one of `SAMPLINGS`.
        share: of `top`.
        guide: of `top` and `weighted`.

    Attributes:
        together: steps whose gradients are added up before the weights move.
    """

    def __init__(
        self,
        space: CellSpace,
        sampling: str,
        share: float = 0.25,
        guide: Guide | None = None,
    ) -> None:
        self._space = space
        self._sampling = sampling
        self._edges = len(edges_of(space.n_nodes))
        self.together = len(space.operations) if sampling == "fair" else 1
        if sampling in ("top", "weighted"):
            self._pool, self._upto = _ranked(guide, share, sampling == "weighted")

    def at(self, identity: tuple[object, ...], step: int) -> Cell:
        """The cell to train at a step.

        Args:
            identity: of the training, which seeds it.
            step: from 0.
        """
        count = len(self._space.operations)
        if self._sampling == "uniform":
            numbers = Random(*identity, "path", step).classes(self._edges, count)
        elif self._sampling == "fair":
            block, place = divmod(step, count)
            random = Random(*identity, "path", block)
            orders = [random.permutation(count) for _ in range(self._edges)]
            numbers = np.array([order[place] for order in orders])
        else:
            draw = float(Random(*identity, "path", step).uniform(1)[0])
            place = int(np.searchsorted(self._upto, draw, side="right"))
            arch = self._space.architecture(int(self._pool[place]))
            return self._space.cell(arch.spec)
        return tuple(self._space.operations[number] for number in numbers)


def _ranked(
    guide: Guide | None, share: float, weighted: bool
) -> tuple[np.ndarray, np.ndarray]:
    """Indices of architectures, and the probability of each and all before it."""
    scored = {i: s for i, s in guide.scores.items() if np.isfinite(s)} if guide else {}
    if not scored:
        raise DataError(
            "No architecture has a score to guide the sampling of paths.",
            "Give --guide a run with scores of --by.",
        )
    order = sorted(scored, key=lambda index: (-scored[index], index))
    kept = order if weighted else order[: max(1, round(share * len(order)))]
    weights = np.arange(len(kept), 0, -1.0) if weighted else np.ones(len(kept))
    upto = np.cumsum(weights) / weights.sum()
    upto[-1] = 1.0
    return np.array(kept), upto


@dataclass(frozen=True, slots=True, kw_only=True)
class Setting:
    """What the scores of a one-shot column depend on, beside seed and images.

    Attributes:
        steps: forward and backward passes, one path and one batch each.
        batch_size: images in a batch.
        rate: of learning at the start; it falls to 0 along a cosine.
        sampling: one of `zcbench.oneshot.paths.SAMPLINGS`.
        share: of the architectures that `top` keeps.
        guide: the proxy by which `top` and `weighted` choose; empty for the others.
        guide_digest: of the guide's scores.
        channels: of the first stage.
        depth: cells in a stage.
        image_size: height and width that images are reduced to.
        augment: whether training images are shifted and mirrored.
        validation: share of the images that paths are judged by.
        recalibrate: training images from which a path has its statistics of BatchNorm.
    """

    steps: int
    batch_size: int
    rate: float
    sampling: str
    share: float
    guide: str
    guide_digest: str
    channels: int
    depth: int
    image_size: int
    augment: bool
    validation: float
    recalibrate: int
