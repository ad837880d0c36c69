"""Truth files that nobody meant: they give a table or a `DataError`, nothing else."""

from __future__ import annotations

import contextlib
import gzip
import io
import math
import pickle
import tempfile
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from zcbench.errors import DataError, UsageError
from zcbench.pickles import CONTAINERS_AND_NUMBERS, read_plain
from zcbench.spaces import load_space
from zcbench.truth import load_truth, targets

TOY = load_space("toy")
SPECS = [TOY.architecture(index).spec for index in range(len(TOY))]
FORMATS = "Give a CSV (UTF-8, with commas) or Parquet file."
quickly = settings(
    max_examples=60,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)


@pytest.fixture(scope="module")
def file() -> Iterator[Path]:
    with tempfile.TemporaryDirectory() as folder:
        yield Path(folder) / "truth.csv"


def read(file: Path, content: bytes) -> pd.DataFrame | DataError:
    """A table that keeps its promises, or the error; any other failure is a bug."""
    file.write_bytes(content)
    try:
        table = load_truth("toy", "toy", str(file))
    except DataError as error:
        refused = error
    else:
        check(table)
        return table
    assert str(file) in refused.what
    assert refused.what.endswith(".")
    assert refused.hint.endswith(".")
    assert "\n" not in str(refused)
    return refused


def check(table: pd.DataFrame) -> None:
    assert list(table["arch"]) == [SPECS[index] for index in table["index"]]
    assert table["index"].is_monotonic_increasing
    assert table["index"].is_unique
    assert table.attrs["missing"] == len(TOY) - len(table)
    assert table.attrs["targets"] == targets(table) != []
    for target in targets(table):
        assert table[target].between(0, 100).all()


# --- anything ---------------------------------------------------------------------


@quickly
@given(content=st.binary(max_size=200))
@example(content=b"")
@example(content=b"\n\n")
@example(content=b".")
@example(content=b"arch,val\n\0\0,50\n")
@example(content=b"PAR1PAR1")
@example(content=b"\x1f\x8b")
@example(content=b'arch,val\n"')
@example(content="arch,val\n".encode("utf-16"))
def test_any_bytes(file: Path, content: bytes) -> None:
    assert isinstance(read(file, content), DataError)


names = st.sampled_from(
    ["arch", "index", "val", "test", "val_seed0", "val_seed1", "val_12", "toy_val", "x"]
)
numbers = st.floats(allow_nan=True, allow_infinity=True).map(repr)
good_numbers = st.floats(1.01, 100).map(repr)  # up to 1 they may be fractions
fields = st.one_of(
    st.sampled_from(SPECS),
    st.sampled_from(["", "NaN", "inf", "-1", "1e400", "9" * 40, "True", "50", "1,5"]),
    st.integers().map(str),
    numbers,
    st.text(max_size=6),
)


@quickly
@given(
    header=st.lists(names, min_size=1, max_size=4),
    rows=st.lists(st.lists(fields, max_size=5), max_size=4),
    end=st.sampled_from(["\n", "\r\n"]),
)
def test_any_fields_under_known_names(
    file: Path, header: list[str], rows: list[list[str]], end: str
) -> None:
    text = end.join(",".join(row) for row in [header, *rows])
    read(file, text.encode("utf-8", "surrogatepass"))


columns = st.fixed_dictionaries(
    {"val_seed0": good_numbers},
    optional={"val_seed1": good_numbers, "test": good_numbers, "toy_x": st.just("a")},
)


@quickly
@given(data=st.data(), bom=st.booleans(), end=st.sampled_from(["\n", "\r\n"]))
def test_every_number_of_a_good_file_comes_back(
    file: Path, data: st.DataObject, end: str, *, bom: bool
) -> None:
    """In our order, whatever order and form the file has."""
    places = data.draw(
        st.lists(st.integers(0, 26), min_size=1, max_size=6, unique=True)
    )
    first = data.draw(columns)
    rows = [
        {"arch": SPECS[place]} | {name: data.draw(good_numbers) for name in first}
        for place in places
    ]
    lines = [",".join(rows[0]), *(",".join(row.values()) for row in rows)]
    content = ("\ufeff" * bom + end.join(lines) + end).encode()
    table = read(file, content)
    assert isinstance(table, pd.DataFrame), table
    assert list(table["index"]) == sorted(places)
    for place, row in zip(places, rows, strict=True):
        got = table.set_index("index").loc[place]
        for name in set(first) - {"toy_x"}:
            assert got[name] == pytest.approx(float(row[name]), rel=1e-14)
        seeds = [float(row[name]) for name in row if name.startswith("val_seed")]
        assert got["val"] == pytest.approx(math.fsum(seeds) / len(seeds), rel=1e-14)


@quickly
@given(keep=st.integers(0, 4000), flip=st.integers(0, 4000), bit=st.integers(0, 7))
@pytest.mark.parametrize("form", ["gzip", "parquet"])
def test_damaged_files(file: Path, form: str, keep: int, flip: int, bit: int) -> None:
    frame = pd.DataFrame({"arch": SPECS, "val": np.linspace(0, 100, len(SPECS))})
    if form == "gzip":
        content = gzip.compress(frame.to_csv(index=False).encode(), mtime=0)
    else:
        stream = io.BytesIO()
        frame.to_parquet(stream)
        content = stream.getvalue()
    torn = bytearray(content[: keep % len(content)])
    assert isinstance(read(file, bytes(torn)), DataError)
    if form == "gzip":  # has a checksum, but for the head
        whole = bytearray(content)
        whole[flip % len(whole)] ^= 1 << bit
        read(file, bytes(whole))


# --- what fuzzing found -----------------------------------------------------------


def test_gzip_damaged_in_the_middle(tmp_path: Path) -> None:
    file = tmp_path / "truth.csv.gz"
    text = "arch,val\n" + "".join(f"{spec},50\n" for spec in SPECS)
    content = bytearray(gzip.compress(text.encode(), mtime=0))
    content[40:42] = b"\xff\xff"
    file.write_bytes(content)
    with pytest.raises(DataError) as caught:
        load_truth("toy", "toy", str(file))
    assert str(caught.value) == f"{file} is damaged: gzip cannot read it. {FORMATS}"


def test_a_column_that_starts_like_a_zip(file: Path) -> None:
    table = read(file, f"PKEY,arch,val\n1,{SPECS[3]},50\n".encode())
    assert isinstance(table, pd.DataFrame)
    assert list(table["index"]) == [3]


@pytest.mark.parametrize("name", ["arch", "val", "toy_val_seed0"])
def test_a_column_twice(file: Path, name: str) -> None:
    other = {"arch": "val"}.get(name, "arch")
    error = read(file, f"{other},{name},{name}\n1,2,3\n".encode())
    assert str(error) == (
        f"{file} has several columns called {name}. Remove or rename one."
    )


def test_a_column_twice_that_nobody_reads(file: Path) -> None:
    content = f"arch,val,note,note\n{SPECS[0]},50,a,b\n".encode()
    assert isinstance(read(file, content), pd.DataFrame)


def test_a_name_too_long_for_a_file() -> None:
    with pytest.raises(UsageError, match=r"^Unknown truth 'aaa"):
        load_truth("toy", "toy", "a" * 300)


def test_the_home_of_nobody() -> None:
    with pytest.raises(DataError) as caught:
        load_truth("toy", "toy", "~nobody_of_that_name/x.csv")
    assert str(caught.value) == (
        f"There is no truth file ~nobody_of_that_name/x.csv. {FORMATS}"
    )


# --- pickles ----------------------------------------------------------------------

plain = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner),
    max_leaves=8,
)


@quickly
@given(value=plain, protocol=st.integers(0, 5), keep=st.integers(0, 500))
def test_plain_pickles_come_back_and_torn_ones_are_refused(
    value: object, protocol: int, keep: int
) -> None:
    content = pickle.dumps(value, protocol=protocol)
    assert read_plain(io.BytesIO(content), "it", "") == value
    with pytest.raises(DataError, match=r"^it is not plain data \("):
        read_plain(io.BytesIO(content[: keep % len(content)]), "it", "")


@quickly
@given(content=st.binary(max_size=60))
@example(content=b"c_codecs\nencode\nc_codecs\nencode\nb.")  # state for a function
@example(content=b"cnumpy\ndtype\n(NVx\nc_codecs\nencode\ntb.")
@example(content=b"cos\nsystem\n(S'exit 1'\ntR.")
@example(content=b"ccollections\nOrderedDict.__init__.__globals__\n.")
@example(content=b"\x8e" + bytes(8))  # bytes, more than any memory holds
def test_any_bytes_as_a_pickle(content: bytes) -> None:
    for known in ({}, CONTAINERS_AND_NUMBERS):
        with contextlib.suppress(DataError):
            read_plain(io.BytesIO(content + b"."), "it", "", known)
