"""The run directory: what is written is read, whatever happens in between."""

from __future__ import annotations

import errno
import gzip
import json
import math
import os
import subprocess
import sys
import threading
import zlib
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from zcbench.errors import DataError
from zcbench.store import RunStore, load_run, read_done, read_records
from zcbench.store.records import line_of

MANIFEST = {"schema": 1, "config": {"space": "toy"}, "proxies": {"snip": 1, "zen": 1}}


def _line(index: int, /, **parts: Any) -> dict:
    record = {
        "space": "made up",  # what is known is held to its architectures
        "dataset": "toy",
        "arch": f"arch {index}",
        "index": index,
        "repeat": 0,
        "scores": {"snip": index + 0.5},
        "status": {},
        "seconds": {"total": 1.0, "passes": {"a": 0.5}, "proxies": {"snip": 0.25}},
    }
    return record | parts


def _store(path: Path, *records: dict) -> Path:
    with RunStore(path) as store:
        if store.manifest is None:
            store.write_manifest(MANIFEST)
        for record in records:
            store.append(record)
    return path


def _crc(index: int) -> str:
    return f"{zlib.crc32(json.dumps(_line(index))[:-1].encode()):08x}"


def _scores(path: Path) -> Path:
    return path / "scores.jsonl"


def test_a_table_of_what_was_written(tmp_path: Path) -> None:
    null = _line(2, scores={"snip": None, "zen": 2.0}, status={"snip": "undefined"})
    path = _store(tmp_path / "a" / "run", _line(7, repeat=1), null, _line(7))
    table = load_run(path)
    assert list(table["index"]) == [2, 7, 7]
    assert list(table["repeat"]) == [0, 0, 1]
    assert list(table["arch"]) == ["arch 2", "arch 7", "arch 7"]
    assert math.isnan(table["snip"][0])
    assert list(table["snip"][1:]) == [7.5, 7.5]
    assert list(table["zen"].isna()) == [False, True, True]
    assert list(table["status"]) == [{"snip": "undefined"}, {}, {}]
    assert table["seconds"][1]["proxies"] == {"snip": 0.25}
    assert table.attrs["proxies"] == ["snip", "zen"]
    assert table.attrs["manifest"] == MANIFEST
    assert table.attrs["path"] == str(path)


def test_lines_have_the_published_form(tmp_path: Path) -> None:
    path = _store(tmp_path, _line(1))
    text = _scores(path).read_text(encoding="utf-8")
    assert text == f'{json.dumps(_line(1))[:-1]}, "crc32": "{_crc(1)}"}}\n'
    assert text.startswith('{"space": "made up", "dataset": "toy", "arch": "arch 1"')


def test_lines_of_one_key_are_merged_and_the_later_wins(tmp_path: Path) -> None:
    first = _line(
        1,
        scores={"snip": None, "zen": 1.0},
        status={"snip": "error"},
        messages={"snip": "no"},
        notes={"snip": "old", "zen": "kept"},
        seconds={"total": 1.0, "passes": {"a": 1.0}, "proxies": {"snip": 1.0}},
    )
    second = _line(
        1,
        scores={"snip": 3.0},
        notes={"snip": "new"},
        seconds={"total": 2.0, "passes": {"b": 2.0}, "proxies": {"snip": 2.0}},
    )
    path = _store(tmp_path, first, _line(2), second)
    for compacted in (False, True):
        row = load_run(path).iloc[0]
        assert (row["snip"], row["zen"], row["status"]) == (3.0, 1.0, {})
        assert row["notes"] == {"snip": "new", "zen": "kept"}
        assert row["seconds"] == {
            "total": 3.0,  # both calls were needed for these scores
            "passes": {"a": 1.0, "b": 2.0},
            "proxies": {"snip": 2.0},
        }
        if not compacted:
            with RunStore(path) as store:
                store.compact()
                assert len(store) == 2
            assert len(_scores(path).read_text().splitlines()) == 2
            assert "messages" not in _scores(path).read_text()


def test_compaction_of_single_lines_leaves_the_file_alone(tmp_path: Path) -> None:
    path = _store(tmp_path, _line(1), _line(2))
    before = _scores(path).stat().st_ino
    with RunStore(path) as store:
        store.compact()
    assert _scores(path).stat().st_ino == before


def test_done_leaves_out_what_may_do_better_next_time(tmp_path: Path) -> None:
    scores = {"a": 1.0, "b": None, "c": None, "d": None, "e": None, "f": None}
    status = {"b": "nan", "c": "inf", "d": "undefined", "e": "error", "f": "oom"}
    path = _store(tmp_path, _line(1, scores=scores, status=status))
    assert read_done(path) == {("toy", 1, 0): frozenset("abcd")}
    with RunStore(path) as store:
        store.append(_line(1, scores={"e": 2.0}))
        store.append(_line(1, scores={"a": None}, status={"a": "error"}))
        assert store.done(("toy", 1, 0)) == frozenset("bcde")
        assert store.done(("toy", 2, 0)) == frozenset()


@pytest.mark.parametrize("cut", range(1, len(json.dumps(_line(3))), 7))
def test_a_torn_tail_is_dropped_and_cut_before_the_next_line(
    tmp_path: Path, cut: int
) -> None:
    path = _store(tmp_path, _line(1), _line(2))
    with _scores(path).open("a") as stream:
        stream.write(json.dumps(_line(3))[:cut])
    assert list(load_run(path)["index"]) == [1, 2]
    _store(path, _line(4))
    assert [record["index"] for record in read_records(path)] == [1, 2, 4]
    assert _scores(path).read_bytes().endswith(b"}\n")


def test_a_tail_that_lacks_only_its_newline_is_kept(tmp_path: Path) -> None:
    path = _store(tmp_path, _line(1))
    with _scores(path).open("a") as stream:
        stream.write(line_of(_line(2)).decode().rstrip())
    assert list(load_run(path)["index"]) == [1, 2]
    _store(path, _line(3))
    assert list(load_run(path)["index"]) == [1, 2, 3]


def test_a_long_torn_tail(tmp_path: Path) -> None:
    path = _store(tmp_path, _line(1))
    with _scores(path).open("ab") as stream:
        stream.write(b'{"space": "' + b"x" * 200_000)
    _store(path, _line(2))
    assert [record["index"] for record in read_records(path)] == [1, 2]


def test_a_file_of_nothing_but_a_torn_line(tmp_path: Path) -> None:
    path = _store(tmp_path)
    _scores(path).write_bytes(b'{"space": "toy", "da')
    with pytest.raises(DataError, match=r"holds no scores yet\. Run it again"):
        load_run(path)
    _store(path, _line(1))
    assert list(load_run(path)["index"]) == [1]


BAD = [
    ("", "is no valid JSON"),
    ("nonsense", "is no valid JSON"),
    ("3", "is not an object"),
    ("[" * 5000, "is no valid JSON"),
    (json.dumps(_line(1)) + "," + json.dumps(_line(2)), "is no valid JSON"),
    (json.dumps(_line(1, scores={"snip": math.nan})), "is no valid JSON"),
    (json.dumps(_line(1)).replace("1.5", "1e999"), "has a score that is not finite"),
    (json.dumps(_line(1)).replace("1.5", "9" * 400), "has a score that is too large"),
    (json.dumps(_line(1)).replace("1.5", '"1.5"'), "has a score that is no number"),
    (json.dumps(_line(1)).replace("1.5", "true"), "has a score that is no number"),
    (json.dumps(_line(1, index=-1)), "has a negative index or repeat"),
    (json.dumps(_line(1, index=True)), "lacks a valid 'index'"),
    (json.dumps(_line(1, arch=None)), "lacks a valid 'arch'"),
    (json.dumps(_line(1, scores=[])), "lacks a valid 'scores'"),
    (json.dumps(_line(1, seconds={"passes": 3})), "lacks a valid 'seconds'"),
    (json.dumps(_line(1, status={"snip": "nan"})), "has a status for other proxies"),
    (json.dumps(_line(1, scores={"snip": None})), "has a status for other proxies"),
    (json.dumps(_line(1, status={"snip": "bad"})), "has an unknown status"),
    (json.dumps(_line(1, status={"snip": []})), "has an unknown status"),
    (json.dumps({k: v for k, v in _line(1).items() if k != "scores"}), "'scores'"),
]


@pytest.mark.parametrize(("line", "problem"), BAD)
def test_a_bad_line_is_named(tmp_path: Path, line: str, problem: str) -> None:
    path = _store(tmp_path, _line(1))
    with _scores(path).open("a") as stream:
        stream.write(f"{line}\n{json.dumps(_line(2))}\n")
    with pytest.raises(DataError) as caught:
        load_run(path)
    assert str(caught.value).startswith(f"{_scores(path)}, line 2: ")
    assert problem in caught.value.what
    with pytest.raises(DataError, match="line 2"):
        RunStore(path)
    assert len(_scores(path).read_text().splitlines()) == 3  # nothing was touched


def test_line_numbers_reach_over_chunks(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("zcbench.store.records._CHUNK_BYTES", 500)
    path = _store(tmp_path, *map(_line, range(20)))
    assert list(load_run(path)["index"]) == list(range(20))
    lines = _scores(path).read_text().splitlines()
    lines[16] = "nonsense"
    _scores(path).write_text("\n".join(lines) + "\n")
    with pytest.raises(DataError, match=r"scores\.jsonl, line 17: is no valid JSON"):
        load_run(path)


def test_bytes_that_are_no_text(tmp_path: Path) -> None:
    path = _store(tmp_path, _line(1))
    with _scores(path).open("ab") as stream:
        stream.write(b"\xff\xfe\n")
    with pytest.raises(DataError, match="line 2: is no valid JSON"):
        load_run(path)


def test_a_packed_run_is_read_and_not_written(tmp_path: Path) -> None:
    path = _store(tmp_path, _line(1), _line(2))
    packed = path / "scores.jsonl.gz"
    packed.write_bytes(gzip.compress(_scores(path).read_bytes()))
    with pytest.raises(DataError, match="holds both"):
        load_run(path)
    _scores(path).unlink()
    assert list(load_run(path)["index"]) == [1, 2]
    with pytest.raises(DataError, match="Unpack them with gunzip"):
        RunStore(path)
    packed.write_bytes(packed.read_bytes()[:-20])
    with pytest.raises(DataError, match="is cut short"):
        load_run(path)
    packed.write_bytes(b"no gzip")
    with pytest.raises(DataError, match="cannot be read: Not a gzipped file"):
        load_run(path)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "is no valid JSON"),
        ("[]", "is not the manifest of a run"),
        ('{"a": 1}', "is not the manifest of a run"),
        ('{"schema": "1"}', "is not the manifest of a run"),
        ('{"schema": 1}', "is incomplete: it has no 'config'"),
        ('{"schema": 1, "config": {}, "proxies": []}', "it has no 'proxies'"),
        ('{"schema": 2}', "written by a newer zcbench (schema 2, this one reads up to"),
        ('{"schema": NaN}', "is no valid JSON"),
    ],
)
def test_bad_manifests(tmp_path: Path, text: str, message: str) -> None:
    path = _store(tmp_path, _line(1))
    (path / "manifest.json").write_text(text)
    for read in (load_run, RunStore):
        with pytest.raises(DataError) as caught:
            read(path)
        assert message in caught.value.what
        assert caught.value.hint


def test_directories_without_a_run(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="absent does not exist"):
        load_run(tmp_path / "absent")
    with pytest.raises(DataError, match=r"is not a run directory: it has no manifest"):
        load_run(tmp_path)
    (tmp_path / "thesis.tex").touch()
    with pytest.raises(DataError, match="is not a directory"):
        load_run(tmp_path / "thesis.tex")
    with pytest.raises(DataError, match=r"thesis\.tex is not a directory"):
        RunStore(tmp_path / "thesis.tex")
    with pytest.raises(DataError, match="holds files but no run of zcbench"):
        RunStore(tmp_path)
    assert [entry.name for entry in tmp_path.iterdir()] == ["thesis.tex"]


def test_a_run_without_scores_can_be_gone_on_with(tmp_path: Path) -> None:
    path = _store(tmp_path)
    with pytest.raises(DataError, match="holds no scores yet"):
        load_run(path)
    with RunStore(path) as store:
        assert store.manifest == MANIFEST
        assert len(store) == 0


def test_a_directory_killed_before_its_manifest_is_new(tmp_path: Path) -> None:
    (tmp_path / ".lock").touch()
    (tmp_path / ".manifest.json.tmp").write_text('{"sch')
    with RunStore(tmp_path) as store:
        assert store.manifest is None


def test_one_writer_at_a_time(tmp_path: Path) -> None:
    with RunStore(tmp_path) as store:
        store.write_manifest(MANIFEST)
        program = (
            "import sys\nfrom pathlib import Path\nfrom zcbench.store import RunStore\n"
            "try:\n    RunStore(Path(sys.argv[1]))\n"
            "except Exception as error:\n    print(type(error).__name__, error)\n"
        )
        command = [sys.executable, "-c", program, str(tmp_path)]
        said = subprocess.run(command, capture_output=True, text=True, check=True)
        assert said.stdout == (
            f"UsageError {tmp_path} is being written by another process. "
            "Wait until it ends, or give another --out.\n"
        )
    said = subprocess.run(command, capture_output=True, text=True, check=True)
    assert said.stdout == ""


@pytest.mark.parametrize("kept", [".lock", "."])
def test_a_process_that_ends_a_moment_later_is_waited_for(
    tmp_path: Path, kept: str
) -> None:
    """One that was killed keeps its locks until its memory is given back."""
    fcntl = pytest.importorskip("fcntl")
    (tmp_path / ".lock").touch()
    file = os.open(tmp_path / kept, os.O_RDONLY)
    fcntl.flock(file, fcntl.LOCK_EX)
    threading.Timer(0.2, os.close, [file]).start()
    with RunStore(tmp_path) as store:
        store.write_manifest(MANIFEST)


@pytest.mark.parametrize("written", [0, 20])
def test_a_full_disk_loses_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, written: int
) -> None:
    path = tmp_path
    with RunStore(path) as store:
        store.write_manifest(MANIFEST)
        store.append(_line(1))
        real, calls = os.write, []

        def full(file: int, data: memoryview) -> int:
            calls.append(len(data))
            if len(calls) == 1 and written:
                return real(file, data[:written])  # the last bytes that fit
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

        monkeypatch.setattr(os, "write", full)
        with pytest.raises(DataError) as caught:
            store.append(_line(2))
        monkeypatch.undo()
        assert str(caught.value) == (
            f"{path} cannot be written: No space left on device. Results kept there: 1."
            f" Make room or make it writable, then go on with --out {path}."
        )
        assert _scores(path).read_bytes() == line_of(_line(1))
        store.append(_line(3))  # room was made
    assert list(load_run(path)["index"]) == [1, 3]


def test_a_full_disk_while_compacting_keeps_the_old_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = _store(tmp_path, _line(1), _line(1))
    before = _scores(path).read_bytes()

    def full(_: int) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    with RunStore(path) as store:
        monkeypatch.setattr(os, "fsync", full)
        with pytest.raises(DataError, match="No space left on device"):
            store.compact()
        monkeypatch.undo()
    assert _scores(path).read_bytes() == before
    assert not list(path.glob(".*.tmp"))


def test_a_read_only_directory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise PermissionError(errno.EACCES, os.strerror(errno.EACCES))

    monkeypatch.setattr(Path, "mkdir", refuse)
    with pytest.raises(DataError, match="x cannot be written: Permission denied"):
        RunStore(tmp_path / "x")


def test_nan_is_never_written(tmp_path: Path) -> None:
    with RunStore(tmp_path) as store:
        store.write_manifest(MANIFEST)
        with pytest.raises(ValueError, match="not JSON compliant"):
            store.append(_line(1, scores={"snip": math.nan}))
        assert not _scores(tmp_path).exists()


def test_dropping_a_proxy_keeps_the_others(tmp_path: Path) -> None:
    both = {"snip": None, "zen": 1.0}
    path = _store(tmp_path, _line(1, scores=both, status={"snip": "nan"}), _line(2))
    with RunStore(path) as store:
        store.drop(["snip"])
        assert store.done(("toy", 1, 0)) == {"zen"}
        assert store.done(("toy", 2, 0)) == frozenset()
    assert next(iter(read_records(path)))["scores"] == {"zen": 1.0}


_FLOATS = st.floats(allow_nan=False, allow_infinity=False)


@settings(max_examples=50, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    scores=st.lists(
        st.dictionaries(st.text(max_size=5), _FLOATS, max_size=4), max_size=6
    ),
    keys=st.data(),
)
def test_reading_gives_back_what_was_written(
    tmp_path_factory: pytest.TempPathFactory, scores: list[dict], keys: st.DataObject
) -> None:
    path = tmp_path_factory.mktemp("run")
    indices = [keys.draw(st.integers(0, 2)) for _ in scores]
    expected: dict[int, dict[str, float]] = {}
    for index, values in zip(indices, scores, strict=True):
        expected.setdefault(index, {}).update(values)
    lines = [_line(i, scores=s) for i, s in zip(indices, scores, strict=True)]
    _store(path, *lines)
    with RunStore(path) as store:
        store.compact()
    assert {r["index"]: r["scores"] for r in read_records(path)} == expected
    if any(expected.values()):
        table = load_run(path).set_index("index")
        for index, values in expected.items():
            for name, value in values.items():
                assert np.array_equal(table.loc[index, name], value)
