"""What a search space offers. A new space is one file that fulfils this protocol."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial
from typing import TYPE_CHECKING, ClassVar, Protocol, runtime_checkable

from zcbench.errors import DataError, UsageError, unknown
from zcbench.seeding import derive, random_state
from zcbench.types import Architecture, Task

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray
    from torch import nn

    from zcbench.networks.stacked import StackedNetwork


class Space(Protocol):
    """A finite set of architectures with a network for each."""

    @property
    def name(self) -> str:
        """Name on the command line."""
        ...

    @property
    def tasks(self) -> Mapping[str, Task]:
        """Task name → `Task`, names as the benchmark writes them."""
        ...

    @property
    def populations(self) -> tuple[str, ...]:
        """Subsets that can be sampled; the first is the default."""
        ...

    def __len__(self) -> int:
        """Number of architectures."""
        ...

    def architecture(self, index: int) -> Architecture:
        """Architecture at a position.

        Raises:
            UsageError: the index is outside 0 … len − 1.
        """
        ...

    def parse(self, spec: str) -> Architecture:
        """Architecture of a string.

        Raises:
            DataError: the string is not one of this space.
        """
        ...

    def population(self, name: str) -> NDArray[np.int64]:
        """Sorted indices of the members of a population.

        Raises:
            UsageError: there is no such population.
        """
        ...

    def build(
        self, arch: Architecture, task: str, *, seed: int = 0, repeat: int = 0
    ) -> nn.Module:
        """Full network at initialisation, in train mode, on the CPU.

        Each weight depends on (seed, repeat, parameter name) alone.
        """
        ...


@runtime_checkable
class Stackable(Protocol):
    """A space of networks scored many at once: see `zcbench.networks.stacked`.

    An attribute ``stacked_tasks`` names the tasks that it can do so, if not all.
    """

    def stack(
        self,
        architectures: Sequence[Architecture],
        task: str,
        *,
        seed: int = 0,
        repeat: int = 0,
    ) -> StackedNetwork:
        """The networks that `Space.build` gives for these architectures, as one."""
        ...


@runtime_checkable
class Unlisted(Protocol):
    """A space too large to list, or one that is trained in part.

    A run samples from what its truth has an accuracy of: `population` has no answer.
    """

    def among(self, name: str, indices: NDArray[np.int64]) -> NDArray[np.int64]:
        """Those of some indices that a population has; the first has all of them.

        Raises:
            UsageError: there is no such population.
        """
        ...


@runtime_checkable
class Isomorphic(Protocol):
    """A space that can tell which of its architectures are the same function."""

    def function_class(self, arch: Architecture) -> str:
        """Equal for architectures that compute the same function."""
        ...


def build_network(
    space: Space, arch: Architecture, task: str, *, seed: int = 0, repeat: int = 0
) -> nn.Module:
    """What `Space.build` gives, also of a space that draws from global generators.

    Python's, NumPy's and torch's have the state of (seed, repeat) meanwhile, and their
    own again after.
    """
    with random_state(derive(seed, "build", repeat)):
        return space.build(arch, task, seed=seed, repeat=repeat)


class SpaceBase:
    """What the spaces here have in common, for a space to inherit from.

    It adds `_specs`, or where they are too many `_spec`, `_index` and its length;
    `_network`; and `_members` with its populations other than ``all``. `size` comes for
    nothing.
    """

    name: ClassVar[str]
    tasks: Mapping[str, Task]
    populations: ClassVar[tuple[str, ...]] = ("all",)

    def __len__(self) -> int:
        """Number of architectures."""
        return len(self._specs)

    def architecture(self, index: int) -> Architecture:
        """Architecture at a position.

        Raises:
            UsageError: the index is out of range.
        """
        check_index(self, index)
        return Architecture(self.name, index, self._spec(index))

    def parse(self, spec: str) -> Architecture:
        """Architecture of a string.

        Raises:
            DataError: the string is not an architecture of this space.
        """
        try:
            index = self._index(spec)
        except (ValueError, TypeError, LookupError, RecursionError):
            raise self._refusal(spec) from None
        return self.architecture(index)

    @property
    def _specs(self) -> Sequence[str]:
        """Every string, in order."""
        raise NotImplementedError

    def _spec(self, index: int) -> str:
        """String of the architecture at a position of the space."""
        return self._specs[index]

    def _index(self, spec: str) -> int:
        """Position of a string, the inverse of `_spec`; an error if there is none."""
        return self._specs.index(spec)

    @property
    def _form(self) -> str:
        """What a string has, in a sentence."""
        return f"One looks like {self._spec(0)}."

    def _refusal(self, spec: str) -> DataError:
        what = f"{spec[:200]!r} is not an architecture of {self.name}."
        return DataError(what, self._form)

    @property
    def _members(self) -> Mapping[str, NDArray[np.int64]]:
        return {}

    def population(self, name: str) -> NDArray[np.int64]:
        """Indices of a population, sorted.

        Raises:
            UsageError: there is no such population.
        """
        import numpy as np

        check_name(self, "population", name)
        members: NDArray[np.int64] = np.arange(len(self), dtype=np.int64)
        return members if name == "all" else self._members[name]

    def build(
        self, arch: Architecture, task: str, *, seed: int = 0, repeat: int = 0
    ) -> nn.Module:
        """The full network, in train mode, with PyTorch's default initialisation.

        Args:
            arch: an architecture of this space.
            task: name of one of the space's tasks.
            seed: seed of the run.
            repeat: which initialisation, from 0.

        Returns:
            The network on the CPU, state-dict names as in the benchmark.

        Raises:
            UsageError: there is no such task.
        """
        from zcbench.networks.initialise import initialised

        check_name(self, "dataset", task)
        make = partial(self._network, arch.spec, self.tasks[task])
        return initialised(make, seed, repeat)

    def size(self, arch: Architecture, task: str) -> tuple[int, int]:
        """What the proxies params and flops give, without weights or images.

        Raises:
            UsageError: there is no such task.
        """
        from zcbench.networks.initialise import size_of

        check_name(self, "dataset", task)
        make = partial(self._network, arch.spec, self.tasks[task])
        return size_of(make, self.tasks[task].input_shape)

    def _network(self, spec: str, task: Task) -> nn.Module:
        """Before its weights are drawn."""
        raise NotImplementedError


class UnlistedSpace(SpaceBase):
    """Base of spaces whose populations are parts of what a truth has: `Unlisted`."""

    populations: ClassVar[tuple[str, ...]] = ("trained",)

    def population(self, name: str) -> NDArray[np.int64]:
        """Raise `UsageError`: the truth of a run says which they are."""
        check_name(self, "population", name)
        raise UsageError(
            f"Which architectures of {self.name} are {name} stands in its truth.",
            "Give a table with --truth FILE, or a list with --archs FILE.",
        )

    def among(self, name: str, indices: NDArray[np.int64]) -> NDArray[np.int64]:
        """Those of some indices that a population has; the first has all of them.

        Raises:
            UsageError: there is no such population.
        """
        import numpy as np

        check_name(self, "population", name)
        kept = [
            i for i in indices if self._belongs(name, self.architecture(int(i)).spec)
        ]
        return np.array(kept, dtype=np.int64)

    def _belongs(self, name: str, spec: str) -> bool:
        """Whether a population has an architecture."""
        del spec
        return name == self.populations[0]


def digits_of(index: int, base: int, count: int) -> list[int]:
    """Digits of an index, most significant first.

    >>> digits_of(5, base=3, count=4)
    [0, 0, 1, 2]
    """
    return [index // base**place % base for place in reversed(range(count))]


def check_index(space: Space, index: int) -> None:
    """Raise `UsageError` unless the index is one of the space."""
    if not 0 <= index < len(space):
        raise UsageError(
            f"Architecture index {index} is not in {space.name}.",
            f"Indices run from 0 to {len(space) - 1}.",
        )


def check_name(space: Space, kind: str, name: str) -> None:
    """Raise `UsageError` unless a task or population of that name exists."""
    known = space.tasks if kind == "dataset" else space.populations
    if name not in known:
        raise unknown(f"{kind} of {space.name}", name, known)
