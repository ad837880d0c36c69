"""requirements.lock has all that pyproject.toml asks for, in versions it allows."""

from __future__ import annotations

import tomllib
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).resolve().parent.parent
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
EXTRAS = PROJECT["optional-dependencies"]
WANTED = {w for group in (PROJECT["dependencies"], *EXTRAS.values()) for w in group}


@pytest.mark.parametrize("wanted", sorted(WANTED))
def test_the_lock_satisfies(wanted: str) -> None:
    lines = (ROOT / "requirements.lock").read_text().splitlines()
    pins = dict(line.split("==") for line in lines if not line.startswith("#"))
    locked = {canonicalize_name(name): version for name, version in pins.items()}
    requirement = Requirement(wanted)
    assert requirement.specifier.contains(locked[canonicalize_name(requirement.name)])


def test_the_constraints_agree_with_the_lock() -> None:
    lines = (ROOT / "constraints.txt").read_text().splitlines()
    pins = {line for line in lines if line and not line.startswith("#")}
    assert pins <= set((ROOT / "requirements.lock").read_text().splitlines())
