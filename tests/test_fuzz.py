"""scripts/fuzz.py: a few of its inputs, and that it would notice."""

from __future__ import annotations

import random
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

import fuzz
import fuzz_files
import fuzz_readers
import mutations
import pytest
from levels import few

from zcbench.store import records

READERS = sorted(fuzz_readers.READERS.values(), key=lambda r: r.folder == "packed")


@pytest.fixture(scope="module")
def good(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    folder = tmp_path_factory.mktemp("fuzz") / "good"
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("ZCBENCH_CACHE", "/nonexistent")
        fuzz_files.make_good(folder)
        yield folder


@pytest.mark.parametrize("kept", few(dict.fromkeys(r.folder for r in READERS), 8))
def test_good_files_are_read(good: Path, tmp_path: Path, kept: str) -> None:
    readers = [r for r in READERS if r.folder == kept]
    commands = dict.fromkeys(c for reader in readers for c in reader.commands)
    for number, command in enumerate(commands):
        folder = tmp_path / str(number)
        shutil.copytree(good / kept, folder)
        places = {"i": folder, "g": good, "o": tmp_path / f"out{number}"}
        words = command.format_map(places).split()
        found, done = fuzz.outcome(words, may_differ=False)
        assert found == fuzz.READ, (command, done.output, done.exception)
        for reader in readers:
            if command in reader.commands and reader.check is not None:
                assert reader.check(good, folder, done.stderr) == "same"


@pytest.mark.parametrize("name", few(["command lines", *fuzz_readers.READERS], 12))
def test_damaged_files_are_read_or_refused(
    good: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    for seed in range(6):
        folder = tmp_path / str(seed)
        folder.mkdir()
        monkeypatch.chdir(folder)
        rng = random.Random(f"test {name} {seed}")
        if name == "command lines":
            found, text = fuzz.try_command(rng, good, folder)
        else:
            found, text = fuzz.try_reader(name, rng, good, folder)
        assert found not in fuzz.FAULTS, text


def test_it_notices_wrong_results_and_tracebacks(
    good: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def outcomes() -> Iterator[str]:
        for seed in range(60):
            folder = Path(tempfile.mkdtemp(dir=tmp_path))
            rng = random.Random(f"planted {seed}")
            yield fuzz.try_reader("scores.jsonl", rng, good, folder)[0]

    monkeypatch.setattr(mutations, "MUTATIONS", (mutations.digit,))
    monkeypatch.setattr(records, "is_intact", lambda _: True)
    assert fuzz.WRONG in outcomes()
    monkeypatch.undo()
    monkeypatch.setattr(records, "_problem", lambda _: 1 / 0)
    assert fuzz.TRACEBACK in outcomes()
