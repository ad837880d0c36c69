"""`zcbench data`."""

from __future__ import annotations

import hashlib
import pickle
from pathlib import Path

import pytest
import test_truth_official as small
from click.testing import CliRunner, Result

from zcbench.cli import main
from zcbench.minibatch.download import fetchable, image_folder
from zcbench.truth.nb201_official import TABLE


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("ZCBENCH_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


@pytest.fixture
def imported(tmp_path: Path, cache: Path) -> Path:
    content = small.official(make=small.old_trial)
    file = small.save(content, tmp_path)
    assert zcbench("import", str(file)).exit_code == 0
    return TABLE.path()


def zcbench(*arguments: str) -> Result:
    return CliRunner().invoke(main, ["data", *arguments])


@pytest.mark.parametrize("command", ["", "path", "fetch", "import", "verify"])
def test_help_has_examples(command: str) -> None:
    result = zcbench(*filter(None, [command]), "--help")
    assert result.exit_code == 0
    examples = result.stdout.partition("\n\n  Example")[2].splitlines()[1:]
    assert any(e.startswith(f"    zcbench data {command}") for e in examples)


# --- path -------------------------------------------------------------------------


def test_path_of_an_empty_cache(cache: Path) -> None:
    result = zcbench("path")
    assert (result.exit_code, result.stdout) == (0, f"{cache}\n")
    assert result.stderr == "It is empty.\n"
    assert not cache.exists()


def test_path_lists_what_is_there(cache: Path) -> None:
    (cache / "images").mkdir(parents=True)
    (cache / "images" / "some.tar.gz").write_bytes(b"x" * 1_572_864)
    (cache / "a.txt").touch()
    result = zcbench("path")
    assert result.stdout == f"{cache}\n"
    assert result.stderr == (
        "       0.0 MiB  a.txt\n       1.5 MiB  images/some.tar.gz\n"
    )


# --- import -----------------------------------------------------------------------


def test_import_prints_the_table_and_nothing_else(tmp_path: Path, cache: Path) -> None:
    file = small.save(small.official(make=small.old_trial), tmp_path)
    result = zcbench("import", str(file))
    assert result.exit_code == 0
    assert result.stdout == f"{cache / 'truth' / 'nas-bench-201.csv.gz'}\n"
    assert result.stderr == (
        f"Reading {file}; the official file takes minutes.\n"
        "Imported 4 architectures of NAS-Bench-201 v1.1. Use them with --truth "
        "nas-bench-201.\n"
    )


def test_import_of_a_malicious_file(tmp_path: Path, cache: Path) -> None:
    file = tmp_path / "bad.pth"
    file.write_bytes(pickle.dumps(small.Malicious(tmp_path / "proof")))
    result = zcbench("import", str(file))
    assert (result.exit_code, result.stdout) == (3, "")
    assert result.stderr.splitlines()[1].startswith(
        f"zcbench: {file} is not plain data (it names "
    )
    assert len(result.stderr.splitlines()) == 2
    assert not (tmp_path / "proof").exists()


def test_import_of_nothing(tmp_path: Path, cache: Path) -> None:
    file = tmp_path / "no.pth"
    result = zcbench("import", str(file))
    assert (result.exit_code, result.stdout) == (3, "")
    assert result.stderr.splitlines()[1] == (
        f"zcbench: {file} cannot be read: No such file or directory. The official "
        "file is NAS-Bench-201-v1_1-096897.pth."
    )


# --- fetch ------------------------------------------------------------------------


def test_fetch(cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fetch(name: str, *, progress: bool) -> Path:
        assert not progress  # stderr is no terminal here
        return cache / name

    monkeypatch.setattr("zcbench.minibatch.fetch", fetch)
    result = zcbench("fetch", "cifar10", "cifar100")
    assert result.exit_code == 0
    assert result.stdout == f"{cache / 'cifar10'}\n{cache / 'cifar100'}\n"


def test_fetch_of_an_unknown_dataset(cache: Path) -> None:
    result = zcbench("fetch", "cifar11")
    assert (result.exit_code, result.stdout) == (2, "")
    assert result.stderr == (
        "zcbench: Unknown dataset to fetch 'cifar11'. Did you mean cifar10?\n"
    )


def test_fetch_of_nothing() -> None:
    result = zcbench("fetch")
    assert result.exit_code == 2
    assert len(result.stderr.splitlines()) == 1


# --- verify -----------------------------------------------------------------------


def test_verify_an_empty_cache(cache: Path) -> None:
    result = zcbench("verify")
    assert (result.exit_code, result.stdout) == (0, "")
    assert result.stderr == f"There is nothing to verify in {cache}.\n"


def test_verify_an_import(imported: Path) -> None:
    result = zcbench("verify")
    assert (result.exit_code, result.stderr) == (0, "")
    assert result.stdout == f"ok       {imported}\n"


@pytest.mark.parametrize("verdict", ["changed", "missing", "damaged", "unknown"])
def test_verify_finds_a_changed_import(imported: Path, verdict: str) -> None:
    record = imported.parent / "nas-bench-201.json"
    match verdict:
        case "changed":
            imported.write_bytes(imported.read_bytes() + b" ")
        case "missing":
            imported.unlink()
        case "damaged":
            record.write_text("{")
        case "unknown":
            record.unlink()
    result = zcbench("verify")
    assert result.exit_code == 1
    assert result.stdout == f"{verdict:<8} {imported}\n"
    assert result.stderr == (
        "zcbench: 1 of 1 files are not as they were put there. Delete them, then fetch "
        "or import them again.\n"
    )


def test_verify_images(cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    archives = [layout.archive for layout in fetchable().values()]
    assert len(archives) == 2
    folder = image_folder(cache)
    folder.mkdir(parents=True)
    for name in archives:
        (folder / name).write_bytes(b"not an archive")
    result = zcbench("verify")
    assert result.exit_code == 1
    assert result.stdout == "".join(f"changed  {folder / n}\n" for n in archives)
    assert result.stderr.startswith("zcbench: 2 of 2 files are not as they were")


def test_verify_a_sound_image_archive(
    cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    layout = next(iter(fetchable().values()))
    digest = hashlib.sha256(b"sound").hexdigest()
    sound = {"cifar10": type(layout)(**_fields(layout) | {"sha256": digest})}
    monkeypatch.setattr("zcbench.minibatch.download.fetchable", lambda: sound)
    archive = image_folder(cache) / layout.archive
    archive.parent.mkdir(parents=True)
    archive.write_bytes(b"sound")
    result = zcbench("verify")
    assert (result.exit_code, result.stdout) == (0, f"ok       {archive}\n")


def _fields(layout: object) -> dict[str, object]:
    return {name: getattr(layout, name) for name in layout.__slots__}  # type: ignore[attr-defined]
