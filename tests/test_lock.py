"""requirements.lock has all that pyproject.toml asks for, in versions it allows."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).resolve().parent.parent
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
EXTRAS = PROJECT["optional-dependencies"]
WANTED = {w for group in (PROJECT["dependencies"], *EXTRAS.values()) for w in group}


def parts(name: str) -> list[str]:
    """Each requirement with its checksums, as one text."""
    lines = (ROOT / name).read_text().splitlines()
    text = "\n".join(line for line in lines if not line.startswith("#"))
    return re.split(r"\n(?=\S)", text)


PINS = dict(part.split()[0].split("==") for part in parts("requirements.lock"))


@pytest.mark.parametrize("wanted", sorted(WANTED))
def test_the_lock_satisfies(wanted: str) -> None:
    requirement = Requirement(wanted)
    assert requirement.specifier.contains(PINS[canonicalize_name(requirement.name)])


def test_the_constraints_agree_with_the_lock() -> None:
    lines = (ROOT / "constraints.txt").read_text().splitlines()
    pins = {line for line in lines if line and not line.startswith("#")}
    assert pins <= {f"{name}=={version}" for name, version in PINS.items()}


@pytest.mark.parametrize("name", ["requirements.lock", "requirements-cuda.lock"])
def test_every_file_is_known_by_its_checksum(name: str) -> None:
    for part in parts(name):
        first, *rest = part.splitlines()
        assert re.match(r"[a-z0-9-]+==[^ ]+ (;.* )?\\$", first), first
        assert rest, first
        for line in rest:
            assert re.fullmatch(r"    --hash=sha256:[0-9a-f]{64}( \\)?", line), line
