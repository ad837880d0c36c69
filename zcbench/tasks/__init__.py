"""Tasks as data: the networks of a space on other inputs and classes.

A task is a small TOML file; those in this folder go by their names. Its ground truth is
a table of the user's own (``--truth FILE``).

    name = "ninapro"
    space = ["nb201", "transnas_micro"]
    input-shape = [1, 16, 52]
    n-classes = 18
"""

from __future__ import annotations

import copy
import math
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal, cast

from zcbench.errors import DataError, UsageError, unknown
from zcbench.files import expanded, read_toml
from zcbench.spaces import Space, load_space
from zcbench.types import Task

_FOLDER = Path(__file__).parent
_LOSSES = ("cross_entropy", "mse")
_MOST_NUMBERS = 1 << 24
"""Numbers of one input: an image of 3×2,364×2,364."""
_MOST_CLASSES = 1 << 20
_EXAMPLE = "See zcbench/tasks for examples, and docs/spaces.md."


@dataclass(frozen=True, slots=True)
class GivenTask:
    """A task for a space that does not bring it itself.

    Attributes:
        space: name of the space.
        task: the task.
    """

    space: str
    task: Task

    def as_dict(self) -> dict[str, Any]:
        """For the manifest of a run; `space_of` reads it."""
        about = {key: getattr(self.task, key) for key in _FIELDS if key != "space"}
        return {"space": self.space, **about}


def task_names() -> list[str]:
    """The tasks that go by a name."""
    return sorted(file.stem for file in _FOLDER.glob("*.toml"))


def load_task(source: str, space: str = "") -> GivenTask:
    """A task of a file, or by its name.

    Args:
        source: the file or name.
        space: which of the task's spaces; if it is none of them, the first.

    Raises:
        UsageError: there is no task of that name.
        DataError: the file is missing or says something else than a task.
    """
    if source.endswith(".toml") or "/" in source:
        return _read(expanded(source), space)
    if source not in task_names():
        raise unknown("task", source, task_names())
    return _read(_FOLDER / f"{source}.toml", space)


def with_tasks(space: Space, given: Iterable[GivenTask]) -> Space:
    """The space with more tasks: a value of its own, the space stays as it is.

    Raises:
        UsageError: a task is for another space, the networks cannot have it, or there
            is another one of that name.
    """
    tasks = dict(space.tasks)
    dimensions = {len(own.input_shape) for own in tasks.values()}
    for entry in given:
        task = entry.task
        if entry.space != space.name:
            raise UsageError(
                f"The task {task.name} is for {entry.space}, not for {space.name}.",
                f"Say --space {entry.space}.",
            )
        if tasks.setdefault(task.name, task) != task:
            raise UsageError(
                f"{space.name} has another task that is called {task.name}.",
                "Rename the one in the file.",
            )
        if len(task.input_shape) not in dimensions:
            raise _cannot_take(space, task)
    return _having(space, tasks)


def with_input_size(space: Space, size: int | Literal["auto"]) -> Space:
    """The space with square images of another size; ``"auto"`` is each task's own.

    Other tasks stay as they are, and so does the space itself.

    Raises:
        UsageError: the space cannot have other tasks than its own.
    """
    if size == "auto":
        return space
    tasks = {
        name: replace(task, input_shape=(task.input_shape[0], size, size))
        if _square(task)
        else task
        for name, task in space.tasks.items()
    }
    return _having(space, tasks)


def check_input_size(
    space: Space, datasets: Iterable[str], size: int | Literal["auto"]
) -> None:
    """Raise `UsageError` unless the inputs of these tasks can have another size."""
    for task in (space.tasks[name] for name in datasets):
        if size != "auto" and not _square(task):
            raise UsageError(
                f"--input-size is for square images, but {task.name} has inputs of "
                f"{_shape(task)}.",
                f"Leave {task.name} out, or leave its size.",
            )


def _square(task: Task) -> bool:
    return len(task.input_shape) == 3 and len(set(task.input_shape[1:])) == 1


def _having(space: Space, tasks: Mapping[str, Task]) -> Space:
    if tasks == dict(space.tasks):
        return space
    other = copy.copy(space)
    try:
        other.tasks = tasks  # type: ignore[misc]
    except AttributeError:  # a property, say
        changed = (t for name, t in tasks.items() if space.tasks.get(name) != t)
        raise _cannot_take(space, next(changed)) from None
    return other


def _cannot_take(space: Space, task: Task) -> UsageError:
    return UsageError(
        f"The networks of {space.name} cannot take the task {task.name} with inputs of "
        f"{_shape(task)}.",
        "Give a task with inputs of the kind that the space's own have.",
    )


def _shape(task: Task) -> str:
    return "×".join(map(str, task.input_shape))


def given_tasks(space: Space) -> tuple[GivenTask, ...]:
    """The tasks that a space does not bring itself."""
    own = load_space(space.name).tasks
    return tuple(
        GivenTask(space.name, task)
        for name, task in space.tasks.items()
        if name not in own
    )


def space_of(name: str, manifest: Mapping[str, Any]) -> Space:
    """The space of that name, with the tasks that a run was given by its manifest.

    Raises:
        DataError: the manifest says something else than tasks.
        UsageError: there is no such space, or it cannot have the tasks.
    """
    given = [
        _given(entry, f"The task {name} in the manifest")
        for name, entry in manifest.get("tasks", {}).items()
    ]
    return with_tasks(load_space(name), given)


def _read(path: Path, space: str) -> GivenTask:
    entries = read_toml(path, "The task", _EXAMPLE)
    keys = {key.replace("-", "_"): value for key, value in entries.items()}
    return _given(keys, f"The task {path}", space)


_FIELDS: Mapping[str, tuple[str, Callable[[Any], object]]] = {
    "name": ("a name", lambda v: isinstance(v, str) and bool(v.strip())),
    "space": (
        "the name of a space, or a list of names",
        lambda v: v and all(isinstance(one, str) and one for one in _listed(v)),
    ),
    "input_shape": (
        "[C, H, W] of an image or [D] of a vector",
        lambda v: (
            isinstance(v, list | tuple)
            and len(v) in (1, 3)
            and all(type(size) is int and size > 0 for size in v)
        ),
    ),
    "n_classes": ("a whole number above 0", lambda v: type(v) is int and v > 0),
    "loss": (" or ".join(_LOSSES), lambda v: v in _LOSSES),
}


def _listed(value: object) -> list[object]:
    return value if isinstance(value, list) else [value]


def _given(entries: object, where: str, wanted: str = "") -> GivenTask:
    values: dict[str, Any] = {"loss": "cross_entropy"}
    values |= cast("Mapping[str, Any]", entries) if isinstance(entries, Mapping) else {}
    for key in values:
        if key not in _FIELDS:
            raise DataError(
                f"{where} has the unknown key {key!r}.",
                f"Keys are {', '.join(_FIELDS).replace('_', '-')}.",
            )
    for key, (kind, fits) in _FIELDS.items():
        if not fits(values.get(key)):
            name = key.replace("_", "-")
            instead = "and is missing"
            if key in values:
                instead = f"not {repr(values[key])[:100]}"
            raise DataError(f"{where}: {name} must be {kind}, {instead}.", _EXAMPLE)
    if (values["loss"] == "mse") != (values["n_classes"] == 1):
        raise DataError(
            f"{where} has {values['n_classes']} classes and the loss {values['loss']}.",
            "A regression has n-classes = 1 and loss = 'mse', all else 2 or more.",
        )
    numbers, classes = math.prod(values["input_shape"]), values["n_classes"]
    if numbers > _MOST_NUMBERS or classes > _MOST_CLASSES:
        raise DataError(
            f"{where} is too large.",
            f"Inputs of {_MOST_NUMBERS:,} numbers and {_MOST_CLASSES:,} classes are "
            "the most.",
        )
    spaces = _listed(values.pop("space"))
    space = wanted if wanted in spaces else cast("str", spaces[0])
    shape = tuple(values.pop("input_shape"))
    return GivenTask(space, Task(input_shape=shape, **values))
