"""Plug-in files: Python that registers proxies, spaces or truths when it is run."""

from __future__ import annotations

import importlib.util
import os
import sys
import traceback
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from zcbench.errors import (
    DataError,
    UsageError,
    ZcbenchError,
    first_line,
    is_users,
)
from zcbench.proxies import PROXIES
from zcbench.registry import Registry
from zcbench.spaces import SPACES
from zcbench.state import restored
from zcbench.truth import TRUTHS

REGISTRIES: Mapping[str, Registry[Any]] = {
    "proxy": PROXIES,
    "space": SPACES,
    "truth": TRUTHS,
}
"""What a plug-in can add → where it is added."""
_loaded: set[Path] = set()


def are_loaded(files: Iterable[Path]) -> bool:
    """Whether this process has run all of these."""
    return {_place(file) for file in files} <= _loaded


def _place(file: Path) -> Path:
    """Where it lies; links in a circle are left as they are."""
    return Path(os.path.realpath(file))


def load_plugins(files: Iterable[Path]) -> None:
    """Run plug-in files, each once in a process.

    Args:
        files: Python files. They are code: run only what you trust.

    Raises:
        DataError: a file does not exist or cannot be read.
        UsageError: a file raises, or takes a name that exists.
    """
    for file in files:
        path = _place(file)
        if path not in _loaded:
            _load(file, path)
            _loaded.add(path)


def _load(file: Path, path: Path) -> None:
    if not path.is_file():
        what = "is not a file" if path.exists() else "does not exist"
        raise DataError(f"The plug-in {file} {what}.", "Give a Python file.")
    name = f"zcbench_plugin_{len(_loaded)}_{path.stem}"
    spec = importlib.util.spec_from_file_location(name, path)
    if spec is None or spec.loader is None:
        raise UsageError(
            f"The plug-in {file} is not Python.", "Give a file that ends in .py."
        )
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module  # where dataclasses and annotations look for it
    before = [set(registry.names()) for registry in REGISTRIES.values()]
    try:
        with restored(lenient=True):
            spec.loader.exec_module(module)
    except BaseException as error:  # a plug-in may raise anything
        _undo(name, before)
        if is_users(error):
            raise
        raise _broken(file, path, error) from error


def _undo(module: str, before: list[set[str]]) -> None:
    """Take out what a file registered before it failed."""
    sys.modules.pop(module, None)
    for registry, names in zip(REGISTRIES.values(), before, strict=True):
        for name in set(registry.names()) - names:
            registry.remove(name)


def _broken(file: Path, path: Path, error: BaseException) -> ZcbenchError:
    if isinstance(error, ZcbenchError):
        return type(error)(f"The plug-in {file}: {error.what}", error.hint)
    if isinstance(error, SyntaxError):
        line: int | None = error.lineno
    else:
        frames = traceback.extract_tb(error.__traceback__)
        line = next((f.lineno for f in reversed(frames) if f.filename == str(path)), 0)
    where = f", line {line}" if line else ""
    said = f"{type(error).__name__}: {first_line(error)}"
    return UsageError(
        f"The plug-in {file}{where} raises {said}.",
        "Correct the file; `python` on it alone shows the whole traceback.",
    )
