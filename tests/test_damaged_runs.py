"""Run directories that were damaged, mixed up or taken away: noticed, and said."""

from __future__ import annotations

import gzip
import json
import os
import random
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result
from test_faults import TOY

from zcbench.cli import main
from zcbench.engine import Observer, execute, run
from zcbench.errors import DataError, UsageError
from zcbench.store import RunStore, load_run, read_manifest, read_records
from zcbench.store.records import line_of

RESTORE = "Restore the file from a copy, or run again into a new directory."


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return run(replace(TOY, truth="toy", out=tmp_path_factory.mktemp("whole") / "run"))


@pytest.fixture
def path(whole: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(whole, tmp_path / "run"))


def call(*words: object) -> Result:
    return CliRunner().invoke(main, [*map(str, words)])


def refusal(*words: object) -> str:
    """What a command says that ends with exit code 3, in one line."""
    result = call(*words)
    assert result.exit_code == 3, (result.output, result.exception)
    (line,) = result.stderr.splitlines()
    return line


def unsigned(records: list[dict[str, Any]]) -> str:
    return "".join(f"{json.dumps(record)}\n" for record in records)


# --- architecture and index -------------------------------------------------------


COMMANDS = ("report", "plot", "search", "predict", "compare", "agree")


@pytest.mark.parametrize("signed", [True, False])
def test_architectures_are_held_to_their_index(path: Path, signed: bool) -> None:
    records = list(read_records(path))
    specs = [record["arch"] for record in records]
    for record, spec in zip(records, [*specs[1:], specs[0]], strict=True):
        record["arch"] = spec
    lines = b"".join(map(line_of, records)) if signed else unsigned(records).encode()
    (path / "scores.jsonl").write_bytes(lines)
    said = (
        f"zcbench: {path}/scores.jsonl, line 1: has the index {records[0]['index']}, "
        f"which is {specs[0]}, not {specs[1]}. {RESTORE}"
    )
    for command in COMMANDS:
        more = [path] if command in ("compare", "agree") else []
        assert refusal(command, path, *more) == said
    assert refusal("run", "--config", path / "manifest.json", "--out", path) == said


def test_an_index_that_the_space_does_not_have(path: Path) -> None:
    records = list(read_records(path))
    records[2]["index"] = 27
    (path / "scores.jsonl").write_bytes(b"".join(map(line_of, records)))
    with pytest.raises(DataError, match="line 3: has the index 27, which toy does not"):
        load_run(path)


# --- checksums --------------------------------------------------------------------


def test_no_other_digit_is_ever_read(path: Path) -> None:
    file = path / "scores.jsonl"
    content = file.read_bytes()
    good = list(read_records(path))
    places = [i for i, byte in enumerate(content) if 48 <= byte <= 57]
    for place in random.Random(0).sample(places, min(len(places), 400)):
        other = bytes([48 + (content[place] - 47) % 10])
        file.write_bytes(content[:place] + other + content[place + 1 :])
        with pytest.raises(DataError, match=r"line \d+: "):
            list(read_records(path))
    file.write_bytes(content)
    assert list(read_records(path)) == good


@pytest.mark.parametrize("packed", [False, True])
def test_any_flipped_bit_is_refused_or_loses_no_more_than_the_last_line(
    path: Path, packed: bool
) -> None:
    good = list(read_records(path))
    file = path / "scores.jsonl"
    if packed:
        content = gzip.compress(file.read_bytes(), mtime=0)
        file.unlink()
        file = path / "scores.jsonl.gz"
    else:
        content = file.read_bytes()
    rng = random.Random(1)
    n_refused = 0
    for _ in range(500):
        damaged = bytearray(content)
        damaged[rng.randrange(len(damaged))] ^= 1 << rng.randrange(8)
        file.write_bytes(damaged)
        try:
            found = list(read_records(path))
        except DataError:
            n_refused += 1
        else:
            assert found in (good, good[:-1])
    assert n_refused > 400


def test_one_line_without_a_checksum_among_others(path: Path) -> None:
    file = path / "scores.jsonl"
    lines = file.read_bytes().splitlines(keepends=True)
    record = json.loads(lines[1])
    del record["crc32"]
    bare = f"{json.dumps(record)}\n".encode()
    for place, problem in ((1, "line 2: lacks its checksum"), (0, "line 2: has a")):
        file.write_bytes(b"".join([*lines[:place], bare, *lines[place + 1 :]]))
        with pytest.raises(DataError, match=problem):
            list(read_records(path))


def test_files_of_earlier_versions_are_read_and_that_is_said_once(path: Path) -> None:
    file = path / "scores.jsonl"
    records = list(read_records(path))
    file.write_text(unsigned(records))
    note = f"{file}: its lines have no checksums, so that damage to them may not show."
    for words in (["report", path], ["compare", path, path], ["agree", path, path]):
        result = call(*words)
        assert result.exit_code == 0
        assert result.stderr.splitlines().count(note) == 1
    config = replace(TOY, n=6, truth="toy", out=path)
    assert execute(config).evaluated == 2
    assert list(read_records(path))[: len(records)] == records
    assert call("report", path).stderr == ""  # they have checksums now


def test_a_changed_manifest_is_said(path: Path) -> None:
    file = path / "manifest.json"
    assert call("report", path).stderr == ""
    file.write_text(file.read_text().replace('"seed": 0', '"seed": 7'))
    assert call("report", path).stderr == (
        f"{file} is not as zcbench wrote it: its checksum is of another.\n"
    )
    document = json.loads(file.read_text())
    del document["crc32"]
    file.write_text(json.dumps(document))
    assert call("report", path).stderr == (
        f"{file} is not as zcbench wrote it: it has no checksum.\n"
    )
    scores = path / "scores.jsonl"
    scores.write_text(unsigned(list(read_records(path))))  # as of an earlier version
    assert call("report", path).stderr == (
        f"{scores}: its lines have no checksums, so that damage to them may not show.\n"
    )


# --- damaged archives -------------------------------------------------------------


@pytest.mark.parametrize("size", [0, 1, 5, 12, 40, -1, -8, -9])
def test_scores_that_were_cut_or_are_no_gzip(path: Path, size: int) -> None:
    packed = gzip.compress((path / "scores.jsonl").read_bytes(), mtime=0)
    (path / "scores.jsonl").unlink()
    file = path / "scores.jsonl.gz"
    file.write_bytes(packed[:size])
    said = refusal("report", path)
    assert said.startswith(f"zcbench: {file} ") or "holds no scores yet" in said
    file.write_bytes(packed[:20] + bytes(20) + packed[40:])
    assert refusal("report", path).startswith(f"zcbench: {file}")


def test_a_line_without_an_end(path: Path) -> None:
    (path / "scores.jsonl").unlink()
    with gzip.open(path / "scores.jsonl.gz", "wb", compresslevel=1) as stream:
        for _ in range(20):
            stream.write(bytes(1 << 20))
    assert "line 1: has more than 16,777,216 bytes" in refusal("report", path)


# --- what happens while a run goes on ---------------------------------------------


def rename(path: Path) -> None:
    path.rename(path.with_name("elsewhere"))


def replaced(path: Path) -> None:
    rename(path)
    path.mkdir()


def empty(path: Path) -> None:
    for entry in path.iterdir():
        entry.unlink()


def other_scores(path: Path) -> None:
    (path / "scores.jsonl").rename(path / "old")
    (path / "scores.jsonl").touch()


def truncated(path: Path) -> None:
    os.truncate(path / "scores.jsonl", 10)


def longer(path: Path) -> None:
    with (path / "scores.jsonl").open("a") as stream:
        stream.write("{}\n")


def other_manifest(path: Path) -> None:
    text = (path / "manifest.json").read_text()
    (path / "new").write_text(text.replace('"seed": 0', '"seed": 7'))
    (path / "new").replace(path / "manifest.json")


def no_manifest(path: Path) -> None:
    os.truncate(path / "manifest.json", 0)


DEEDS = [rename, shutil.rmtree, replaced, empty, other_scores, truncated, longer]
DEEDS += [other_manifest, no_manifest]


@pytest.mark.parametrize("deed", DEEDS)
@pytest.mark.parametrize("after", [1, 4])
def test_a_directory_that_is_no_longer_what_it_was(
    tmp_path: Path, deed: Callable[[Path], None], after: int
) -> None:
    path, seen = tmp_path / "run", []

    class Meddler(Observer):
        def advance(self, failed: int) -> None:
            seen.append(failed)
            if len(seen) == after:
                deed(path)

    with pytest.raises(DataError) as caught:
        execute(replace(TOY, out=path), Meddler())
    assert len(seen) == after  # at once
    assert "while the run was going on, which has stopped." in caught.value.what
    assert str(path) in caught.value.what
    if not path.exists():
        assert deed in (rename, shutil.rmtree)  # nothing makes it anew


def test_a_line_changed_in_its_place_is_noticed_when_it_is_read(tmp_path: Path) -> None:
    file = tmp_path / "run" / "scores.jsonl"

    class Meddler(Observer):
        def advance(self, failed: int) -> None:
            with file.open("r+b") as stream:
                stream.write(file.read_bytes().replace(b'"repeat": 0', b'"repeat": 1'))

    with pytest.raises(DataError, match="line 1: was changed or damaged"):
        load_run(run(replace(TOY, out=tmp_path / "run"), Meddler()))


def test_a_manifest_that_was_only_touched(tmp_path: Path) -> None:
    class Toucher(Observer):
        def advance(self, failed: int) -> None:
            os.utime(tmp_path / "run" / "manifest.json", (1, 1))

    assert execute(replace(TOY, out=tmp_path / "run"), Toucher()).evaluated == 4


def test_a_manifest_is_not_written_into_another_directory(tmp_path: Path) -> None:
    path = tmp_path / "run"
    with RunStore(path) as store:
        store.write_manifest({"schema": 1})
        shutil.rmtree(path)
        with pytest.raises(DataError, match="was moved, deleted or replaced"):
            store.write_manifest({"schema": 1})
    assert not path.exists()


def test_a_removed_lock_lets_no_second_writer_in(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "run"
    monkeypatch.setattr("zcbench.store.writer._PATIENCE", 0.1)
    with RunStore(path) as store:
        store.write_manifest({"schema": 1, "config": {}, "proxies": {}})
        (path / ".lock").unlink()
        with pytest.raises(UsageError, match="is being written by another process"):
            RunStore(path)
        (path / ".lock").unlink(missing_ok=True)
        with pytest.raises(UsageError, match="is being written by another process"):
            RunStore(path)
        key = {"space": "x", "dataset": "x", "arch": "x", "index": 0, "repeat": 0}
        store.append({**key, "scores": {}})
    with RunStore(path) as store:
        assert store.manifest is not None


# --- manifests that point elsewhere -----------------------------------------------


@pytest.mark.parametrize("value", ["../../etc/passwd", "/etc", "", 3, [], "other.txt"])
def test_a_manifest_names_no_list_but_its_own(path: Path, value: object) -> None:
    manifest = read_manifest(path)
    manifest["config"]["archs"] = value
    (path / "manifest.json").write_text(json.dumps(manifest))
    assert refusal("report", path) == (
        f"zcbench: {path}/manifest.json is invalid: its 'config.archs' is of the wrong "
        f"kind. {RESTORE}"
    )


@pytest.mark.parametrize("kind", ["folder", "no text", "pipe", "device"])
def test_a_list_that_is_none(path: Path, kind: str) -> None:
    manifest = read_manifest(path)
    manifest["config"]["archs"] = "archs.txt"
    (path / "manifest.json").write_text(json.dumps(manifest))
    file = path / "archs.txt"
    match kind:
        case "folder":
            file.mkdir()
        case "no text":
            file.write_bytes(b"\xff\xfe\x00")
        case "pipe":
            os.mkfifo(file)
        case "device":
            file.symlink_to("/dev/zero")
    assert refusal("report", path).startswith(f"zcbench: {file} cannot be read: ")
