"""Files that are none, are too large, or speak to terminals and spreadsheets."""

from __future__ import annotations

import csv
import gzip
import io
import json
import os
import socket
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from click.testing import CliRunner
from levels import few
from report_runs import SCORES, toy_truth, write_run
from test_faults import TOY

from zcbench.cli import UNEXPECTED, main
from zcbench.engine import run
from zcbench.errors import UsageError, visible
from zcbench.files import LARGEST, is_intact, signed, write
from zcbench.minibatch import open_source
from zcbench.report import make_report, render
from zcbench.spaces import load_space
from zcbench.store import load_run
from zcbench.types import Task

ROOT = Path(__file__).resolve().parent.parent


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    config = replace(TOY, n="all", truth="toy")
    return run(replace(config, out=tmp_path_factory.mktemp("whole") / "run"))


def said(*words: object, codes: tuple[int, ...] = (2, 3)) -> str:
    """What a command that fails says, in one line."""
    result = CliRunner().invoke(main, [*map(str, words)])
    assert result.exit_code in codes, (result.output, result.exception)
    *_, line = result.stderr.splitlines()
    assert line.startswith("zcbench: ")
    assert UNEXPECTED not in result.stderr
    return line


# --- what is no regular file ------------------------------------------------------


KINDS = ("folder", "pipe", "socket", "loop", "/dev/zero", "/dev/null", "gone")
READERS = [
    ["run", "--config"],
    ["run", "--space", "toy", "--archs"],
    ["run", "--space", "toy", "--truth"],
    ["run", "--space", "toy", "--minibatch"],
    ["run", "--space", "toy", "--task"],
    ["run", "--space", "toy", "--plugin"],
    ["run", "--space", "macro", "--n", "2", "--truth"],
    ["report", "--space", "toy", "--scores"],
    ["score", "x:y", "--accuracies"],
    ["score", "--networks"],
    ["data", "import"],
    ["check"],
    ["report"],
    ["compare", "{run}"],
    ["agree", "{run}"],
    ["report", "{run}", "--truth"],
]


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("words", READERS, ids=" ".join)
def test_what_is_no_file(
    whole: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kind: str, words: Any
) -> None:
    monkeypatch.chdir(tmp_path)  # a socket's path must be short
    ending = {"--config": ".toml", "--task": ".toml", "--truth": ".json"}
    path = Path(f"odd{ending.get(words[-1], '')}")
    match kind:
        case "folder":
            path.mkdir()
        case "pipe":
            os.mkfifo(path)
        case "socket":
            with socket.socket(socket.AF_UNIX) as door:
                door.bind(str(path))
        case "loop":
            path.symlink_to(path)
        case "gone":
            pass
        case _:
            path.symlink_to(kind)
    said(*(str(word).format(run=whole) for word in words), path.absolute())


@pytest.mark.parametrize("kind", ["pipe", "/dev/zero"])
@pytest.mark.parametrize("name", ["manifest.json", "scores.jsonl", "scores.jsonl.gz"])
def test_parts_of_a_run_that_are_no_files(
    whole: Path, tmp_path: Path, kind: str, name: str
) -> None:
    path = tmp_path / "run"
    path.mkdir()
    (path / "manifest.json").write_bytes((whole / "manifest.json").read_bytes())
    (path / name).unlink(missing_ok=True)
    if kind == "pipe":
        os.mkfifo(path / name)
    else:
        (path / name).symlink_to(kind)
    what = "a pipe" if kind == "pipe" else "a device"
    assert f"it is {what}, no regular file" in said("report", path)


# --- what is too large ------------------------------------------------------------


@pytest.mark.thorough
def test_a_small_file_that_unpacks_to_gigabytes(whole: Path, tmp_path: Path) -> None:
    file = tmp_path / "truth.csv.gz"
    with gzip.open(file, "wb", compresslevel=1) as stream:
        for _ in range((LARGEST >> 24) + 1):
            stream.write(bytes(1 << 24))
    assert file.stat().st_size < 8 << 20
    too_much = f"{file} cannot be read: it holds more than 1,024 MiB."
    assert too_much in said("report", whole, "--truth", file)


@pytest.mark.parametrize(
    ("words", "limit"),
    [
        (["run", "--config"], "16 MiB"),
        (["run", "--space", "toy", "--archs"], "1,024 MiB"),
        (["run", "--space", "toy", "--truth"], "1,024 MiB"),
        (["run", "--space", "toy", "--minibatch"], "2048 MiB"),
    ],
)
def test_a_file_with_a_hole_of_terabytes(
    tmp_path: Path, words: list[str], limit: str
) -> None:
    file = tmp_path / "large.toml"
    with file.open("wb") as stream:
        stream.truncate(1 << 41)
    assert limit in said(*words, file)


@pytest.mark.parametrize("head", ["index,val", '"index\n",val', "\n"])
def test_a_table_of_many_columns(whole: Path, tmp_path: Path, head: str) -> None:
    file = tmp_path / "wide.csv"
    file.write_text(f"{head}{',' * (4 << 20)}\n")
    for words in (
        ["report", whole, "--truth", file],
        ["agree", whole, file],
        ["score", "torch.nn:Flatten", "--accuracies", file],
    ):
        assert "more than 10,000 columns" in said(*words)


def test_a_parquet_file_of_many_rows(whole: Path, tmp_path: Path) -> None:
    import pyarrow as pa
    from pyarrow import parquet

    n = 40_000_000
    column = pa.array(np.zeros(n, np.int8))
    file = tmp_path / "many.parquet"
    columns = dict.fromkeys(("index", "val", "test", "other"), column)
    parquet.write_table(pa.table(columns), file)
    assert file.stat().st_size < 1 << 20
    assert "unpacks to more than 1,024 MiB" in said("report", whole, "--truth", file)


NESTED = "a = " + "[" * 5000 + "]" * 5000
DIGITS = "n = " + "9" * 5000
TABLES = "[" + "a." * 5000 + "b]"


@pytest.mark.parametrize("text", [NESTED, DIGITS, TABLES, "a = " + "{b = " * 5000])
@pytest.mark.parametrize("option", ["--config", "--task"])
def test_toml_that_is_too_deep_or_too_long(
    tmp_path: Path, text: str, option: str
) -> None:
    file = tmp_path / "odd.toml"
    file.write_text(text)
    line = said("run", "--space", "toy", option, file)
    assert len(line) < 60_000


def test_json_that_is_too_deep_or_too_long(whole: Path, tmp_path: Path) -> None:
    for text in ("[" * 100_000, '{"a":' * 100_000, '{"config": ' + "9" * 5000 + "}"):
        file = tmp_path / "manifest.json"
        file.write_text(text)
        for words in (
            ["run", "--config", file],
            ["report", tmp_path],
            ["compare", whole, file],
            ["agree", whole, file],
            ["run", "--space", "macro", "--n", "2", "--truth", file],
        ):
            said(*words)


@pytest.mark.parametrize(
    "change",
    [
        "input-shape = [3, 10000000, 1000000]",
        "input-shape = [3, 8, 8]\nn-classes = 9999999",
    ],
)
def test_a_task_that_is_too_large(tmp_path: Path, change: str) -> None:
    file = tmp_path / "large.toml"
    lines = ['name = "large"', 'space = "toy"', change]
    lines += [] if "n-classes" in change else ["n-classes = 4"]
    file.write_text("\n".join(lines))
    for more in ([], ["--dry-run"]):
        assert f"The task {file} is too large." in said(
            "run", "--space", "toy", "--task", file, "--truth", "none", *more
        )


def test_a_minibatch_that_is_too_large() -> None:
    source = open_source("gaussian", Task("large", (3, 4000, 4000), 10))
    with pytest.raises(UsageError, match=r"has 4\.8e\+09 numbers; 1,073,741,824 are"):
        source.batch(100, seed=0)
    for words in (["--input", "3,1000000,1000000"], ["--batch-size", "1000000000"]):
        net = "torch.nn:Flatten"
        said("score", net, *words, "--proxies", "params")


@pytest.mark.parametrize(
    "option", ["--repeats", "--batch-size", "--workers", "--threads", "--stack"]
)
def test_numbers_that_no_machine_can_do(option: str) -> None:
    assert "must be a whole number from" in said(
        "run", "--space", "toy", option, 10**12
    )


# --- reports as JSON --------------------------------------------------------------


@pytest.fixture
def report_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> tuple[Path, Path]:
    monkeypatch.setattr("zcbench.truth.load_truth", toy_truth)
    path = write_run(tmp_path / "run")
    file = tmp_path / "report.json"
    file.write_text(render(make_report([load_run(path)]), "json"))
    return file, path


@pytest.mark.parametrize("format_name", ["text", "md", "json"])
def test_reports_compare_in_every_format(
    report_file: tuple[Path, Path], format_name: str
) -> None:
    file, path = report_file
    for sides in ((file, path), (path, file), (file, file)):
        words = ["compare", *map(str, sides), "--format", format_name]
        result = CliRunner().invoke(main, words)
        assert (result.exit_code, result.stderr) == (0, ""), result.exception
        assert "differ" not in result.stdout.replace("scores_differ", "")


def put(value: object, *place: Any) -> Callable[[Any], None]:
    def change(document: Any) -> None:
        for key in place[:-1]:
            document = document[key]
        document[place[-1]] = value

    return change


ROW = ("correlations", 0)
ODD = [
    *(put(v, *ROW, "spearman") for v in ("x", 2, -7.5, True, [], 10**400, 1e999)),
    *(put(v, *ROW, "failed") for v in (-1, None, 2.5, True, "0", 10**30)),
    *(put(v, *ROW, "status") for v in (None, [], {"missing": "x"}, {"missing": -1})),
    *(put(v, *ROW, "direction") for v in (None, "up", 3, [])),
    *(
        put(v, *ROW, key)
        for key in ("space", "dataset", "proxy")
        for v in (1, None, [])
    ),
    *(put(v, *ROW, "target") for v in (None, [], {}, 3)),
    *(put(v, "correlations") for v in (None, {}, 3, [None], ["x"], [[]])),
    *(put(v, "runs") for v in (None, {"a": 1}, 3, [None], [{}], [{"sections": 3}])),
    put({"a": [1] * 100}, "schema"),
]


@pytest.mark.parametrize("change", few(ODD[::2] + ODD[1::2], len(ODD) // 2))
def test_odd_values_in_a_report(
    report_file: tuple[Path, Path], change: Callable[[Any], None]
) -> None:
    file, path = report_file
    document = json.loads(file.read_text())
    change(document)
    file.write_text(json.dumps(document))
    for words in (["compare", file, path], ["compare", path, file, "--format", "md"]):
        assert str(file) in said(*words)


def test_scores_and_rows_that_reports_lack(report_file: tuple[Path, Path]) -> None:
    file, path = report_file
    document = json.loads(file.read_text())
    for row in document["correlations"]:
        row["spearman"] = row["kendall"] = None
    file.write_text(json.dumps(document))
    changed = f"{file} is not as zcbench wrote it: its checksum is of another.\n"
    for name in ("text", "md", "json"):
        words = ["compare", str(file), str(path), "--format", name]
        result = CliRunner().invoke(main, words)
        assert (result.exit_code, result.stderr) == (0, changed), result.exception
        result = CliRunner().invoke(main, ["compare", str(path), str(file)])
        assert result.exit_code == 1  # a correlation that is gone is a regression
        assert "ρ is gone" in result.stdout


# --- spreadsheets and terminals ---------------------------------------------------


HOSTILE = ("=1+1", "+cmd|' /C calc'!A0", "-2+3", "@SUM(A1)", "\t=1", "\r=1", " =1")


@pytest.fixture
def named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    monkeypatch.setattr("zcbench.truth.load_truth", toy_truth)
    values = np.asarray(SCORES["jacov"])
    scores = {name: SCORES[name] for name in ("params", "snip")} | dict.fromkeys(
        HOSTILE, values
    )
    scores |= {
        "a\x1b[2J\x1b]0;x\x07b": values,
        "c\u202ed\u2066": values,
        "e\nf": values,
    }
    return make_report([load_run(write_run(tmp_path / "run", scores))])


def test_no_cell_of_a_csv_is_a_formula(named: Any) -> None:
    rows = list(csv.DictReader(io.StringIO(render(named, "csv"))))
    assert {f"'{visible(name)}" for name in HOSTILE} <= {row["proxy"] for row in rows}
    for row in rows:
        for cell in row.values():
            if cell[:1] in "=+-@\t\r":
                float(cell or 0)  # numbers stay numbers
    assert any(cell.startswith("-") for row in rows for cell in row.values())


@pytest.mark.parametrize("format_name", ["text", "md", "html", "tex", "csv", "json"])
def test_names_are_shown_and_not_sent(named: Any, format_name: str) -> None:
    text = render(named, format_name)
    assert not {c for c in text if c < " " and c != "\n"}
    assert not set(text) & set("\x7f\x9b\u202e\u2066")
    if format_name in ("text", "csv"):
        assert r"a\x1b[2J\x1b]0;x\x07b" in text
        assert r"c\u202ed\u2066" in text
    if format_name == "text":
        assert r"e\nf" in text
        colour = render(named, "text", color=True)
        assert r"a\x1b[2J" in colour
        assert "\x1b[2J" not in colour


def test_messages_show_what_names_hold(tmp_path: Path) -> None:
    assert r"no\x1b[31m\nfile" in said("report", tmp_path / "no\x1b[31m\nfile")
    assert r"\udcff" in said("report", tmp_path / "a\udcff")


# --- output -----------------------------------------------------------------------


def program(*words: object, **how: Any) -> subprocess.CompletedProcess[str]:
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    return subprocess.run(
        [sys.executable, "-m", "zcbench", *map(str, words)],
        env=environment,
        text=True,
        check=False,
        **{"stdout": subprocess.PIPE, "stderr": subprocess.PIPE} | how,
    )


@pytest.mark.thorough
@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs /dev/full")
def test_output_to_a_full_device(whole: Path) -> None:
    with Path("/dev/full").open("w") as full:
        done = program("report", whole, stdout=full)
        assert (done.returncode, done.stderr) == (
            3,
            "zcbench: The output cannot be written: No space left on device.\n",
        )
        assert program("report", whole / "none", stderr=full).returncode == 3
    assert said("report", whole, "-o", "/dev/full") == (
        "zcbench: /dev/full cannot be written: No space left on device. Give another "
        "--output."
    )
    assert Path("/dev/full").is_char_device()  # it is still what it was
    assert "/dev/full is not a directory" in said(
        "run", "--space", "toy", "--out", "/dev/full"
    )


@pytest.mark.thorough
def test_a_reader_that_has_gone_is_no_regression(whole: Path) -> None:
    reader, writer = os.pipe()
    os.close(reader)
    for words in (["compare", whole, whole], ["list", "proxies"], ["--help"]):
        done = program(*words, stdout=writer)
        assert (done.returncode, done.stderr) == (141, "")
    os.close(writer)


def test_output_into_pipes_and_through_links(tmp_path: Path) -> None:
    done = program("list", "tasks")
    assert done.returncode == 0
    link, file = tmp_path / "link", tmp_path / "file"
    link.symlink_to(file)
    write("text", link)
    assert link.is_symlink()
    assert file.read_text() == "text"
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    with pytest.raises(Exception, match="cannot be written: No such device"):
        write("text", pipe)  # nobody reads
    loop = tmp_path / "loop"
    loop.symlink_to(loop)
    with pytest.raises(Exception, match="cannot be written"):
        write("text", loop)


def test_an_error_of_our_own_is_no_regression(
    whole: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(_: object) -> None:
        raise TypeError("must be real number\nnot NoneType")

    monkeypatch.setattr("zcbench.store.load_run", broken)
    result = CliRunner().invoke(main, ["report", str(whole)])
    assert result.exit_code == 3
    (line,) = result.stderr.splitlines()
    assert line.startswith(
        f"zcbench: {UNEXPECTED}: TypeError (must be real number) in "
    )
    monkeypatch.setenv("ZCBENCH_DEBUG", "1")
    with pytest.raises(TypeError):
        main(["report", str(whole)])


def test_memory_that_does_not_suffice(monkeypatch: pytest.MonkeyPatch) -> None:
    def greedy(_: object) -> None:
        raise MemoryError

    monkeypatch.setattr("zcbench.store.load_run", greedy)
    assert said("report", "x") == "zcbench: There is not enough memory for this."


def test_signatures() -> None:
    for value in ({"a": 1}, {"a": [1, {"b": "}"}], "c": None}):
        for indent in (None, 1):
            text = signed(json.dumps(value, indent=indent).encode())
            assert is_intact(text)
            assert is_intact(text + b"\n")
            assert json.loads(text).items() >= value.items()
            assert not is_intact(text.replace(b"1", b"2"))
            assert not is_intact(text.replace(b"c", b"d"))


def test_the_frames_of_other_tables_keep_their_digits() -> None:
    from zcbench.analysis.block import Column, Listing
    from zcbench.report import Document

    rows = [{"name": "=x", "score": 0.1234567890123}, {"name": "y", "score": -2.5}]
    columns = (Column("name", "name", "text"), Column("score", "score", "number"))
    listing = Listing("scores", "", "", rows, columns, "")
    text = render(Document([listing], None), "csv")
    frame = pd.read_csv(io.StringIO(text))
    assert frame["score"].tolist() == [0.1234567890123, -2.5]
    assert frame["name"].tolist() == ["'=x", "y"]
    assert load_space("toy").architecture(0).spec[0] not in "=+-@"
