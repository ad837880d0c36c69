"""The action for other people's CI: its steps, run as a runner would."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

from zcbench.cli import main

ACTION = yaml.safe_load((Path(__file__).parent.parent / "action.yml").read_text())
STEPS = {step["id"]: step for step in ACTION["runs"]["steps"] if "id" in step}
pytestmark = pytest.mark.skipif(not shutil.which("bash"), reason="steps are for bash")

PLUGIN = """
import zcbench

@zcbench.proxy(reference="none")
def mine(s: zcbench.Structure) -> float:
    return {sign}1.0 * s.n_params
"""
CONFIG = """
space = "toy"
n = "all"
proxies = ["mine", "params"]
batch-size = 8
minibatch = "builtin"
"""


class Runner:
    """A folder with what the steps of a job share."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.summary, self.output = folder / "summary.md", folder / "output"
        self.environ = {
            **os.environ,
            "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}",
            "RUNNER_TEMP": str(folder),
            "GITHUB_STEP_SUMMARY": str(self.summary),
            "GITHUB_OUTPUT": str(self.output),
            "ZCBENCH_WORKERS": "1",
        }

    def step(self, name: str, inputs: dict[str, str]) -> int:
        """Exit code of a step; its environment is filled in from the inputs."""
        known = {key: spec.get("default", "") for key, spec in ACTION["inputs"].items()}
        known |= inputs

        def value(text: str) -> str:
            return re.sub(r"\$\{\{ inputs\.([\w-]+) \}\}", lambda m: known[m[1]], text)

        step: dict[str, Any] = STEPS[name]
        given = {key: value(text) for key, text in step.get("env", {}).items()}
        command = ["bash", "--noprofile", "--norc", "-eo", "pipefail", "-c"]
        done = subprocess.run(
            [*command, step["run"]],
            env={**self.environ, **given},
            cwd=self.folder,
            capture_output=True,
            text=True,
            check=False,
        )
        return done.returncode


def test_no_step_pastes_inputs_into_its_script() -> None:
    """What others may choose reaches a script through its environment alone."""
    for step in STEPS.values():
        assert "${{" not in step.get("run", "")


@pytest.mark.thorough
def test_a_good_and_a_worse_proxy(tmp_path: Path) -> None:
    (tmp_path / "my_proxies.py").write_text(PLUGIN.format(sign=""))
    (tmp_path / "ci.toml").write_text(CONFIG)
    inputs = {"config": "ci.toml", "plugin": "my_proxies.py"}
    first = Runner(tmp_path)
    assert first.step("run", inputs) == 0
    assert first.output.read_text() == f"run={tmp_path}/zcbench-run\n"
    assert first.step("report", inputs) == 0
    page = tmp_path / "zcbench-run" / "report.html"
    assert f"page={page}\n" in first.output.read_text()
    assert "mine" in page.read_text()
    assert first.step("summary", inputs) == 0
    assert "| mine |" in first.summary.read_text()
    shutil.copytree(tmp_path / "zcbench-run", tmp_path / "baseline")
    inputs["baseline"] = "baseline"
    assert first.step("compare", inputs) == 0
    (tmp_path / "my_proxies.py").write_text(PLUGIN.format(sign="-"))
    shutil.rmtree(tmp_path / "zcbench-run")
    assert first.step("run", inputs) == 0
    assert first.step("report", inputs) == 0
    assert first.step("compare", inputs) == 1
    assert first.step("summary", inputs) == 0
    comment = (tmp_path / "zcbench-summary.md").read_text()
    assert f"summary={tmp_path}/zcbench-summary.md\n" in first.output.read_text()
    assert "| worse | toy | mine |" in comment.partition("<details>")[0]
    assert "| mine |" in comment.partition("<details>")[2]
    loose = {**inputs, "compare-options": "--tolerance 2"}
    assert first.step("compare", loose) == 0


def test_the_commands_know_the_options_of_the_action() -> None:
    for name, options in (
        ("run", {"--config", "--plugin", "--out"}),
        ("report", {"--plugin", "--format"}),
        ("compare", {"--plugin", "--format"}),
    ):
        context = main.make_context("zcbench", [name], resilient_parsing=True)
        command = main.get_command(context, name)
        assert command is not None
        known = {word for parameter in command.params for word in parameter.opts}
        assert options <= known
        assert options <= set(re.findall(r"--[a-z]+", STEPS[name]["run"]))
