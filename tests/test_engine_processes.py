"""Runs in several processes, and what kills them."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import pytest
from levels import few

from zcbench.config import RunConfig
from zcbench.engine import executors, run
from zcbench.engine.executors import Options, processes, score
from zcbench.engine.executors.processes import in_processes
from zcbench.engine.job import make_job
from zcbench.errors import ZcbenchError
from zcbench.store import load_run, read_records

PROXIES = ("params", "snip", "zen")
TOY = RunConfig(
    space="toy",
    n="all",
    batch_size=8,
    truth="none",
    workers=1,
    minibatch="builtin",
    proxies=PROXIES,
)

SLOW = """
import time
import zcbench

@zcbench.proxy(reference="none")
def slow(s: zcbench.Structure) -> float:
    time.sleep(0.3)
    return 1.0
"""

DEADLY = """
import os
import signal
import zcbench

@zcbench.proxy(reference="none")
def deadly(s: zcbench.Structure) -> float:
    if s.n_params == {killed}:
        os.kill(os.getpid(), signal.SIGKILL)
    if s.n_params == {once} and not os.path.exists({flag!r}):
        open({flag!r}, "w").close()
        os._exit(8)
    return 1.0
"""


def scores_of(path: Path) -> dict[int, dict[str, float | None]]:
    lines = list(read_records(path))
    assert len({line["index"] for line in lines}) == len(lines)  # nothing doubled
    return {
        line["index"]: {name: line["scores"][name] for name in PROXIES}
        for line in lines
    }


@pytest.fixture(scope="module")
def expected(tmp_path_factory: pytest.TempPathFactory) -> dict[int, dict]:
    return scores_of(run(replace(TOY, out=tmp_path_factory.mktemp("r") / "run")))


@pytest.mark.thorough
def test_automatic_workers_start_when_it_pays_and_change_no_bit_of_a_score(
    expected: dict[int, dict], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(executors, "count_workers", lambda *_: 2)
    monkeypatch.setattr(processes, "count_workers", lambda *_: 2)
    monkeypatch.setattr(processes, "_TRIAL_SECONDS", 0.0)
    monkeypatch.setattr(processes, "_WORTH_SECONDS", 0.0)
    sizes = []

    def spy(setup: object, items: list, workers: int) -> object:
        sizes.append((len(items), workers))
        return in_processes(setup, items, workers)

    monkeypatch.setattr(processes, "in_processes", spy)
    path = run(replace(TOY, workers="auto", out=tmp_path / "run"))
    assert sizes == [(26, 2)]
    assert scores_of(path) == expected


def test_automatic_workers_stay_here_when_it_does_not_pay(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(executors, "count_workers", lambda *_: 2)
    monkeypatch.setattr(processes, "count_workers", lambda *_: 2)
    monkeypatch.setattr(processes, "in_processes", None)  # calling it would fail
    run(replace(TOY, n=4, workers="auto", out=tmp_path / "run"))


@pytest.mark.usefixtures("plugins_unloaded")
def test_a_guest_that_kills_its_worker_twice_is_a_status_of_its_own(
    expected: dict[int, dict], tmp_path: Path
) -> None:
    archs = tmp_path / "archs"
    archs.write_text("26\n0\n2\n")  # 3, 0 and 1 convolutions
    flag = tmp_path / "flag"
    numbers = {"killed": 26, "once": 0}
    values = {name: expected[index]["params"] for name, index in numbers.items()}
    plugin = tmp_path / "deadly.py"
    plugin.write_text(DEADLY.format(flag=str(flag), **values))
    names = (*PROXIES, "deadly")
    config = replace(TOY, archs=archs, plugin=(plugin,), proxies=names, workers=2)
    path = run(replace(config, out=tmp_path / "run"))
    table = load_run(path).set_index("index")
    assert flag.exists()
    assert sorted(table.index) == [0, 2, 26]
    assert table["status"][26] == {"deadly": "error"}
    assert scores_of(path) == {index: expected[index] for index in (0, 2, 26)}
    assert list(table["deadly"][[0, 2]]) == [1.0, 1.0]
    messages = {line["index"]: line.get("messages", {}) for line in read_records(path)}
    assert messages[26] == {"deadly": "the proxy was ended by SIGKILL"}


def test_a_worker_that_crashes_twice_is_an_error() -> None:
    job = make_job(TOY)
    item = job.items(lambda key: frozenset())[0]
    record = processes._epitaph(job.setup, item, processes.Death(7))
    assert record["scores"] == dict.fromkeys(PROXIES)
    assert record["status"] == dict.fromkeys(PROXIES, "error")
    assert record["messages"]["snip"].endswith(
        "on this network (it ended the process with exit code 7)"
    )
    death = processes.Death(-signal.SIGKILL, starved=True)
    record = processes._epitaph(job.setup, item, death)
    assert record["status"] == dict.fromkeys(PROXIES, "oom")
    assert record["messages"]["snip"].endswith(
        "(it was killed, as when memory runs out)"
    )


def test_workers_that_cannot_start_are_an_error(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    job = make_job(TOY)
    items = job.items(lambda key: frozenset())
    monkeypatch.setattr(processes._Scorer, "__init__", _stillborn)
    with pytest.raises(ZcbenchError) as caught:
        list(in_processes(job.setup, items, 2))
    assert str(caught.value) == (
        "Worker processes cannot start (exit code 3). Use one worker (--workers 1), "
        "and in a script call zcbench.run under `if __name__ == '__main__':`."
    )


def _stillborn(worker: processes._Scorer, setup: object) -> None:
    import multiprocessing

    context = multiprocessing.get_context("fork")
    worker.connection, theirs = context.Pipe()
    worker.process = context.Process(target=os._exit, args=(3,))
    worker.process.start()
    theirs.close()
    worker.setup, worker.ready, worker.stack = setup, False, None
    worker.limit, worker._since, worker._kills = None, float("inf"), 0


def test_an_error_of_the_run_itself_reaches_the_caller(tmp_path: Path) -> None:
    setup = replace(make_job(TOY).setup, minibatch=str(tmp_path / "absent"))
    items = make_job(TOY).items(lambda key: frozenset())
    with pytest.raises(ZcbenchError, match="absent"):
        list(score(setup, items[:1], Options(workers=2)))


def _start(tmp_path: Path, workers: int) -> subprocess.Popen[str]:
    """A run in another process, slow enough to be hit while it runs."""
    plugin = tmp_path / "slow.py"
    plugin.write_text(SLOW)
    options = {
        "--space": "toy",
        "--n": "all",
        "--batch-size": "8",
        "--truth": "none",
        "--minibatch": "builtin",
        "--proxies": ",".join([*PROXIES, "slow"]),
        "--plugin": str(plugin),
        "--workers": str(workers),
        "--out": str(tmp_path / "run"),
    }
    words = [word for option in options.items() for word in option]
    return subprocess.Popen(
        [sys.executable, "-m", "zcbench", "run", *words],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
        # A shell without job control lets what it starts with & ignore Ctrl-C.
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
    )


def _wait_for_lines(process: subprocess.Popen[str], tmp_path: Path, n: int) -> None:
    scores = tmp_path / "run" / "scores.jsonl"
    deadline = time.monotonic() + 300
    while not scores.exists() or scores.read_bytes().count(b"\n") < n:
        assert process.poll() is None, process.stderr.read()
        assert time.monotonic() < deadline
        time.sleep(0.01)


def _children(pid: int) -> list[int]:
    """And theirs: workers of guests are forked from a process of their own."""
    file = Path(f"/proc/{pid}/task/{pid}/children")
    if not file.exists():
        pytest.skip("this kernel does not list the children of a process")
    own = [int(child) for child in file.read_text().split()]
    return own + [below for child in own for below in _children(child)]


def _finish(tmp_path: Path, expected: dict[int, dict]) -> None:
    """Go on with the run, and compare with the uninterrupted one."""
    path = tmp_path / "run"
    before = {line["index"] for line in read_records(path)}
    assert 0 < len(before) < 27
    plugin, proxies = (tmp_path / "slow.py",), (*PROXIES, "slow")
    run(replace(TOY, plugin=plugin, proxies=proxies, out=path))
    assert scores_of(path) == expected


@pytest.mark.thorough
@pytest.mark.usefixtures("plugins_unloaded")
def test_kill_9_loses_at_most_what_was_in_flight(
    expected: dict[int, dict], tmp_path: Path
) -> None:
    process = _start(tmp_path, workers=2)
    _wait_for_lines(process, tmp_path, 4)
    orphans = _children(process.pid)
    assert len(orphans) >= 4  # two workers, what forks them, a tracker of resources
    process.kill()
    process.communicate()
    deadline = time.monotonic() + 300
    while any(
        Path(f"/proc/{pid}").exists() for pid in orphans
    ):  # they go by themselves
        assert time.monotonic() < deadline
        time.sleep(0.05)
    with (tmp_path / "run" / "scores.jsonl").open("ab") as stream:
        stream.write(b'{"space": "toy", "dataset": "to')  # as torn as it gets
    _finish(tmp_path, expected)


@pytest.mark.usefixtures("plugins_unloaded")
@pytest.mark.parametrize(
    ("number", "workers"), few([(signal.SIGINT, 2), (signal.SIGTERM, 1)])
)
def test_interrupts_keep_what_is_done_and_say_how_to_go_on(
    expected: dict[int, dict], tmp_path: Path, number: int, workers: int
) -> None:
    process = _start(tmp_path, workers)
    _wait_for_lines(process, tmp_path, 3)
    os.killpg(process.pid, number)  # as Ctrl-C does: the workers get it too
    out, err = process.communicate(timeout=300)
    assert process.returncode == 130
    assert out == ""
    assert "Traceback" not in err
    last = err.splitlines()[-1]
    path = tmp_path / "run"
    assert last.startswith("zcbench: Interrupted: ")
    assert last.endswith(
        f" of 27 networks were done and are kept in {path}. Go on with: "
        f"zcbench run --config {path}/manifest.json --out {path}"
    )
    command = last.partition("Go on with: zcbench ")[2].split()
    if number == signal.SIGINT:
        _go_on(command)
        assert scores_of(path) == expected


def _go_on(command: list[str]) -> None:
    words = [sys.executable, "-m", "zcbench", *command, "--workers", "1"]
    again = subprocess.run(words, capture_output=True, text=True, check=False)
    assert again.returncode == 0, again.stderr
