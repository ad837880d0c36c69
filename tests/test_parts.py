"""Long analyses are gone on with: finished parts are kept, of one command alone."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from click.testing import CliRunner, Result
from report_runs import write_run

from zcbench.analysis.predict import trials as predict_trials
from zcbench.analysis.search import simulate
from zcbench.cli import exit_code_of, main
from zcbench.errors import DataError, UsageError
from zcbench.store.parts import Parts

COMMANDS = {
    "predict": [
        *("--train", "8", "--trials", "4", "--models", "ridge", "--importance"),
        *("--isomorphs", "keep"),
    ],
    "search": ["--trials", "4", "--evaluations", "6", "--warmup", "5"],
}
WORK = {"predict": (predict_trials, "_trial"), "search": (simulate, "_Search")}


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_run(tmp_path_factory.mktemp("runs") / "first")


def invoke(*words: object) -> Result:
    return CliRunner().invoke(main, [*map(str, words)])


class Stop:
    """Does the work of another, until Ctrl-C."""

    def __init__(self, work: Any, after: int) -> None:
        self.work, self.left = work, after

    def __call__(self, *arguments: Any) -> Any:
        if self.left == 0:
            raise KeyboardInterrupt
        self.left -= 1
        return self.work(*arguments)


@pytest.mark.parametrize("name", COMMANDS)
def test_a_command_goes_on_where_it_was_stopped(
    name: str,
    run: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    words = [name, str(run), *COMMANDS[name], "--format", "json"]
    whole = invoke(*words)
    assert whole.exit_code == 0, whole.output
    module, work = WORK[name]
    words += ["--out", str(tmp_path / "kept")]
    with monkeypatch.context() as patch:
        patch.setattr(module, work, Stop(getattr(module, work), after=2))
        stopped = exit_code_of(lambda: main(words, standalone_mode=False))
    assert stopped == 130
    assert capsys.readouterr().err == (
        f"zcbench: Interrupted: what was finished is kept in {tmp_path / 'kept'}. "
        "Go on with the same command.\n"
    )
    files = sorted((tmp_path / "kept").glob("*.npz"))
    assert len(files) == 2
    times = [file.stat().st_mtime_ns for file in files]
    files[0].write_bytes(b"torn")
    again = invoke(*words)
    assert again.stdout == whole.stdout
    assert files[1].stat().st_mtime_ns == times[1]
    assert files[0].stat().st_size > 4
    with monkeypatch.context() as patch:  # nothing is left to do
        patch.setattr(module, work, None)
        assert invoke(*words).stdout == whole.stdout


@pytest.mark.parametrize("name", COMMANDS)
def test_parts_of_another_command_are_left_alone(
    name: str, run: Path, tmp_path: Path
) -> None:
    words = [name, run, *COMMANDS[name], "--out", tmp_path / "kept"]
    assert invoke(*words).exit_code == 0
    other = invoke(*words, "--seed", 5)
    assert (other.exit_code, other.stdout) == (2, "")
    assert "holds parts of another command: other seed." in other.stderr
    few = invoke(*words, "--proxies", "jacov,params")
    assert "holds parts of another command: other proxies." in few.stderr


def test_without_a_folder_ctrl_c_says_how_to_keep(
    run: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(predict_trials, "_trial", Stop(None, after=0))
    words = ["predict", str(run), *COMMANDS["predict"]]
    assert exit_code_of(lambda: main(words, standalone_mode=False)) == 130
    assert capsys.readouterr().err == (
        "zcbench: Interrupted. With --out DIR it can be gone on with.\n"
    )


def test_folders_of_something_else(tmp_path: Path) -> None:
    (tmp_path / "mine.txt").touch()
    with pytest.raises(DataError, match="holds something else"):
        Parts(tmp_path, {})
    with pytest.raises(DataError, match="holds something else"):
        Parts(tmp_path / "mine.txt", {})
    made = Parts(tmp_path / "new", {"a": float("nan"), "b": (1, 2)})
    made.of("x", lambda: {"n": np.arange(3)})
    again = Parts(tmp_path / "new", {"a": float("nan"), "b": (1, 2)})
    assert again.of("x", dict)["n"].tolist() == [0, 1, 2]
    with pytest.raises(UsageError, match=r"other b\."):
        Parts(tmp_path / "new", {"a": float("nan"), "b": (1, 3)})
    (tmp_path / "new" / "about.json").write_text("[")
    with pytest.raises(DataError, match="is damaged"):
        Parts(tmp_path / "new", {})
