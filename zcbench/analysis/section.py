"""What one table of a report is about."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import pandas as pd


@dataclass(frozen=True, slots=True)
class Section:
    """One dataset of one run.

    Attributes:
        run: the run directory, as it was named.
        space: search space.
        dataset: task of the space.
        target: ``"val"`` or ``"test"``.
        population: architectures that the table speaks of.
        sampled: how the run chose among them: ``"sample"``, ``"all"`` or ``"list"``.
        architectures: how many of them were run and have a row in the truth.
        networks: how many (architecture, repeat) the run has done on this dataset.
        expected: how many it asks for; None if not known.
        sample_digest: sha256 of the sorted architecture strings.
        truth: name of the ground truth.
        release: of the ground truth.
        truth_digest: sha256 of it.
        training_seeds: (fewest, most) trainings behind an accuracy; (0, 0) if unknown.
        minibatch: name of the source of images.
        minibatch_digest: digest of that source.
        batch_size: images in the minibatch.
        seed: of the run.
        repeats: initialisations and minibatches for each architecture.
        precision: arithmetic of the passes.
    """

    run: str
    space: str
    dataset: str
    target: str
    population: str
    sampled: str
    architectures: int
    networks: int
    expected: int | None
    sample_digest: str
    truth: str
    release: str
    truth_digest: str
    training_seeds: tuple[int, int]
    minibatch: str
    minibatch_digest: str
    batch_size: int | None
    seed: int | None
    repeats: int
    precision: str = "float32"

    @property
    def partial(self) -> bool:
        """Whether the run has not got to all its networks."""
        return self.expected is not None and self.networks < self.expected

    def as_dict(self) -> dict[str, Any]:
        """For JSON."""
        return asdict(self) | {"partial": self.partial}


def sections_of(table: pd.DataFrame) -> Iterator[tuple[Section, pd.DataFrame]]:
    """Each section of a table of correlations with its rows, best first."""
    for section in table.attrs["sections"]:
        chosen = (table["run"] == section.run) & (table["dataset"] == section.dataset)
        yield section, table[chosen]
