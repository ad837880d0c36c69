"""Runs on a Ray cluster and by Slurm's array jobs: same scores, whatever is lost."""

from __future__ import annotations

import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from zcbench.cli import exit_code_of, main
from zcbench.config import RunConfig, load_config
from zcbench.engine import run
from zcbench.engine.executors.ray import PER_TASK, _chunks
from zcbench.errors import UsageError
from zcbench.store import read_records

DEADLY = """
import os
import signal
import zcbench

@zcbench.proxy(reference="none")
def deadly(s: zcbench.Structure) -> float:
    if s.n_params == {killed}:
        os.kill(os.getpid(), signal.SIGKILL)
    return 1.0
"""


def scores_of(path: Path) -> dict[tuple[str, int], dict[str, float | None]]:
    lines = list(read_records(path))
    found = {(line["dataset"], line["index"]): line["scores"] for line in lines}
    assert len(found) == len(lines)
    return found


def alone(folder: Path) -> Path:
    """The whole toy space, scored in this process."""
    config = RunConfig(space="toy", n="all", batch_size=8, truth="none", workers=1)
    proxies = ("params", "synflow")
    return run(replace(config, proxies=proxies, out=folder / "alone"))


def start(*words: object) -> subprocess.Popen[str]:
    command = [sys.executable, "-m", "zcbench", "run", *map(str, words)]
    return subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )


@pytest.mark.thorough
def test_ray_equals_one_process(tmp_path):
    expected, out = scores_of(alone(tmp_path)), tmp_path / "ray"
    toy = ["--space", "toy", "--n", "all", "--batch-size", 8, "--truth", "none"]
    words = ["--proxies", "params,synflow", "--executor", "ray", "--workers", "2"]
    process = start(*toy, *words, "--out", out)
    _, stderr = process.communicate(timeout=600)
    assert process.returncode == 0, stderr
    assert scores_of(out) == expected


@pytest.mark.thorough
def test_ray_equals_one_process_but_for_a_network_that_kills_its_workers(tmp_path):
    """Each time with others of its task that were scored, and are not lost or twice."""
    plugin = tmp_path / "deadly.py"
    toy = ["--space", "toy", "--n", "all", "--batch-size", 8, "--truth", "none"]
    expected = scores_of(alone(tmp_path))
    sizes = {k: scores["params"] for k, scores in expected.items()}
    (deadly,) = [k for k, v in sizes.items() if list(sizes.values()).count(v) == 1][:1]
    plugin.write_text(DEADLY.format(killed=int(sizes[deadly])))
    out = tmp_path / "ray"
    words = f"--proxies deadly,params,synflow --plugin {plugin} --executor ray".split()
    process = start(*toy, *words, "--workers", 2, "--out", out)
    _, stderr = process.communicate(timeout=600)  # workers start eight times
    assert process.returncode == 0, stderr
    records = {(r["dataset"], r["index"]): r for r in read_records(out)}
    assert set(records) == set(sizes)
    for key, record in records.items():
        if key == deadly:
            assert set(record["status"].values()) <= {"error", "oom"}
            assert "died 4 times on this network" in record["messages"]["params"]
        else:
            assert record["scores"] == {"deadly": 1.0, **expected[key]}


@pytest.mark.thorough
def test_slurm_equals_one_process_and_goes_on_after_a_lost_job(
    tmp_path, capsys, plugins_unloaded
):
    """submitit's local executor: the first array loses a job, the second mends it."""
    flag = tmp_path / "flag"
    plugin = tmp_path / "fragile.py"
    plugin.write_text(
        "import os\nimport zcbench\n\n"
        '@zcbench.proxy(reference="none")\n'
        "def fragile(s: zcbench.Structure) -> float:\n"
        f"    if not os.path.exists({str(flag)!r}):\n"
        f"        open({str(flag)!r}, 'w').close()\n"
        "        os._exit(9)\n"
        "    return 1.0\n"
    )
    toy = ["--space", "toy", "--n", "all", "--batch-size", 8, "--truth", "none"]
    toy += ["--proxies", "params,fragile,synflow", "--plugin", plugin]
    out = tmp_path / "slurm"
    words = [*toy, "--executor", "slurm", "--slurm", "cluster=local", "--workers", 2]
    assert call("run", *words, "--out", out) == 1
    stderr = capsys.readouterr().err
    assert "1 jobs failed" in stderr
    assert "the same command again does what is missing" in stderr
    assert 0 < len(scores_of(out)) < 27
    assert call("run", *words, "--out", out) == 0
    expected = scores_of(alone(tmp_path))
    assert scores_of(out) == {k: {**v, "fragile": 1.0} for k, v in expected.items()}


@pytest.mark.parametrize("slots", [1, 2, 7])
@pytest.mark.parametrize("count", [0, 1, 5, 500])
def test_tasks_cover_the_work_and_get_smaller(slots, count):
    chunks = list(_chunks([(i,) for i in range(count)], slots))
    assert [i for chunk in chunks for (i,) in chunk] == list(range(count))
    sizes = [len(chunk) for chunk in chunks]
    assert sizes == sorted(sizes, reverse=True)
    assert max(sizes, default=0) <= PER_TASK
    if count == 500:
        assert (sizes[0], sizes[-1]) == (PER_TASK, 1)


def call(*words: object) -> int:
    return exit_code_of(lambda: main(list(map(str, words)), standalone_mode=False))


@pytest.mark.parametrize(
    ("module", "executor", "words"),
    [
        ("ray", "ray", "Ray is not installed. Install it: pip install 'zcbench[ray]'."),
        (
            "submitit",
            "slurm",
            "submitit is not installed. Install it: pip install 'zcbench[slurm]'.",
        ),
    ],
)
def test_what_is_not_installed(module, executor, words, monkeypatch, capsys, tmp_path):
    monkeypatch.setitem(sys.modules, module, None)
    toy = ["run", "--space", "toy", "--n", 2, "--proxies", "params"]
    assert call(*toy, "--executor", executor, "--out", tmp_path / "x") == 2
    assert capsys.readouterr().err.splitlines()[-1] == f"zcbench: {words}"


def test_clusters_that_are_not_there(capsys, tmp_path):
    toy = ["run", "--space", "toy", "--n", 2, "--proxies", "params"]
    words = ["--executor", "slurm", "--slurm", "cluster=slurm", "--out", tmp_path / "b"]
    assert call(*toy, *words) == 2
    message = capsys.readouterr().err.splitlines()[-1]
    assert message.startswith("zcbench: Slurm does not take the jobs: ")
    assert message.endswith("--slurm cluster=local tries without Slurm.")


def test_options(monkeypatch):
    config = load_config({"slurm": "cluster=local,timeout_min=5", "executor": "ray"})
    assert config.slurm == ("cluster=local", "timeout_min=5")
    assert load_config({"ray_address": "auto"}).ray_address == "auto"
    with pytest.raises(UsageError, match="--slurm must be key=value"):
        load_config({"slurm": "gpu"})
    with pytest.raises(UsageError, match="Did you mean slurm"):
        load_config({"executor": "slrum"})
