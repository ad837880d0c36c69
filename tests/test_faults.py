"""Faults from outside: kills, full disks, clocks, batch systems, moved and old runs."""

from __future__ import annotations

import errno
import json
import os
import resource
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from zcbench.config import RunConfig
from zcbench.engine import InterruptedRunError, run
from zcbench.errors import DataError
from zcbench.store import RunStore, read_records

ROOT = Path(__file__).resolve().parent.parent
TOY = RunConfig(
    space="toy",
    n=4,
    batch_size=4,
    truth="none",
    workers=1,
    minibatch="gaussian",
    proxies=("params", "snip"),
)


def scores_of(path: Path) -> dict[int, tuple[object, object]]:
    lines = list(read_records(path))
    assert len({line["index"] for line in lines}) == len(lines)
    return {line["index"]: (line["scores"], line.get("status", {})) for line in lines}


@pytest.fixture(scope="module")
def peaceful(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return run(replace(TOY, out=tmp_path_factory.mktemp("peace") / "run"))


def go_on(path: Path, peaceful: Path) -> None:
    run(replace(TOY, out=path))
    assert scores_of(path) == scores_of(peaceful)


@pytest.mark.thorough
@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
def test_random_kills_lose_and_double_nothing(
    capsys: pytest.CaptureFixture[str],
) -> None:
    """Some of them: docs/faults.md has many."""
    command = [sys.executable, "scripts/measure_faults.py", "--kills", "20"]
    done = subprocess.run(
        command, cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    said = json.loads(done.stdout)
    with capsys.disabled():
        sys.stdout.write(f"\n{said['kills']} random kills: {done.stdout}")
    assert said["kills"] == 20
    assert (said["lost"], said["doubled"], said["wrong"]) == (0, 0, 0)
    assert said["where"]["inside a write"] > 0  # it hit where it hurts
    assert said["where"]["between lines"] > 0
    assert said["of"].keys() >= {"file", "time"}


def test_a_run_killed_before_its_manifest_goes_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    archs = tmp_path / "archs"
    archs.write_text("3\n4\n")
    config = replace(TOY, archs=archs, out=tmp_path / "run")

    def killed(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(RunStore, "write_manifest", killed)
    with pytest.raises(KeyboardInterrupt):
        run(config)
    monkeypatch.undo()
    assert (tmp_path / "run" / "archs.txt").exists()
    assert set(scores_of(run(config))) == {3, 4}


def test_what_nohup_ignores_stays_ignored(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    real, before = RunStore.append, signal.signal(signal.SIGHUP, signal.SIG_IGN)

    def hung_up(store: RunStore, record: dict) -> None:
        os.kill(os.getpid(), signal.SIGHUP)
        real(store, record)

    monkeypatch.setattr(RunStore, "append", hung_up)
    try:
        assert len(scores_of(run(replace(TOY, out=tmp_path / "run")))) == 4
    finally:
        signal.signal(signal.SIGHUP, before)


def in_child(work: Callable[[], None]) -> str:
    """What a DataError of another process says; empty if there was none."""
    reader, writer = os.pipe()
    pid = os.fork()
    if pid == 0:
        code = 1
        try:
            work()
            code = 0
        except DataError as error:
            os.write(writer, str(error).encode())
            code = 3
        finally:
            os._exit(code)
    os.close(writer)
    with os.fdopen(reader) as stream:
        said = stream.read()
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == (3 if said else 0)
    return said


def test_a_disk_that_fills_up_in_the_middle_of_a_line(
    tmp_path: Path, peaceful: Path
) -> None:
    path = tmp_path / "run"
    two_lines = b"".join((peaceful / "scores.jsonl").read_bytes().splitlines(True)[:2])
    limit = max((peaceful / "manifest.json").stat().st_size, len(two_lines)) + 100

    def limited() -> None:
        resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit))
        run(replace(TOY, n="all", out=path))

    said = in_child(limited)
    n_kept = len(scores_of(path))
    assert said == (
        f"{path} cannot be written: File too large. Results kept there: {n_kept}. Make "
        f"room or make it writable, then go on with --out {path}."
    )
    assert n_kept >= 2
    assert (path / "scores.jsonl").read_bytes().endswith(b"\n")
    run(replace(TOY, n="all", out=path))
    whole = scores_of(path)
    assert len(whole) == 27
    assert {index: whole[index] for index in scores_of(peaceful)} == scores_of(peaceful)


def test_a_directory_that_became_read_only(
    tmp_path: Path, peaceful: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "run"
    run(replace(TOY, n=2, out=path))
    real = os.open

    def refuse(file: object, flags: int, *more: object, **named: object) -> int:
        if str(file).endswith("scores.jsonl") and flags & os.O_RDWR:
            raise OSError(errno.EROFS, os.strerror(errno.EROFS))
        return real(file, flags, *more, **named)

    monkeypatch.setattr(os, "open", refuse)
    with pytest.raises(DataError) as caught:
        run(replace(TOY, out=path))
    assert caught.value.what == (
        f"{path} cannot be written: Read-only file system. Results kept there: 2."
    )
    monkeypatch.undo()
    go_on(path, peaceful)


def test_lines_torn_doubled_and_out_of_order(tmp_path: Path, peaceful: Path) -> None:
    path = tmp_path / "run"
    shutil.copytree(peaceful, path)
    scores = path / "scores.jsonl"
    lines = scores.read_bytes().splitlines(keepends=True)
    scores.write_bytes(lines[2] + lines[0] + lines[2] + lines[0] + lines[1][:40])
    go_on(path, peaceful)


@pytest.mark.parametrize("tail", [b"\0" * 4096, b"{", b'{"space": "toy"}'])
def test_tails_that_power_cuts_leave(
    tmp_path: Path, peaceful: Path, tail: bytes
) -> None:
    path = tmp_path / "run"
    shutil.copytree(peaceful, path)
    lines = (path / "scores.jsonl").read_bytes().splitlines(keepends=True)
    (path / "scores.jsonl").write_bytes(b"".join(lines[:3]) + tail)
    go_on(path, peaceful)


def test_a_clock_that_jumps_back(
    tmp_path: Path, peaceful: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    now = iter(range(10**9, 0, -86400))
    monkeypatch.setattr(time, "time", lambda: float(next(now)))
    go_on(tmp_path / "run", peaceful)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP])
@pytest.mark.parametrize("moment", ["_open", "_work"])
def test_signals_to_end_at_any_moment_are_an_interruption(
    tmp_path: Path,
    peaceful: Path,
    monkeypatch: pytest.MonkeyPatch,
    moment: str,
    number: int,
) -> None:
    from zcbench import engine

    before = signal.getsignal(number)

    def terminated(*_: object) -> None:
        os.kill(os.getpid(), number)
        time.sleep(5)

    if moment == "_open":
        monkeypatch.setattr(engine, "check_same", terminated)
        run(replace(TOY, n=2, out=tmp_path / "run"))
        expected: type[BaseException] = KeyboardInterrupt
    else:
        monkeypatch.setattr(RunStore, "append", terminated)
        expected = InterruptedRunError
    with pytest.raises(expected):
        run(replace(TOY, out=tmp_path / "run"))
    assert signal.getsignal(number) == before
    monkeypatch.undo()
    go_on(tmp_path / "run", peaceful)


@pytest.mark.parametrize("times", [1, 10**6])
def test_cuda_errors_are_statuses_that_are_tried_again(
    tmp_path: Path, peaceful: Path, monkeypatch: pytest.MonkeyPatch, times: int
) -> None:
    from zcbench.spaces import load_space

    kind = type(load_space("toy"))
    build, left = kind.build, [times]

    def failing(self: object, *args: object, **named: object) -> object:
        if left[0]:
            left[0] -= 1
            raise RuntimeError("CUDA error: device-side assert triggered\nmore")
        return build(self, *args, **named)

    monkeypatch.setattr(kind, "build", failing)
    run(replace(TOY, out=tmp_path / "run"))
    lines = list(read_records(tmp_path / "run"))
    failed = [line for line in lines if line["status"]]
    assert len(lines) == 4
    assert len(failed) == min(times, 4)
    assert failed[0]["status"] == {"params": "error", "snip": "error"}
    assert failed[0]["messages"]["snip"].startswith(
        "RuntimeError: CUDA error: device-side assert triggered"
    )
    monkeypatch.undo()
    go_on(tmp_path / "run", peaceful)


def test_a_run_moved_in_the_middle_goes_on(tmp_path: Path, peaceful: Path) -> None:
    run(replace(TOY, n=2, out=tmp_path / "here"))
    (tmp_path / "here").rename(tmp_path / "there")
    go_on(tmp_path / "there", peaceful)


def test_a_manifest_from_before_later_options(tmp_path: Path, peaceful: Path) -> None:
    path = run(replace(TOY, n=2, out=tmp_path / "run"))
    manifest = json.loads((path / "manifest.json").read_text())
    for key in ("precision", "stack", "task", "input_size"):
        del manifest["config"][key]
    for key in ("plugins", "tasks"):
        del manifest[key]
    (path / "manifest.json").write_text(json.dumps(manifest))
    go_on(path, peaceful)


@pytest.mark.parametrize(
    ("schema", "what"),
    [
        (2, "was written by a newer zcbench (schema 2, this one reads up to 1)."),
        (0, "has the schema 0, which no zcbench wrote (this one reads 1)."),
    ],
)
def test_other_schemas_are_left_alone(
    tmp_path: Path, peaceful: Path, schema: int, what: str
) -> None:
    path = tmp_path / "run"
    shutil.copytree(peaceful, path)
    manifest = json.loads((path / "manifest.json").read_text()) | {"schema": schema}
    (path / "manifest.json").write_text(json.dumps(manifest))
    before = {file: file.read_bytes() for file in path.glob("*.json*")}
    with pytest.raises(DataError) as caught:
        run(replace(TOY, n="all", out=path))
    assert caught.value.what == f"{path} {what}"
    assert {file: file.read_bytes() for file in path.glob("*.json*")} == before
