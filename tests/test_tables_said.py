"""No number of a table is wrong in silence."""

from __future__ import annotations

from pathlib import Path

import pandas as pd
import pytest
from click.testing import CliRunner, Result

import zcbench
from zcbench.analysis.published import load_scores
from zcbench.cli import main
from zcbench.config import RunConfig
from zcbench.engine import run as do
from zcbench.errors import DataError
from zcbench.flat_file import is_accuracy
from zcbench.spaces import load_space
from zcbench.truth import load_truth

SPECS = [load_space("toy").architecture(index).spec for index in range(27)]


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "mine.csv"


def scores(file: Path, text: str) -> pd.DataFrame:
    file.write_text(text.format(*SPECS), encoding="utf-8")
    return load_scores(file, "toy", ["toy"])


def truth(file: Path, text: str, target: str = "auto") -> pd.DataFrame:
    file.write_text(text.format(*SPECS), encoding="utf-8")
    return load_truth("toy", "toy", str(file), target)


def invoke(*words: object) -> Result:
    return CliRunner().invoke(main, [str(word) for word in words])


@pytest.mark.parametrize("entry", ["tensor(81.09)", "high", "81.1%"])
def test_an_entry_that_is_no_number(file: Path, entry: str) -> None:
    with pytest.raises(DataError) as caught:
        scores(file, f"arch,mine\n{{0}},1\n\n{{1}},{entry}\n{{2}},2\n")
    assert caught.value.what == (
        f"{file}: 1 of 3 entries in mine are no number; the first is on line 4: "
        f"{entry}."
    )


@pytest.mark.parametrize("column", ["snip", "mine"])
def test_nothing_but_tensors(file: Path, column: str) -> None:
    with pytest.raises(DataError, match=r"2 of 2 entries .* on line 2: tensor"):
        scores(file, f"arch,{column},zen\n{{0}},tensor(1.5),1\n{{1}},tensor(2.5),2\n")


def test_words_in_a_proxy_are_refused(file: Path) -> None:
    with pytest.raises(DataError, match=r"entries in snip .* on line 2: high"):
        scores(file, "arch,snip,zen\n{0},high,1\n{1},low,2\n")


@pytest.mark.parametrize(
    "name",
    [
        *("TestAcc", "Accuracy", "Test Accuracy (%)", "TESTACC", "val_acc", "testacc"),
        *("test_seed0", "cifar10_val_200", "ValAcc1", "top1", "Val"),
    ],
)
def test_accuracies_by_name(file: Path, name: str) -> None:
    assert is_accuracy(name)
    table = scores(file, f"arch,{name},zen\n{{0}},1,2\n{{1}},2,1\n")
    assert table.attrs["proxies"] == ["zen"]
    assert table.attrs["notes"] == [
        f"{file}: columns not used: {name} (an accuracy by its name)."
    ]


@pytest.mark.parametrize("name", ["min_eigval", "accumulated", "latest", "interval"])
def test_proxies_with_val_in_their_name(file: Path, name: str) -> None:
    assert not is_accuracy(name)
    assert scores(file, f"arch,{name}\n{{0}},1\n").attrs["proxies"] == [name]


@pytest.mark.parametrize("read", [scores, truth])
def test_row_numbers_are_no_architectures(file: Path, read) -> None:
    with pytest.raises(DataError) as caught:
        read(file, "index,arch_str,val,zen\n5,{5},60,1\n1,{7},70,2\n")
    assert caught.value.what == (
        f"{file}: the columns arch_str and index name different architectures in 1 of "
        f"2 rows; on line 3 arch_str says {SPECS[7]} and index says 1."
    )
    with pytest.raises(DataError, match="columns index and cell name different"):
        read(file, "index,cell,val,zen\n0,{5},60,1\n1,{7},70,2\n")
    same = read(file, "index,arch_str,val,zen\n5,{5},60,1\n7,{7},70,2\n")
    assert same["arch"].tolist() == [SPECS[5], SPECS[7]]


@pytest.mark.parametrize("read", [scores, truth])
def test_a_row_without_architecture(file: Path, read) -> None:
    with pytest.raises(DataError, match=r"the first is line 3: its arch is empty\."):
        read(file, "arch,val,zen\n{5},60,1\n,70,2\n")


def test_fractions_become_percent(file: Path) -> None:
    table = truth(file, "arch,val,test\n{0},0.5,80\n{1},1,0.5\n")
    assert table["val"].tolist() == [50.0, 100.0]
    assert table["test"].tolist() == [80.0, 0.5]
    assert table.attrs["notes"] == [
        f"{file}: val: all values lie between 0 and 1; read as fractions, and turned "
        "into percent."
    ]
    with pytest.raises(DataError, match=r"val_seed0 look like fractions, .* val_seed1"):
        truth(file, "arch,val_seed0,val_seed1\n{0},0.5,50\n")


def test_epochs_are_no_trainings(file: Path) -> None:
    rows = "".join(f"{spec},{k},{k + 20},{k + 40}\n" for k, spec in enumerate(SPECS))
    with pytest.raises(DataError, match="several columns of accuracies for toy"):
        truth(file, "arch,val_1,val_2,val_3\n" + rows)
    table = truth(file, "arch,val_1,val_2,val_3\n" + rows, "val_3")
    assert table.attrs["targets"] == ["val_3"]
    assert "val" not in table
    assert table.attrs["notes"] == [
        f"{file}: val_1 to val_3 are read as accuracies after 1 to 3 epochs."
    ]
    few = truth(file, "arch,val_1,val_2\n{0},60,61\n")
    assert few["val"].tolist() == [60.5]
    assert "2 trainings, of which the mean is taken" in few.attrs["notes"][0]


def test_a_target_with_words_is_refused(file: Path) -> None:
    with pytest.raises(DataError, match=r"entries in pgd are no number; .* line 3: x"):
        truth(file, "arch,val,pgd\n{0},60,1\n{1},61,x\n", "pgd")
    table = truth(file, "arch,val,pgd_acc\n{0},60,101\n{1},61,50\n", "pgd_acc")
    assert "1 values in pgd_acc are no accuracy in percent" in table.attrs["notes"][0]


def test_naslib_indices_name_architectures_of_a_truth(file: Path) -> None:
    file.write_text('arch,val\n"(4, 3, 2, 1, 3, 1)",88\n', encoding="utf-8")
    assert load_truth("nb201", "cifar10", str(file))["arch"].tolist() == [
        "|avg_pool_3x3~0|+|nor_conv_1x1~0|none~1|+|nor_conv_3x3~0|nor_conv_1x1~1|none~2|"
    ]


def test_columns_of_a_truth_that_are_not_used(file: Path) -> None:
    table = truth(file, "arch,index,val,TestAcc,note\n{0},5,60,70,x\n")
    assert table.attrs["notes"] == [
        f"{file}: columns not used: index (arch counts, and names other architectures)"
        "; TestAcc, note (no accuracy of this dataset by name)."
    ]


def test_an_alias_beside_its_name(file: Path) -> None:
    with pytest.raises(DataError) as caught:
        scores(file, "arch,jacov,jacob_cov\n{0},1,2\n")
    assert caught.value.what == (
        f"{file} has scores of jacov twice, as jacov and jacob_cov."
    )


def test_agree_knows_aliases_and_says_what_it_leaves_out(tmp_path: Path) -> None:
    names = ("params", "flops", "jacov")
    made = do(
        RunConfig(
            space="toy", n=8, proxies=names, workers=1, batch_size=8, out=tmp_path / "r"
        )
    )
    path = tmp_path / "s.csv"
    table = zcbench.load_run(made)[["arch", *names]]
    table = table.rename(columns={"flops": "macs", "jacov": "jacob_cov"})
    table.assign(note="x", ntk=1.0).to_csv(path, index=False)
    result = invoke("agree", made, path, "--format", "csv")
    assert result.exit_code == 0, result.output
    assert all(name in result.stdout for name in names)
    assert "columns not used: note (words, not numbers)." in result.stderr
    assert f"Not compared: ntk (only {path} has scores of them)." in result.stderr
