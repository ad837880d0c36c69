"""Ground truth from a CSV or Parquet file of the user's own."""

from __future__ import annotations

import gzip
import hashlib
import io
import json
import pickle
import sys
import zipfile
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from zcbench.errors import DataError
from zcbench.spaces import load_space
from zcbench.truth import load_truth
from zcbench.truth.table_file import read_table

FORMATS = "Give a CSV (UTF-8, with commas) or Parquet file."
NUMBERS = (
    "Accuracies are numbers from 0 to 100; leave the field empty where a training seed "
    "is missing."
)
SPECS = [load_space("toy").architecture(index).spec for index in range(27)]
LIKE = f"one looks like {SPECS[26]}"


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "mine.csv"


def load(file: Path, text: str | bytes) -> pd.DataFrame:
    """The toy's truth from a file of that text; rows may say `{3}` for a string."""
    if isinstance(text, str):
        text = text.format(*SPECS).encode()
    file.write_bytes(text)
    return load_truth("toy", "toy", str(file))


def refused(file: Path, text: str | bytes) -> DataError:
    with pytest.raises(DataError) as caught:
        load(file, text)
    return caught.value


# --- what is accepted -------------------------------------------------------------


def test_architectures_and_one_target(file: Path) -> None:
    table = load(file, "arch,val\n{2},10.5\n{0},20\n")
    assert table.to_dict("list") == {
        "arch": [SPECS[0], SPECS[2]],
        "index": [0, 2],
        "val": [20.0, 10.5],
    }
    assert table.attrs == {
        "truth": "mine.csv",
        "release": "mine.csv",
        "digest": hashlib.sha256(file.read_bytes()).hexdigest(),
        "space": "toy",
        "dataset": "toy",
        "targets": ["val"],
        "missing": 25,
    }
    assert json.loads(json.dumps(table.attrs)) == table.attrs


def test_seeds_have_a_mean_and_may_be_missing(file: Path) -> None:
    text = "arch,note,test_seed1,test_seed0,val\n{1},x,30,20,5\n{3},,,40,6\n"
    table = load(file, text)
    assert list(table.columns) == [
        *("arch", "index", "val", "test", "test_seed1", "test_seed0")
    ]
    assert list(table["test"]) == [25.0, 40.0]
    assert np.isnan(table["test_seed1"][1])
    assert table.attrs["targets"] == ["val", "test"]


def test_a_mean_that_is_given_stays(file: Path) -> None:
    table = load(file, "arch,val,val_seed0,val_seed1\n{1},33,10,20\n")
    assert list(table["val"]) == [33.0]


def test_trainings_that_are_counted(file: Path) -> None:
    table = load(file, "arch,test_1,test_2,test_3,val_1\n{2},10,20,60,5\n")
    assert table["test"].tolist() == [30.0]
    assert table[["test_seed1", "test_seed2", "test_seed3"]].iloc[0].tolist() == [
        10.0,
        20.0,
        60.0,
    ]
    assert "val" not in table  # one alone is a number of epochs
    assert table["val_1"].tolist() == [5.0]
    gap = refused(file, "arch,test_1,test_3\n{2},10,20\n")
    assert gap.what.endswith("its columns are arch, test_1, test_3.")


@pytest.mark.parametrize("numbers", ["4\n0", "4.0\n0.0", '"4"\n"0"'])
def test_indices_instead_of_architectures(file: Path, numbers: str) -> None:
    first, second = numbers.split("\n")
    table = load(file, f"index,val\n{first},1\n{second},2\n")
    assert list(table["index"]) == [0, 4]
    assert list(table["arch"]) == [SPECS[0], SPECS[4]]
    assert table["index"].dtype == np.int64


def test_architectures_win_over_a_foreign_index(file: Path) -> None:
    table = load(file, "index,official_index,arch,val\n9,0,{5},1\n8,1,{6},2\n")
    assert list(table["index"]) == [5, 6]


def test_bom_blank_lines_and_windows_line_ends(file: Path) -> None:
    text = "\ufeffarch,val\r\n\r\n{1},1\r\n,\r\n{2},2\r\n\r\n"
    assert list(load(file, text)["val"]) == [1.0, 2.0]


@pytest.mark.filterwarnings("error")
def test_a_compressed_csv(tmp_path: Path) -> None:
    text = gzip.compress("arch,val\n{1},1\n".format(*SPECS).encode())
    assert list(load(tmp_path / "mine.csv.gz", text)["index"]) == [1]


@pytest.mark.parametrize("as_index", [False, True])
def test_parquet(tmp_path: Path, *, as_index: bool) -> None:
    pytest.importorskip("pyarrow")
    frame = pd.DataFrame({"arch": SPECS[5:3:-1], "val_seed0": [50.0, 40.0]})
    file = tmp_path / "mine.parquet"
    (frame.set_index("arch") if as_index else frame).to_parquet(file)
    table = load_truth("toy", "toy", str(file))
    assert list(table["arch"]) == SPECS[4:6]
    assert list(table["val"]) == [40.0, 50.0]


def test_several_datasets_and_epochs(file: Path) -> None:
    """Columns of the asked dataset count; a similar name is another dataset."""
    text = (
        "arch,toy_test_200_seed0,toy_test_200_seed1,toy_val_12,toys_val,val,other_val\n"
        "{0},10,20,5,1,2,3\n"
        "{1},,,,4,5,6\n"
    )
    table = load(file, text)
    assert table.drop(columns="arch").to_dict("list") == {
        "index": [0],
        "test": [15.0],
        "val_12": [5.0],
        "test_seed0": [10.0],
        "test_seed1": [20.0],
    }
    assert table.attrs["missing"] == 26


@settings(deadline=None, max_examples=25)
@given(
    rows=st.dictionaries(
        st.integers(0, 26),
        st.lists(st.none() | st.floats(1.5, 100), min_size=3, max_size=3).filter(any),
        min_size=1,
    )
)
def test_what_is_written_is_read(
    tmp_path_factory: pytest.TempPathFactory, rows: dict[int, list[float | None]]
) -> None:
    seeds = ["val_seed0", "val_seed1", "val_seed2"]
    frame = pd.DataFrame(list(rows.values()), columns=seeds, dtype=float)
    frame.insert(0, "arch", [SPECS[index] for index in rows])
    file = tmp_path_factory.mktemp("truth") / "any.csv"
    frame.to_csv(file, index=False)
    table = read_table(file, load_space("toy"), "toy")
    assert list(table["index"]) == sorted(rows)
    for index, row in table.set_index("index").iterrows():
        wanted = [np.nan if v is None else v for v in rows[index]]
        np.testing.assert_allclose(row[seeds].astype(float), wanted, rtol=1e-12)
        np.testing.assert_allclose(row["val"], np.nanmean(wanted), rtol=1e-12)


# --- real data --------------------------------------------------------------------


@pytest.mark.thorough
@pytest.mark.parametrize(
    ("dataset", "best"),
    [("cifar10", 94.37), ("cifar100", 73.51), ("ImageNet16-120", 47.31)],
)
def test_the_public_test_accuracies(
    shared_data: Path, dataset: str, best: float
) -> None:
    """As they come: three datasets, 12 and 200 epochs, the official order."""
    truth = str(shared_data / "nb201_test_accuracy.csv")
    table = load_truth("nb201", dataset, truth)
    assert list(table["index"]) == list(range(15_625))
    assert round(table["test"].max(), 2) == best
    assert list(table.columns) == [
        *("arch", "index", "test", "val_12", "test_12"),
        *("test_seed0", "test_seed1", "test_seed2"),
    ]
    assert table.attrs["targets"] == ["test"]
    assert table.attrs["missing"] == 0
    # Test and validation accuracy of the same architectures must go together, which
    # they would not if either were in another order.
    val = load_truth("nb201", dataset)["val"]
    assert table["test"].corr(val, method="spearman") > 0.98


# --- what is refused --------------------------------------------------------------


def test_missing(tmp_path: Path) -> None:
    path = tmp_path / "no.csv"
    with pytest.raises(DataError) as caught:
        load_truth("toy", "toy", str(path))
    assert str(caught.value) == f"There is no truth file {path}. {FORMATS}"


def test_a_folder(tmp_path: Path) -> None:
    with pytest.raises(DataError) as caught:
        load_truth("toy", "toy", str(tmp_path))
    assert str(caught.value) == (
        f"The truth file {tmp_path} cannot be read: Is a directory. {FORMATS}"
    )


@pytest.mark.parametrize(
    ("text", "what", "hint"),
    [
        (
            "structure,val\nx{0},1\n",
            "{file} does not say which architecture a row is: its columns are "
            "structure, val.",
            "Add a column arch with architecture strings, or index.",
        ),
        (
            "arch,quality\n{0},1\n",
            "{file} has no accuracies for toy: its columns are arch, quality.",
            "If it is quality, say --target quality; or name them val, test, "
            "val_seed0, …, or toy_val, toy_test, ….",
        ),
        (
            "arch,other_val,toy_val_12\n{0},1,2\n",
            "{file} has no accuracies for toy: its columns are arch, other_val, "
            "toy_val_12.",
            "Name them val, test, val_seed0, …, or toy_val, toy_test, ….",
        ),
        (
            "arch," + ",".join(f"c{i}" for i in range(20)) + "\n{0}" + ",1" * 20 + "\n",
            "{file} has no accuracies for toy: its columns are arch, c0, c1, c2, c3, "
            "c4, c5, c6, c7, c8, c9, c10 and 9 more.",
            "Name them val, test, val_seed0, …, or toy_val, toy_test, ….",
        ),
        (
            "arch,val,val_200\n{0},1,2\n",
            "{file} has two columns for val: val and val_200.",
            "Remove or rename one.",
        ),
        (
            "arch,val\n",
            "{file} has no rows.",
            "Give one row per architecture.",
        ),
        (
            "arch,val\n{0},1\n|x~0|,2\n,3\n",
            "{file}: 2 of 3 rows are no architecture of toy; the first is line 3: "
            "|x~0|.",
            f"Correct or remove them; {LIKE}.",
        ),
        (
            "arch,val\n{0} ,1\n",
            f"{{file}}: 1 of 1 rows are no architecture of toy; the first is line 2: "
            f"{SPECS[0]} .",
            f"Correct or remove them; {LIKE}.",
        ),
        (
            "index,val\n0,1\n\n27,2\n-1,3\n1.5,4\nx,5\n,6\n1e300,7\ninf,8\n",
            "{file}: 7 of 8 rows are no architecture of toy; the first is line 4: 27.",
            "Correct or remove them; indices run from 0 to 26.",
        ),
        (
            "arch,val\n{0},1\n{1},2\n{0},3\n{0},3\n{1},2\n",
            f"{{file}}: 3 of 5 rows repeat an architecture; the first is line 4: "
            f"{SPECS[0]}.",
            "Keep one row for each.",
        ),
        (
            "arch,val\n{0},1\n{1},\n{2},NaN\n",
            "{file}: 2 of 3 rows have no val accuracy for toy; the first is line 3.",
            "Fill them in, or leave those architectures out.",
        ),
        (
            "arch,val,test_seed0,test_seed1\n{0},1,1,\n\n{1},1,,\n",
            "{file}: 1 of 2 rows have no test accuracy for toy; the first is line 4.",
            "Fill them in, or leave those architectures out.",
        ),
        (
            "arch,toy_val,toy_test\n{0},1,2\n{1},,\n{2},3,\n",
            "{file}: 1 of 2 rows have no test accuracy for toy; the first is line 4.",
            "Fill them in, or leave those architectures out.",
        ),
        (
            "arch,toy_val,other_val\n{0},,1\n{1},,2\n",
            "{file} has no architecture with an accuracy for toy.",
            "Fill in its columns, or leave the dataset out.",
        ),
        (
            "arch,val\n{0},1\n{1},100.5\n{2},-1\n",
            "{file}: 2 of 3 values in val are no accuracy in percent; the first is on "
            "line 3: 100.5.",
            NUMBERS,
        ),
        (
            "arch,val_seed0\n{0},1\n{1},inf\n",
            "{file}: 1 of 2 values in val_seed0 are no accuracy in percent; the first "
            "is on line 3: inf.",
            NUMBERS,
        ),
        (
            "arch,val\n{0},1\n{1},91.2%\n",
            "{file}: 1 of 2 values in val are no accuracy in percent; the first is on "
            "line 3: 91.2%.",
            NUMBERS,
        ),
        (
            "arch,toy_val_12,toy_val\n{0},200,50\n",
            "{file}: 1 of 1 values in toy_val_12 are no accuracy in percent; the first "
            "is on line 2: 200.",
            NUMBERS,
        ),
    ],
)
def test_contents(file: Path, text: str, what: str, hint: str) -> None:
    error = refused(file, text)
    assert error.what == what.replace("{file}", str(file))
    assert error.hint == hint


def test_empty(file: Path) -> None:
    assert str(refused(file, b"")) == (
        f"{file} cannot be read as CSV: No columns to parse from file. {FORMATS}"
    )


def test_lines_with_too_many_fields(file: Path) -> None:
    error = refused(file, "arch,val\n{0},1,2\n{1},1,2\n")
    assert error.what.startswith(f"{file} cannot be read as CSV: Length of header")
    error = refused(file, "arch,val\n{0},1\n{1},1,2\n")
    assert error.what == (
        f"{file} cannot be read as CSV: Error tokenizing data. C error: Expected 2 "
        "fields in line 3, saw 3."
    )


def test_not_utf8(file: Path) -> None:
    error = refused(file, "arch,val\n".encode("utf-16"))
    assert error.what.startswith(f"{file} cannot be read as CSV: 'utf-8' codec can't")
    assert error.hint == FORMATS


def test_other_kinds_of_files(file: Path) -> None:
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w") as archive:
        archive.writestr("mine.csv", "arch,val\n")
    for content in (stream.getvalue(), gzip.compress(stream.getvalue())):
        assert str(refused(file, content)) == (
            f"{file} is a pickle or an archive; nothing in it was run. {FORMATS} The "
            "official .pth goes through `zcbench data import`."
        )
    torn = gzip.compress(b"arch,val\n" * 100)[:-20]
    assert str(refused(file, torn)) == (
        f"{file} is damaged: gzip cannot read it. {FORMATS}"
    )
    pytest.importorskip("pyarrow")
    error = refused(file, b"PAR1 and no more")
    assert error.what.startswith(f"{file} cannot be read as Parquet: ")


class Malicious:
    """Runs code when it is unpickled by the ordinary unpickler."""

    def __init__(self, proof: Path) -> None:
        self.proof = proof

    def __reduce__(self) -> tuple[object, tuple[Path]]:  # type: ignore[override]
        return Path.touch, (self.proof,)


@pytest.mark.parametrize("suffix", [".pkl", ".csv", ".parquet", ".csv.gz"])
@pytest.mark.parametrize("protocol", range(6))
def test_a_malicious_pickle_runs_nothing(
    tmp_path: Path, protocol: int, suffix: str
) -> None:
    proof = tmp_path / "proof"
    content = pickle.dumps(Malicious(proof), protocol=protocol)
    pickle.loads(content)
    assert proof.exists(), "this test needs a pickle that does something"
    proof.unlink()
    file = tmp_path / f"truth{suffix}"
    assert str(refused(file, content)) == (
        f"{file} is a pickle or an archive; nothing in it was run. {FORMATS} The "
        "official .pth goes through `zcbench data import`."
    )
    assert not proof.exists()


def test_a_csv_that_ends_in_a_full_stop_is_no_pickle(file: Path) -> None:
    assert list(load(file, "arch,val\n{0},1.")["val"]) == [1.0]


def test_pyarrow_is_not_installed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = tmp_path / "mine.parquet"
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    assert str(refused(file, b"PAR1 whatever PAR1")) == (
        f"{file} is a Parquet file, and pyarrow is not installed. Install it: pip "
        "install 'zcbench[parquet]'."
    )


def test_rows_of_parquet_have_no_lines(tmp_path: Path) -> None:
    pytest.importorskip("pyarrow")
    file = tmp_path / "mine.parquet"
    pd.DataFrame({"arch": SPECS[:2], "val": [1.0, 101.0]}).to_parquet(file)
    with pytest.raises(DataError) as caught:
        load_truth("toy", "toy", str(file))
    assert caught.value.what == (
        f"{file}: 1 of 2 values in val are no accuracy in percent; the first is on "
        "row 2: 101.0."
    )


@pytest.mark.parametrize(
    ("head", "mark"),
    [("arch,accuracy", ","), ("Model;Top1", ";"), ("cell\tTest Acc (%)", "\t")],
)
def test_other_names_and_marks_are_taken(tmp_path, head, mark):
    space = load_space("toy")
    path = tmp_path / "own.csv"
    values = [0.6 + 0.01 * i for i in range(len(space))]
    rows = [f"{space.architecture(i).spec}{mark}{v:.4f}" for i, v in enumerate(values)]
    path.write_text("\n".join([head, *rows]) + "\n")
    table = read_table(path, space, "toy")
    assert table["accuracy"].tolist() == pytest.approx([100 * v for v in values])
    assert "read as fractions, and turned into percent" in table.attrs["notes"][0]


def test_decimal_commas(tmp_path):
    space = load_space("toy")
    path = tmp_path / "own.csv"
    rows = [f"{space.architecture(i).spec};{60 + i},5" for i in range(9)]
    path.write_text("\n".join(["arch;val", *rows]) + "\n")
    assert read_table(path, space, "toy")["val"].tolist() == [
        60.5 + i for i in range(9)
    ]


def test_an_unknown_column_is_asked_for_by_a_target_that_works(tmp_path):
    space = load_space("toy")
    path = tmp_path / "own.csv"
    rows = [f"{space.architecture(i).spec},{60 + i}" for i in range(9)]
    path.write_text("\n".join(["arch,quality", *rows]) + "\n")
    with pytest.raises(DataError, match="say --target quality"):
        read_table(path, space, "toy")
    assert read_table(path, space, "toy", "quality")["quality"].tolist()[0] == 60


def test_accuracies_of_another_dataset_are_not_taken(tmp_path):
    space = load_space("nb201")
    path = tmp_path / "own.csv"
    for name in ("cifar100_acc", "cifar100_val", "other_test"):
        path.write_text(f"arch,{name}\n{space.architecture(5).spec},60\n")
        with pytest.raises(DataError, match="no accuracies for cifar10"):
            read_table(path, space, "cifar10")
