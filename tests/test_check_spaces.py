"""Conformance of spaces: the built-in ones, and what is found in bad ones."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from click.testing import CliRunner
from torch import nn

from zcbench.cli import main
from zcbench.conformance.spaces import check_space
from zcbench.errors import DataError
from zcbench.networks.initialise import initialised
from zcbench.spaces import SPACES, load_space
from zcbench.spaces.base import check_index, check_name
from zcbench.types import Architecture, Task


class Good:
    """Five widths of one layer."""

    name = "good"
    tasks = {"small": Task("small", (3, 4, 4), 3)}
    populations = ("all", "wide")

    def __len__(self) -> int:
        return 5

    def architecture(self, index):
        check_index(self, index)
        return Architecture(self.name, index, f"w{index + 1}")

    def parse(self, spec):
        if spec not in [f"w{i + 1}" for i in range(5)]:
            raise DataError(f"{spec!r} is none.", "One looks like w1.")
        return Architecture(self.name, int(spec[1:]) - 1, spec)

    def population(self, name):
        check_name(self, "population", name)
        return np.arange(0 if name == "all" else 3, 5)

    def build(self, arch, task, *, seed=0, repeat=0):
        check_name(self, "dataset", task)
        return initialised(lambda: self.make(8 * int(arch.spec[1:])), seed, repeat)

    def make(self, width):
        return nn.Sequential(
            nn.Conv2d(3, width, 3, padding=1, bias=False),
            nn.BatchNorm2d(width),
            nn.ReLU(),
            nn.AdaptiveAvgPool2d(1),
            nn.Flatten(),
            nn.Linear(width, 3),
        )


class Unnamed(Good):
    __doc__ = None


class Twice(Good):
    """Two positions have one string."""

    def architecture(self, index):
        check_index(self, index)
        return Architecture(self.name, index, f"w{max(1, index)}")


class WrongIndex(Good):
    """Counts from one."""

    def architecture(self, index):
        check_index(self, index)
        return Architecture(self.name, index + 1, f"w{index + 1}")


class Negative(Good):
    """Takes -1 for the last."""

    def architecture(self, index):
        return super().architecture(index % 5 if index == -1 else index)


class KeyErrors(Good):
    """Its own kind of error."""

    def population(self, name):
        return {"all": np.arange(5), "wide": np.arange(3, 5)}[name]


class Unsorted(Good):
    """Members in no order."""

    def population(self, name):
        return super().population(name)[::-1]


class Partial(Good):
    """Its "all" is not all."""

    def population(self, name):
        return super().population(name)[:-1]


class Floats(Good):
    """Indices as floats."""

    def population(self, name):
        return super().population(name).astype(float)


class Evaluating(Good):
    """Networks in eval mode."""

    def build(self, *args, **kwargs):
        return super().build(*args, **kwargs).eval()


class TooMany(Good):
    """One output too many."""

    def make(self, width):
        network = super().make(width)
        network[-1] = nn.Linear(width, 4)
        return network


class Drawing(Good):
    """Draws its weights from the global stream."""

    def build(self, arch, task, *, seed=0, repeat=0):
        check_name(self, "dataset", task)
        torch.manual_seed(seed + 1000 * repeat)
        return self.make(8 * int(arch.spec[1:]))


class Unseeded(Good):
    """The seed does not matter."""

    def build(self, arch, task, *, seed=0, repeat=0):
        return super().build(arch, task)


class ByArchitecture(Good):
    """Weights depend on the architecture."""

    def build(self, arch, task, *, seed=0, repeat=0):
        return super().build(arch, task, seed=seed + arch.index, repeat=repeat)

    def make(self, width):
        return super().make(8)


class Raising(Good):
    """A network that cannot run."""

    def make(self, width):
        network = super().make(width)
        network[3] = nn.Identity()
        return network


@pytest.mark.thorough
def test_the_toy_space_passes() -> None:
    """The others have a test file of their own, which checks them."""
    assert [f for f in check_space(load_space("toy")) if not f.ok] == []


@pytest.mark.thorough
@pytest.mark.usefixtures("quick_conformance")
def test_nb201_passes() -> None:
    assert [f for f in check_space(load_space("nb201")) if not f.ok] == []


def test_every_built_in_space_is_checked_somewhere() -> None:
    known = {"nb201", "toy", "macro", "fcnet", "nats_sss"}
    known |= {"transnas_micro", "transnas_macro"}
    known |= {"mnasnet_imagenet", "torchvision", "vit_bench", "nb101", "darts"}
    built_in = {
        name
        for name in SPACES.names()
        if type(SPACES.get(name)).__module__.startswith("zcbench.")
    }
    assert built_in == known


def test_a_good_space_passes() -> None:
    findings = check_space(Good())
    assert {f.check: f.ok for f in findings} == dict.fromkeys(
        (
            "docstring",
            "strings",
            "foreign names",
            "populations",
            "networks",
            "weights",
            "proxies",
        ),
        True,
    )
    details = {f.check: f.detail for f in findings}
    assert details["docstring"] == "Five widths of one layer."
    assert details["strings"] == "5 different of 5 looked at, of 5"
    assert details["populations"] == "all 5, wide 2"
    assert details["networks"] == "4 architectures on 1 datasets"


@pytest.mark.parametrize(
    ("space", "check", "detail"),
    [
        (Unnamed, "docstring", "the class has no docstring"),
        (Twice, "strings", "parse('w1') is Architecture(space='good', index=0, spec='"),
        (WrongIndex, "strings", "architecture(0) is Architecture(space='good', index="),
        (Negative, "foreign names", "architecture(-1) raises nothing"),
        (KeyErrors, "foreign names", "another population raises KeyError, not UsageE"),
        (Unsorted, "populations", "all is not sorted int64 without repeats"),
        (Floats, "populations", "all is not sorted int64 without repeats"),
        (Partial, "populations", "there is no 'all' with every architecture"),
        (Evaluating, "networks", "w1 on small is not in train mode on the CPU"),
        (TooMany, "networks", "w1 on small gives [8, 4], not [N, 3]"),
        (Drawing, "networks", "w1 on small moves the random state"),
        (Unseeded, "weights", "seed or repeat does not matter for w1"),
        (ByArchitecture, "weights", "0.weight of w2 has other values than in another"),
        (Raising, "proxies", "flops on w1: error RuntimeError: "),
    ],
)
@pytest.mark.usefixtures("few_draws")
def test_what_is_wrong_is_found(space: type[Good], check: str, detail: str) -> None:
    findings = {f.check: f for f in check_space(space())}
    assert not findings[check].ok
    assert findings[check].detail.startswith(detail)


PLUGIN = '''
from zcbench.spaces import SPACES
from zcbench.spaces.toy import Toy


class Other(Toy):
    """Cells under another name."""

    name = "{name}"


SPACES.add("{name}", Other())
'''


def test_the_command_checks_spaces(tmp_path: Path) -> None:
    file = tmp_path / "other.py"
    file.write_text(PLUGIN.format(name="other_toy"), encoding="utf-8")
    try:
        result = CliRunner().invoke(main, ["check", str(file)])
    finally:
        SPACES.remove("other_toy")
    assert result.exit_code == 0, result.output
    lines = result.stdout.splitlines()
    assert lines[0] == "other_toy"
    assert lines[1] == "  ok    docstring             Cells under another name."
    assert {line[2:6] for line in lines[1:]} == {"ok  "}
    assert len(lines) == 8
