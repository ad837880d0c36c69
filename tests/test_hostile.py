"""Hostile and odd input: one sentence, exit code 2 or 3, no traceback, nothing lost."""

from __future__ import annotations

import copy
import json
import pickle
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from zcbench.cli import main
from zcbench.config import RunConfig
from zcbench.engine import run
from zcbench.errors import DataError, UsageError
from zcbench.spaces import load_space

Change = Callable[[dict[str, Any]], object]


@pytest.fixture(scope="module")
def good(tmp_path_factory: pytest.TempPathFactory) -> Path:
    config = RunConfig(
        space="toy",
        n=3,
        batch_size=4,
        truth="toy",
        workers=1,
        minibatch="gaussian",
        proxies=("params", "snip"),
        out=tmp_path_factory.mktemp("good") / "run",
    )
    return run(config)


RESTORE = "Restore the file from a copy, or run again into a new directory."
LINES: list[tuple[Change, str]] = [
    (
        lambda r: r["scores"].update({"\ud800": 1.0}),
        "names a proxy in characters that are no text",
    ),
    (
        lambda r: r["scores"].update({"\U0001f600\udfff": 1.0}),
        "names a proxy in characters that are no text",
    ),
    (lambda r: r.update(index=2**63), "has an index or repeat that is too large"),
    (lambda r: r.update(repeat=10**30), "has an index or repeat that is too large"),
    (lambda r: r["seconds"].update(total="x"), "lacks a valid 'seconds'"),
    (lambda r: r["seconds"]["proxies"].update(snip=[1]), "lacks a valid 'seconds'"),
]


@pytest.mark.parametrize(("change", "problem"), LINES)
def test_hostile_lines(
    good: Path, tmp_path: Path, change: Change, problem: str
) -> None:
    path = tmp_path / "run"
    shutil.copytree(good, path)
    scores = path / "scores.jsonl"
    first, *rest = scores.read_text().splitlines()
    record = json.loads(first)
    change(record)
    scores.write_text("\n".join([json.dumps(record), *rest]) + "\n")
    before = scores.read_bytes()
    manifest = ["--config", str(path / "manifest.json")]
    for words in (["report", str(path)], ["run", *manifest, "--out", str(path)]):
        result = CliRunner().invoke(main, words)
        assert result.exit_code == 3, result.exception
        assert result.stderr == f"zcbench: {scores}, line 1: {problem}. {RESTORE}\n"
    assert scores.read_bytes() == before


PARTS = ["minibatch", "tasks", "truth", "plugins", "device", "versions", "resumed"]
OPTIONS = ["datasets", "proxies", "plugin", "task", "n", "repeats", "population"]
OPTIONS += ["space", "target", "truth", "minibatch", "precision"]


@pytest.mark.parametrize("key", [*PARTS, *(f"config.{name}" for name in OPTIONS)])
@pytest.mark.parametrize("value", [None, 3.5])
def test_hostile_manifests(good: Path, tmp_path: Path, key: str, value: object) -> None:
    path = tmp_path / "run"
    shutil.copytree(good, path)
    manifest = json.loads((path / "manifest.json").read_text())
    part, _, name = key.rpartition(".")
    (manifest[part] if part else manifest)[name] = value
    (path / "manifest.json").write_text(json.dumps(manifest))
    result = CliRunner().invoke(main, ["report", str(path)])
    assert result.exit_code == 3, result.exception
    assert result.stderr == (
        f"zcbench: {path}/manifest.json is invalid: its {key!r} is of the wrong kind. "
        f"{RESTORE}\n"
    )


_JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=3),
    lambda inner: (
        st.lists(inner, max_size=2)
        | st.dictionaries(st.text(max_size=3), inner, max_size=2)
    ),
    max_leaves=4,
)


@settings(
    max_examples=60,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
@given(data=st.data())
def test_any_value_anywhere_in_a_manifest_is_read_or_refused(
    good: Path, tmp_path_factory: pytest.TempPathFactory, data: st.DataObject
) -> None:
    manifest = json.loads((good / "manifest.json").read_text())
    changed = copy.deepcopy(manifest)
    where = data.draw(st.sampled_from([changed, changed["config"]]))
    where[data.draw(st.sampled_from(sorted(where)))] = data.draw(_JSON)
    path = tmp_path_factory.mktemp("m") / "manifest.json"
    shutil.copy(good / "scores.jsonl", path.parent)
    path.write_text(json.dumps(changed))
    result = CliRunner().invoke(main, ["report", str(path.parent)])
    assert isinstance(result.exception, SystemExit | None), result.exception
    assert result.exit_code in (0, 2, 3)


@pytest.mark.parametrize("space", ["toy", "nb201", "fcnet", "macro", "nats_sss"])
def test_any_text_is_an_architecture_or_a_clear_error(space: str) -> None:
    found = load_space(space)
    good = found.architecture(len(found) // 2).spec

    @settings(max_examples=100, deadline=None)
    @given(
        text=st.text(max_size=60)
        | st.tuples(st.integers(0, len(good)), st.characters()).map(
            lambda cut: good[: cut[0]] + cut[1] + good[cut[0] :]
        )
    )
    def check(text: str) -> None:
        try:
            arch = found.parse(text)
        except (DataError, UsageError):
            return
        assert found.architecture(arch.index) == arch

    check()


class Bomb:
    """Makes a file when it is unpickled."""

    def __init__(self, file: Path) -> None:
        self.file = file

    def __reduce__(self) -> tuple[object, tuple[str, str]]:
        return open, (str(self.file), "w")


def test_no_reader_runs_a_pickle(good: Path, tmp_path: Path) -> None:
    trap, bomb = tmp_path / "ran", tmp_path / "bomb"
    content = pickle.dumps({b"data": Bomb(trap), b"labels": [0]})
    readers = [
        ["run", "--space", "toy", "--truth", str(bomb)],
        ["run", "--space", "toy", "--minibatch", str(bomb)],
        ["run", "--space", "toy", "--archs", str(bomb)],
        ["run", "--space", "toy", "--task", str(bomb)],
        ["run", "--config", str(bomb)],
        ["report", str(bomb)],
        ["compare", str(good), str(bomb)],
        ["agree", str(good), str(bomb)],
        ["data", "import", str(bomb)],
    ]
    for words in readers:
        bomb.write_bytes(content)
        result = CliRunner().invoke(main, words)
        assert result.exit_code in (2, 3), (words, result.exception)
        assert isinstance(result.exception, SystemExit)
        assert result.stderr.splitlines()[-1].startswith("zcbench: ")
        assert not trap.exists(), words
    pickle.loads(content)[b"data"].close()
    assert trap.exists()  # the trap works
